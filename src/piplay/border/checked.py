"""What stands for somebody's own game, task source or evaluation: the same methods, and what they give is checked.

The factories hand these out, so that whoever plays a part can trust it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from piplay.border.code import kind_of, name_of, own
from piplay.border.play import Columns, Numbers, check_kept, episode_of, numbers, tasks_of
from piplay.errors import InputError
from piplay.types import Episode, Key, Task


class Checked:
    """Stands for a part: it is of the part's class to ``isinstance``, and has what else the part has."""

    def __init__(self, part: Any) -> None:
        self._part = part

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        return type(self._part)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    def _name(self, method: str) -> str:
        return f"{name_of(self._part)}.{method}"

    def _asked(self, method: str, *given: Any) -> Any:
        """What a method of the part gives."""
        ask = getattr(self._part, method)
        with own(self._name(method)):
            return ask(*given)


class CheckedSource(Checked):
    """A task source."""

    def draw(self, key: Key, count: int) -> list[Any]:
        """As many tasks as are asked for."""
        return tasks_of(self._part, key, count)

    def note(self, episodes: Sequence[Episode]) -> None:
        """See ``TaskSource.note``."""
        self._asked("note", episodes)


class CheckedGame(Checked):
    """A game. What its ``play`` gives, the stage checks, whoever's it is."""

    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        """Whole episodes, whose columns are apart and of one kind."""
        final, name = self._asked("finalize_batch", episodes), self._name("finalize_batch")
        if not isinstance(final, list | tuple):
            raise InputError(f"{name} gave {kind_of(final)}: give the list of episodes")
        final = [episode_of(episode, name) for episode in final]
        Columns().check(final)
        return final

    def metrics(self, episodes: Sequence[Episode], audit: Any) -> Numbers:
        """Finite numbers by name."""
        return numbers(self._asked("metrics", episodes, audit), self._name("metrics"))

    def cost(self) -> dict[str, int]:
        """The most trajectories of each role that an episode takes."""
        cost, name = self._asked("cost"), self._name("cost")
        if not isinstance(cost, Mapping) or not all(isinstance(count, int) for count in cost.values()):
            raise InputError(f"{name} gave {kind_of(cost)}: give a dict of whole numbers by role")
        return dict(cost)


class CheckedEvaluation(Checked):
    """An evaluation."""

    def prepare(self, stage: Any) -> Any:
        """See ``Evaluation.prepare``."""
        return self._asked("prepare", stage)

    def measure(self, stage: Any, iteration: int) -> dict[str, Any]:
        """A row that JSON keeps."""
        row: dict[str, Any] = self._asked("measure", stage, iteration)
        check_kept(row, f"what {self._name('measure')} gave", "it")
        return row

    def after_step(self, stage: Any, place: Any, sources: Mapping[str, Any]) -> Numbers:
        """Finite numbers by name. The part is given the sources themselves."""
        bare = {name: _part_of(source) for name, source in sources.items()}
        return numbers(self._asked("after_step", stage, place, bare), self._name("after_step"))

    def reserved(self, task: Task) -> bool:
        """See ``Evaluation.reserved``."""
        with own(self._name("reserved")):
            return bool(self._part.reserved(task))

    def sentence(self, row: Mapping[str, Any]) -> str:
        """See ``Evaluation.sentence``."""
        said: str = self._asked("sentence", row)
        return said


def _part_of(thing: Any) -> Any:
    """The part that something stands for; itself where it stands for none."""
    return thing._part if isinstance(thing, Checked) else thing
