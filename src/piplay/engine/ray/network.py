"""By which of a machine's networks the ranks of a trainer find each other."""

from __future__ import annotations

import fcntl
import os
import socket
import struct

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
