"""Feeds readers and parsers with damaged input: ``python tests/fuzzing/fuzz.py --inputs 1000000``, or ``make fuzz``.

Inputs are made of whole ones by what goes wrong in life and by what breaks parsers; the i-th of a seed is always the
same. An input fails where a target raises anything but an ``InputError``, takes a processor more than
5 seconds, or makes the process larger by more than 1 GB. With ``--atheris`` libFuzzer makes them, guided by the
branches of piplay that they reach.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

SECONDS, MEMORY, LONGEST = 5.0, 1_000_000_000, 1_000_000
KEPT = Path("build/fuzz")
"""Where inputs that fail are written."""
BREAKING = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\n\n", b'"', b"'", b"\\", b"\\ud800", b"\\u0000", b"\t", b"%s",
    b"\xed\xa0\x80", b"\xe2\x80\xae", b"\x1b[2J", b"1e999", b"-1e-999", b"NaN", b"9" * 400, b"-0", b"null", b"true",
    b"[]", b"{}", b"[[", b"{", b"}", b",", b":", b"=", b"#", b"# " + b" " * 400 + b"x", b"```", b"0x10", b"1_0",
    b"<|im_end|>", b"<think>", b"</think>", b"<tool_call>", b"</answer>", b"<unk>", b"\xe6\x97\xa5", b"../..",
    b"\xf0\x9f\x98\x80", b"e\xcc\x81", b"\xd9\xa3", b"\xe2\x80\xa8", b"a" * 300, b"[" * 2000, b'{"a":' * 1200,
    b"(" * 300, b"  " * 500, b"-" * 500, b"__class__",
)  # fmt: skip


class Hang(BaseException):
    """An input that takes too long; no ``except Exception`` of a target holds it up."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise Hang


def inputs(seeds: tuple[bytes, ...], seed: str, count: int) -> Iterator[bytes]:
    """Damaged copies of the seeds."""
    for number in range(count):
        yield _damaged(random.Random(f"{seed}/{number}"), seeds)


def _damaged(rng: random.Random, seeds: tuple[bytes, ...]) -> bytes:
    data = rng.choice(seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 9))):
        at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        end = min(end, at + rng.choice((1, 4, 30, 1000, len(data))))
        match rng.randrange(9):
            case 0 | 1 | 2:
                data = data[:at] + rng.choice(BREAKING) + data[rng.choice((at, end)) :]
            case 3:
                data = data[:at] + data[end:]
            case 4:
                data = data[:at] + data[at:end] * rng.choice((2, 2, 3, 40)) + data[end:]
            case 5:
                data = data[:at]
            case 6:
                data = data[:at] + rng.randbytes(rng.choice((1, 1, 2, 8))) + data[at + 1 :]
            case 7:
                other = rng.choice(seeds)
                data = data[:at] + other[rng.randrange(len(other) + 1) :]
            case 8 if data:
                at = min(at, len(data) - 1)
                data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        data = data[:LONGEST]
    if rng.random() < 0.0003:  # as large as may be
        data = (data * (LONGEST // max(len(data), 1) + 1))[:LONGEST]
    return data


def problem(target: Callable[[bytes], object], data: bytes, seconds: float = SECONDS) -> str:
    """What is wrong with how a target takes an input; empty where nothing is."""
    from piplay.errors import InputError

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGPROF, _alarm)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        target(data)
    except InputError as error:
        return "" if str(error).strip() else "no sentence"
    except Hang:
        return f"more than {seconds:.0f} s\n{traceback.format_exc()}"
    except Exception:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return f"{grown / 1e9:.1f} GB more" if grown > MEMORY else ""


def fuzz(name: str, count: int, seed: int = 0, most: int = 5) -> tuple[int, dict[str, bytes]]:
    """How many inputs a target was given, and those that failed, the first of each kind, at most so many kinds."""
    from fuzzing.targets import targets

    fuzzed = targets()[name]
    failed: dict[str, bytes] = {}
    tried = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in inputs(fuzzed.seeds, f"{seed}/{name}", count):
            tried += 1
            if found := problem(fuzzed.target, data):
                place = [line for line in found.splitlines() if line.strip().startswith("File ")][-1:]
                failed.setdefault(f"{name}: {found.strip().splitlines()[-1][:200]} {''.join(place).strip()}", data)
                if len(failed) >= most:
                    break
    return tried, failed


def guided(name: str, count: int) -> None:
    """The same by atheris, until an input fails. It ends the process."""
    import atheris

    with atheris.instrument_imports(include=["piplay"]):
        from fuzzing.targets import targets

        fuzzed = targets()[name]

    def once(data: bytes) -> None:
        if found := problem(fuzzed.target, data):
            raise RuntimeError(found)

    warnings.simplefilter("ignore")
    folder = KEPT / "corpus" / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    for data in fuzzed.seeds:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    options = [f"-runs={count}", "-max_len=20000", "-rss_limit_mb=6000", f"-artifact_prefix={KEPT}/", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(folder)], once)
    atheris.Fuzz()


def main() -> int:
    """Feed every target, or those whose names begin so; the exit code is 1 where an input failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="targets whose names begin so")
    parser.add_argument("--atheris", default="", metavar="TARGET", help="one target, guided by coverage")
    given = parser.parse_args()
    if given.atheris:
        guided(given.atheris, given.inputs)
    from fuzzing.targets import clear, targets

    chosen = {name: fuzzed for name, fuzzed in targets().items() if name.startswith(given.only)}
    shares = sum(fuzzed.share for fuzzed in chosen.values())
    total, failures = 0, 0
    for name, fuzzed in chosen.items():
        began = time.monotonic()
        tried, failed = fuzz(name, -(-given.inputs * fuzzed.share // shares), given.seed)
        total, failures = total + tried, failures + len(failed)
        print(f"{name}: {tried} inputs, {len(failed)} failures, {time.monotonic() - began:.0f} s", flush=True)
        for what, data in failed.items():
            KEPT.mkdir(parents=True, exist_ok=True)
            file = KEPT / f"{name.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:8]}"
            file.write_bytes(data)
            print(f"  {what}\n  {file}")
    clear()
    print(f"{total} inputs, {failures} failures")
    return failures > 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
