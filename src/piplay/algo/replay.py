"""Earlier trajectories that are learned from again: self-imitation (SPEAR, arXiv 2509.22601), last success (RAPO,
arXiv 2509.24107)."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from piplay.algo.advantages.group import numbered
from piplay.errors import InputError
from piplay.files import from_json
from piplay.types import Json, PolicyRef, ScoredTrajectory, StopReason, Trajectory

SUCCESS = 0.5
"""A reward above it is a success."""


class Replay:
    """A memory of one role's trajectories, oldest first.

    What it gives back has the sampler's log-probs, so it is trained on by a loss with a ratio,
    ``PgLoss(old="sampler")``, and it has its rewards, so its advantage is computed like any other's. It has no turns
    and tool calls any more: those are for games and reports.
    """

    def __init__(self, keep: Literal["positive", "last_success"], size: int, age: int) -> None:
        """``keep``: see ``add``. ``size``: the most that are kept. ``age``: the most steps that one stays."""
        if size < 1 or age < 1:
            raise InputError(f"a replay needs a size and an age of at least 1, not {size} and {age}")
        self.keep, self.size, self.age = keep, size, age
        self._kept: list[tuple[int, ScoredTrajectory]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, scored: Sequence[ScoredTrajectory], step: int) -> None:
        """Look at a step's trajectories, and keep some.

        ``positive``: those with a reward above their group's mean. ``last_success``: of each prompt the last success.
        """
        scored = [_bare(one) for one in scored if not one.trajectory.tool_failed]
        if self.keep == "positive":
            group_N, size_G = numbered([one.group for one in scored])
            mean_G = np.bincount(group_N, [one.reward for one in scored]) / size_G
            found = [one for one, group in zip(scored, group_N, strict=True) if one.reward > mean_G[group]]
        else:
            last = {_prompt(one): one for one in scored if one.reward > SUCCESS}
            self._kept = [(since, one) for since, one in self._kept if _prompt(one) not in last]
            found = list(last.values())
        self._kept = [*self._kept, *((step, one) for one in found)][-self.size :]

    def draw(self, batch: Sequence[ScoredTrajectory], step: int, rng: np.random.Generator) -> list[ScoredTrajectory]:
        """What is learned from again in this step, which plays ``batch``; what is too old is forgotten.

        ``positive``: nothing until the memory is full, then all of it in random order, once. Its groups are not whole,
        so it wants an advantage that needs none, computed apart from the batch's on a copy of the state.
        ``last_success``: for each group of the batch that has no success, the last success on its prompt if there is
        one, as a further member of the group: one at random of the group's own would make room for it in the paper.
        """
        self._kept = [(since, one) for since, one in self._kept if step - since <= self.age]
        if self.keep == "positive":
            if len(self._kept) < self.size:
                return []
            found = [self._kept[place][1] for place in rng.permutation(len(self._kept))]
            self._kept = []
            return found
        successful = {one.group for one in batch if one.reward > SUCCESS}
        known = {_prompt(one): one for _, one in self._kept}
        failed = {one.group: _prompt(one) for one in batch if one.group not in successful}
        return [replace(known[prompt], group=group) for group, prompt in failed.items() if prompt in known]

    def save(self, path: Path) -> None:
        """Write it to a .npz file, to the bit."""
        arrays: dict[str, Any] = {}
        for place, (_, one) in enumerate(self._kept):
            arrays |= {f"{place}.{name}": array for name, array in _arrays(one).items()}
        rows = json.dumps([_row(since, one) for since, one in self._kept])
        with path.open("wb") as file:
            np.savez(file, rows=np.array(rows), **arrays)

    def load(self, path: Path) -> None:
        """Read back what ``save`` wrote. Raises ``InputError`` where the file is missing or cut short."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            rows = from_json(str(arrays.pop("rows")))
            kept = [(row["step"], _read(row, arrays, place)) for place, row in enumerate(rows)]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"the replay {path} is missing or cut short ({error}); resume from another") from error
        self._kept = kept


def _prompt(one: ScoredTrajectory) -> bytes:
    return one.trajectory.ids_T[: one.trajectory.prompt_len].tobytes()


def _bare(one: ScoredTrajectory) -> ScoredTrajectory:
    return replace(one, trajectory=replace(one.trajectory, turns=(), uses=()))


def _arrays(one: ScoredTrajectory) -> dict[str, Any]:
    trajectory = one.trajectory
    arrays = {"ids_T": trajectory.ids_T, "owner_T": trajectory.owner_T, "logprobs_T": trajectory.logprobs_T}
    arrays |= {f"view.{name}": ids for name, ids in one.views.items()}
    optional = {"turn_rewards": one.turn_rewards, "mask_T": one.mask_T}
    return arrays | {name: array for name, array in optional.items() if array is not None}


def _row(step: int, one: ScoredTrajectory) -> dict[str, Json]:
    trajectory = one.trajectory
    return {
        "step": step,
        "key": trajectory.key,
        "role": trajectory.role,
        "policy": [trajectory.policy.name, trajectory.policy.snapshot],
        "prompt_len": trajectory.prompt_len,
        "stop": trajectory.stop,
        "version": trajectory.version,
        "group": one.group,
        "reward": one.reward,
        "views": list(one.views),
        "weight": one.weight,
        "baseline": one.baseline,
    }


def _read(row: dict[str, Json], arrays: dict[str, Any], place: int) -> ScoredTrajectory:
    def array(name: str) -> Any:
        return arrays[f"{place}.{name}"]

    trajectory = Trajectory(
        tuple(row["key"]),
        row["role"],
        PolicyRef(*row["policy"]),
        array("ids_T"),
        array("owner_T"),
        array("logprobs_T"),
        row["prompt_len"],
        (),
        (),
        StopReason(row["stop"]),
        row["version"],
    )
    return ScoredTrajectory(
        trajectory,
        tuple(row["group"]),
        row["reward"],
        {name: array(f"view.{name}") for name in row["views"]},
        arrays.get(f"{place}.turn_rewards"),
        arrays.get(f"{place}.mask_T"),
        row["weight"],
        tuple(row["baseline"]),
    )
