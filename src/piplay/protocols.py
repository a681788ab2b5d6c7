"""What can be added to piplay beside engines and algorithms, each by one class in a file of its own.

An **environment** supplies tools, tasks to measure by and, where it is known, the truth. A **task source** gives a
phase its tasks. A **game** plays one episode and rewards it. An **evaluation** measures policies between
phases. A recipe names them; ``registry.make`` builds them, with the recipe's options by name, and with what of the
following their constructors ask for:

    state        a JSON dict that checkpoints keep (a game's by its phase's name, a source's by its own)
    environment  the run's
    config       the run's settings
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, cast

from piplay.border.checked import CheckedGame
from piplay.border.parts import check_game
from piplay.errors import InputError
from piplay.registry import make
from piplay.rollout.context import Context
from piplay.rollout.stage import Stage
from piplay.rollout.tools import Tool
from piplay.settings import Phase
from piplay.types import Episode, Key, State, Task

Audit = Callable[[Any], str]
"""Says of a task what the truth is: "true", "false", "ill_typed" or "unknown". Nothing that trains may call it."""


class Environment(Protocol):
    """What is played in.

    It may have ``check_fit(tokens, room)``, called before a run: warn (``InputWarning``) of what it shows that has more
    than ``room`` tokens, as ``tokens`` counts those of a text. And it may have ``files``: of its options that are paths
    the files that it reads there, by option; a run is refused where they have changed when it resumes. Without it they
    are all files below a path that are not hidden.
    It may have ``repeatable``, False where a run would not find the same again; ``machine.json`` notes it.
    Its class may have ``settled(options)``: its options with what a run that begins has to keep, such as which index a
    search service has, so that it goes on with the same.
    """

    @property
    def tools(self) -> Sequence[Tool]:
        """What models may call."""
        ...

    @property
    def heldout(self) -> Sequence[Task]:
        """Tasks with known answers, for evaluation alone."""
        ...

    @property
    def audit(self) -> Audit | None:
        """The truth of a written task, for the log alone; None where no one knows it."""
        ...

    def describe(self) -> str:
        """What it holds, in a line for people."""
        ...


class TaskSource(Protocol):
    """Where a phase draws its tasks from."""

    def draw(self, key: Key, count: int) -> list[Task]:
        """The tasks of one step; its key ends with the number of the step in its phase, from 0."""
        ...

    def note(self, episodes: Sequence[Episode]) -> None:
        """Learn from what was just played, whoever gave the tasks; called once a step."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """The range of a metric's absolute value; outside it a run gives an alarm. See ``training/alarms.py``."""

    metric: str
    """Its name, as docs/metrics.md has it; ``*`` stands for anything."""
    advice: str
    """What it means to be outside, and what to do."""
    low: float = 0.0
    high: float = math.inf
    of: Literal["", "base", "first", "recent"] = ""
    """What the range is a multiple of: nothing, the metric's first value, the mean of its first values in a phase, or
    the median of its last ones."""
    floor: float = 0.0
    """Below this nothing is too high, whatever it is a multiple of."""
    share_of: str = ""
    """The metrics, itself among them, of whose sum it is taken as a share."""
    steps: int = 1
    """Steps in a row outside, with the last of which the alarm is given."""


class Game:
    """The base of games, with what most have in common. A game's constructor takes the phase's options by name."""

    roles: Sequence[str]
    """The roles that write in an episode: each needs a seat."""
    headline: ClassVar[Mapping[str, str]] = {}
    """The metrics by which a step is judged, and what to call them on the terminal."""
    sometimes: ClassVar[Sequence[str]] = ()
    """The metrics that not every step has; ``*`` stands for anything. A phase may wait for them, and ``headline`` name
    them; any other name that the first step lacks is refused there."""

    healthy: ClassVar[Sequence[Healthy]] = ()
    """The ranges of its metrics outside which a run gives an alarm."""

    async def play(self, task: Any, context: Context) -> Episode:
        """Play one episode, top to bottom."""
        raise NotImplementedError

    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        """Decide what only the whole batch can tell, and remember; called once a step, in episode order."""
        return list(episodes)

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        """What a step is worth knowing, for the log alone, beside what is logged of every role: finite numbers under
        names of the game's own."""
        return {}

    def cost(self) -> Mapping[str, int]:
        """The most trajectories of each role that an episode takes."""
        return dict.fromkeys(self.roles, 1)


def make_game(phase: Phase, state: State) -> Game:
    """The phase's game, checked.

    Raises ``InputError`` where there is none, it takes no such option, or it is no whole game.
    """
    try:
        game = make(phase.game, phase.options, "game", "piplay.methods", state=state)
        check_game(game, Game, phase.seats, phase.learn)
    except InputError as error:
        raise InputError(f"phase {phase.name}: {error}") from error
    return cast(Game, CheckedGame(game))


@dataclass(frozen=True, slots=True)
class Place:
    """A step in a run."""

    iteration: int
    """From 1."""
    phase: Phase
    step: int
    """Of the phase, from 0."""
    last: bool
    """Whether the phase ends with it."""

    @property
    def key(self) -> Key:
        """What names its draws."""
        return f"m{self.iteration}", self.phase.name, self.step


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an evaluation made before training."""

    sentence: str = ""
    """What a person has to know of it."""
    tasks: Mapping[str, Sequence[Task]] = field(default_factory=dict)
    """Task sets to keep with the run, by name."""


class Evaluation:
    """The base of evaluations: measures policies before training and after each iteration, learning nothing."""

    exports: Sequence[str] = ()
    """Policies whose weights are kept after each measurement, for a report to play."""
    healthy: ClassVar[Sequence[Healthy]] = ()
    """The ranges of its numbers, under ``eval/``, outside which a run gives an alarm."""

    def prepare(self, stage: Stage) -> Prepared:
        """Called once, before training: make what is measured by, where it is not there yet."""
        return Prepared()

    def preparation(self) -> int:
        """The most episodes of ``prepare``."""
        return 0

    def measure(self, stage: Stage, iteration: int) -> dict[str, Any]:
        """A row of the summary's ``eval``, empty where nothing is measured; ``iteration`` 0 is before training."""
        return {}

    def cost(self) -> int:
        """The most trajectories of one ``measure``."""
        return 0

    def after_step(self, stage: Stage, place: Place, sources: Mapping[str, TaskSource]) -> dict[str, float]:
        """Numbers for the row of a step that has just been learnt from."""
        return {}

    def reserved(self, task: Task) -> bool:
        """Whether a written task may not be trained on, because it is measured by."""
        return False

    def sentence(self, row: Mapping[str, Any]) -> str:
        """A row of ``measure`` for people, in a line."""
        return ", ".join(f"{name} {value:.3g}" for name, value in row.items() if isinstance(value, float))

    def table(self, rows: Sequence[Mapping[str, Any]]) -> ReportTable | None:
        """The rows of ``measure``, first to last, as they are shown at the end; None for no table."""
        return None


@dataclass(frozen=True, slots=True)
class ReportTable:
    """Words and numbers in columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
