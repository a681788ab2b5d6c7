"""What ``piplay eval`` does: plays a benchmark with one model or two, prints the numbers, and writes them down."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from piplay.config import Component, Config, Policy
from piplay.console import TerminalConsole
from piplay.envs.search.benchmarks import first_of_each_hop, read_benchmark
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Question, check_asks
from piplay.envs.search.tool import SearchTool
from piplay.envs.search.values import confusion
from piplay.errors import InputError, check_text
from piplay.eval.scores import Record, differences, ks, records, summary
from piplay.methods.pi_play.evaluation import play_student
from piplay.rollout.stage import Stage
from piplay.training.assemble import (
    BASE,
    check_passages,
    load_chat,
    load_engine,
    load_environment,
    model_folder,
    playing,
    run_at,
    tool_specs,
)
from piplay.training.fingerprints import warn_of_changes, warn_of_damage
from piplay.training.listeners.console import progress
from piplay.types import Episode, StopReason

WORLD = "world"
"""The benchmark that is a world's own held-out questions."""
NAMED = 5
"""Golds that are named of those that SQuAD's rule gets wrong."""
TOP_K = 1
"""Passages that one search returns where neither the command nor a run says."""
TOLERATED = 0.05
"""The share of answers that a searcher may fail: they count as no answer, and are said. Of more there is no result."""


class Notes:
    """``records.jsonl``: every answer as it comes, and at the end in the order of the questions.

    Where several samples are drawn, a question's line is first written with its greedy answer alone, then with all.
    """

    def __init__(self, out: Path | None, tasks: Sequence[Question]) -> None:
        """Write nothing where ``out`` is None."""
        self._path = out / "records.jsonl" if out is not None else None
        self._place = {id(task): place for place, task in enumerate(tasks)}
        self._lines: dict[str, dict[int, str]] = {}

    def add(self, model: str, record: Record) -> None:
        """Note one answered question."""
        if self._path is not None:
            line = json.dumps(record.row(model), ensure_ascii=False) + "\n"
            self._lines.setdefault(model, {})[self._place[id(record.task)]] = line
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)

    def close(self) -> int:
        """Write each answer once, in order; how many there are."""
        if self._path is None:
            return 0
        lines = [line for answered in self._lines.values() for _, line in sorted(answered.items())]
        whole = self._path.with_suffix(".half")
        whole.write_text("".join(lines), encoding="utf-8")
        whole.replace(self._path)
        return len(lines)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model and the stage it plays on."""

    name: str
    """As it was given on the command line."""
    stage: Stage
    policy: str
    """The stage's one policy."""
    settings: dict[str, Any]
    """Under which limits it plays, how much a search returns, in which dtype, where, and on how many threads."""

    @property
    def about(self) -> str:
        return f"{self.name}: chat {self.stage.chat.why}"

    def play(
        self, tasks: Sequence[Question], samples: int, temperature: float, notes: Notes, console: Console
    ) -> list[Record]:
        """Every question greedily, and ``samples`` times at the temperature; each is noted as it comes."""
        with progress(console) as bar:
            task = bar.add_task(escape(self.name), total=len(tasks) * (2 if samples else 1))
            return self._play(tasks, samples, temperature, notes, partial(bar.advance, task))

    def _play(
        self, tasks: Sequence[Question], samples: int, temperature: float, notes: Notes, told: Callable[[], None]
    ) -> list[Record]:
        torch.set_num_threads(self.settings["threads"])  # the process has one number, and the last engine set it
        by_task: dict[int, Episode] = {}

        def answered(episode: Episode) -> None:
            by_task[id(episode.task)] = episode
            notes.add(self.name, records([episode], ())[0])
            told()

        def sampled(episode: Episode) -> None:
            notes.add(self.name, records([by_task[id(episode.task)]], [episode])[0])
            told()

        greedy = play_student(self.stage, self.policy, tasks, ("eval", "greedy"), note=answered, tolerated=TOLERATED)
        if not samples:
            return records(greedy, ())
        key = "eval", "samples"
        drawn = play_student(
            self.stage,
            self.policy,
            tasks,
            key,
            samples=samples,
            temperature=temperature,
            note=sampled,
            tolerated=TOLERATED,
        )
        return records(greedy, drawn)


