"""Pre-training of the tiny base: lessons from ever new worlds, Muon + AdamW, resumable."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen3Config,
)
from transformers.utils import logging

from piplay.chat.base import Chat
from piplay.chat.native import Native
from piplay.chat.tags import Tags
from piplay.envs.search.tool import SEARCH
from piplay.envs.world.generate import encyclopedia, varied
from piplay.envs.world.questions import BENCHMARK_FORMS, EXAMINER_FORM
from piplay.envs.world.render import passage
from piplay.errors import InputError
from piplay.methods.pi_play.views import CHECKER, EXAMINER, STUDENT
from piplay.streams import stream
from piplay.tiny_base.lessons import FIRST, LOOKUP, READER, ROLES, WRITER, Classroom, Lesson, Mixture, draw
from piplay.tiny_base.tokenizer import train_tokenizer

logging.disable_progress_bar()

VOCABULARY = 2048
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "rope_theta": 10_000.0,
}
FAMILIES = {"qwen3": Qwen3Config, "qwen2": Qwen2Config, "llama": LlamaConfig}
MUON_LR, ADAM_LR = 3e-3, 3e-3
STORED_EVERY = 100
"""Steps after which what pre-training goes on from is stored."""
FIRST_WORLD_SEED = 1_000_000
"""Pre-training worlds have seeds from here on; the default world and its relatives have small ones."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of pre-training with one mixture of lessons."""

    share: float
    """Of all steps."""
    mixture: Mixture
    simple: float
    """The share of classrooms with one-word relations and easy names; half of these have plain passages too."""
    strange: float = 0.0
    """The share of the other classrooms that are made of pieces of words, so that every token is copied somewhere."""


CURRICULUM = (
    Stage(600 / 8000, FIRST, simple=1.0),
    Stage(900 / 8000, LOOKUP, simple=0.4),
    Stage(3500 / 8000, LOOKUP, simple=0.1, strange=0.55),
    Stage(3000 / 8000, ROLES, simple=0.1, strange=0.55),
)
"""Fixed forms before varied ones, and reading before playing. Looking up by relation word does not come by itself: with
few readings the model chose among a passage's facts by chance, with dense reading it finds them within a hundred steps.
Without strange words it could not copy a word like "section", whose pieces it had hardly ever written."""


def classrooms(chat: Chat, seed: int, stage: Stage) -> Iterator[Classroom]:
    """Ever new small worlds: varied tables and small encyclopedias of other seeds."""
    pieces = word_pieces(chat)
    number = 0
    while True:
        rng = stream(seed, ("classroom", number))
        world_seed = FIRST_WORLD_SEED + int(rng.integers(2**40))
        simple, strange = rng.random() < stage.simple, rng.random() < stage.strange
        plain = simple and rng.random() < 0.5
        if simple:
            records = varied(world_seed, simple=True)
        elif strange:
            records = varied(world_seed, pieces=pieces)
        else:
            records = encyclopedia(world_seed, 40) if rng.random() < 0.6 else varied(world_seed)
        texts = {e.name: passage(records, e, world_seed, plain) for e in records.entities}
        yield Classroom(chat, records, texts, rng)
        number += 1


def word_pieces(chat: Chat) -> list[str]:
    """The vocabulary's pieces of words, without spaces and control tokens."""
    texts = [str(chat.tokenizer.decode([i])).strip() for i in range(len(chat.tokenizer))]
    added = set(chat.tokenizer.get_added_vocab())
    return sorted({text for text in texts if text.isascii() and text.isalnum() and text not in added})


def tokenizer_texts(seed: int) -> Iterator[str]:
    """Text of pre-training worlds for the vocabulary, and every prompt and form of question."""
    prompts = (CHECKER, EXAMINER, STUDENT, READER, WRITER, "Hops: 1. Passage: Path: x > y Note: yes no none")
    for form in (*BENCHMARK_FORMS, EXAMINER_FORM, *prompts):
        yield from [f"search(query) Question: Answer: Give the. Who or what is {form}"] * 2000
    for number in range(400):
        rng = stream(seed, ("vocabulary", number))
        world_seed = FIRST_WORLD_SEED + int(rng.integers(2**40))
        records = encyclopedia(world_seed, 40) if number % 3 == 0 else varied(world_seed, simple=number % 9 == 1)
        for entity in records.entities:
            yield passage(records, entity, world_seed).text


def batches(chat: Chat, seed: int, stage: Stage, tokens: int) -> Iterator[list[Lesson]]:
    """Batches of about ``tokens`` ids, padding included, each of lessons of like length; eight are planned at once."""
    rooms = classrooms(chat, seed, stage)
    rng = stream(seed, ("batches",))
    while True:
        pool: list[Lesson] = []
        while sum(len(lesson.ids_T) for lesson in pool) < 8 * tokens:
            room = next(rooms)
            pool += [draw(room, stage.mixture) for _ in range(30)]
        pool.sort(key=lambda lesson: len(lesson.ids_T))
        planned: list[list[Lesson]] = [[]]
        for lesson in pool:
            if planned[-1] and (len(planned[-1]) + 1) * len(lesson.ids_T) > tokens:
                planned.append([])
            planned[-1].append(lesson)
        for i in rng.permutation(len(planned)):
            yield planned[i]


