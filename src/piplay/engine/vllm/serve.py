"""A sampler's process: ``python -m piplay.engine.vllm.serve FD PID``, see ``engine/child.py``.

A message is a tuple that begins with its kind. To it: the settings; then ``write`` (version, request), and calls
(``call``, ticket, method, arguments) of the sampler's ``hold``, ``drop`` and ``read``. From it: ``started``, or
``failed`` with why; ``written`` (turns with their versions, usage); ``answer`` (ticket, value); ``raised`` with what
is wrong with the weights.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from piplay.engine.child import connected
from piplay.engine.vllm.messages import Settings
from piplay.errors import first_line

if TYPE_CHECKING:
    from piplay.engine.vllm.sampler import Sampler

MODULE = "piplay.engine.vllm.serve"


def environment(settings: Settings) -> dict[str, str]:
    """What vLLM has to find in the environment before it is imported."""
    batch_invariant = {"VLLM_BATCH_INVARIANT": "1"} if settings.exact else {}
    return (
        {
            "OMP_NUM_THREADS": str(settings.threads),
            # One process; of its two ways to run a model the one whose logits processors are classes.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_USE_V2_MODEL_RUNNER": "0",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        | batch_invariant
        | _visible(settings.gpus)
    )


def _visible(gpus: Sequence[int]) -> dict[str, str]:
    """The GPUs that a sampler sees: vLLM takes the first."""
    if not gpus:
        return {}
    inherited = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return {"CUDA_VISIBLE_DEVICES": ",".join(inherited[gpu] if inherited else str(gpu) for gpu in gpus)}


def serve(connection: Connection, sampler: Sampler) -> None:
    """Answer until the other end hangs up.

    A thread sends: where both ends had to wait for each other to receive, neither would.
    """
    answers: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    Thread(target=_send, args=(connection, answers), daemon=True).start()
    while True:
        while connection.poll(0 if sampler.writing else None):
            kind, *given = connection.recv()
            if kind == "write":
                sampler.submit(*given)
            else:
                ticket, method, arguments = given
                answers.put(("answer", ticket, getattr(sampler, method)(*arguments)))
        try:
            ended = sampler.step()
        except FloatingPointError as error:
            answers.put(("raised", str(error)))
            continue
        if ended:
            answers.put(("written", ended, replace(sampler.usage)))


def _send(connection: Connection, answers: SimpleQueue[tuple[Any, ...]]) -> None:
    while True:
        connection.send(answers.get())


def main() -> None:
    """See the module."""
    connection = connected()
    try:
        settings: Settings = connection.recv()
        from piplay.engine.vllm.sampler import Sampler

        sampler = Sampler(settings)
        connection.send(("started",))
    except Exception as error:
        connection.send(("failed", first_line(error)))
        raise
    with suppress(EOFError):
        serve(connection, sampler)


if __name__ == "__main__":
    main()
