"""The base's capability card: what it can do before any self-play, measured on a world that it has never met."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from piplay.chat.chat import Chat
from piplay.config import Limits, Policy
from piplay.engine.local import LocalEngine
from piplay.evaluate.evaluator import alone, with_path
from piplay.evaluate.measure import em_by_hops
from piplay.games.pi_play import READ_GATES, Examine
from piplay.loop import Ground
from piplay.rollout.stage import Stage
from piplay.streams import stream
from piplay.types import Episode, Task


def capability_card(
    model: Path, chat: Chat, ground: Ground, *, seeds_per_hop: int = 200, seed: int = 0, threads: int = 2
) -> dict[str, Any]:
    """EM of the student alone (greedy and at T = 1) and with the true path, and the truth of the examiner's questions.

    Shares are by hop count; the examiner's are of the questions that pass every gate. ``gates`` counts refusals.
    """
    engine = LocalEngine(
        model,
        {"base": Policy()},
        seed=seed,
        slots=128,
        threads=threads,
        micro_batch_tokens=8192,
        end_ids=chat.end_ids,
        closes=chat.closes,
    )

    stage = Stage(engine, chat, ground.searcher, Limits(), top_k=1)
    heldout = ground.heldout
    rng = stream(seed, ("card", "seeds"))
    seeds = [
        Task(f"{hops}/{i}", hops, source=ground.seeds[int(rng.integers(len(ground.seeds)))])
        for hops in range(1, 5)
        for i in range(seeds_per_hop)
    ]
    examiner = Examine({}, probes=0, gates=(*READ_GATES, "checked"))
    written = stage.play(examiner.play, ("card", "examiner"), seeds, {"examiner": "base", "checker": "base"}, 1.0)
    sampled = alone(stage, "base", [*heldout, *heldout], ("card", "sampled"), temperature=1.0)
    return {
        "student_greedy": em_by_hops(alone(stage, "base", heldout, ("card", "alone")))[0],
        "student_sampled": em_by_hops(sampled)[0],
        "student_with_path": em_by_hops(with_path(stage, "base", heldout, ("card", "path")))[0],
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
