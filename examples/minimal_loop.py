"""π-Play's Algorithm 1 (arXiv 2604.14054), read from top to bottom: all of self-play in one function.

    python examples/minimal_loop.py smoke                   # any recipe of the phases examine, write, study
    python examples/minimal_loop.py pi-play seed=1

It plays a recipe as `piplay train` does, with the same draws. What it leaves out is in `piplay/training/loop.py`:
checkpoints and resuming, metrics, rollouts on disk, the end of a phase by `until`, opponents, replay, other losses.
The formulas are those of docs/method.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from piplay.algo.advantages.group import GroupAdvantage
from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.pg import PgLoss
from piplay.algo.samples import samples_of
from piplay.config import Config
from piplay.engine.protocol import Engine
from piplay.envs.search.environment import SearchEnvironment
from piplay.methods.pi_play.evaluation import play_student
from piplay.methods.pi_play.game import Examine, Study
from piplay.methods.pi_play.seed_passages import SeedPassages
from piplay.protocols import Game
from piplay.recipes import load_config
from piplay.rollout.stage import Stage
from piplay.settings import Phase
from piplay.training.assemble import load_chat, load_engine, load_environment, tiny_base, tool_specs
from piplay.training.sources import WrittenSource
from piplay.types import Episode, ScoredTrajectory, Task

Watch = Callable[[int, str, int, Sequence[Episode]], None]
"""Is shown the episodes of each step: iteration, phase, step."""


def self_play(config: Config, watch: Watch) -> Engine:
    """M times examine, write, study, evaluate; the engine with the trained policies."""
    # What is played in, who plays, and the machinery of episodes.
    environment = load_environment(config)
    assert isinstance(environment, SearchEnvironment)
    chat = load_chat(config.model or tiny_base(), config.chat, tool_specs(environment))
    engine = load_engine(config)  # π^E_φ, π^S_θ and π^T_ψ: policies by name, all of them the base at first
    stage = Stage.of(config, engine, chat, {tool.spec.name: tool for tool in environment.tools})

    # The three phases of the recipe, each with its game.
    examine, write, study = config.phases
    examiner, writer, student = Examine({}, **examine.options), Examine({}, **write.options), Study(**study.options)
    options = config.sources["seed_passages"].options
    seeds = SeedPassages(environment, {}, config.seed, **options)  # passages, each with a number of hops to ask for
    written = WrittenSource({}, config.seed)  # the task set D
    heldout = environment.heldout[:40]

    pg = PgLoss()
    distill = DistillLoss(policy="teacher")

    def play(m: int, phase: Phase, game: Game, step: int, tasks: Sequence[Task]) -> list[Episode]:
        """One episode a task, all at once. Its draws are named by its key, whatever else is played."""
        key = (f"m{m}", phase.name, step)
        episodes = game.finalize_batch(stage.play(game.play, key, tasks, phase.seats, phase.temperature))
        watch(m, phase.name, step, episodes)
        return episodes

    for m in range(1, config.iterations + 1):
        # 1. The examiner learns against the frozen student. Its reward is r_d + w_f · r_f (formula 1): most for a
        #    question that one of n students solves. Its group is the hop count (formula 2, HRPO).
        for step in range(examine.steps):
            tasks = seeds.draw((f"m{m}", examine.name, step), examine.episodes)
            episodes = play(m, examine, examiner, step, tasks)
            seeds.note(episodes)
            samples = samples_of(played_by("examiner", episodes), GroupAdvantage({}), {"pg": (pg, 1.0)})
            engine.train("examiner", samples, {"pg": pg})

        # 2. The frozen examiner writes the task set D: questions with the paths by which they were made.
        for step in range(write.steps):
            tasks = seeds.draw((f"m{m}", write.name, step), write.episodes)
            for episode in play(m, write, writer, step, tasks):
                written.add(episode.written)
            if written.waiting >= write.writes:
                break
        written.hand_over(write.writes)

        # 3. The student learns on D from its reward, by question (formula 3, GRPO), and from the teacher, who reads the
        #    same answer behind the view "privileged", the question with its path (formulas 4 and 5). λ decays with m.
        #    After each step the engine moves the teacher: ψ ← (1 − τ) ψ + τ θ (formula 6).
        lam = distill_weight(study, m)
        for step in range(study.steps):
            tasks = written.draw((f"m{m}", study.name, step), study.episodes)
            episodes = play(m, study, student, step, tasks)
            samples = samples_of(
                played_by("student", episodes), GroupAdvantage({}), {"pg": (pg, 1.0), "distill": (distill, lam)}
            )
            engine.train("student", samples, {"pg": pg, "distill": distill})

        # 4. Evaluate, greedily, on questions whose answers are known and that nobody trained on.
        if heldout:
            watch(m, "evaluate", 0, play_student(stage, "student", heldout, ("evaluate", m)))
    return engine


def played_by(role: str, episodes: Sequence[Episode]) -> list[ScoredTrajectory]:
    """A role's trajectories, in the order of the episodes."""
    return [one for episode in episodes for one in episode.trajectories if one.trajectory.role == role]


def distill_weight(study: Phase, m: int) -> float:
    """λ_m = λ_1 · decay^(m−1), of the recipe's distillation."""
    weight = study.learn["student"].losses["distill"].weight
    return weight if isinstance(weight, int | float) else weight.at(m, 0)


def tell(m: int, phase: str, step: int, episodes: Sequence[Episode]) -> None:
    """A line for each step: the mean reward of each role."""
    roles = dict.fromkeys(one.trajectory.role for episode in episodes for one in episode.trajectories)
    rewards = {role: [one.reward for one in played_by(role, episodes)] for role in roles}
    means = ", ".join(f"{role} {sum(found) / len(found):.2f}" for role, found in rewards.items())
    print(f"m{m} {phase} {step + 1}: {means}", flush=True)


def settings(words: Sequence[str]) -> Config:
    """A recipe's name or file, and settings of it: ``["smoke", "seed=1", "phases.study.steps=2"]``."""
    recipe, *changes = words or ["smoke"]
    overrides: Mapping[str, object] = dict(change.split("=", 1) for change in changes)
    return load_config(recipe, overrides)


if __name__ == "__main__":
    self_play(settings(sys.argv[1:]), tell)
