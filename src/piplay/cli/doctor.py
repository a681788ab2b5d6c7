"""What a run would need, before it starts: ``piplay doctor`` and ``piplay train --dry-run``.

Model, chat, recipe and environment are loaded as a run loads them, so what a run would refuse is refused here. Memory
is computed (``engine/local/memory.py``), and compared with what the device has. Minutes come from one short generation
and one short update on this machine (``workload.py``), times the most that the limits allow; nothing is trained or
written.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from piplay.border.code import name_of, own
from piplay.border.parts import unplayed_seats
from piplay.chat.base import Chat
from piplay.cli.workload import Work, measure, work
from piplay.config import Config
from piplay.console import TerminalConsole
from piplay.engine.local import memory as local
from piplay.engine.local.memory import Estimate
from piplay.engine.placement import placed
from piplay.engine.vllm import memory as vllm
from piplay.errors import InputError
from piplay.protocols import Environment, Evaluation, make_game
from piplay.recipes import validated
from piplay.settings import Phase
from piplay.training.assemble import (
    check_engine_settings,
    check_parts,
    check_passages,
    check_trainable,
    load_chat,
    load_environment,
    make_evaluation,
    tiny_base,
    tool_specs,
    with_model,
)
from piplay.training.checkpoints import KEPT
from piplay.training.listeners.trackers import check_trackers
from piplay.types import StopReason

GB = 1e9
ESTIMATES = {"local": local.estimate, "vllm": vllm.estimate, "ray": vllm.estimate}
"""By the kind of an engine what computes its memory."""
CONTEXT = 1.0e9
"""What CUDA itself and its libraries take of a GPU."""
FRAGMENTS = {"cuda": 1.1, "cpu": 1.3}
"""Of what tensors take: blocks that an allocator holds and cannot give (benchmarks/memory.py)."""
NAMES = {StopReason.TURNS: "turns", StopReason.TURN_TOKENS: "turn_tokens", StopReason.TOTAL_TOKENS: "tokens"}
"""The limit behind a stop."""
_CUT = 0.1
"""Share of trajectories cut by a limit above which it is said."""


def doctor(config: Config, run_dir: Path | None = None) -> None:
    """Print what a run of these settings needs that is written to ``run_dir``, by default below runs/.

    Raises:
        InputError: whatever a run would refuse, or it needs more memory than there is: then with what to change.
    """
    console = TerminalConsole()
    config = with_model(config)
    check_trackers(config.trackers)
    check_trainable(config.model)
    check_engine_settings(config)
    environment = load_environment(config)
    check_parts(config, environment)
    tools = tool_specs(environment)
    chat = load_chat(config.model or tiny_base(), config.chat, tools, config.limits.tokens)
    check_passages(environment, chat, config.limits)
    console.print(f"chat: {chat.why}")
    with own(f"{name_of(environment)}.describe"):
        console.print(f"environment: {environment.describe()}")
    evaluation = make_evaluation(config, environment, {})
    if config.engine.kind in ESTIMATES:
        needed = memory(config)
        _tell_memory(config, needed, console)
        _tell_samplers(config, console)
        _tell_disk(config, needed, evaluation, run_dir or Path("runs"), console)
    else:
        console.print(f"memory: not known of the engine {config.engine.kind}")
    _tell_time(config, chat, environment, evaluation, console)


def _tell_memory(config: Config, needed: Estimate, console: Console) -> None:
    process = resident()
    total = _with_overhead(config, needed, process)
    name, there = available(config.engine.device)
    console.print(_table(needed, total))
    if total > there:
        raise InputError(
            f"the run needs about {total / GB:.1f} GB and {name} has {there / GB:.1f} GB: "
            f"{_remedy(config, process, there)}"
        )
    console.print(f"memory: about {total / GB:.1f} GB of the {there / GB:.1f} GB of {name} (estimate)")


def _tell_samplers(config: Config, console: Console) -> None:
    """Where trainers and samplers stand, and where the weights of several policies take turns in too few samplers."""
    engine = config.engine
    if engine.kind != "local" and engine.device != "cpu":
        console.print(f"devices: {placed(engine)}")
    for phase in config.phases:
        policies = _writing(phase)
        if engine.kind != "local" and not engine.lora.rank and policies > engine.samplers:
            console.print(
                f"phase {phase.name}: {policies} policies write, and a sampler holds the weights of one "
                f"(engine.samplers is {engine.samplers}): they write one after the other, and each change is a sync; "
                "adapters (engine.lora.rank) are written under together"
            )


def _tell_disk(config: Config, needed: Estimate, evaluation: Evaluation, run_dir: Path, console: Console) -> None:
    wanted = run_dir.absolute()
    place = next(folder for folder in (wanted, *wanted.parents) if folder.is_dir())
    written, free = disk(config, needed, evaluation), shutil.disk_usage(place).free
    if written > free:
        raise InputError(
            f"the run writes about {written / GB:.1f} GB of checkpoints and models, and {free / GB:.1f} GB are free in "
            f"{place}: make room, name another --run-dir, or take adapters (engine.lora.rank)"
        )
    console.print(
        f"disk: about {written / GB:.1f} GB of checkpoints and models (estimate), {free / GB:.0f} GB are free"
    )


def _tell_time(config: Config, chat: Chat, environment: Environment, evaluation: Evaluation, console: Console) -> None:
    most, seen = work(config, evaluation), measure(config, chat, environment)
    share, by = (seen.share or Work(1, 1)), "up to" if seen.share else "at most"
    seconds = most.written * share.written / seen.speed.written + most.trained * share.trained / seen.speed.trained
    for phase in config.phases:
        if empty := unplayed_seats(make_game(phase, {}), phase.seats):
            console.print(f"phase {phase.name}: {empty}")
    console.print(
        f"tokens: at most {most.written / 1e6:.2f} million written and {most.trained / 1e6:.2f} million trained on"
    )
    if seen.share:
        console.print(f"{seen.episodes} episodes just played used {share.written:.0%} and {share.trained:.0%} of these")
    if seen.cut.total() > _CUT * seen.trajectories:
        limits = ", ".join(f"limits.{NAMES[stop]} {count}" for stop, count in seen.cut.most_common())
        cut = f"{seen.cut.total() / seen.trajectories:.0%} of {seen.trajectories} trajectories"
        console.print(
            f"{cut} just played were cut short by a limit, and earn nothing ({limits}): a model that thinks long needs "
            "a larger limits.turn_tokens, and long passages a larger limits.tokens or a smaller environment.shown_words"
        )
    trained = f" and {seen.speed.trained:.0f} trained on" if most.trained else "; nothing learns"
    console.print(
        f"time: {by} {seconds / 60:.0f} minutes (estimate: {seen.speed.written:.0f} tokens/s written{trained}, "
        "measured shortly on this machine)"
    )


def memory(config: Config) -> Estimate:
    """What the engine of a run holds."""
    return ESTIMATES[config.engine.kind](
        config.model or tiny_base(),
        config.policies,
        config.engine,
        tokens=config.limits.tokens,
        writing=max((_writing(phase) for phase in config.phases), default=1),
        learning=frozenset(phase.seats[role] for phase in config.phases for role in phase.learn),
        snapshots=sum(len(phase.snapshots) + _opponents(phase) for phase in config.phases),
    )


def _writing(phase: Phase) -> int:
    """Policies that write at the same time."""
    return len({phase.seats[role] for role in make_game(phase, {}).roles}) + _opponents(phase)


def _opponents(phase: Phase) -> int:
    """Snapshots that a phase plays against."""
    return 0 if phase.opponents is None else phase.opponents.size * len({phase.seats[role] for role in phase.learn})


def disk(config: Config, needed: Estimate, evaluation: Evaluation) -> int:
    """Bytes that a run has on disk at most: checkpoints, one of them on its way, and models, kept and final."""
    kept = len(evaluation.exports) * (config.iterations + 1)
    return needed.checkpoint * (KEPT + 1) + needed.export * (kept + len(config.policies))


def available(device: str) -> tuple[str, int]:
    """The device's name and its bytes: free ones of a GPU; of a CPU the machine's, or the limit of its cgroup."""
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return f"{torch.cuda.get_device_name(device)} (free)", free
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = cgroup_limit()
    return ("this machine", machine) if limit is None or limit >= machine else ("the cgroup's limit", limit)


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
