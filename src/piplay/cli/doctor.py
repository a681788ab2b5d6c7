"""What a run would need, before it starts: ``piplay doctor`` and ``piplay train --dry-run``.

Model, chat, recipe and ground are loaded as a run loads them, so what a run would refuse is refused here. Memory is
computed (``engine/memory.py``), and compared with what the device has. Minutes come from one short generation and one
short update on this machine, times the most that the limits allow; nothing is trained or written.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from piplay.chat.base import Chat
from piplay.config import Config, Phase, validated
from piplay.engine.local.engine import LocalEngine
from piplay.engine.local.memory import Estimate, estimate
from piplay.engine.protocol import Generate, Objective
from piplay.errors import InputError
from piplay.rollout.stage import Stage
from piplay.training.assemble import check_device, check_trainable, load_chat, load_engine, load_ground, tiny_base
from piplay.training.listeners.trackers import check_trackers
from piplay.training.loop import Ground, make_game, seed_tasks
from piplay.training.run_directory import KEPT_CHECKPOINTS
from piplay.types import Ints, Owner, PolicyRef, Sample, Task

GB = 1e9
CONTEXT = 1.0e9
"""What CUDA itself and its libraries take of a GPU."""
FRAGMENTS = {"cuda": 1.1, "cpu": 1.3}
"""Of what tensors take: blocks that an allocator holds and cannot give (benchmarks/memory.py)."""
_PROMPT, _WRITE = 64, 16
"""Tokens of the short generation, a row."""
_EPISODES, _PATIENCE = 20, 120.0
"""Episodes that are played to see how fast, and how much of the limits they use; as many as take no more seconds by
the limits."""
_CUT = 0.1
"""Share of trajectories cut by a limit above which it is said."""


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens."""

    written: float
    """By models, in training and in evaluation."""
    trained: float
    """Of the trajectories that optimisers learn from, prompts and tool results included."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen of this machine and this model in a few seconds."""

    speed: Work
    """A second: where episodes were played, with searches and all, else in every slot; and in an update."""
    share: Work | None
    """Of what the limits allow, in ``episodes`` that were played; None where they would have taken too long."""
    episodes: int
    cut: float
    """Share of the trajectories in them that a limit ended."""


def doctor(config: Config, run_dir: Path | None = None) -> None:
    """Print what a run of these settings needs that is written to ``run_dir``, by default below runs/.

    Raises:
        InputError: whatever a run would refuse, or it needs more memory than there is: then with what to change.
    """
    console = Console(soft_wrap=True, highlight=False)
    check_trackers(config.trackers)
    check_trainable(config.model)
    check_device(config.engine.device)
    for phase in config.phases:
        make_game(phase, {})
    model = config.model or tiny_base()
    chat = load_chat(model, config.chat)
    console.print(f"chat: {_append_only(model, config, chat)}")
    ground = load_ground(config)
    seeds, heldout = len(ground.seeds), len(ground.heldout)
    console.print(f"ground: {seeds} passages to start from, {heldout} held-out questions")
    process = resident()
    needed = memory(config)
    total = _with_overhead(config, needed, process)
    name, there = available(config.engine.device)
    console.print(_table(needed, total))
    if total > there:
        raise InputError(
            f"the run needs about {total / GB:.1f} GB and {name} has {there / GB:.1f} GB: "
            f"{_remedy(config, process, there)}"
        )
    console.print(f"memory: about {total / GB:.1f} GB of the {there / GB:.1f} GB of {name} (estimate)")
    wanted = (run_dir or Path("runs")).absolute()
    place = next(folder for folder in (wanted, *wanted.parents) if folder.is_dir())
    written, free = disk(config, needed), shutil.disk_usage(place).free
    if written > free:
        raise InputError(
            f"the run writes about {written / GB:.1f} GB of checkpoints and models, and {free / GB:.1f} GB are free in "
            f"{place}: make room, name another --run-dir, or take adapters (engine.lora.rank)"
        )
    console.print(
        f"disk: about {written / GB:.1f} GB of checkpoints and models (estimate), {free / GB:.0f} GB are free"
    )
    most, seen = work(config, heldout), measure(config, chat, ground)
    share, by = (seen.share or Work(1, 1)), "up to" if seen.share else "at most"
    seconds = most.written * share.written / seen.speed.written + most.trained * share.trained / seen.speed.trained
    console.print(
        f"tokens: at most {most.written / 1e6:.2f} million written and {most.trained / 1e6:.2f} million trained on"
    )
    if seen.share:
        console.print(f"{seen.episodes} episodes just played used {share.written:.0%} and {share.trained:.0%} of these")
    if seen.cut > _CUT:
        console.print(
            f"{seen.cut:.0%} of their trajectories were cut short by a limit, and earn nothing: a model that thinks "
            "long needs a larger limits.turn_tokens, and limits.tokens with it"
        )
    console.print(
        f"time: {by} {seconds / 60:.0f} minutes (estimate: {seen.speed.written:.0f} tokens/s written and "
        f"{seen.speed.trained:.0f} trained on, measured shortly on this machine)"
    )


