"""What ``piplay eval`` does: plays a benchmark with one model or two, prints the numbers, and writes them down."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from piplay.console import TerminalConsole
from piplay.envs.search.benchmarks import first_of_each_hop, read_benchmark
from piplay.envs.search.question import Question
from piplay.envs.search.values import confusion
from piplay.errors import InputError
from piplay.eval.contestants import contestant_of, environment_of
from piplay.eval.judge import judge_of, told
from piplay.eval.notes import Notes
from piplay.eval.options import WORLD, check, place
from piplay.eval.scores import Record, differences, summary
from piplay.eval.sets.command import evaluate_sets, is_of_sets
from piplay.eval.tables import show
from piplay.progress import Bar
from piplay.training.assemble import BASE

NAMED = 5
"""Golds that are named of those that SQuAD's rule gets wrong."""


def evaluate(given: Mapping[str, Any]) -> None:
    """Play, write, print; ``given``: the command's options by name.

    Raises ``InputError`` before anything is played, and ``Unavailable`` where what is searched does not answer.
    """
    check(given)
    if is_of_sets(given):
        evaluate_sets(given)
    else:
        _evaluate_by_hops(given)


def _evaluate_by_hops(given: Mapping[str, Any]) -> None:
    model, bench, against, seed = (given[name] for name in ("model", "bench", "against", "seed"))
    out, samples, temperature = given["out"], given["samples"], given["temperature"]
    world, corpus = place(given)
    settings = {**given, "world": world, "corpus": corpus}
    environment = environment_of(model, world, corpus, seed, given["strict"], truth=bench == WORLD)
    known = environment.heldout if bench == WORLD else read_benchmark(Path(bench), given["strict"])
    tasks = first_of_each_hop(known, given["limit"] or sys.maxsize)
    if not tasks:
        raise InputError("the world has no held-out questions: make it again, or give --bench FILE.")
    judge = judge_of(given)
    contestants = [contestant_of(name, environment, settings) for name in (model, against) if name is not None]
    if out is not None:
        _make(out)

    console, notes = TerminalConsole(), Notes(out, tasks)
    results: dict[str, Any] = {"settings": settings, "models": []}
    said = [*(one.about for one in contestants if one.name != BASE), *lost_golds(bench, tasks)]
    console.print("".join(f"{line}\n" for line in said), end="")
    played: list[list[Record]] = []
    try:
        for contestant in contestants:
            with Bar(console, contestant.name, len(tasks) * (2 if samples else 1)) as bar:
                played.append(contestant.play(tasks, samples, temperature, notes, bar.advance))
            numbers = summary(played[-1], seed)
            results["models"].append({"model": contestant.name, "played": contestant.settings, "by_hops": numbers})
    except KeyboardInterrupt as error:
        if count := notes.close():
            error.add_note(f"{count} answers are in {out}/records.jsonl")
        raise
    if against is not None:
        results["differences"] = differences(played[0], played[1], seed)
    notes.close()
    if judge is not None:
        answered = zip(results["models"], played, strict=True)
        results["judge"] = judge.about() | {
            one["model"]: judge.measure([record.row(one["model"]) for record in of]) for one, of in answered
        }
    if out is not None:
        (out / "eval.json").write_text(json.dumps(results, indent=2, default=str) + "\n", encoding="utf-8")
    show(results, bench, samples, temperature, console)
    if judge is not None:
        for one in contestants:
            console.print(told(one.name, results["judge"][one.name], judge))
    if out is not None:
        console.print(f"every answer is in {out / 'records.jsonl'}, every number in {out / 'eval.json'}")


def lost_golds(bench: str, tasks: Sequence[Question]) -> list[str]:
    """What SQuAD's rule, by which a published benchmark is scored, gets wrong in its golds, in sentences."""
    if bench == WORLD:
        return []
    never = [task.id for task in tasks if len(confusion(task.answers).nothing) == len(task.answers)]
    pairs = confusion(dict.fromkeys(gold for task in tasks for gold in task.answers)).pairs
    said = []
    if never:
        said.append(
            f"{bench}: no answer can match the golds of {len(never)} of {len(tasks)} questions, of which SQuAD's rule "
            f"leaves nothing: {', '.join(never[:NAMED])}{' …' if len(never) > NAMED else ''}"
        )
    if pairs:
        shown = ", ".join(f'"{one}" and "{other}"' for one, other in pairs[:NAMED])
        said.append(
            f"{bench}: SQuAD's rule takes different golds for the same {len(pairs)} times: "
            f"{shown}{' …' if len(pairs) > NAMED else ''}"
        )
    return said


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise InputError(f"{out} exists already and is not empty: name a new folder.")
    except OSError as error:
        raise InputError(f"{out} cannot be made ({error.strerror}): name a folder that can.") from error
