"""The base's capability card: what it can do before any self-play, measured on a world that it has never met."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from piplay.chat.base import Chat
from piplay.config import Config
from piplay.engine.protocol import Engine
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Question
from piplay.errors import InputError
from piplay.methods.pi_play.evaluation import PiPlayEvaluation, play_student, play_teacher
from piplay.methods.pi_play.metrics import em_by_hops
from piplay.protocols import Audit, Environment, make_game
from piplay.rollout.stage import Stage
from piplay.streams import stream
from piplay.training.assemble import make_evaluation
from piplay.types import Episode


def capability_card(
    config: Config, environment: Environment, engine: Engine, chat: Chat, seeds_per_hop: int = 200
) -> dict[str, Any]:
    """EM of the student alone (greedy and at T = 1) and with the true path, and the truth of the examiner's questions.

    All by the engine's one policy, the recipe's agent. Shares are by hop count; the examiner's are of the questions
    that pass every gate of the recipe's first phase that writes. ``gates`` counts refusals.

    Raises:
        InputError: the recipe has no phase that writes, or there are no held-out questions.
    """
    phase = next((phase for phase in config.phases if phase.writes), None)
    questions = _questions(config, environment)
    if phase is None or not questions or not isinstance(environment, SearchEnvironment):
        lacks = (
            f"the recipe {config.name} has no phase that writes" if phase is None else "there are no held-out questions"
        )
        raise InputError(
            f"{lacks}: a card needs a world, questions of it (evaluation.per_hop), and an examiner's phase"
        )
    policy = config.agent
    stage = Stage.of(config, engine, chat, {tool.spec.name: tool for tool in environment.tools})
    rng = stream(config.seed, ("card", "seeds"))
    seeds = [
        Question(f"{hops}/{i}", hops, source=environment.seeds[int(rng.integers(len(environment.seeds)))])
        for hops in range(1, 5)
        for i in range(seeds_per_hop)
    ]
    examiner = make_game(phase, {})
    written = stage.play(examiner.play, ("card", "examiner"), seeds, dict.fromkeys(phase.seats, policy), 1.0)
    sampled = play_student(stage, policy, [*questions, *questions], ("card", "sampled"), temperature=1.0)
    return {
        "student_greedy": em_by_hops(play_student(stage, policy, questions, ("card", "alone")))[0],
        "student_sampled": em_by_hops(sampled)[0],
        "student_with_path": em_by_hops(play_teacher(stage, policy, questions, ("card", "path")))[0],
        "questions": dict(sorted(Counter(str(task.hops) for task in questions).items())),
        "examiner": _examiner(written, environment.audit),
    }


def _questions(config: Config, environment: Environment) -> Sequence[Question]:
    """What the recipe's evaluation asks, else every held-out question."""
    evaluation = make_evaluation(config, environment, {})
    if isinstance(evaluation, PiPlayEvaluation):
        return evaluation.questions
    return [task for task in environment.heldout if isinstance(task, Question)]


def _examiner(episodes: Sequence[Episode], audit: Audit | None) -> dict[str, Any]:
    verdicts: dict[int, Counter[str]] = defaultdict(Counter)
    gates: Counter[str] = Counter()
    for episode in episodes:
        gates[str(episode.facts.get("gate") or "passed")] += 1
        for draft in episode.written:
            if audit is not None and isinstance(draft, Question):
                verdicts[draft.hops][audit(draft)] += 1
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
