"""Puts a run together from its settings: model, chat, engine, corpus, and the world's truth where there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from transformers import AutoTokenizer, GenerationConfig
from transformers.utils import logging

from piplay.chat.base import Chat
from piplay.chat.native import Native
from piplay.chat.tags import Tags
from piplay.config import Config, Lora, Policy
from piplay.engine.local.adapters import base_of
from piplay.engine.local.engine import LocalEngine
from piplay.envs.search.benchmarks import first_of_each_hop, task_of
from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.searcher import Searcher
from piplay.envs.search.stored import Chosen
from piplay.envs.world.questions import Solver
from piplay.envs.world.store import default_passages, default_world, read_passages, read_world
from piplay.errors import InputError
from piplay.methods.pi_play.self_eval import reserve
from piplay.registry import resolve
from piplay.training.loop import Ground
from piplay.training.run_directory import Run
from piplay.types import Passage

logging.disable_progress_bar()

BASE = "base"
"""How the embedded base is named where a model is asked for."""


def tiny_base() -> Path:
    """The folder of the embedded base model."""
    return Path(str(resources.files("piplay") / "tiny_base" / "model"))


def run_at(name: str) -> Run | None:
    """The run whose directory a word of the command line names; None where it names anything else."""
    folder = Path(name)
    parts = any((folder / part).is_dir() for part in ("final", "checkpoints"))
    return Run.open(folder) if parts and (folder / "config.json").is_file() else None


def model_folder(name: str) -> Path:
    """The model folder that a word of the command line means: the embedded base, what a run measures, or the folder."""
    if name == BASE:
        return tiny_base()
    run = run_at(name)
    if run is None:
        return Path(name)
    policy = run.config.evaluation.policy
    if not run.final(policy).is_dir():
        raise InputError(f"the run {name} has no final/{policy} yet: finish it with `piplay resume {name}`")
    return run.final(policy)


def load_chat(model: Path, kind: str = "auto") -> Chat:
    """The chat of a model folder, ``auto``, ``native`` or ``tags`` (see ``Config.chat``).

    Raises ``InputError`` where there is no usable tokenizer or template.
    """
    if not model.is_dir():
        raise InputError(
            f"there is no model folder {model}: give a Hugging Face folder with config, weights and tokenizer"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
        ends = _end_ids(model)
    except Exception as error:  # a damaged file raises whatever its reader stumbles over
        raise InputError(f"the tokenizer of {model} cannot be loaded: {repr(error).splitlines()[0]}") from error
    return Tags(tokenizer, ends) if kind == "tags" else Native(tokenizer, ends, rewrites=kind == "native")


def _end_ids(model: Path) -> list[int]:
    """What the generation settings of a model end a turn with: more than its tokenizer knows, as Llama's <|eom_id|>."""
    if not (model / "generation_config.json").is_file():
        return []
    ends = GenerationConfig.from_pretrained(model, local_files_only=True).eos_token_id
    return [ends] if isinstance(ends, int) else list(ends or ())


def playing(config: Config, model: Path) -> Config:
    """The same settings for one policy, ``student``, that plays as the folder has it, with its adapters."""
    engine = config.engine.model_copy(update={"lora": Lora(), "checkpointing": False})
    return config.model_copy(update={"model": model, "policies": {"student": Policy()}, "engine": engine})


def check_trainable(model: Path | None) -> None:
    """Raises ``InputError`` for a folder of adapters: a run's policies start from whole weights."""
    base = base_of(model) if model is not None else None
    if base is not None:
        raise InputError(
            f"{model} holds adapters of {base}: to train on, merge them into it (peft's merge_and_unload) and save that"
        )


def check_device(device: str) -> None:
    """Raises ``InputError`` where torch has no such device here."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the device {device!r} cannot be used here ({reason}): name another") from error


def load_engine(config: Config, chat: Chat) -> LocalEngine:
    """The local engine with every policy of the run."""
    import torch

    settings = config.engine
    check_device(settings.device)
    return LocalEngine(
        config.model or tiny_base(),
        config.policies,
        seed=config.seed,
        slots=settings.slots,
        cache_tokens=settings.cache_tokens,
        threads=settings.threads,
        micro_batch_tokens=settings.micro_batch_tokens,
        end_ids=chat.end_ids,
        closes=chat.closes,
        device=settings.device,
        dtype=getattr(torch, settings.dtype),
        lora=settings.lora,
        checkpointing=settings.checkpointing,
    )


def load_searcher(config: Config) -> Searcher:
    """What a run searches, without the truth that a world may have."""
    if config.corpus is not None:
        passages = read_corpus(config.corpus, config.search.passage_words)
    else:
        passages = read_passages(config.world) if config.world is not None else default_passages()
    return _make_searcher(config)(passages)


def load_ground(config: Config) -> Ground:
    """Something to search and somewhere to start; with a world, also its held-out questions and its truth."""
    make_searcher = _make_searcher(config)
    if config.corpus is not None:
        passages = read_corpus(config.corpus, config.search.passage_words)
        probed = config.evaluation.per_hop and config.evaluation.probe_questions
        seeds, reserved = reserve(passages, config.seed) if probed else (passages, ())
        return Ground(make_searcher(passages), seeds, (), None, reserved)
    world = read_world(config.world) if config.world is not None else default_world()
    solver = Solver(world.records)
    heldout = [task_of(question) for question in world.heldout]
    return Ground(
        make_searcher(world.passages),
        Chosen(world.passages, [i for i, name in enumerate(world.records.by_name) if name in world.train_ids]),
        first_of_each_hop(heldout, config.evaluation.per_hop),
        lambda task: str(solver.judge(task.question, task.answers[0] if task.answers else "")),
    )


def _make_searcher(config: Config) -> Callable[[Sequence[Passage]], Searcher]:
    make: Callable[[Sequence[Passage]], Searcher] = resolve(config.search.searcher, "searcher", "piplay.envs.search")
    return make
