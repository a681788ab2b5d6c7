"""How fast rollouts are played: by this engine, by transformers' ``generate`` turn by turn, by vLLM on the CPU.

    python benchmarks/rollouts.py                  # against transformers, with the tiny base
    python benchmarks/rollouts.py --vllm PYTHON    # and against vLLM, at three sizes; see benchmarks/README.md
    python benchmarks/rollouts.py --model runs/pi-play-1/final/student
    python benchmarks/rollouts.py --beside FOLDER --dtype bfloat16 --threads 2 --vllm PYTHON    # a model of your own

Against transformers both sides play the game ``Study``: 20 questions of the default world, 5 rollouts each, up to 4
searches, sampled at temperature 1. ``generate`` gets all pending turns as one batch and everyone waits for its end, as
in a plain GRPO loop. Against vLLM the models are random, so turns have given lengths: 5 rollouts of 20 prompts, of 1 to
4 turns with tool results between. With ``--beside`` a model of your own plays 64 sessions of given lengths, all three
side by side: ``one turn``, prompts of 256 tokens and 65 written; ``turns``, 16 such prompts four times each, of 1 to 4
turns of 24 written and 64 of a tool. Sides alternate, and the ratio is that of the medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from record import record
from transformers import AutoModelForCausalLM, Qwen3Config

from piplay.chat.base import Chat
from piplay.engine.local.engine import LocalEngine
from piplay.engine.protocol import Generate, Generated, Sampler
from piplay.envs.search.benchmarks import first_of_each_hop, task_of
from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.tool import SEARCH, SearchTool
from piplay.envs.world.store import default_world
from piplay.methods.pi_play.evaluation import play_student
from piplay.rollout.stage import Stage
from piplay.settings import EngineSettings, Limits, Policy
from piplay.training.assemble import load_chat, tiny_base
from piplay.types import Ints, Key, Owner, PolicyRef, Stop

Dtype = Literal["float32", "bfloat16"]
QUESTIONS, ROLLOUTS, SLOTS = 20, 5, 128
PROMPT, WRITTEN, TOOL = 64, 24, 64
"""Tokens of a prompt, of a turn, and of what a tool answers, where lengths are given."""
SHAPES = {
    "1M": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "head_dim": 32},
    "20M": {"hidden_size": 384, "intermediate_size": 1152, "num_hidden_layers": 10, "head_dim": 64},
    "100M": {"hidden_size": 768, "intermediate_size": 2304, "num_hidden_layers": 14, "head_dim": 64},
}
HEADS = {"1M": (4, 2), "20M": (6, 2), "100M": (12, 4)}


class Barrier:
    """The generating side of an engine over ``generate``: all pending turns are one batch, and all wait for its end."""

    deterministic = True

    def __init__(self, model: Path, end_ids: Sequence[int], dtype: str = "float32") -> None:
        self._model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        self._model.generation_config.eos_token_id = None
        self._end_ids, self._pending = list(end_ids), list[Generate]()

    def submit(self, request: Generate) -> None:
        self._pending.append(request)

    @torch.inference_mode()
    def ready(self) -> list[Generated]:
        asked, self._pending = self._pending, []
        width = max(len(request.ids_T) for request in asked)
        ids_R_T = torch.zeros((len(asked), width), dtype=torch.int64)
        mask_R_T = torch.zeros_like(ids_R_T)
        for row, request in enumerate(asked):
            ids_R_T[row, width - len(request.ids_T) :] = torch.from_numpy(request.ids_T)
            mask_R_T[row, width - len(request.ids_T) :] = 1
        written_R_T = self._model.generate(
            input_ids=ids_R_T, attention_mask=mask_R_T, max_new_tokens=max(request.max_new for request in asked),
            do_sample=True, temperature=1.0, top_k=0, top_p=1.0, eos_token_id=self._end_ids or None, pad_token_id=0,
        )[:, width:].numpy()  # fmt: skip
        return [
            cut(request, row_T[: request.max_new], self._end_ids)
            for request, row_T in zip(asked, written_R_T, strict=True)
        ]

    def close(self, session: Key) -> None: ...


class Foreign:
    """The generating side of an engine in another Python, ``vllm_engine.py``: a line out, lines of results back."""

    deterministic = True

    def __init__(self, python: str, model: Path, threads: int, dtype: str = "float32") -> None:
        script = Path(__file__).with_name("vllm_engine.py")
        command = [python, str(script), str(model), str(threads), str(SLOTS), dtype]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._asked: dict[int, Generate] = {}
        self._new: list[tuple[int, list[int], int]] = []
        self._count = 0
        self._read()

    def submit(self, request: Generate) -> None:
        self._asked[self._count] = request
        self._new.append((self._count, request.ids_T.tolist(), request.max_new))
        self._count += 1

    def ready(self) -> list[Generated]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._new) + "\n")
        self._process.stdin.flush()
        self._new = []
        return [cut(self._asked.pop(number), np.array(ids), []) for number, ids in self._read()]

    def close(self, session: Key) -> None: ...

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the other engine ended with {self._process.wait()}")
        return json.loads(line)


def cut(request: Generate, ids_T: Ints, end_ids: Sequence[int]) -> Generated:
    """What was written, up to the token that ends it."""
    ends = np.flatnonzero(np.isin(ids_T, end_ids))
    ids_T = ids_T[: ends[0] + 1] if len(ends) else ids_T
    return Generated(request.key, ids_T, np.zeros(len(ids_T), np.float32), bool(len(ends)), version=0)


def ours(model: Path, threads: int, dtype: Dtype = "float32") -> LocalEngine:
    settings = EngineSettings(slots=SLOTS, threads=threads, dtype=dtype)
    return LocalEngine.start(model, {"student": Policy()}, settings, seed=0)


def study(chat: Chat) -> Callable[[Sampler, int], tuple[int, int]]:
    """Plays the questions; how many tokens the model wrote, and in how many rollouts."""
    world = default_world()
    tasks = first_of_each_hop([task_of(question) for question in world.heldout], QUESTIONS // 4)
    tools = {"search": SearchTool(BM25Searcher(world.passages, title_weight=None))}

    def play(engine: Sampler, number: int) -> tuple[int, int]:
        stage = Stage(engine, chat, tools, Limits(turns=5))
        episodes = play_student(stage, "student", tasks, ("round", number), samples=ROLLOUTS, temperature=1.0)
        stories = [one.trajectory for episode in episodes for one in episode.trajectories]
        return sum(int((story.owner_T == Owner.MODEL).sum()) for story in stories), len(stories)

    return play


def around(tokens: int) -> tuple[int, int]:
    """Half to one and a half times as many."""
    return tokens // 2, 3 * tokens // 2 - 1


def given(
    vocabulary: int,
    questions: int = QUESTIONS,
    *,
    rollouts: int = ROLLOUTS,
    turns: int = 4,
    prompt: int = PROMPT,
    written: tuple[int, int] = around(WRITTEN),
    tool: int = TOOL,
) -> Callable[[Sampler, int], tuple[int, int]]:
    """Plays sessions of 1 to ``turns`` turns of given lengths, ``written`` from the first to the second; tokens,
    sessions."""

    def play(engine: Sampler, number: int) -> tuple[int, int]:
        rng = np.random.default_rng(number)
        prompts = [rng.integers(2, vocabulary, prompt) for _ in range(questions)]
        tools = rng.integers(2, vocabulary, (questions, rollouts, turns, tool))
        lengths = rng.integers(written[0], written[1] + 1, (questions, rollouts, turns))
        asked: dict[Key, Ints] = {}

        def ask(question: int, rollout: int, turn: int, ids_T: Ints) -> None:
            session: Key = (number, question, rollout)
            key = (*session, turn)
            asked[key] = ids_T
            room = int(lengths[question, rollout, turn])
            engine.submit(
                Generate(key, PolicyRef("student"), ids_T, session, max_new=room, temperature=1.0, stop=Stop(()))
            )

        for question, ids_T in enumerate(prompts):
            for rollout in range(rollouts):
                ask(question, rollout, 0, ids_T)
        tokens = 0
        while asked:
            for result in engine.ready():
                _, question, rollout, turn = map(int, result.key)
                ids_T = asked.pop(result.key)
                tokens += len(result.ids)
                if turn < (question + rollout) % turns:
                    ask(
                        question, rollout, turn + 1, np.concatenate([ids_T, result.ids, tools[question, rollout, turn]])
                    )
                else:
                    engine.close(result.key[:3])
        return tokens, questions * rollouts

    return play


def alternate(
    play: Callable[[Sampler, int], tuple[int, int]], sides: dict[str, Any], rounds: int
) -> list[dict[str, Any]]:
    """Rates of each side: medians over the rounds, after one that is not counted."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, engine in sides.items():
            began = time.perf_counter()
            tokens, rollouts = play(engine, number)
            seconds = time.perf_counter() - began
            print(f"round {number}, {name}: {tokens} tokens in {seconds:.1f} s", flush=True)
            if number:
                seen[name].append((tokens / seconds, rollouts / seconds))
    rows: list[dict[str, Any]] = []
    for name, rates in seen.items():
        per_token, per_rollout = (statistics.median(rate[i] for rate in rates) for i in (0, 1))
        rows.append({"side": name, "tokens/s": round(per_token, 1), "rollouts/s": round(per_rollout, 2)})
    for row in rows:
        row["ours/this (rollouts/s)"] = round(rows[0]["rollouts/s"] / row["rollouts/s"], 2)
    return rows


