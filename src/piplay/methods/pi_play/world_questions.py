"""Ready-made questions: a world's own, with true answers and true paths, in the place of what an examiner writes.

With them all that differs between two runs is how the student learns: the same seed gives the same questions, step by
step.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Question
from piplay.errors import InputError
from piplay.methods.pi_play.seed_passages import check_odds
from piplay.protocols import Environment
from piplay.streams import stream
from piplay.types import Episode, Key


class WorldQuestions:
    """A ``TaskSource`` of the questions that a world's solver made from where self-play may start; none is held out."""

    def __init__(self, environment: Environment, seed: int, *, hop_odds: tuple[int, ...] = (1, 1, 1, 1)) -> None:
        """Take the environment's questions.

        Args:
            environment: the search environment, in a world.
            seed: the run's.
            hop_odds: how often a question of 1, 2, … hops is drawn.

        Raises:
            InputError: there are no such questions, or none of a hop count that is to be drawn.
        """
        check_odds(hop_odds)
        known = environment.labelled if isinstance(environment, SearchEnvironment) else ()
        if not known:
            raise InputError("the source pi_play:WorldQuestions needs questions with true answers: take a world")
        self._seed, self._odds = seed, hop_odds
        self._by_hops = {
            hops: [task for task in known if task.hops == hops] for hops, odd in enumerate(hop_odds, 1) if odd
        }
        for hops, found in self._by_hops.items():
            if not found:
                raise InputError(
                    f"the source pi_play:WorldQuestions finds no question of {hops} hops in this world: set its "
                    "odds in hop_odds to 0"
                )
        wanted = [task for found in self._by_hops.values() for task in found]
        self.tasks = [wanted[i] for i in stream(seed, ("world questions",)).permutation(len(wanted))]
        """All questions that it may draw, hop counts mixed."""

    def draw(self, key: Key, count: int) -> list[Question]:
        """See ``TaskSource.draw``. Of each hop count every question comes once before any comes twice."""
        *phase, step = key
        drawn = Counter(hops for earlier in range(int(step)) for hops in self._hops((*phase, earlier), count))
        orders = {hops: self._order(tuple(phase), hops, drawn[hops]) for hops in self._by_hops}
        return [next(orders[hops]) for hops in self._hops(key, count)]

    def note(self, episodes: Sequence[Episode]) -> None:
        """Nothing to learn."""

    def _hops(self, key: Key, count: int) -> list[int]:
        """The hop counts of a step's questions, by the odds."""
        odds = [odd / sum(self._odds) for odd in self._odds]
        return [int(h) + 1 for h in stream(self._seed, (*key, "hops")).choice(len(odds), count, p=odds)]

    def _order(self, phase: Key, hops: int, first: int) -> Iterator[Question]:
        """The questions of a hop count from the ``first``-th on; each round through them has an order of its own."""
        found = self._by_hops[hops]
        begun, skipped = divmod(first, len(found))
        for number in itertools.count(begun):
            order = stream(self._seed, (*phase, "order", hops, number)).permutation(len(found))
            yield from (found[i] for i in order[skipped:])
            skipped = 0