def evaluate(
    model: str,
    *,
    bench: str,
    world: Path | None,
    corpus: Path | None,
    against: str | None,
    samples: int,
    temperature: float,
    limit: int | None,
    top_k: int | None,
    chat: str,
    prompt: str,
    seed: int,
    threads: int | None,
    device: str | None,
    dtype: str | None,
    turns: int | None,
    turn_tokens: int | None,
    tokens: int | None,
    strict: bool,
    out: Path | None,
) -> None:
    """Play, write, print. Long because each option of the command is an argument.

    Raises ``InputError`` before anything is played.
    """
    settings = dict(locals())
    _check(settings)
    world, corpus = _place(model, bench, world, corpus)
    settings |= {"world": world, "corpus": corpus}
    most = limit or sys.maxsize
    environment = _environment(model, bench, world, corpus, seed, strict)
    tasks = first_of_each_hop(environment.heldout if bench == WORLD else read_benchmark(Path(bench), strict), most)
    if not tasks:
        raise InputError("the world has no held-out questions: make it again, or give --bench FILE.")
    contestants = [_contestant(name, environment, settings) for name in (model, against) if name is not None]
    if out is not None:
        _make(out)

    console, notes = TerminalConsole(), Notes(out, tasks)
    results: dict[str, Any] = {"settings": settings, "models": []}
    said = [*(one.about for one in contestants if one.name != BASE), *lost_golds(bench, tasks)]
    console.print("".join(f"{line}\n" for line in said), end="")
    played: list[list[Record]] = []
    try:
        for contestant in contestants:
            played.append(contestant.play(tasks, samples, temperature, notes, console))
            numbers = summary(played[-1], seed)
            results["models"].append({"model": contestant.name, "played": contestant.settings, "by_hops": numbers})
    except KeyboardInterrupt:
        if count := notes.close():
            print(f"piplay: {count} answers are in {out}/records.jsonl", file=sys.stderr)
        raise
    if against is not None:
        results["differences"] = differences(played[0], played[1], seed)
    notes.close()
    if out is not None:
        (out / "eval.json").write_text(json.dumps(results, indent=2, default=str) + "\n", encoding="utf-8")
    _print(results, bench, samples, temperature, console)
    if out is not None:
        console.print(f"every answer is in {out / 'records.jsonl'}, every number in {out / 'eval.json'}")


def _print(results: Mapping[str, Any], bench: str, samples: int, temperature: float, console: Console) -> None:
    """The tables of each model, and of the difference between two."""
    for model in results["models"]:
        console.print(greedy_table(f"{model['model']} on {bench}, greedy", model["by_hops"]))
        if samples:
            title = f"{model['model']} on {bench}, {samples} samples at temperature {temperature:g}"
            console.print(samples_table(title, model["by_hops"], samples))
    if "differences" in results:
        for name in ["em", f"avg@{samples}"] if samples else ["em"]:
            console.print(difference_table(name, results))


def _environment(
    model: str, bench: str, world: Path | None, corpus: Path | None, seed: int, strict: bool
) -> SearchEnvironment:
    """What the models search: as the first model's run has it, if it comes from one, in the world or corpus given."""
    run = run_at(model)
    usual = run.config.environment if run else Component(kind="search")
    places: dict[str, Any] = {"world": world and str(world), "corpus": corpus and str(corpus)}
    if strict:
        places["strict"] = True
    config = _settings(Component(kind=usual.kind, **usual.options | places), seed)
    environment = load_environment(config, truth=bench == WORLD)
    if not isinstance(environment, SearchEnvironment):
        raise InputError(f"the run {model} plays in the environment {usual.kind}: only what searches can be asked.")
    if run:
        warn_of_changes(run, config, environment)
    return environment


def _settings(environment: Component, seed: int) -> Config:
    """Those of a model that comes from no run."""
    return Config(name="eval", seed=seed, phases=(), policies={"student": Policy()}, environment=environment)


def _contestant(name: str, environment: SearchEnvironment, given: Mapping[str, Any]) -> Contestant:
    """A model as it played in its run, if it comes from one, but for what is given otherwise."""
    folder, run = model_folder(name), run_at(name)
    if run:
        check_asks(name, run.column_kinds())
        warn_of_damage(run)
    usual = run.config if run else _settings(Component(kind="search"), given["seed"])
    kind = usual.chat if run and given["chat"] == "auto" else given["chat"]
    limits = usual.limits.model_copy(update={key: given[key] or old for key, old in usual.limits.model_dump().items()})
    chat = load_chat(folder, kind, tool_specs(environment), limits.tokens)
    check_passages(environment, chat, limits)
    top_k, one = given["top_k"] or usual.environment.options.get("top_k", TOP_K), playing(usual, folder)
    changed = {key: given[key] for key in ("threads", "device", "dtype") if given[key] is not None}
    if one.engine.cache_tokens is not None:
        changed["cache_tokens"] = max(one.engine.cache_tokens, limits.tokens)
    engine = one.engine.model_copy(update=changed)
    player = load_engine(one.model_copy(update={"seed": given["seed"], "engine": engine}))
    tools = {
        tool.spec.name: replace(tool, top_k=top_k) if isinstance(tool, SearchTool) else tool
        for tool in environment.tools
    }
    prompts = {"student": given["prompt"]} if given["prompt"] else usual.prompts
    stage = Stage(player, chat, tools, limits, prompts, given["seed"])
    where = engine.model_dump(include={"dtype", "device", "threads"})
    return Contestant(name, stage, usual.agent, limits.model_dump() | {"top_k": top_k} | where)


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


