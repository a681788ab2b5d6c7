"""A sample of ``make test-faults``: what is killed, fails or is damaged comes to the same bits or is refused."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="needs gcc and LD_PRELOAD"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Lab]:
    made = harness.bare_lab(tmp_path_factory.mktemp("lab"))
    yield made
    made.close()


def test_the_library_meets_every_way_of_writing(lab: harness.Lab) -> None:
    """Python's, safetensors' and Arrow's files are all seen."""
    for kind, place in (
        ("write", "metrics.jsonl"),
        ("write", "rollouts/N.parquet.new"),
        ("write", "checkpoints/N.new/state.json"),
        ("rename", "checkpoints/N"),
        ("fsync", "checkpoints/N.new/player.safetensors"),
        ("fsync", "rollouts/N.parquet.new"),
        ("unlink", "checkpoints/N/state.json"),
        ("write", "lock"),
        ("rename", "summary.json"),
    ):
        assert any(done.startswith(kind) and done.endswith(place) for done in lab.operations), (kind, place)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, 0])
def test_operations_that_fail(lab: harness.Lab, number: int) -> None:
    rng = random.Random(number)
    breaks = iter([{"at": rng.randrange(150), "errno": number, "reads": int(n % 3 == 0)} for n in range(8)])
    life = lab.life(breaks, most=8)
    assert life.outcome == "same bits", life.told
    assert len(life.happened) >= 3


@pytest.mark.parametrize("at", [pytest.param(2, marks=pytest.mark.long), 60, pytest.param(300, marks=pytest.mark.long)])
def test_a_disk_that_stays_full_or_cannot_be_written(lab: harness.Lab, at: int) -> None:
    breaks = iter([{"at": at, "errno": number, "lasting": 1} for number in (errno.ENOSPC, errno.EROFS)])
    life = lab.life(breaks, most=2)
    assert life.outcome == "same bits", life.told


def test_a_limit_on_the_size_of_files(lab: harness.Lab) -> None:
    life = lab.life(iter([{"limit": size} for size in (3_000, 5_000, 20_000)]), most=3)
    assert life.outcome == "same bits", life.told


def test_kills(lab: harness.Lab) -> None:
    rng = random.Random(7)
    life = lab.life(iter([{"kill_after": rng.uniform(0.05, 0.6 * lab.seconds)} for _ in range(8)]), most=8)
    assert life.outcome == "same bits", life.told


def test_damaged_files(lab: harness.Lab) -> None:
    template = lab.interrupted()
    found = {}
    for (name, spoil), _ in zip(harness.damages(template, 3), range(12), strict=False):
        found[name, spoil.how] = lab.damaged(template, name, spoil)
    assert {what: told for what, (outcome, told) in found.items() if outcome not in harness.GOOD} == {}
    assert {outcome for outcome, _ in found.values()} == set(harness.GOOD)


@pytest.mark.long
def test_two_that_go_on_with_one_run(lab: harness.Lab) -> None:
    """At once, as processes of their own: one does, the other is told who does; or comes too late."""
    template = lab.interrupted()
    run = lab.folder / "twice"
    shutil.copytree(template, run)
    path = os.pathsep.join([str(harness.HERE), str(harness.HERE.parent), *sys.path])
    command = [sys.executable, "-m", "piplay", "resume", str(run), "--trust"]
    both = [
        subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [process.communicate()[1].decode() for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    [sentence] = [text for text, process in zip(told, both, strict=True) if process.returncode]
    assert "is being written by process" in sentence or "is complete" in sentence
    assert harness.content(run) == lab.wanted


def test_damage_is_damage(tmp_path: Path) -> None:
    for how in ("flipped", "cut", "emptied", "removed", "zeroed", "grown"):
        for text in (b"0123456789", b"x"):
            file = tmp_path / "file"
            file.write_bytes(text)
            harness.Spoil(how, 0.5).apply(file)  # type: ignore[arg-type]
            assert not file.exists() or file.read_bytes() != text or (how, text) == ("zeroed", b"\0")


def test_contents_that_differ_are_told_apart(lab: harness.Lab, tmp_path: Path) -> None:
    """The comparison itself sees another number in a row, another weight, another file."""
    for name in ("metrics.jsonl", "final/player/model.safetensors", "rollouts/000003.parquet"):
        run = tmp_path / name.replace("/", "-")
        shutil.copytree(lab.folder / "whole", run)
        assert harness.content(run) == lab.wanted
        if name == "metrics.jsonl":
            first, *rest = (run / name).read_text().splitlines()
            row = json.loads(first) | {"player/reward": 0.123}
            (run / name).write_text("\n".join([json.dumps(row), *rest]) + "\n")
        elif name.endswith(".parquet"):
            shutil.copyfile(run / "rollouts" / "000002.parquet", run / name)
        else:
            raw = (run / name).read_bytes()
            (run / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        assert harness.content(run) != lab.wanted
