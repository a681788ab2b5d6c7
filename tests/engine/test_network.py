"""By which network ranks find each other, and that one which is cut off is noticed."""

import socket
from threading import Thread

import pytest

from piplay.engine.ray.network import interfaces, sever


def test_the_interface_is_the_one_that_has_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    assert interfaces("127.0.0.1") == {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    assert interfaces("203.0.113.9") == {}
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    assert interfaces("127.0.0.1") == {"NCCL_SOCKET_IFNAME": loopback}


def test_who_waits_for_a_machine_that_is_cut_off_is_told() -> None:
    """Both ends stay open, as they do where the cable is pulled; the connection to another machine is left alone."""
    told: list[bytes] = []
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        ours = {host: socket.create_connection((host, port)) for host in ("127.0.0.2", "127.0.0.3")}
        theirs = [server.accept()[0] for _ in ours]
        waiting = Thread(target=lambda: told.append(ours["127.0.0.2"].recv(1)))
        waiting.start()
        sever("127.0.0.2")
        waiting.join(10)
        assert told == [b""]
        assert ours["127.0.0.3"].send(b"x") == 1
        for one in (*theirs, *ours.values()):
            one.close()
