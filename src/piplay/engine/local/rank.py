"""A rank of a trainer: ``python -m piplay.engine.local.rank FD PID``; see ``ranks.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch

from piplay.algo.losses.base import Loss
from piplay.engine.child import connected
from piplay.engine.local.ranks import Start, group_of, sum_gradients
from piplay.engine.local.trainer import LocalTrainer
from piplay.engine.local.update import Tally
from piplay.types import PolicyRef, Sample


class Rank(LocalTrainer):
    """A trainer that nobody writes under."""

    def __init__(self, start: Start) -> None:
        """On several GPUs each rank has the next one."""
        settings = start.settings
        device = f"cuda:{start.rank}" if settings.device == "cuda" else settings.device
        super().__init__(
            start.model, start.policies, seed=start.seed, threads=settings.threads, device=device,
            micro_batch_tokens=settings.micro_batch_tokens, dtype=getattr(torch, settings.dtype), lora=settings.lora,
            checkpointing=settings.checkpointing,
        )  # fmt: skip

    def summed(self, group: Any, policy: str, part: Sequence[Sample], losses: Mapping[str, Loss]) -> Tally:
        """Make the gradients of a part, and sum them with the other ranks'."""
        tally = self.gradients(policy, part, losses)
        sum_gradients(self._policies.masters(policy), group)
        return tally

    def _writing(self, ref: PolicyRef) -> bool:
        return False

    def _changed(self, ref: PolicyRef) -> None:
        pass


def serve(connection: Connection, start: Start) -> None:
    """Do what rank 0 asks for until it hangs up."""
    rank, group = Rank(start), None
    while True:
        method, given = connection.recv()
        if method == "ready":
            connection.send(None)
            group = group_of(start.rank, start.ranks, start.store)
        elif method == "gradients":
            connection.send(rank.summed(group, *given))
        elif method == "step":
            rank.step(*given)
        else:
            getattr(rank, method)(*given)
            connection.send(None)


if __name__ == "__main__":
    to_rank_0 = connected()
    with suppress(EOFError):
        serve(to_rank_0, to_rank_0.recv())
