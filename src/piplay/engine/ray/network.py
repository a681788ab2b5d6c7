"""By which of a machine's networks the ranks of a trainer find each other, and how they learn that one is cut off."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

_SIOCGIFADDR = 0x8915
"""Linux' request for the address of an interface."""


def interfaces(address: str) -> dict[str, str]:
    """What tells gloo and NCCL to use the interface that has an address; nothing where none has it, or it is told."""
    found = next((name for _, name in socket.if_nameindex() if _address(name) == address), "")
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    return {name: found for name in names if found and not os.environ.get(name)}


def _address(interface: str) -> str:
    """An interface's IPv4 address, empty where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            given = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        except OSError:
            return ""
    return socket.inet_ntoa(given[20:24])


def sever(address: str) -> None:
    """End this process' connections to a machine that is cut off, so that nobody goes on waiting for it.

    A machine that falls silent closes nothing, and gloo asks nobody whether it is there. The operating system knows
    what is connected to it: gloo does not say.
    """
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.fromfd(int(file.name), socket.AF_INET, socket.SOCK_STREAM) as one:
            peer = one.getpeername()
            if isinstance(peer, tuple) and peer[0] == address:
                one.shutdown(socket.SHUT_RDWR)