def greedy_table(title: str, numbers: Mapping[str, Any]) -> Table:
    """One greedy answer a question: how good, how many searches, and why it ended where it is no answer."""
    table = _table(title, "hops", "n", "EM", "95 %", "F1", "cover-EM", "searches", "no answer")
    for group, row in numbers.items():
        scores = _score(row["em"]), _interval(row["em"]), _score(row["f1"]), _score(row["cover_em"])
        stops = ", ".join(f"{why} {n}" for why, n in row["stops"].items() if why != StopReason.ANSWERED)
        table.add_row(group, str(row["n"]), *scores, f"{row['searches']:.2f}", stops or "–")
    return table


def samples_table(title: str, numbers: Mapping[str, Any], samples: int) -> Table:
    """Several samples a question. pass@1 is the same number as avg@K."""
    beyond = [f"pass@{k}" for k in ks(samples) if k > 1]
    table = _table(title, "hops", "n", f"avg@{samples} = pass@1", "95 %", *beyond)
    for group, row in numbers.items():
        average = row[f"avg@{samples}"]
        scores = [_score(row[name]) for name in beyond]
        table.add_row(group, str(row["n"]), _score(average), _interval(average), *scores)
    return table


def difference_table(name: str, results: Mapping[str, Any]) -> Table:
    """The first model against the second, in one score."""
    first, second = results["models"]
    title = f"{'EM' if name == 'em' else name}: {first['model']} − {second['model']}"
    table = _table(title, "hops", "n", "first", "second", "difference", "95 %", "p")
    for group, row in first["by_hops"].items():
        found, other = results["differences"][group][name], second["by_hops"][group]
        numbers = f"{found['mean']:+.2f}", _interval(found, "+.2f"), f"{found['p']:.4f}"
        table.add_row(group, str(row["n"]), _score(row[name]), _score(other[name]), *numbers)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _score(score: Mapping[str, Any]) -> str:
    return f"{score['mean']:.2f}"


def _interval(score: Mapping[str, Any], form: str = ".2f") -> str:
    low, high = score["interval"]
    # Where all questions scored alike, resampling them says nothing.
    return f"{low:{form}} to {high:{form}}" if low < high else "–"


def _check(settings: Mapping[str, Any]) -> None:
    """Raises ``InputError`` for what can be seen to be wrong without reading a file."""
    least = {
        "limit": 1, "samples": 0, "top-k": 1, "seed": 0,
        "engine.threads": 1, "limits.turns": 1, "limits.turn-tokens": 1, "limits.tokens": 2,
    }  # fmt: skip
    for option, number in least.items():
        given = settings[option.rpartition(".")[2].replace("-", "_")]
        if given is not None and given < number:
            raise InputError(f"--{option} is {given}: give a number of at least {number}.")
    check_text(settings["prompt"], "--prompt")
    if not 0 < settings["temperature"] < float("inf"):
        raise InputError(f"--temperature is {settings['temperature']}: give a number above 0.")


def _place(model: str, bench: str, world: Path | None, corpus: Path | None) -> tuple[Path | None, Path | None]:
    """What is searched, world or corpus: what is given, else what the model's run searched, else the default world."""
    if world is not None and corpus is not None:
        raise InputError("--world and --corpus are both given: search one of them.")
    run = run_at(model) if world is None and corpus is None else None
    if run is not None:
        searched = run.config.environment.options
        world, corpus = (Path(searched[name]) if searched.get(name) else None for name in ("world", "corpus"))
    if bench == WORLD and corpus is not None:
        who = "--corpus" if run is None else f"the run {model}, on a corpus,"
        raise InputError(f"{who} needs questions with known answers: give --bench FILE with it.")
    if bench != WORLD and run is None and world is None and corpus is None:
        raise InputError("--bench FILE needs something to search: give --corpus PATH or --world DIR with it.")
    return world, corpus


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise InputError(f"{out} exists already and is not empty: name a new folder.")
    except OSError as error:
        raise InputError(f"{out} cannot be made ({error.strerror}): name a folder that can.") from error
