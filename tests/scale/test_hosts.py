"""Two hosts, each a network namespace of its own, and the link between them (SCALE 8)."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engines import ROOT
from test_ranks import KINDS, learn, start, weights

from piplay.training.assemble import tiny_base

HEAD, OTHER, PORT = "10.77.0.1", "10.77.0.2", 6399
HOSTS = {"piplay-1": HEAD, "piplay-2": OTHER}
SEARCHED = [ROOT / "src", ROOT / "tests", ROOT / "tests" / "engine", ROOT / "tests" / "scale"]

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("ip") is None, reason="network namespaces are root's, and need iproute2"
)


def on(host: str, *command: str, **given: object) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, SEARCHED)),
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "disabled",
        # A host that is cut off is noticed after three seconds.
        "RAY_health_check_initial_delay_ms": "0",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
    }
    return subprocess.Popen(["ip", "netns", "exec", host, *command], env=environment, text=True, **given)  # type: ignore[call-overload,no-any-return]


def ray(host: str, *command: str) -> None:
    program = str(Path(sys.executable).parent / "ray")
    assert on(host, program, *command, stdout=subprocess.DEVNULL).wait() == 0


@pytest.fixture
def hosts() -> Iterator[None]:
    """A Ray cluster of two hosts with two CPUs each."""

    def ip(*command: str) -> None:
        subprocess.run(["ip", *command], check=True)

    for name in HOSTS:
        ip("netns", "add", name)
    try:
        ip("link", "add", "piplay-v1", "netns", "piplay-1", "type", "veth", "peer", "piplay-v2", "netns", "piplay-2")
        for number, (name, address) in enumerate(HOSTS.items(), 1):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", f"piplay-v{number}")
            ip("-n", name, "link", "set", f"piplay-v{number}", "up")
            ip("-n", name, "link", "set", "lo", "up")
        small = ["--num-cpus", "2", "--object-store-memory", "100000000"]
        first = ["--head", "--port", str(PORT), "--include-dashboard", "false"]
        ray("piplay-1", "start", *first, "--node-ip-address", HEAD, *small)
        ray("piplay-2", "start", "--address", f"{HEAD}:{PORT}", "--node-ip-address", OTHER, *small)
        yield
    finally:
        for name in HOSTS:
            for pid in subprocess.run(["ip", "netns", "pids", name], text=True, capture_output=True).stdout.split():
                subprocess.run(["kill", "-9", pid])
            ip("netns", "delete", name)


@pytest.mark.parametrize("rank", KINDS, ids=KINDS.values())
def test_a_host_that_is_cut_off_costs_no_bit(hosts: None, rank: int, tmp_path: Path, measured) -> None:
    driver = on(
        "piplay-1", sys.executable, str(ROOT / "tests/scale/driver.py"), f"{HEAD}:{PORT}", str(tmp_path), str(rank),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert driver.stdin is not None
    assert driver.stdout is not None
    said = {}
    for line in driver.stdout:
        print(line, end="")
        what, _, more = line.strip().partition(" ")
        said[what] = more.partition(" ")[0]
        if what == "ready":
            subprocess.run(["ip", "-n", "piplay-1", "link", "set", "piplay-v1", "down"], check=True)
            driver.stdin.write("cut\n")
            driver.stdin.flush()
    assert driver.wait() == 0
    cut = f"a host that is cut off, {KINDS[rank]}: seconds until"
    measured(f"{cut} it was noticed", float(said["lost"]), "at most 30")
    measured(f"{cut} the step was made on what is left", float(said["done"]), "")
    undisturbed = start(tiny_base(), 2, rank)
    for number in (0, 1):
        learn(undisturbed, number)
    assert np.array_equal(np.load(tmp_path / "weights.npy"), weights(undisturbed))
    assert float(said["lost"]) <= 30
