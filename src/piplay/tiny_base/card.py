"""The base's capability card: what it can do before any self-play, measured on a world that it has never met."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from piplay.chat.base import Chat
from piplay.config import Config
from piplay.engine.protocol import Engine
from piplay.errors import InputError
from piplay.methods.pi_play.metrics import em_by_hops
from piplay.methods.pi_play.play import alone, with_path
from piplay.rollout.stage import Stage
from piplay.streams import stream
from piplay.training.loop import Ground, make_game
from piplay.types import Episode, Task

POLICY = "student"


def capability_card(
    config: Config, ground: Ground, engine: Engine, chat: Chat, seeds_per_hop: int = 200
) -> dict[str, Any]:
    """EM of the student alone (greedy and at T = 1) and with the true path, and the truth of the examiner's questions.

    All by the engine's one policy, ``student``. Shares are by hop count; the examiner's are of the questions that pass
    every gate of the recipe's first phase that writes. ``gates`` counts refusals.

    Raises:
        InputError: the recipe has no phase that writes, or there are no held-out questions.
    """
    phase = next((phase for phase in config.phases if phase.writes), None)
    if phase is None or not ground.heldout:
        lacks = (
            f"the recipe {config.name} has no phase that writes" if phase is None else "there are no held-out questions"
        )
        raise InputError(
            f"{lacks}: a card needs a world, questions of it (evaluation.per_hop), and an examiner's phase"
        )
    stage = Stage(engine, chat, ground.searcher, config.limits, config.search.top_k, config.prompts)
    heldout = ground.heldout
    rng = stream(config.seed, ("card", "seeds"))
    seeds = [
        Task(f"{hops}/{i}", hops, source=ground.seeds[int(rng.integers(len(ground.seeds)))])
        for hops in range(1, 5)
        for i in range(seeds_per_hop)
    ]
    examiner = make_game(phase, {})
    written = stage.play(examiner.play, ("card", "examiner"), seeds, dict.fromkeys(phase.seats, POLICY), 1.0)
    sampled = alone(stage, POLICY, [*heldout, *heldout], ("card", "sampled"), temperature=1.0)
    return {
        "student_greedy": em_by_hops(alone(stage, POLICY, heldout, ("card", "alone")))[0],
        "student_sampled": em_by_hops(sampled)[0],
        "student_with_path": em_by_hops(with_path(stage, POLICY, heldout, ("card", "path")))[0],
        "questions": dict(sorted(Counter(str(task.hops) for task in heldout).items())),
        "examiner": _examiner(written, ground),
    }


def _examiner(episodes: Sequence[Episode], ground: Ground) -> dict[str, Any]:
    verdicts: dict[int, Counter[str]] = defaultdict(Counter)
    gates: Counter[str] = Counter()
    for episode in episodes:
        gates[episode.gate or "passed"] += 1
        if episode.written is not None and ground.audit is not None:
            verdicts[episode.task.hops][ground.audit(episode.written)] += 1
    shares = {
        str(hops): {name: round(count / found.total(), 3) for name, count in found.most_common()}
        for hops, found in sorted(verdicts.items())
    }
    total = sum((found for found in verdicts.values()), Counter[str]())
    return {
        "by_hops": shares,
        "all": {name: round(count / max(1, total.total()), 3) for name, count in total.most_common()},
        "gates": dict(gates.most_common()),
    }
