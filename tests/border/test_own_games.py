"""What a game or a source of one's own does wrong is one sentence that names it; what it does right passes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from border_helpers import Guess, Rounds, loop_of, settings

from piplay.chat.base import Chat
from piplay.errors import InputError
from piplay.protocols import make_game
from piplay.rollout.context import Context
from piplay.training.assemble import make_sources
from piplay.types import Episode, ScoredTrajectory, State, Task

HERE = Path(__file__).name


def refused(chat: Chat, folder: Path, game: str = "border_helpers:Guess", **changes: Any) -> str:
    """The sentence by which a run ends."""
    loop = loop_of(settings(game, **changes), chat, folder)
    with pytest.raises(InputError) as raised:
        loop.train()
    said = str(raised.value)
    assert "\n" not in said
    return said


def metrics(row: Any) -> type[Guess]:
    return type("Counted", (Guess,), {"metrics": lambda self, episodes, audit: row})


def scored(**changes: Any) -> type[Guess]:
    class Scored(Guess):
        async def play(self, task: Task, context: Context) -> Episode:
            episode = await super().play(task, context)
            return replace(episode, trajectories=(replace(episode.trajectories[0], **changes),))

    return Scored


def noted(*facts: dict[str, Any]) -> type[Guess]:
    """The i-th episode of a step has the i-th facts."""

    class Noted(Guess):
        async def play(self, task: Task, context: Context) -> Episode:
            return replace(await super().play(task, context), facts=facts[int(context.key[-1]) % len(facts)])

    return Noted


def told(result: Any) -> type[Guess]:
    class Told(Guess):
        async def play(self, task: Task, context: Context) -> Episode:
            return result(await super().play(task, context)) if callable(result) else result

    return Told


def drawn(tasks: Any) -> type[Rounds]:
    return type("Drawn", (Rounds,), {"draw": lambda self, key, count: tasks})


class Sync(Guess):
    def play(self, task: Task, context: Context) -> Episode:  # type: ignore[override]
        raise AssertionError


class Yielding(Guess):
    async def play(self, task: Task, context: Context) -> Any:
        yield task


class Unplayed(Guess):
    play = Guess.__mro__[1].play  # type: ignore[attr-defined]


class Failing(Guess):
    async def play(self, task: Task, context: Context) -> Episode:
        await super().play(task, context)
        return {}["nothing"]


class FailingInside(Guess):
    async def play(self, task: Task, context: Context) -> Episode:
        await context.gather(self.part(i) for i in range(2))
        raise AssertionError

    async def part(self, i: int) -> float:
        return 1 / 0


class Asleep(Guess):
    async def play(self, task: Task, context: Context) -> Episode:
        await asyncio.sleep(0)
        return await super().play(task, context)


class Unawaited(Guess):
    async def play(self, task: Task, context: Context) -> Episode:
        line = context.open("guesser", "Guess.", "A number?")
        await line.say()
        return Episode(context.key, task, (ScoredTrajectory(line.close(), ("all",)),))  # type: ignore[arg-type]


class Twice(Guess):
    async def play(self, task: Task, context: Context) -> Episode:
        await context.converse("guesser", "Guess.", "A number?")
        return await super().play(task, context)


class Wordless(Guess):
    async def play(self, task: Task, context: Context) -> Episode:
        context.open("guesser", "Guess.", None)  # type: ignore[arg-type]
        raise AssertionError


class FailingMetrics(Guess):
    def metrics(self, episodes: Sequence[Episode], audit: Any) -> dict[str, float]:
        return {"share": 1 / (len(episodes) - 2)}


class Forgetful(Guess):
    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        list(episodes)
        return None  # type: ignore[return-value]


class Unpaid(Guess):
    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        return [replace(e, trajectories=tuple(replace(one, reward=None) for one in e.trajectories)) for e in episodes]


class Remembers(Guess):
    kept: Any = None

    def __init__(self, state: State) -> None:
        state["kept"] = self.kept


class Blank(Task):
    """No dataclass, and no kind."""


@dataclass(frozen=True, slots=True)
class Wide(Task):
    kind = "wide"

    def row(self) -> dict[str, Any]:
        return {"reward": 1.0}


CASES: dict[str, tuple[Any, str]] = {
    "metrics that raise": (FailingMetrics, rf":FailingMetrics.metrics raised ZeroDivisionError.*\({HERE}, line \d+\)"),
    "no metrics": (metrics(None), r"Counted.metrics gave None: give a dict of numbers"),
    "metrics in a list": (metrics([1.0]), r"Counted.metrics gave a list"),
    "a text as a metric": (metrics({"accuracy": "good"}), r"Counted.metrics: 'accuracy' is 'good': give a number"),
    "an array as a metric": (metrics({"accuracy": np.zeros(2)}), r"'accuracy' is a ndarray"),
    "nothing as a metric": (metrics({"accuracy": None}), r"'accuracy' is None"),
    "not a number": (metrics({"accuracy": float("nan")}), r"'accuracy' is nan: give a finite number"),
    "an infinite metric": (metrics({"accuracy": np.float32("inf")}), r"'accuracy' is inf"),
    "a metric without a name": (metrics({3: 1.0}), r"names a metric 3"),
    "a metric called n": (metrics({"n": 1.0}), r"gives 'n', which is logged of every step already"),
    "a role's metric": (metrics({"guesser/reward": 1.0}), r"gives 'guesser/reward', which is logged"),
    "a metric of learning": (metrics({"guesser/loss": 1.0}), r"gives 'guesser/loss', which learning gives"),
    "play that raises": (Failing, rf":Failing.play raised KeyError: 'nothing' \({HERE}, line \d+\)"),
    "a part that raises": (FailingInside, rf"FailingInside.part raised ZeroDivisionError.*\({HERE}, line \d+\)"),
    "play that is not async": (Sync, r":Sync.play is not async: write `async def play"),
    "play that yields": (Yielding, r":Yielding.play is not async"),
    "no play": (Unplayed, r":Unplayed has no `play`"),
    "play that gives nothing": (told(None), r"Told.play gave None: give an Episode"),
    "play that gives a number": (told(1.0), r"Told.play gave 1.0"),
    "play that waits for others": (Asleep, r"a game awaits what its context and its dialogues give"),
    "a dialogue not awaited": (Unawaited, r"a trajectory was not awaited: write `await line.close\(\)`"),
    "one trajectory alone": (told(lambda e: replace(e, trajectories=e.trajectories[0])), r"`trajectories` is a Scored"),
    "trajectories unscored": (
        told(lambda e: replace(e, trajectories=(e.trajectories[0].trajectory,))),
        r"gave a Trajectory among the trajectories: give a ScoredTrajectory",
    ),
    "two dialogues": (Twice, r"opens two dialogues under the key m1/play/0/0.*context.child\('guesser', 0\)"),
    "a prompt that is no text": (Wordless, r"the prompt of the role 'guesser' is None"),
    "no reward": (scored(reward=None), r"Scored.play: the reward of guesser is None"),
    "a text as reward": (scored(reward="1"), r"the reward of guesser is '1'"),
    "a reward that is no number": (scored(reward=float("nan")), r"the reward of guesser is nan"),
    "an infinite reward": (scored(reward=-np.inf), r"the reward of guesser is -inf"),
    "a reward of a turn": (scored(turn_rewards=np.array([np.nan])), r"a reward of a turn of guesser is not finite"),
    "a reward left open": (Unpaid, r"Unpaid.finalize_batch: the reward of guesser is None"),
    "a group that is a text": (scored(group="all"), r"the group of guesser is 'all': give a tuple"),
    "a group that cannot be hashed": (scored(group=(["all"],)), r"the group of guesser is"),
    "no batch": (Forgetful, r"Forgetful.finalize_batch gave None: give the list of episodes"),
    "facts of two kinds": (
        noted({"k": 1.0}, {"k": "one"}),
        r"the fact 'k' of episode m1/play/0/1 is a text, and was a num",
    ),
    "a fact that is a list": (noted({"k": [1]}), r"Noted.play: the fact 'k' is a list"),
    "a fact for a column": (noted({"reward": 5.0}), r"the fact 'reward' of episode .* has the name of a column"),
    "an array in a state": (
        type("Kept", (Remembers,), {"kept": np.zeros(2)}),
        r"state\['kept'\] is a ndarray: take its .tolist",
    ),
    "a numpy number in a state": (
        type("Kept", (Remembers,), {"kept": [np.int64(3)]}),
        r"state\['kept'\]\[0\] is a int64",
    ),
    "a number as a key": (type("Kept", (Remembers,), {"kept": {3: 1}}), r"a dict with the key 3: take texts as keys"),
    "a task without a kind": (told(lambda e: replace(e, written=(Blank("t"),))), r":Blank .*needs a `kind`"),
    "a task that is none": (told(lambda e: replace(e, written=("t",))), r"gave 't' as a task"),
    "no headline": (
        type("Headed", (Guess,), {"headline": {"gueser/reward": "r"}}),
        r"'gueser/reward' \(did you mean 'guesser/reward'",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_game_that_is_wrong_is_named(
    tiny_chat: Chat, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    game, sentence = CASES[case]
    monkeypatch.setitem(globals(), "Now", game)
    assert re.search(sentence, said := refused(tiny_chat, tmp_path / "run", f"{__name__}:Now")), said
    assert not [warning for warning in recwarn if "never awaited" in str(warning.message)]


SOURCES: dict[str, tuple[Any, str]] = {
    "no note": (
        type("Mute", (), {"draw": Rounds.draw}),
        r":Mute has no method 'note': a task source needs draw and note",
    ),
    "no draw": (type("Dry", (), {"note": Rounds.note}), r":Dry has no method 'draw'"),
    "no tasks": (drawn([]), r":Drawn.draw gave 0 tasks, and 2 were asked for"),
    "too few": (drawn([Task("a")]), r":Drawn.draw gave 1 tasks, and 2 were asked for"),
    "nothing": (drawn(None), r":Drawn.draw gave None: give a list of tasks"),
    "texts": (drawn(["a", "b"]), r":Drawn.draw gave 'a' as a task"),
    "ids that are none": (drawn([Task(1), Task(2)]), r"a task whose id is 1"),  # type: ignore[arg-type]
    "a column that there is": (drawn([Wide("a"), Wide("b")]), r":Wide.row: the column 'reward' of episode .*already"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_is_wrong_is_named(
    tiny_chat: Chat, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sentence = SOURCES[case]
    monkeypatch.setitem(globals(), "Now", source)
    with pytest.raises(InputError, match=sentence):
        loop_of(settings("border_helpers:Guess", f"{__name__}:Now"), tiny_chat, tmp_path / "run").train()


def test_a_source_that_raises_is_named_with_file_and_line(
    tiny_chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Rounds):
        def note(self, episodes: Sequence[Episode]) -> None:
            raise OSError("the disk is full")

    monkeypatch.setitem(globals(), "Now", Broken)
    with pytest.raises(InputError, match=rf"Broken.note raised OSError: the disk is full \({HERE}, line \d+\)"):
        loop_of(settings("border_helpers:Guess", f"{__name__}:Now"), tiny_chat, tmp_path / "run").train()


class Counting(Guess):
    sometimes = ("rare", "seen/*")

    def metrics(self, episodes: Sequence[Episode], audit: Any) -> dict[str, float]:
        return {
            "int": np.int64(3),  # type: ignore[dict-item]
            "float": np.float32(0.5),  # type: ignore[dict-item]
            "plain": 2,
            "array": np.array(1.5),  # type: ignore[dict-item]
            "yes": True,
            "of numpy": np.bool_(True),  # type: ignore[dict-item]
        }


def test_numbers_of_numpy_are_taken(tiny_chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Game(Counting):
        async def play(self, task: Task, context: Context) -> Episode:
            episode = await super().play(task, context)
            one = replace(episode.trajectories[0], reward=np.float32(0.25), weight=np.int64(1))  # type: ignore[arg-type]
            return replace(episode, trajectories=[one], facts={"k": np.int32(7), "said": "x"})  # type: ignore[arg-type]

    monkeypatch.setitem(globals(), "Now", Game)
    loop = loop_of(settings(f"{__name__}:Now"), tiny_chat, tmp_path / "run")
    loop.train()
    [row, _] = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    given = {name: row[name] for name in ("int", "float", "plain", "array", "yes", "of numpy")}
    assert given == {"int": 3, "float": 0.5, "plain": 2, "array": 1.5, "yes": 1, "of numpy": 1}
    assert row["guesser/reward"] == 0.25
    kept = pq.read_table(tmp_path / "run" / "rollouts").to_pylist()
    assert [(one["reward"], one["k"], one["said"]) for one in kept] == [(0.25, 7, "x")] * 4


def test_facts_keep_their_kind_over_steps_and_resumes(
    tiny_chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changing(Guess):
        async def play(self, task: Task, context: Context) -> Episode:
            value = "late" if context.key[2] == 1 else 1.0
            return replace(await super().play(task, context), facts={"k": value})

    monkeypatch.setitem(globals(), "Now", Changing)
    config = settings(f"{__name__}:Now", checkpoint_every=1)
    for _ in range(2):  # the second time with what is on disk
        with pytest.raises(InputError, match="the fact 'k' of episode m1/play/1/0 is a text, and was a number before"):
            loop_of(config, tiny_chat, tmp_path / "run").train()


def test_the_last_checkpoint_stands_and_a_corrected_game_goes_on(
    tiny_chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Guess):
        def metrics(self, episodes: Sequence[Episode], audit: Any) -> dict[str, float]:
            return {} if episodes[0].key[2] == 0 else {"a": 1 / 0}

    config = settings(f"{__name__}:Now", checkpoint_every=1)
    monkeypatch.setitem(globals(), "Now", Late)
    with pytest.raises(InputError, match="ZeroDivisionError"):
        loop_of(config, tiny_chat, tmp_path / "run").train()
    monkeypatch.setitem(globals(), "Now", Guess)
    loop = loop_of(config, tiny_chat, tmp_path / "run")
    loop.train()
    assert [row["step"] for row in loop.run.rows()] == [1, 2]
    assert loop.run.finished


def test_until_names_a_metric_that_comes(tiny_chat: Chat, tmp_path: Path) -> None:
    until = {"metric": "guesser/rewad", "above": 0.5}
    said = refused(tiny_chat, tmp_path / "run", until=until)
    assert "until of phase play names the metric 'guesser/rewad' (did you mean 'guesser/reward'?)" in said
    assert len(list((tmp_path / "run" / "rollouts").iterdir())) == 0


@pytest.mark.parametrize("metric", ["guesser/loss", "rare", "seen/4", "guesser/stop/turns"])
def test_until_may_name_what_learning_gives_and_what_comes_sometimes(
    tiny_chat: Chat, tmp_path: Path, metric: str
) -> None:
    until = {"metric": metric, "above": 0.5, "steps": 1}
    loop = loop_of(settings(f"{__name__}:Counting", until=until), tiny_chat, tmp_path / "run")
    loop.train()
    assert len(loop.run.rows()) == (1 if metric == "guesser/loss" else 2)


def test_limits_shorter_than_every_prompt_are_said_in_the_first_step(tiny_chat: Chat, tmp_path: Path) -> None:
    said = refused(tiny_chat, tmp_path / "run", limits={"tokens": 8})
    assert re.match(r"limits.tokens is 8, and the shortest prompt of the role 'guesser' has \d+ tokens", said)


@pytest.mark.parametrize("late", [False, True])
def test_a_view_that_a_loss_reads_is_missed_before_anything_is_learnt(
    tiny_chat: Chat, tmp_path: Path, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Finalized(Guess):
        def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
            return list(episodes)

    monkeypatch.setitem(globals(), "Now", Finalized if late else Guess)
    learn = {"guesser": {"losses": {"distill": {"policy": "guesser"}}}}
    config = settings(f"{__name__}:Now", learn=learn)
    loop = loop_of(config, tiny_chat, tmp_path / "run")
    trained: list[str] = []
    monkeypatch.setattr(loop.engine, "train", lambda *given: trained.append("once"))
    with pytest.raises(
        InputError, match=r"phase play, guesser: the loss distill reads the view 'privileged', and .*none"
    ):
        loop.train()
    assert trained == []


def test_a_seat_that_no_one_takes_is_said(tiny_chat: Chat, tmp_path: Path) -> None:
    config = settings("border_helpers:Guess", seats={"guesser": "guesser", "gueser": "guesser"})
    loop = loop_of(config, tiny_chat, tmp_path / "run")
    loop.train()
    [said] = loop.listener.messages  # type: ignore[attr-defined]
    assert said == (
        "phase play: the seat of 'gueser' (did you mean 'guesser'?) stays empty: in border_helpers:Guess guesser write"
    )


def test_a_role_that_learns_and_never_writes_is_refused() -> None:
    config = settings("border_helpers:Guess", seats={"guesser": "guesser", "gueser": "guesser"}, learn={"gueser": {}})
    with pytest.raises(
        InputError, match=r"phase play: 'gueser' is to learn, and writes nothing.*did you mean 'guesser'"
    ):
        make_game(config.phases[0], {})


def test_sources_are_looked_at_before_a_run() -> None:
    with pytest.raises(InputError, match="no method 'draw'"):
        make_sources(settings("border_helpers:Guess", "border_helpers:Sums"), None, {})  # type: ignore[arg-type]
