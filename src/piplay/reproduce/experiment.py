"""What an experiment is: a TOML file of arms, comparisons and charts, of the package's or one's own.

An arm is a recipe with some settings changed. Every arm is played from every start and with every seed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from piplay.config import Config
from piplay.errors import InputError, nearest
from piplay.recipes import load_config
from piplay.settings import Settings
from piplay.training.assemble import BASE, model_folder
from piplay.training.start import with_absolute_paths

STEPS = "STEPS"
"""Stands in settings for the number of steps."""


class Arm(Settings):
    """What one arm changes."""

    title: str
    """What it is called in tables."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """By dotted name, as on the command line."""


class Comparison(Settings):
    """Two arms, and what is claimed of the first minus the second."""

    first: str
    second: str
    claim: Literal["above", "within"]
    """``above``: above 0, and by ``margin`` at least. ``within``: no more than ``margin`` from 0."""
    margin: float = Field(0.0, ge=0)
    family: str
    """The comparisons of one family are corrected together (Holm)."""
    why: str
    """What the claim says, or whose it is."""


class Chart(Settings):
    """Arms whose curves are drawn together."""

    title: str
    arms: tuple[str, ...]


class Experiment(Settings):
    """Everything that an experiment's file says."""

    name: str
    title: str
    recipe: str
    steps: int = Field(ge=1)
    """Steps of each run, where the command does not say."""
    hops: tuple[int, ...] = Field(min_length=1)
    """The hop counts whose held-out questions are compared."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Of every arm."""
    arms: dict[str, Arm]
    comparisons: tuple[Comparison, ...] = ()
    charts: tuple[Chart, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Experiment:
        compared = [name for one in self.comparisons for name in (one.first, one.second)]
        for name in (*compared, *(name for chart in self.charts for name in chart.arms)):
            if name not in self.arms:
                raise ValueError(f"there is no arm {name!r}{nearest(name, self.arms)}")
        return self


def experiments() -> list[str]:
    """Names of the experiments that come with the package."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def read_experiment(name: str) -> Experiment:
    """An experiment by name or file. Raises ``InputError`` where there is none, or something is wrong with it."""
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(f"there is no experiment file {path}")
        raw = path.read_bytes()
    elif name in experiments():
        raw = (_folder() / f"{name}.toml").read_bytes()
    else:
        raise InputError(
            f"there is no experiment {name!r}{nearest(name, experiments())}; there are {', '.join(experiments())}, or "
            "give a .toml file"
        )
    try:
        return Experiment.model_validate(tomllib.loads(raw.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"the experiment {name} is not valid TOML: {error}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        said = problem["msg"].removeprefix("Value error, ")
        raise InputError(f"the experiment {name}: {place and f'{place}: '}{said}") from error


@dataclass(frozen=True, slots=True)
class Job:
    """One run of an experiment."""

    start: str
    """The start's name."""
    arm: str
    seed: int
    config: Config

    def folder(self, out: Path) -> Path:
        """Its run directory."""
        return out / "runs" / self.start / self.arm / f"seed-{self.seed}"

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"{self.start}, {self.arm}, seed {self.seed}"


def plan(
    experiment: Experiment,
    *,
    arms: Sequence[str],
    seeds: Sequence[int],
    starts: Sequence[str],
    steps: int | None,
    recipe: str | None,
    overrides: dict[str, str],
) -> list[Job]:
    """Every run, start by start and seed by seed, so that whatever is there first can be compared.

    Args:
        arms: some of the experiment's; none: all.
        starts: models, as ``eval`` names them.
        steps: of each run; None: the experiment's.
        recipe: in the place of the experiment's.
        overrides: settings of every arm; what an arm changes stays its own.

    Raises:
        InputError: there is no such arm, start or setting, or one is named twice.
    """
    for name in arms:
        if name not in experiment.arms:
            raise InputError(
                f"the experiment {experiment.name} has no arm {name!r}{nearest(name, experiment.arms)}: it has "
                f"{', '.join(experiment.arms)}"
            )
    own = {"model": "--start", "seed": "--seeds"} | dict.fromkeys(experiment.settings, "--steps or another experiment")
    for key in overrides:
        if key.replace("-", "_") in own:
            raise InputError(
                f"--{key} is not a setting of all runs of an experiment: give {own[key.replace('-', '_')]}"
            )
    if steps is not None and steps < 1:
        raise InputError(f"--steps is {steps}: give at least 1")
    if not seeds or min(seeds) < 0:
        raise InputError("--seeds: give one seed or more, each at least 0")
    names = [_start_name(start) for start in starts]
    for what, given in (("--arms", arms), ("--seeds", seeds), ("--start", names)):
        if len(set(given)) < len(given):
            raise InputError(f"{what} names the same twice: name each once")
    count = steps or experiment.steps
    jobs = []
    for start, name in zip(starts, names, strict=True):
        for seed in seeds:
            for arm in arms or experiment.arms:
                settings = _filled(experiment.settings, count) | overrides
                settings |= _filled(experiment.arms[arm].settings, count) | {"seed": seed}
                if start != BASE:
                    settings["model"] = model_folder(start)
                config = with_absolute_paths(load_config(recipe or experiment.recipe, settings))
                jobs.append(Job(name, arm, seed, config))
    return jobs


def _start_name(start: str) -> str:
    """What a start's folder is called: the last part of its path."""
    return BASE if start == BASE else Path(start).absolute().name


def _filled(settings: dict[str, Any], steps: int) -> dict[str, Any]:
    return {k: v.replace(STEPS, str(steps)) if isinstance(v, str) else v for k, v in settings.items()}


def _folder() -> Any:
    return resources.files("piplay") / "reproduce"
