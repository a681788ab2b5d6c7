"""By which network ranks find each other."""

import socket

import pytest

from piplay.engine.ray.network import interfaces


def test_the_interface_is_the_one_that_has_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    assert interfaces("127.0.0.1") == {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    assert interfaces("203.0.113.9") == {}
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    assert interfaces("127.0.0.1") == {"NCCL_SOCKET_IFNAME": loopback}