def random_model(name: str, folder: Path) -> Path:
    """Random weights of about that size, with the tiny base's tokenizer."""
    chat = load_chat(tiny_base())
    heads, kv_heads = HEADS[name]
    config = Qwen3Config(
        **SHAPES[name], vocab_size=len(chat.tokenizer), num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=2048, tie_word_embeddings=True, dtype="float32", eos_token_id=None, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    chat.tokenizer.save_pretrained(folder)
    print(f"{name}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters", flush=True)
    return folder


def beside(model: Path, threads: int, dtype: Dtype, vllm: str | None, rounds: int) -> list[dict[str, Any]]:
    """A model's rates under given lengths, its sessions written by each engine."""
    vocabulary = len(load_chat(model).tokenizer)
    games = {
        "one turn": given(vocabulary, 64, rollouts=1, turns=1, prompt=256, written=(65, 65)),
        "turns": given(vocabulary, 16, rollouts=4, prompt=256),
    }
    sides: dict[str, Any] = {"piplay": ours(model, threads, dtype), "transformers generate": Barrier(model, [], dtype)}
    if vllm:
        sides["vLLM"] = Foreign(vllm, model, threads, dtype)
    rows = [
        {"model": model.name, "dtype": dtype, "lengths": name} | row
        for name, play in games.items()
        for row in alternate(play, sides, rounds)
    ]
    if vllm:
        sides["vLLM"].stop()
    return rows


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vllm", metavar="PYTHON", help="python of an environment with vLLM")
    parser.add_argument("--sizes", nargs="*", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--model", type=Path, default=tiny_base(), help="who plays Study; a trained one searches more")
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="a model of your own, under given lengths")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="with --beside")
    options = parser.parse_args(None if arguments is None else list(arguments))
    torch.set_num_threads(options.threads)
    command, note = " ".join(["python", *sys.argv]), f"{options.threads} thread(s), {options.rounds} rounds"
    if options.beside:
        rows = beside(options.beside, options.threads, options.dtype, options.vllm, options.rounds)
        record("rollouts-beside", command, rows, note)
        return
    chat = load_chat(options.model, tools=(SEARCH,))
    sides: dict[str, Any] = {
        "piplay": ours(options.model, options.threads),
        "transformers generate": Barrier(options.model, chat.stop.ids),
    }
    rows = [{"model": options.model.name} | row for row in alternate(study(chat), sides, options.rounds)]
    if options.vllm:
        for name in options.sizes:
            with tempfile.TemporaryDirectory() as folder:
                model = random_model(name, Path(folder) / name)
                foreign = Foreign(options.vllm, model, options.threads)
                play = given(len(chat.tokenizer))
                pair = {"piplay": ours(model, options.threads), "vLLM": foreign}
                rows += [{"model": name} | row for row in alternate(play, pair, options.rounds)]
                foreign.stop()
    record("rollouts", command, rows, note)


if __name__ == "__main__":
    main()
