"""Environments of Gymnasium and PettingZoo, played by a script, beside the same environments stepped by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys.scripted import LIMITS, ScriptedEngine

from piplay.chat.base import Chat
from piplay.cli.main import main
from piplay.engine.protocol import Generate
from piplay.envs.gym import GymEnvironment, Starts, TextEnvironment
from piplay.envs.pettingzoo import PettingzooEnvironment
from piplay.errors import InputError
from piplay.methods.gym import Demonstrate, Play
from piplay.rollout.stage import Stage
from piplay.training.assemble import load_chat, tiny_base
from piplay.types import Episode, Owner, ScoredTrajectory, StopReason

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("pettingzoo")

WORDS = ("left", "down", "right", "up")
COMPASS = ("west", "south", "east", "north")
LAKE = "piplay.envs.gym.lake:piplay/HiddenLake-v0"
Script = Callable[[Generate], str]


@pytest.fixture(scope="module")
def chat() -> Chat:
    return load_chat(tiny_base())


@pytest.fixture(scope="module")
def frozen() -> GymEnvironment:
    return GymEnvironment(
        make="FrozenLake-v1", options={"render_mode": "ansi", "is_slippery": False}, actions=WORDS, heldout=3
    )


@pytest.fixture(scope="module")
def hidden() -> GymEnvironment:
    return GymEnvironment(make=LAKE, options={"size": 3, "p": 0.65, "max_episode_steps": 8}, actions=COMPASS)


def played(game: Play, world: TextEnvironment, chat: Chat, script: Script, seed: int = 0, **limits: int) -> Episode:
    stage = Stage(ScriptedEngine(chat, script), chat, {}, LIMITS.model_copy(update={"turns": 20} | limits), seed=7)
    start = world.heldout[0].__class__("t", world, seed)
    (episode,) = stage.play(game.play, ("m1", "play", 0), [start], dict.fromkeys(game.roles, "student"), 1.0)
    return episode


def saying(*words: str) -> Script:
    """A script that says one word after the other."""
    return lambda request: words[int(request.key[-1])]


def shown(chat: Chat, one: ScoredTrajectory) -> str:
    return str(chat.tokenizer.decode(one.trajectory.ids_T))


def test_a_picture_is_text_with_brackets_for_colour(frozen: GymEnvironment, chat: Chat) -> None:
    (one,) = played(Play(), frozen, chat, saying("right", "down")).trajectories
    text = shown(chat, one)
    assert "[S]FFF\n" in text
    assert "S[F]FF\n" in text
    assert "\x1b" not in text


def test_the_return_is_that_of_the_same_moves_by_hand(frozen: GymEnvironment, chat: Chat) -> None:
    moves = ["down", "down", "right", "right", "down", "right"]
    (one,) = played(Play(), frozen, chat, saying(*moves)).trajectories
    env = gymnasium.make("FrozenLake-v1", is_slippery=False)
    env.reset(seed=0)
    rewards = [env.step(WORDS.index(word))[1] for word in moves]
    assert one.turn_rewards is not None
    assert one.turn_rewards.tolist() == rewards == [0, 0, 0, 0, 0, 1]
    assert one.reward == 1
    assert one.trajectory.stop is StopReason.ANSWERED
    assert [turn.content for turn in one.trajectory.turns] == moves
    assert set(one.trajectory.owner_T) == {Owner.PROMPT, Owner.MODEL, Owner.USER}


def test_chance_is_the_seeds(chat: Chat) -> None:
    slippery = GymEnvironment(make="FrozenLake-v1", options={"render_mode": "ansi"}, actions=WORDS)
    told = [
        [shown(chat, one) for one in played(Play(), slippery, chat, saying(*["right"] * 20), seed).trajectories]
        for seed in (*range(6), *range(6))
    ]
    assert told[:6] == told[6:]
    assert len({text for (text,) in told}) > 1


def test_an_illegal_move_gets_a_hint_and_goes_on(frozen: GymEnvironment, chat: Chat) -> None:
    (one,) = played(Play(), frozen, chat, saying("jump", "Right.", "down")).trajectories
    assert "Write one of: left, down, right, up." in shown(chat, one)
    assert one.trajectory.stop is StopReason.ANSWERED  # in the hole
    assert len(one.trajectory.turns) == 3


def test_who_writes_no_legal_move_forfeits(frozen: GymEnvironment, chat: Chat) -> None:
    (one,) = played(Play(hints=2, forfeit=-1.0), frozen, chat, saying("right", "a", "b", "c")).trajectories
    assert one.trajectory.stop is StopReason.MALFORMED
    assert one.reward == -1
    assert one.turn_rewards is not None
    assert one.turn_rewards.tolist() == [0, 0, 0, -1]


def test_a_limit_ends_it(frozen: GymEnvironment, chat: Chat) -> None:
    (one,) = played(Play(), frozen, chat, saying(*["left"] * 9), turns=3).trajectories
    assert one.trajectory.stop is StopReason.TURNS
    assert len(one.trajectory.turns) == 3


def test_only_the_teachers_prompt_has_what_is_hidden(hidden: GymEnvironment, chat: Chat) -> None:
    env = hidden.new()
    env.reset(seed=5)
    observation, *_, info = env.last()
    (one,) = played(Play(), hidden, chat, saying(*["south"] * 9), seed=5).trajectories
    read = str(chat.tokenizer.decode(one.views["privileged"]))
    assert info["hidden"] in read
    assert observation in read
    assert info["hidden"] not in shown(chat, one)
    (taught,) = played(Play(privileged=True), hidden, chat, saying(*["south"] * 9), seed=5).trajectories
    trajectory = taught.trajectory
    assert trajectory.ids_T[: trajectory.prompt_len].tolist() == one.views["privileged"].tolist()
    plain = one.trajectory
    assert taught.views["plain"].tolist() == plain.ids_T[: plain.prompt_len].tolist()


def test_the_ways_are_shortest(hidden: GymEnvironment) -> None:
    for seed in range(30):
        env = hidden.new()
        env.reset(seed=seed)
        lake = env.unwrapped
        ice = {(r, c) for r in range(3) for c in range(3) if lake.lake.desc[r, c] != b"H"}
        far = {(2, 2): 0}
        for _ in range(9):  # Bellman–Ford on the cells that can be walked on
            for r, c in ice:
                near = [far[n] for n in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)) if n in far]
                far[r, c] = 0 if (r, c) == (2, 2) else min([far.get((r, c), 99), *(n + 1 for n in near)])
        steps = 0
        while env.agents:
            _, reward, ended, cut, _ = env.last()
            if ended or cut:
                assert reward == 1
                env.step(None)
            else:
                env.step(COMPASS.index(lake.ways[lake.cell]))
                steps += 1
        assert steps == far[0, 0]


def test_demonstrations_are_put_plain_at_random_and_shown_by_the_script(hidden: GymEnvironment, chat: Chat) -> None:
    def silent(request: Generate) -> str:
        raise AssertionError("nothing is written")

    game = Demonstrate(rollouts=4, script="piplay.envs.gym.lake:way")
    plain, way, other, again = played(game, hidden, chat, silent, seed=3).trajectories
    assert way.reward == again.reward == 1
    assert "privileged" in plain.views
    assert "plain" in way.views
    assert shown(chat, way) == shown(chat, again)
    assert [turn.content for turn in plain.trajectory.turns] != [turn.content for turn in other.trajectory.turns]
    assert not plain.trajectory.logprobs_T.any()


def test_held_out_seeds_are_never_drawn(hidden: GymEnvironment) -> None:
    drawn = Starts(hidden, seed=0).draw(("m1", "play", 0), 1000)
    assert min(start.seed for start in drawn) >= len(hidden.heldout) == 100
    assert Starts(hidden, seed=0).draw(("m1", "play", 0), 1000) == drawn
    assert drawn[0].row() == {"seed": drawn[0].seed}


def test_agents_are_roles_with_rewards_of_their_own(chat: Chat) -> None:
    stones = PettingzooEnvironment(make="toys.stones:Stones")
    count = int(np.random.default_rng(4).integers(5, 10))
    episode = played(Play(roles=("first", "second"), rollouts=2), stones, chat, lambda request: "1", seed=4)
    first, second, *_ = episode.trajectories
    assert [one.trajectory.role for one in episode.trajectories] == ["first", "second"] * 2
    assert (first.reward, second.reward) == ((1, -1) if count % 2 else (-1, 1))
    assert len(first.trajectory.turns) + len(second.trajectory.turns) == count
    assert [f"Stones: {left}" for left in range(count, 0, -2)] == [
        line for line in shown(chat, first).replace("<", "\n").replace("> ", "\n").split("\n") if "Stones" in line
    ]
    groups = [one.group for one in episode.trajectories]
    assert groups[0] == groups[2] != groups[1] == groups[3]


def test_a_mask_says_what_is_legal(chat: Chat) -> None:
    stones = PettingzooEnvironment(make="toys.stones:Stones")
    episode = played(Play(roles=("first", "second"), forfeit=-1.0), stones, chat, lambda request: "3", seed=4)
    last = next(one for one in episode.trajectories if one.trajectory.stop is StopReason.MALFORMED)
    assert last.reward == -1
    assert "Write one of: " in shown(chat, last)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"make": "FrozenLike-v1"}, "Gymnasium cannot make 'FrozenLike-v1'"),
        ({"make": "nowhere:FrozenLake-v1"}, "Gymnasium cannot make"),
        ({"make": "FrozenLake-v1", "actions": ("a", "b")}, "player has 4 actions, and 2 have words"),
        ({"make": "FrozenLake-v1", "observe": "nowhere:text"}, "there is no function 'nowhere:text'"),
        ({"make": "MountainCarContinuous-v0"}, "the actions of player are no numbers"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        GymEnvironment(**options)


def test_an_environment_without_text_is_named(chat: Chat) -> None:
    silent = GymEnvironment(make="FrozenLake-v1")
    with pytest.raises(InputError, match="shows no text"):
        played(Play(), silent, chat, saying("1"))


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(InputError, match=r"pip install 'piplay\[envs\]'"):
        GymEnvironment(make="FrozenLake-v1")


STONES = """\
name = "stones"
iterations = 1
agent = "player"
limits = { turns = 8, turn_tokens = 3, tokens = 300 }
environment = { kind = "pettingzoo", make = "toys.stones:Stones" }
sources.starts = { kind = "gym:Starts" }
policies.player = {}