def curriculum(chat: Chat, seed: int, done: int, steps: int, tokens: int) -> Iterator[list[Lesson]]:
    """The batches of steps ``done`` to ``steps``. Going on after an interruption draws fresh lessons."""
    ends = np.cumsum([stage.share for stage in CURRICULUM]) * steps
    for number, stage in enumerate(CURRICULUM):
        begin, end = max(done, round(ends[number - 1]) if number else 0), round(ends[number])
        source = batches(chat, 10_000 * seed + 1_000 * number + begin, stage, tokens)
        yield from (next(source) for _ in range(begin, end))


def loss_of(model: PreTrainedModel, lessons: list[Lesson]) -> tuple[torch.Tensor, int]:
    """Mean cross-entropy over the ids that the model has to write, and their number."""
    longest = max(len(lesson.ids_T) for lesson in lessons)
    ids_B_T = torch.zeros(len(lessons), longest, dtype=torch.long)
    wanted_B_T = torch.zeros(len(lessons), longest, dtype=torch.bool)
    for row, lesson in enumerate(lessons):
        ids_B_T[row, : len(lesson.ids_T)] = torch.from_numpy(lesson.ids_T)
        wanted_B_T[row, : len(lesson.ids_T)] = torch.from_numpy(lesson.model_T)
    # Right padding behind a causal mask is never looked at, so no mask is needed.
    hidden_B_T_D = model.model(input_ids=ids_B_T, use_cache=False).last_hidden_state
    rows = wanted_B_T[:, 1:]
    logits_R_V = model.lm_head(hidden_B_T_D[:, :-1][rows]).float()
    return torch.nn.functional.cross_entropy(logits_R_V, ids_B_T[:, 1:][rows]), int(rows.sum())


def pretrain(
    out: Path,
    *,
    steps: int,
    tokens: int = 6_000,
    seed: int = 0,
    threads: int = 2,
    shape: str = "qwen3",
    chat_kind: str = "native",
) -> None:
    """Make the tiny base in ``out`` as a Hugging Face folder; run again after an interruption to go on.

    ``steps`` optimiser steps of ``tokens`` ids each. Progress is in ``out/pretrain.jsonl``, the state to resume from in
    ``out/state.pt`` (removed at the end). ``shape`` is a family of ``FAMILIES``; ``chat_kind`` is ``native`` or
    ``tags``, of which the second leaves no chat template. A tokenizer that is in ``out`` already is used as it is.
    """
    state_file = out / "state.pt"
    if (out / "model.safetensors").exists() and not state_file.exists():
        raise InputError(f"{out} holds a finished model: name another folder")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    chat = _chat(out, seed, chat_kind)
    model = _fresh(chat.tokenizer, shape)
    optimisers, done = _optimisers(model), 0
    if state_file.exists():
        state = torch.load(state_file)
        model.load_state_dict(state["model"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        done = state["done"]
    source = curriculum(chat, seed, done, steps, tokens)
    started, seen = time.monotonic(), 0
    with (out / "pretrain.jsonl").open("a") as log:
        for step in range(done, steps):
            lessons = next(source)
            loss, count = _step(model, optimisers, lessons, _rate(step, steps))
            seen += sum(len(lesson.ids_T) for lesson in lessons)
            speed = round(seen / (time.monotonic() - started))
            if step % 10 == 0:
                row = {"step": step, "loss": round(loss, 4), "written": count, "tokens_per_second": speed}
                row["lr"] = optimisers[1].param_groups[0]["lr"]
                log.write(json.dumps(row) + "\n")
                log.flush()
            if (step + 1) % STORED_EVERY == 0 or step + 1 == steps:
                states = [optimiser.state_dict() for optimiser in optimisers]
                torch.save({"model": model.state_dict(), "optimisers": states, "done": step + 1}, f"{state_file}.new")
                os.replace(f"{state_file}.new", state_file)
                model.save_pretrained(out)
                print(f"step {step + 1}/{steps}: loss {loss:.3f}, {speed} tokens/s", flush=True)
    state_file.unlink()


def _chat(out: Path, seed: int, kind: str) -> Chat:
    """The chat that lessons are written in, over the tokenizer of the folder, which is made where it has none."""
    if (out / "tokenizer.json").exists():
        from transformers import AutoTokenizer

        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(out)
    else:
        tokenizer = train_tokenizer(tokenizer_texts(seed), VOCABULARY)
        if kind == "tags":
            tokenizer.chat_template = None
        tokenizer.save_pretrained(out)
    return Tags(tokenizer, (SEARCH,)) if kind == "tags" else Native(tokenizer, (SEARCH,))


def _fresh(tokenizer: PreTrainedTokenizerBase, shape: str) -> PreTrainedModel:
    """A model of random weights."""
    config = FAMILIES[shape](
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        **SHAPE,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def _optimisers(model: PreTrainedModel) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=MUON_LR, momentum=0.95, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=ADAM_LR, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(step: int, steps: int) -> float:
    """What the learning rates are multiplied by: up over 50 steps, down over the last 35 %."""
    return min(1.0, (step + 1) / 50) * min(1.0, max(0.02, (steps - step) / (0.35 * steps)))


def _step(
    model: PreTrainedModel, optimisers: list[torch.optim.Optimizer], lessons: list[Lesson], factor: float
) -> tuple[float, int]:
    """One step of the optimisers; the loss before it, and over how many ids it is the mean."""
    for optimiser, rate in zip(optimisers, (MUON_LR, ADAM_LR), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate * factor
    loss, count = loss_of(model, lessons)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
        optimiser.zero_grad()
    return loss.item(), count