def memory(config: Config) -> Estimate:
    """What the engine of a run holds."""
    writing = [{p for role, p in phase.seats.items() if not _only_scores(phase, role)} for phase in config.phases]
    return estimate(
        config.model or tiny_base(),
        config.policies,
        config.engine,
        tokens=config.limits.tokens,
        writing=max(map(len, writing), default=1),
        learning=frozenset(phase.seats[role] for phase in config.phases for role in phase.learn),
    )


def disk(config: Config, needed: Estimate) -> int:
    """Bytes that a run has on disk at most: checkpoints, one of them on its way, and models, kept and final."""
    kept = config.iterations + 1 if config.evaluation.grid else 0
    return needed.checkpoint * (KEPT_CHECKPOINTS + 1) + needed.export * (kept + len(config.policies))


def available(device: str) -> tuple[str, int]:
    """The device's name and its bytes: free ones of a GPU; of a CPU the machine's, or the limit of its cgroup."""
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return f"{torch.cuda.get_device_name(device)} (free)", free
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = cgroup_limit()
    return ("this machine", machine) if limit is None or limit >= machine else ("the cgroup's limit", limit)


def work(config: Config, heldout: int) -> Work:
    """The most tokens of a run, by its limits."""
    rollouts = learnt = 0
    for phase in config.phases:
        episodes, each = config.iterations * phase.steps * phase.episodes, _rollouts(phase)
        rollouts += episodes * each
        # An examiner's students write too, and are not learnt from.
        learnt += episodes * sum(1 if _probes(phase) else each for _ in phase.learn)
    questions = heldout or (config.evaluation.probe_questions if config.corpus else 0)
    asked = questions * (config.iterations + 1) * (1 + bool(config.evaluation.teacher))
    return Work((rollouts + asked) * _turns(config), learnt * config.limits.tokens)


def measure(config: Config, chat: Chat, ground: Ground) -> Measured:
    """Write a few tokens in every slot, play some episodes if that is quick, and make one update.

    The policies that this moves are thrown away.
    """
    engine = load_engine(config, chat)
    policy = next((phase.seats[role] for phase in config.phases for role in phase.learn), next(iter(config.policies)))
    words = np.array(chat.encode("The museum stands in the town, and its founder was born there."))
    _written(engine, policy, words, 1)
    began = time.perf_counter()
    speed = _written(engine, policy, words, config.engine.slots) / (time.perf_counter() - began)
    share, episodes, cut = None, 0, 0.0
    phase = next((phase for phase in config.phases if phase.tasks == "seeds"), None)
    if phase is not None:
        episodes = min(phase.episodes, _EPISODES, int(_PATIENCE * speed / (_rollouts(phase) * _turns(config))))
    if phase is not None and episodes:
        stage = Stage(engine, chat, ground.searcher, config.limits, config.search.top_k, config.prompts)
        tasks = seed_tasks(config.seed, config.hop_odds, ground.seeds, ("doctor",), episodes)
        began = time.perf_counter()
        written, share, cut = _played(config, stage, phase, tasks)
        speed = written / (time.perf_counter() - began)
    return Measured(Work(speed, _trained(config, engine, words)), share, episodes, cut)


def _written(engine: LocalEngine, policy: str, words: Ints, count: int) -> int:
    """Tokens that so many sessions write in one short turn each."""
    for row in range(count):
        key = ("doctor", row)
        engine.submit(Generate(key, PolicyRef(policy), np.resize(words, _PROMPT), key, _WRITE, 1.0))
    tokens = 0
    while ready := engine.ready():
        tokens += sum(len(generated.ids) for generated in ready)
    for row in range(count):
        engine.close(("doctor", row))
    return tokens


def _played(config: Config, stage: Stage, phase: Phase, tasks: Sequence[Task]) -> tuple[int, Work, float]:
    """Tokens written in some episodes, how much of what the limits allow they use, and the share that these cut."""
    played = stage.play(make_game(phase, {}).play, ("doctor",), tasks, phase.seats, temperature=1.0)
    stories = [seat.trajectory for episode in played for seat in episode.seats]
    written = sum(int((story.owner_T == Owner.MODEL).sum()) for story in stories)
    whole = sum(len(story.ids_T) for story in stories)
    most = len(tasks) * _rollouts(phase) * _turns(config)
    cut = sum(story.stop.truncated for story in stories)
    return written, Work(written / most, whole / (len(stories) * config.limits.tokens)), cut / len(stories)


