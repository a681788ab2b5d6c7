"""What examiners start from: seed passages, each with a number of hops to ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Passage, Question
from piplay.errors import InputError
from piplay.methods.pi_play.curriculum import faded, hop_shares
from piplay.methods.pi_play.metrics import is_informative
from piplay.protocols import Environment
from piplay.streams import stream
from piplay.types import Episode, Key, State

HOP_ODDS = (4, 3, 2, 1)


class SeedPassages:
    """A ``TaskSource`` of the search environment."""

    def __init__(
        self,
        environment: Environment,
        state: State,
        seed: int,
        *,
        hop_odds: tuple[int, ...] = HOP_ODDS,
        curriculum: float = 0.0,
    ) -> None:
        """Draw from the environment's passages.

        Args:
            environment: has to be the search environment.
            state: at which hop counts students tried, and how often their answers differed.
            seed: the run's.
            hop_odds: how often an examiner is asked for 1, 2, … hops.
            curriculum: the share of seed passages whose hop count is drawn in proportion to how often students' answers
                to it differed of late (``hop_odds`` times the share of tasks with 0 < k < n); 0: by ``hop_odds`` alone.

        Raises:
            InputError: the environment has no passages, or an option is out of range.
        """
        if not isinstance(environment, SearchEnvironment):
            raise InputError("the source pi_play:SeedPassages needs passages: take the environment search")
        check_odds(hop_odds)
        if not 0 <= curriculum <= 1:
            raise InputError(f"the source pi_play:SeedPassages has curriculum = {curriculum}: give a share from 0 to 1")
        self._passages, self._state, self._seed = environment.seeds, state, seed
        self._odds, self._curriculum = hop_odds, curriculum

    def draw(self, key: Key, count: int) -> list[Question]:
        """See ``TaskSource.draw``."""
        informative, tried = self._state.get("informative", {}), self._state.get("tried", {})
        shares = hop_shares(self._odds, informative, tried, self._curriculum)
        return draw_seeds(self._passages, shares, self._seed, key, count)

    def note(self, episodes: Sequence[Episode]) -> None:
        """Remember at which hop counts students' answers differ; of a step without students' tries nothing."""
        played = [(episode.task, is_informative(episode)) for episode in episodes]
        tried = [(str(task.hops), found) for task, found in played if isinstance(task, Question) and found is not None]
        if tried:
            state = self._state
            state["tried"] = faded(state.get("tried", {}), Counter(hops for hops, _ in tried))
            state["informative"] = faded(state.get("informative", {}), Counter(hops for hops, yes in tried if yes))


def draw_seeds(passages: Sequence[Passage], odds: Sequence[float], seed: int, key: Key, count: int) -> list[Question]:
    """Seed passages with hop counts (1, 2, … by odds), from a stream of the key's own."""
    rng = stream(seed, (*key, "seeds"))
    picks = rng.choice(len(passages), count, replace=count > len(passages))
    hops = rng.choice(len(odds), count, p=[odd / sum(odds) for odd in odds]) + 1
    name = "/".join(map(str, key))
    return [
        Question(f"{name}/{i}", int(h), source=passages[pick])
        for i, (pick, h) in enumerate(zip(picks, hops, strict=True))
    ]


def check_odds(odds: Sequence[int]) -> None:
    """Raises ``InputError`` where nothing could be drawn by them."""
    if not odds or min(odds) < 0 or sum(odds) == 0:
        raise InputError("hop_odds need one number ≥ 0 a hop count, not all of them 0")
