"""What is wrong with a phase where no part alone shows it: looked at while the phase is played."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from piplay.border.code import name_of
from piplay.border.play import Columns, check_kept, check_named, check_room, check_views
from piplay.config import Config
from piplay.protocols import Evaluation, Game
from piplay.settings import Phase
from piplay.training.learner import live, make_losses
from piplay.training.metrics import NAMES
from piplay.training.state import RunState
from piplay.types import Episode


class PhaseChecks:
    """Those of one phase. Each raises ``InputError``."""

    def __init__(self, config: Config, phase: Phase, game: Game, columns: Columns) -> None:
        """``columns``: what the run's rollouts hold."""
        self._config, self._phase, self._game, self._columns = config, phase, game, columns
        self._readers = {
            role: {term: [s.view for s in loss.scorings if s.view] for term, (loss, _) in make_losses(learn).items()}
            for role, learn in phase.learn.items()
        }

    @property
    def early(self) -> Callable[[Episode], None] | None:
        """What an episode can be asked as soon as it is over; None where views may come with the whole batch."""
        return self._views if self._game.__class__.finalize_batch is Game.finalize_batch else None

    def played(self, episodes: Sequence[Episode]) -> None:
        """A step's episodes have the views that losses read, and columns that fit those before."""
        for episode in episodes:
            self._views(episode)
        self._columns.check(episodes)

    def room(self, episodes: Sequence[Episode]) -> None:
        """Prompts leave room for a word."""
        check_room(episodes, self._config.limits.tokens)

    def first(
        self,
        state: RunState,
        evaluation: Evaluation,
        row: Mapping[str, Any],
        measured: Collection[str],
        episodes: Sequence[Episode],
    ) -> None:
        """The first step had room, remembers what can be kept, and has the metrics of ``until`` and the headline.

        ``measured``: those of the evaluation, which comes too late to end a phase.
        """
        self.room(episodes)
        check_states(self._config, state, evaluation)
        phase, game = self._phase, self._game
        other = (*game.sometimes, *(f"{role}/{name}" for role in phase.seats for name in NAMES))
        if phase.until:
            check_named(phase.until.metric, f"until of phase {phase.name}", row.keys() - measured, other)
        for name in game.headline:
            check_named(name, f"the headline of {name_of(game)}", row, other)

    def _views(self, episode: Episode) -> None:
        for role, readers in self._readers.items():
            played = live([episode], role, self._phase.seats[role])
            given = [one.views for one in played if not one.trajectory.tool_failed]
            check_views(f"phase {self._phase.name}, {role}", readers, given, self._phase.game)


def check_states(config: Config, state: RunState, evaluation: Evaluation) -> None:
    """Raises ``InputError`` where a checkpoint cannot keep what a part remembers."""
    for phase in config.phases:
        check_kept(state.games.get(phase.name, {}), f"the state of {phase.game}")
        for role, learn in phase.learn.items():
            remembered = state.learners.get(f"{phase.name}/{role}", {})
            check_kept(remembered.get("advantage", {}), f"the state of the advantage {learn.advantage.kind}")
    for name, source in state.sources.items():
        check_kept(source, f"the state of the source {name}")
    check_kept(state.evaluation, f"the state of {name_of(evaluation)}")
