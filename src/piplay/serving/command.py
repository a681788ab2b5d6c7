"""What ``piplay serve`` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from piplay.agent import load_agent
from piplay.errors import InputError
from piplay.http_server import address_of, listen, run_app


def serve(
    model: str,
    host: str = "127.0.0.1",
    port: int = 8001,
    name: str = "",
    slots: int = 32,
    waiting: int = 96,
    trust: bool = False,
    overrides: Mapping[str, object] | None = None,
) -> None:
    """Serve an agent until it is interrupted.

    Args:
        name: what clients call it; by default the name of its folder.
        slots: questions that are answered at once.
        waiting: questions that wait beside them, before others are turned away.

    Raises:
        InputError: see ``load_agent``; or the extra ``serve`` is not installed, or there is no such address.
    """
    if slots < 1 or waiting < 0:
        raise InputError("--slots is at least 1, and --waiting at least 0")
    try:
        import uvicorn  # noqa: F401 (so that it is missed before a model is loaded)

        from piplay.serving.app import make_app
    except ModuleNotFoundError as error:
        raise InputError(f"the service needs {error.name}: pip install 'piplay[serve]'") from error
    from piplay.serving.questions import Questions

    listening = listen(host, port, "ask")
    agent = load_agent(model, trust=trust, **{"engine.slots": slots, **(overrides or {})})
    called = name or Path(model).resolve().name
    app = make_app(Questions(agent, slots + waiting), called)
    print(f"{called} answers at {address_of(listening)}/v1", flush=True)
    run_app(app, listening)