def _trained(config: Config, engine: LocalEngine, words: Ints) -> float:
    """Tokens a second of an update as the last phase that learns makes it; infinite where none does."""
    learning = [(phase, role) for phase in config.phases for role in phase.learn]
    if not learning:
        return float("inf")
    phase, role = learning[-1]
    policy, teacher = phase.seats[role], phase.learn[role].teacher
    length = min(config.limits.tokens, 512)
    owner_T = np.repeat(np.array([Owner.PROMPT, Owner.MODEL], np.int8), [length // 2, length - length // 2])
    weight_T = np.where(owner_T == Owner.MODEL, 1e-3, 0).astype(np.float32)
    terms = {"pg": weight_T} | ({"distill": weight_T} if teacher else {})
    ids_T, logprobs_T = np.resize(words, length), np.zeros(length, np.float32)
    sample = Sample(
        ("doctor",), role, PolicyRef(policy), ("doctor",), ids_T, owner_T, logprobs_T, 0.0, terms, length // 2, None
    )
    samples = [sample] * max(1, config.engine.micro_batch_tokens // length)
    objective = Objective(teacher=phase.seats[teacher] if teacher else None)
    engine.train(policy, [sample], objective)
    began = time.perf_counter()
    engine.train(policy, samples, objective)
    return len(samples) * length / (time.perf_counter() - began)


def _turns(config: Config) -> int:
    """The most tokens that a model writes in a trajectory."""
    return min(config.limits.turns * config.limits.turn_tokens, config.limits.tokens)


def _probes(phase: Phase) -> int:
    return int(getattr(make_game(phase, {}), "probes", 0))


def _rollouts(phase: Phase) -> int:
    """The most trajectories of an episode: G, or one and n where the game calls them as those of the package do."""
    return int(getattr(make_game(phase, {}), "rollouts", 1)) + _probes(phase)


def _append_only(model: Path, config: Config, chat: Chat) -> str:
    """What the chat is; whether its turns stay as they were written was asked when it was loaded."""
    kind = type(chat).__name__.lower()
    if config.chat != "native":
        return f"{kind}, append-only"
    try:
        load_chat(model, "auto")
    except InputError:
        return f"{kind}; its template is not append-only: turns are kept as written, which the model was not made with"
    return f"{kind}, append-only"


def _only_scores(phase: Phase, role: str) -> bool:
    return any(learn.teacher == role for learn in phase.learn.values())


def _with_overhead(config: Config, needed: Estimate, process: int) -> int:
    kind = torch.device(config.engine.device).type
    return int(needed.peak * FRAGMENTS.get(kind, 1.1) + (process if kind == "cpu" else CONTEXT))


def _remedies(longest: int) -> list[tuple[str, object]]:
    """What to change where memory is short, in the order in which it changes least of what is learnt and how fast."""
    return [
        ("engine.dtype", "bfloat16"),
        ("engine.checkpointing", True),
        ("engine.cache_tokens", 16 * longest),
        ("engine.micro_batch_tokens", 4096),
        ("engine.lora.rank", 16),
        ("engine.slots", 16),
        ("engine.cache_tokens", 4 * longest),
        ("engine.slots", 4),
    ]


def _remedy(config: Config, process: int, there: int) -> str:
    """Settings under which the run fits: of those that help one after the other, as many as it takes."""
    tree, chosen = config.model_dump(mode="json"), dict[str, Any]()
    least = memory(config).peak
    for key, value in _remedies(config.limits.tokens):
        *parents, last = key.split(".")
        node = tree
        for part in parents:
            node = node[part]
        before = node[last]
        if isinstance(value, int) and not isinstance(value, bool) and 0 < (before or 0) <= value:
            continue
        node[last] = value
        other = validated(tree, config.name)
        needed = memory(other)
        if needed.peak >= least:
            node[last] = before
            continue
        least, chosen = needed.peak, chosen | {key: value}
        if _with_overhead(other, needed, process) <= there:
            settings = " ".join(f"--{key} {str(value).lower()}" for key, value in chosen.items())
            return f"it would fit with {settings}"
    return "no setting makes it fit, take a smaller model or shorter limits.tokens"


def _table(needed: Estimate, total: int) -> Table:
    table = Table("GB", "all the time", "while it plays", "while it learns", title="Memory, estimated")
    columns = (needed.held, needed.playing, needed.learning)
    for name in dict.fromkeys(key for column in columns for key in column):
        cells = [f"{column[name] / GB:.2f}" if column.get(name) else "" for column in columns]
        if any(cells):
            table.add_row(name, *cells)
    table.add_row("peak, with the process", f"{total / GB:.2f}", "", "")
    return table


def resident() -> int:
    """Bytes of this process: libraries, corpus and index."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0


def cgroup_limit(groups: Path = Path("/proc/self/cgroup"), tree: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The least memory limit of this process's control group and those above it, where there is one."""
    found = []
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = tree / controllers
        place = root / path.lstrip("/")
        for folder in (place, *place.parents):
            for name in ("memory.max", "memory.limit_in_bytes"):
                if folder.is_relative_to(root) and (folder / name).is_file():
                    text = (folder / name).read_text().strip()
                    found += [int(text)] if text.isdigit() else []
    return min(found, default=None)
