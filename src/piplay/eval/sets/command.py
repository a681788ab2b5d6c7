"""``piplay eval`` on sets: played in parts, so that it goes on after a kill and ends with the same numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piplay.console import TerminalConsole
from piplay.envs.search.question import Question
from piplay.errors import InputError, Unavailable
from piplay.eval.contestants import contestant_of, environment_of
from piplay.eval.judge import judge_of
from piplay.eval.judge import told as told_by
from piplay.eval.options import WORLD, place
from piplay.eval.sets.answers import Answers, Place, Row, digest, digest_of, read_plan, stamp
from piplay.eval.sets.catalogue import SETS, has_several, read_grouped, read_named, sample, set_name
from piplay.eval.sets.figures import PUBLISHED
from piplay.eval.sets.play import Arm, arms_of, part
from piplay.eval.sets.protocol import AGENT, BASELINES, AsTheRun, Protocol
from piplay.eval.sets.search_r1 import SearchR1
from piplay.eval.sets.summary import about_sets, failed, summary
from piplay.eval.sets.tables import em_table, more_table
from piplay.files import put
from piplay.progress import Bar
from piplay.training.assemble import BASE, model_folder

PARTS = 256
"""Questions that are played together. A part that was cut is played again whole: what a batch computes depends in its
last bits on who is in it."""
TOLERATED = 0.01
"""The share of an arm's questions that the tool may leave without an answer: they count as wrong. Of more there is no
result."""
PROTOCOLS: Mapping[str, type[Protocol]] = {"run": AsTheRun, "search-r1": SearchR1}
_OF_SETS = ("bench_dir", "limit_per_set", "resume")
_NOT_OF_SETS = ("against", "limit", "samples")
_NOT_KEPT = ("out", "resume", "judge", "judge_model")
_PLACES = ("bench_dir", "world", "corpus")


def is_of_sets(given: Mapping[str, Any]) -> bool:
    """Whether the options ask for sets: by an option of theirs, a name of one, or a file of several."""
    names = given["bench"].split(",")
    named = len(names) > 1 or (set_name(names[0]) in SETS and not Path(names[0]).is_file())
    other = given["protocol"] != "run" or given["baselines"] or given["compare"] != "none"
    if named or other or any(given[name] is not None for name in _OF_SETS):
        return True
    return not any(given[name] for name in _NOT_OF_SETS) and has_several(Path(given["bench"]))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be played."""

    settings: Mapping[str, Any]
    """The command's options, paths absolute, without where it is written."""
    sets: Mapping[str, Sequence[Question]]
    published: Mapping[str, int]
    """How many questions the file of a set holds."""


def evaluate_sets(given: Mapping[str, Any]) -> None:
    """Play what is not yet answered, then print and write the numbers.

    Raises:
        InputError: something that was given is wrong; nothing is played then.
        Unavailable: the search tool fails; the answers that there are stay.
    """
    if given["resume"] is not None:
        given = {**given, **_paths(read_plan(given["resume"])["settings"]), "out": given["resume"]}
    asked = _asked(given)
    out = given["out"] or Path("evals") / f"{Path(given['model']).name}-{digest(asked.settings)[:8]}"
    protocol, told = PROTOCOLS[given["protocol"]](), _paths(asked.settings)
    world, corpus = place(told)
    searched = corpus or world
    folder = model_folder(given["model"])
    plan = {
        "settings": asked.settings,
        "questions of": {name: digest_of(tasks) for name, tasks in asked.sets.items()},
        "stamp of": {"model": stamp(folder), "searched": stamp(searched) if searched and searched.exists() else ""},
    }
    judge = judge_of(given)
    environment = environment_of(told["model"], world, corpus, told["seed"], told["strict"], truth=False)
    options = {**given, **{name: given[name] or number for name, number in protocol.defaults.items()}}
    one = contestant_of(
        told["model"], environment, options | ({"chat": protocol.chat_kind} if protocol.chat_kind else {})
    )
    answers = Answers(out, plan)
    arms = arms_of([AGENT, *_baselines(given)], protocol, one)
    console = TerminalConsole()
    counts = {name: number.count for name, number in SETS.items()}
    said = [f"answers are kept in {out}", *about_sets(asked.published, counts)]
    if given["model"] != BASE:
        said.append(f"{given['model']}: chat {arms[0].stage.chat.why or arms[0].stage.chat.about}")
    console.print("".join(f"{line}\n" for line in said), end="")
    try:
        _play(arms, asked.sets, answers, console)
    except KeyboardInterrupt as error:
        error.add_note(f"{len(answers.rows)} answers are in {out}; the same command goes on")
        raise
    about = {"model": given["model"], "played": one.settings}
    if judge is not None:
        rows = {arm.name: [row for (name, _, _), row in answers.rows.items() if name == arm.name] for arm in arms}
        about["judge"] = judge.about() | {name: judge.measure(of) for name, of in rows.items()}
    _finish(arms, asked, answers, about, out, console)
    if judge is not None:
        for arm in arms:
            console.print(told_by(arm.name, about["judge"][arm.name], judge))


