"""Puts a run together from its settings: model, chat, engine, corpus, and the world's truth where there is one."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from transformers import AutoTokenizer, GenerationConfig
from transformers.utils import logging

from piplay.chat.chat import Chat
from piplay.chat.native import Native
from piplay.chat.tags import Tags
from piplay.config import Config
from piplay.engine.local import LocalEngine
from piplay.errors import InputError
from piplay.loop import Ground
from piplay.search.bm25 import BM25Searcher
from piplay.search.corpus import read_corpus
from piplay.types import Step, Task
from piplay.world.benchmark import Question
from piplay.world.questions import Solver
from piplay.world.store import default_world, read_world

logging.disable_progress_bar()


def tiny_base() -> Path:
    """The folder of the embedded base model."""
    return Path(str(resources.files("piplay") / "assets" / "tiny-base"))


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


def load_engine(config: Config, chat: Chat) -> LocalEngine:
    """The local engine with every policy of the run."""
    import torch

    settings = config.engine
    return LocalEngine(
        config.model or tiny_base(),
        config.policies,
        seed=config.seed,
        slots=settings.slots,
        threads=settings.threads,
        micro_batch_tokens=settings.micro_batch_tokens,
        end_ids=chat.end_ids,
        closes=chat.closes,
        device=settings.device,
        dtype=getattr(torch, settings.dtype),
    )


def load_ground(config: Config) -> Ground:
    """Something to search and somewhere to start; with a world, also its held-out questions and its truth."""
    if config.corpus is not None:
        passages = read_corpus(config.corpus)
        return Ground(BM25Searcher(passages), passages, (), None)
    world = read_world(config.world) if config.world is not None else default_world()
    solver = Solver(world.records)
    heldout = [task_of(question) for question in world.heldout]
    chosen: list[Task] = []
    for hops in sorted({task.hops for task in heldout}):
        chosen += [task for task in heldout if task.hops == hops][: config.evaluation.per_hop]
    return Ground(
        BM25Searcher(world.passages),
        [passage for passage in world.passages if passage.id in world.train_ids],
        chosen,
        lambda task: str(solver.judge(task.question, task.answers[0] if task.answers else "")),
    )


def task_of(question: Question) -> Task:
    """A benchmark question as a task, its true path as an examiner would have noted it."""
    path = tuple(Step(step.query, step.query, f"{step.relation}: {step.value}.") for step in question.path)
    return Task(question.id, question.hops or 0, question.question, question.answers, None, path)
