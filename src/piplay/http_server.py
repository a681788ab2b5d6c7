"""What every server of the package has in common: where it listens, how it is run, and how it reads a body."""

from __future__ import annotations

import asyncio
import socket
import warnings
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any

from piplay.errors import InputError, InputWarning

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than clients keep it, so that none is closed as it is used."""


class BodyError(Exception):
    """A body that is refused, in one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def listen(host: str, port: int, can: str) -> socket.socket:
    """A socket that refuses connections until a server is ready.

    ``can``: what those can do who reach it, in a word. Warns where others than this machine reach it. Raises
    ``InputError`` where there is no such address or port, or it is taken.
    """
    if not 0 <= port < 2**16:
        raise InputError(f"--port is {port}: give 0 to 65535, 0 for any that is free")
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except (OSError, UnicodeError) as error:
        raise InputError(f"{host}:{port} cannot be listened on ({error}): give another --host or --port") from error
    if not ip_address(str(address[0]).partition("%")[0]).is_loopback:
        warnings.warn(
            f"{host} is no loopback address: whoever reaches this machine can {can}, without a password",
            InputWarning,
            stacklevel=2,
        )
    return listening


def address_of(listening: socket.socket) -> str:
    """``http://127.0.0.1:8000``."""
    host, port, *_ = listening.getsockname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run_app(app: Any, listening: socket.socket, lifespan: str = "off") -> None:
    """Serve an ASGI app until it is interrupted; ``lifespan``: ``on`` where it wants to be told of begin and end."""
    import uvicorn

    settings = uvicorn.Config(
        app, log_level="warning", http="h11", ws="none", lifespan=lifespan, timeout_keep_alive=KEEP_ALIVE
    )
    uvicorn.Server(settings).run(sockets=[listening])


async def read_body(stream: AsyncIterator[bytes], limit: int, seconds: float) -> bytes:
    """A request's body. What is too large is read to its end and thrown away, so that its sender gets the answer.

    Raises ``BodyError`` for more than ``limit`` bytes, or a body that takes longer than so many seconds.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in stream:
                size += len(part)
                if size <= limit:
                    parts.append(part)
                else:
                    parts.clear()
    except TimeoutError:
        raise BodyError(408, f"the body did not arrive in {seconds:g} s") from None
    if size > limit:
        raise BodyError(413, f"the body has more than {limit} bytes: ask in parts")
    return b"".join(parts)
