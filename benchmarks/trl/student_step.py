"""One student step, 20 questions × 5 rollouts with up to 4 searches each, here and in TRL's GRPOTrainer.

    python benchmarks/trl/student_step.py        # in an environment that has both; see benchmarks/README.md

The tiny base or another model (``--model``), questions of the default world, BM25, exact match as the reward, AdamW,
one update a step, no KL to a reference. Here it is measured with and without the distillation, which TRL has not. A
step is rollouts and update. Both libraries sample on their own, so they do not write the same text: rates are per
rollout.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

sys.path.insert(0, str(Path(__file__).parents[1]))

from record import record

from piplay.algo.advantages.group import GroupAdvantage
from piplay.algo.losses.base import Loss
from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.pg import PgLoss
from piplay.algo.samples import samples_of
from piplay.engine.local.engine import LocalEngine
from piplay.envs.search.benchmarks import first_of_each_hop, task_of
from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.match import exact_match
from piplay.envs.search.question import Question, show
from piplay.envs.search.tool import SEARCH, SearchTool
from piplay.envs.world.store import default_world
from piplay.methods.pi_play.game import Study
from piplay.methods.pi_play.views import STUDENT
from piplay.rollout.stage import Stage
from piplay.settings import EngineSettings, Limits, Policy
from piplay.training.assemble import load_chat, tiny_base

QUESTIONS, ROLLOUTS, SEARCHES, TOKENS, LR = 20, 5, 4, 512, 2e-4
ANSWERS = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "reasoning_content": {"open": "<think>", "close_pattern": r"</think>\s*", "content": "text"},
        "tool_calls": {
            "open": "<tool_call>",
            "close_pattern": r"</tool_call>\s*",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"<\|end\|>\s*", "content": "text"},
    },
}
"""How transformers reads a turn of the tiny base."""


def piplay_step(
    model: Path, tasks: list[Question], searcher: BM25Searcher, threads: int, distill: bool
) -> Callable[[int], float]:
    """Seconds of a step."""
    chat = load_chat(model, tools=(SEARCH,))
    policies = {"student": Policy(lr=LR), "teacher": Policy(follows="student", tau=0.005)}
    engine = LocalEngine.start(model, policies, EngineSettings(threads=threads), seed=0)
    limits = Limits(turns=SEARCHES + 1, turn_tokens=TOKENS, tokens=2 * TOKENS)
    stage = Stage(engine, chat, {SEARCH.name: SearchTool(searcher)}, limits)
    losses: dict[str, Loss] = {"pg": PgLoss()} | ({"distill": DistillLoss(policy="teacher")} if distill else {})

    def step(number: int) -> float:
        began = time.perf_counter()
        episodes = stage.play(Study(rollouts=ROLLOUTS).play, ("step", number), tasks, {"student": "student"}, 1.0)
        scored = [one for episode in episodes for one in episode.trajectories]
        samples = samples_of(scored, GroupAdvantage({}), {name: (loss, 1.0) for name, loss in losses.items()})
        engine.train("student", samples, losses)
        return time.perf_counter() - began

    return step


class Stopwatch(TrainerCallback):
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._began)


def trl_step(model: Path, tasks: list[Question], searcher: BM25Searcher, folder: str) -> Callable[[int], float]:
    """Seconds of a step."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.response_template = ANSWERS
    rows = [
        {
            "prompt": [{"role": "system", "content": STUDENT}, {"role": "user", "content": task.question}],
            "answers": list(task.answers),
        }
        for task in tasks
    ]

    def search(query: str) -> str:
        """Search for a passage.

        Args:
            query: What to search for.
        """
        return show(searcher.search([query], 1)[0])

    def reward(completions: list[Any], answers: list[list[str]], **_: Any) -> list[float]:
        said = [completion[-1].get("content") or "" for completion in completions]
        return [float(exact_match(text, golds)) for text, golds in zip(said, answers, strict=True)]

    def step(number: int) -> float:
        watch = Stopwatch()
        config = GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, max_steps=1, seed=number, learning_rate=LR, beta=0.0,
            per_device_train_batch_size=QUESTIONS * ROLLOUTS, num_generations=ROLLOUTS, gradient_accumulation_steps=1,
            max_completion_length=TOKENS, max_tool_calling_iterations=SEARCHES, temperature=1.0, top_p=1.0, top_k=0,
            gradient_checkpointing=False, report_to="none", save_strategy="no", logging_strategy="no",
        )  # fmt: skip
        trainer = GRPOTrainer(
            model=str(model), reward_funcs=reward, args=config, train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer, tools=[search], callbacks=[watch],
        )  # fmt: skip
        trainer.train()
        (seconds,) = watch.seconds
        return seconds

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", type=Path, default=tiny_base(), help="who plays; a trained one searches more")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    world = default_world()
    tasks = first_of_each_hop([task_of(question) for question in world.heldout], QUESTIONS // 4)
    searcher = BM25Searcher(world.passages, title_weight=None)
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "piplay with distillation": piplay_step(options.model, tasks, searcher, options.threads, distill=True),
            "piplay without": piplay_step(options.model, tasks, searcher, options.threads, distill=False),
            "TRL": trl_step(options.model, tasks, searcher, folder),
        }
        seen: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(options.rounds + 1):
            for name, step in sides.items():
                seconds = step(number)
                if number:
                    seen[name].append(seconds)
    medians = {name: statistics.median(seconds) for name, seconds in seen.items()}
    rows = [
        {
            "side": name,
            "seconds a step": round(seconds, 2),
            "rollouts/s": round(QUESTIONS * ROLLOUTS / seconds, 1),
            "over TRL": round(medians["TRL"] / seconds, 2),
        }
        for name, seconds in medians.items()
    ]
    record("trl", " ".join(["python", *sys.argv]), rows, f"{options.threads} thread(s), {options.rounds} rounds")


if __name__ == "__main__":
    main()