[[phases]]
name = "play"
game = "gym:Play"
tasks = "starts"
steps = 2
episodes = 3
seats = { first = "player", second = "player" }
opponents = { draw = "uniform", every = 1 }
learn.first = {}
learn.second = {}
options = { roles = ["first", "second"], forfeit = -1.0 }
"""


@pytest.mark.slow
def test_agents_meet_earlier_selves(tmp_path: Path) -> None:
    (tmp_path / "stones.toml").write_text(STONES, encoding="utf-8")
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "stones.toml"), "--run-dir", str(run), "--engine.threads", "1"]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(-1 <= row["first/reward"] <= 1 for row in rows)


@pytest.mark.slow
def test_the_recipe_plays(tmp_path: Path) -> None:
    small = {
        "engine.threads": "1",
        "environment.heldout": "4",
        "phases.warm_up.steps": "1",
        "phases.warm_up.episodes": "2",
        "phases.play.steps": "1",
        "phases.play.episodes": "2",
    }
    told = [word for name, value in small.items() for word in (f"--{name}", value)]
    assert main(["train", "frozen-lake", "--run-dir", str(tmp_path / "run"), *told]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[0]["player/nll"] > 0
    assert rows[1]["player/distill_kl"] > 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert {"return", "teacher_return"} <= set(summary["eval"][-1])
