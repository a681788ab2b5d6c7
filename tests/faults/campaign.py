"""Breaks hundreds of runs and says what came of them: ``make test-faults``.

    python tests/faults/campaign.py [--lab bare] [--kills 200] [--faults 500] [--damaged 300] [--seed 0] [--out F.json]

Each kind ends once so many of it have happened. Exit code 1 where anything came out that is not allowed.
"""

from __future__ import annotations

import argparse
import errno
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import GOOD, Lab, bare_lab, damages, new_folder, smoke_lab, toy_lab

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, 0)
"""0 is a kill by the operation itself."""
LABS = {"bare": bare_lab, "toy": toy_lab, "smoke": smoke_lab}
"""A method without a model, fifty times as quick; a small random model with every kind of phase; our own smoke."""


def faults(rng: random.Random, operations: int) -> Iterator[dict[str, Any]]:
    """One operation fails, most early, so that a run meets many before it is complete; some of reads too."""
    while True:
        at = rng.randrange(operations if rng.random() < 0.1 else 200)
        number = rng.choice(ERRORS)
        lasting = number not in (0, errno.EIO) and rng.random() < 0.3
        if rng.random() < 0.05:
            yield {"limit": rng.randrange(3_000, 60_000)}
            continue
        yield {"at": at, "errno": number, "lasting": int(lasting), "reads": int(rng.random() < 0.25)}


def kills(rng: random.Random, seconds: float) -> Iterator[dict[str, Any]]:
    """SIGKILL after a while, from outside."""
    while True:
        yield {"kill_after": rng.uniform(0.05, seconds)}


class Campaign:
    """Counts what came out, and keeps what should not have."""

    def __init__(self, seed: int, out: Path | None) -> None:
        self._began, self._seed, self._out = time.monotonic(), seed, out
        self.operations: set[str] = set()
        """The kinds of operations that a whole run has."""
        self.outcomes: dict[str, Counter[str]] = {}
        self.happened: dict[str, Counter[str]] = {}
        self.bad: list[dict[str, Any]] = []

    def note(self, kind: str, outcome: str, told: str, happened: list[str]) -> None:
        self.outcomes.setdefault(kind, Counter())[outcome] += 1
        self.happened.setdefault(kind, Counter()).update(happened)
        if outcome not in GOOD:
            self.bad.append({"kind": kind, "outcome": outcome, "happened": happened, "told": told})
            print(f"{kind}: {outcome}: {happened[-1:]} {told}", flush=True)
        if self._out:
            self._out.write_text(json.dumps(self.result() | {"bad": self.bad}, indent=1) + "\n", encoding="utf-8")

    def result(self) -> dict[str, Any]:
        """What came out so far."""
        met = self.operations & self.happened.get("faults", Counter()).keys()
        return {
            "seed": self._seed,
            "minutes": round((time.monotonic() - self._began) / 60, 1),
            "events": {kind: self.count(kind) for kind in self.outcomes},
            "outcomes": {kind: dict(found) for kind, found in self.outcomes.items()},
            "kinds of operations": len(self.operations),
            "of these failed": len(met),
        }

    def count(self, kind: str) -> int:
        return sum(self.happened.get(kind, Counter()).values())

    def lives(self, lab: Lab, kind: str, breaks: Iterator[dict[str, Any]], wanted: int) -> None:
        while self.count(kind) < wanted:
            life = lab.life(breaks, most=16)
            self.note(kind, life.outcome, life.told, life.happened)

    def damage(self, lab: Lab, wanted: int, seed: int) -> None:
        template = lab.interrupted()
        for number, (file, spoil) in zip(range(wanted), damages(template, seed), strict=False):
            outcome, told = lab.damaged(template, file, spoil)
            self.note("damaged, resumed", outcome, f"{file} {spoil}: {told}", [f"{spoil.how} {file}"])
            if number % 6 == 0:
                # What does not search cannot be asked.
                words = ("report",) if number % 12 or lab.bare else ("ask", "Who?", "--json")
                whole = lab.folder / "whole"
                file, spoil = next(iter(damages(whole, seed + number)))
                outcome, told = lab.asked(whole, file, spoil, *words)
                self.note(f"damaged, {words[0]}", outcome, f"{file} {spoil}: {told}", [f"{spoil.how} {file}"])


def main() -> int:
    parser = argparse.ArgumentParser()
    for name, default in (("kills", 200), ("faults", 500), ("damaged", 300), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--lab", choices=LABS, default="toy", help="what is run")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    folder, campaign = new_folder(), Campaign(given.seed, given.out)
    lab = LABS[given.lab](folder)
    campaign.operations = set(lab.operations)
    campaign.lives(lab, "kills", kills(random.Random(given.seed), 0.6 * lab.seconds), given.kills)
    campaign.lives(lab, "faults", faults(random.Random(given.seed), len(lab.operations)), given.faults)
    campaign.damage(lab, given.damaged, given.seed)
    lab.close()
    print(json.dumps(campaign.result(), indent=1))
    shutil.rmtree(folder)
    return int(bool(campaign.bad))


if __name__ == "__main__":
    sys.exit(main())