def _play(
    arms: Sequence[Arm], sets: Mapping[str, Sequence[Question]], answers: Answers, console: TerminalConsole
) -> None:
    """Every part of every set that is not yet answered, arm by arm."""
    for arm in arms:
        for name, tasks in sets.items():
            with Bar(console, f"{arm.name}: {name}", len(tasks)) as bar:

                def note(row: Row, bar: Bar = bar) -> None:
                    answers.add(row)
                    bar.advance()

                for start in range(0, len(tasks), PARTS):
                    places: list[Place] = [(arm.name, name, i) for i in range(start, min(start + PARTS, len(tasks)))]
                    bar.reach(start)
                    if not answers.are_there(places):
                        part(arm, name, tasks, start, PARTS, note)
                        _check_tool(arm, sets, answers)


def _check_tool(arm: Arm, sets: Mapping[str, Sequence[Question]], answers: Answers) -> None:
    """Raises ``Unavailable`` as soon as no share of failures could be tolerated any more."""
    whole = sum(len(tasks) for tasks in sets.values())
    failures = failed([row for (name, _, _), row in answers.rows.items() if name == arm.name])
    if failures > TOLERATED * whole:
        raise Unavailable(
            f"the search tool did not answer in {failures} of {whole} questions ({arm.tool.reason}): these count for "
            "nothing; see to it, and give the same command again to go on"
        )


def _finish(
    arms: Sequence[Arm], asked: Asked, answers: Answers, about: Mapping[str, Any], out: Path, console: TerminalConsole
) -> None:
    """Write the numbers, and print them."""
    seed, compare = asked.settings["seed"], asked.settings["compare"]
    places = [(arm.name, name, i) for arm in arms for name, tasks in asked.sets.items() for i in range(len(tasks))]
    answers.close(places)
    numbers = {
        arm.name: summary([answers.rows[at] for at in places if at[0] == arm.name], seed, arm.name) for arm in arms
    }
    published = PUBLISHED.get(compare, ())
    results = {**about, "settings": asked.settings, "arms": numbers, "published": [row.row() for row in published]}
    put(out / "eval.json", f"{json.dumps(results, indent=2, ensure_ascii=False)}\n".encode())
    title = f"{Path(about['model']).name}, greedy, protocol {asked.settings['protocol']}"
    console.print(em_table(title, numbers, published))
    console.print(more_table(f"{title}: more", numbers))
    if lost := {
        arm: n["micro"]["stops"]["tool_failed"] for arm, n in numbers.items() if "tool_failed" in n["micro"]["stops"]
    }:
        console.print(f"the search tool did not answer in {lost}: counted as wrong; the same command tries them again")
    console.print(f"every answer is in {out / 'records.jsonl'}, every number in {out / 'eval.json'}")


def _asked(given: Mapping[str, Any]) -> Asked:
    """The questions, and the options as they are kept."""
    for name in _NOT_OF_SETS:
        if given[name]:
            raise InputError(f"--{name} is not for sets: {_INSTEAD[name]}.")
    own = {"--prompt": given["prompt"], "--chat": given["chat"] != "auto"}
    for option in (option for option, said in own.items() if said and given["protocol"] != "run"):
        raise InputError(f"{option} is the protocol's own in --protocol {given['protocol']}: leave out one of the two.")
    _baselines(given)
    sets = _read(given)
    counts = {name: len(tasks) for name, tasks in sets.items()}
    chosen = {name: sample(tasks, name, given["limit_per_set"], given["seed"]) for name, tasks in sets.items()}
    kept = {name: value for name, value in given.items() if name not in (*_NOT_KEPT, *_NOT_OF_SETS)}
    kept |= {name: str(kept[name].resolve()) for name in _PLACES if kept[name] is not None}
    named = [name for name in ("model", "bench") if kept[name] != BASE and Path(kept[name]).exists()]
    kept |= {name: str(Path(kept[name]).resolve()) for name in named}
    return Asked(kept, chosen, counts)


_INSTEAD = {
    "against": "give the command once for each model",
    "limit": "take --limit-per-set",
    "samples": "their answers are greedy",
}


def _read(given: Mapping[str, Any]) -> dict[str, list[Question]]:
    """The sets that ``--bench`` names: a file's, or those of a folder."""
    bench, strict, folder = given["bench"], given["strict"], given["bench_dir"]
    if Path(bench).is_file():
        return read_grouped(Path(bench), strict)
    if bench == WORLD:
        raise InputError("a world's questions are no sets: name some by --bench, as nq,hotpotqa, or a file of several.")
    names = list(dict.fromkeys(set_name(name) for name in bench.split(",") if name.strip()))
    if "/" in bench or "." in bench:
        raise InputError(f"there is no benchmark file {bench}: give one, or names of sets with --bench-dir DIR.")
    if not names:
        raise InputError(f"--bench {bench!r} names no set: name some of {', '.join(SETS)}.")
    if folder is None:
        raise InputError(f"--bench {bench} names sets: give their folder by --bench-dir DIR.")
    return read_named(names, folder, strict)


def _baselines(given: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in given["baselines"].split(",") if name.strip()))
    for name in names:
        if name not in BASELINES:
            raise InputError(f"--baselines has {name!r}: name {' or '.join(BASELINES)}, or both with a comma.")
    return names


def _paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they were kept, with paths for the names of folders."""
    return {name: Path(value) if name in _PLACES and value is not None else value for name, value in settings.items()}
