"""SPIRAL at its tables: who gets what, what a move is trained on, exact measures, and whole runs that resume."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys.scripted import ScriptedEngine

from piplay.chat.base import Chat
from piplay.cli.main import main
from piplay.engine.protocol import Generate
from piplay.envs.table import Deals, Kuhn, RockPaperScissors, Table, TableEnvironment
from piplay.envs.table.environment import Deal
from piplay.envs.table.solve import Policy, exploitability, information_sets, uniform
from piplay.errors import InputError
from piplay.methods.spiral import Play, SpiralEvaluation, WarmUp
from piplay.protocols import Place
from piplay.recipes import load_config, recipes
from piplay.rollout.stage import Stage
from piplay.settings import Limits
from piplay.training.assemble import check_parts, load_environment
from piplay.training.run_directory import Run
from piplay.types import Episode, Floats, Owner, PolicyRef, Sample

LIMITS = Limits(turns=1, turn_tokens=12, tokens=400)
SEATS = {"first": PolicyRef("player"), "second": PolicyRef("player", "early")}


def stage(chat: Chat, engine: Any, seed: int = 0) -> Stage:
    return Stage(engine, chat, {}, LIMITS, seed=seed)


def played(
    chat: Chat, script: Callable[[str, str], str], table: str = "kuhn:Kuhn", game: Play | None = None, seed: int = 0
) -> Episode:
    """One game; the script says what a seat answers to its prompt's text."""

    def answer(request: Generate) -> str:
        text = chat.tokenizer.decode(request.ids_T)
        return script("first" if "you are first" in text else "second", text)

    engine = ScriptedEngine(chat, answer)
    [episode] = stage(chat, engine, seed).play((game or Play()).play, ("m1", "p", 0), [Deal("d", table)], [SEATS], 1.0)
    return episode


def scripted(**words: Sequence[str]) -> Callable[[str, str], str]:
    left = {role: list(said) for role, said in words.items()}
    return lambda role, text: left[role].pop(0)


def test_every_move_of_a_seat_gets_what_the_game_paid_it(tiny_chat: Chat) -> None:
    episode = played(tiny_chat, scripted(first=["check", "call"], second=["bet"]))
    first, second, again = episode.trajectories
    assert [one.trajectory.role for one in episode.trajectories] == ["first", "second", "first"]
    assert [one.trajectory.answer for one in episode.trajectories] == ["check", "bet", "call"]
    assert first.reward == again.reward == -second.reward
    assert abs(first.reward) == 2
    assert {one.group for one in episode.trajectories} == {episode.key}
    assert [one.baseline for one in (first, second)] == [("kuhn:Kuhn", "first"), ("kuhn:Kuhn", "second")]
    assert [one.trajectory.policy for one in (first, second)] == [SEATS["first"], SEATS["second"]]
    assert len({one.trajectory.key for one in episode.trajectories}) == 3


def test_a_move_sees_the_view_and_no_earlier_words(tiny_chat: Chat) -> None:
    episode = played(tiny_chat, scripted(first=["check", "fold"], second=["bet"]))
    table = Kuhn()
    for one, seat, moves in zip(episode.trajectories, (0, 1, 0), ([], ["check"], ["check", "bet"]), strict=True):
        text = tiny_chat.tokenizer.decode(one.trajectory.ids_T[: one.trajectory.prompt_len])
        assert f"Actions: {' '.join(moves) or 'none'}" in text
        assert text.count(table.rules) == 1
        assert f"you are {table.seats[seat]}" in text
        assert (one.trajectory.owner_T == Owner.MODEL).any()


@pytest.mark.parametrize("word", ["raise", "call", "", "check and bet"])
def test_an_illegal_move_ends_the_game(tiny_chat: Chat, word: str) -> None:
    by_first = played(tiny_chat, scripted(first=[word]))
    assert [one.reward for one in by_first.trajectories] == [-1.5]
    by_second = played(tiny_chat, scripted(first=["check"], second=["call"]), game=Play(offender=-3.0, other=0.25))
    assert [one.reward for one in by_second.trajectories] == [0.25, -3.0]
    assert by_second.facts == {"first": 0.25, "second": -3.0, "moves": 2.0, "illegal": "second"}


def test_a_move_that_a_limit_cuts_is_illegal(tiny_chat: Chat) -> None:
    episode = played(tiny_chat, scripted(first=["check " * 20]))
    assert episode.facts["illegal"] == "first"


def test_a_game_that_is_too_long_pays_nothing(tiny_chat: Chat) -> None:
    episode = played(tiny_chat, scripted(first=["check"], second=["bet"]), game=Play(moves=2))
    assert [one.reward for one in episode.trajectories] == [0, 0]
    assert Play(moves=5).cost() == {"first": 3, "second": 2}


def test_what_is_hidden_stands_in_the_privileged_view_alone(tiny_chat: Chat) -> None:
    episode = played(tiny_chat, scripted(first=["bet"], second=["fold"]))
    cards = {}
    for one in episode.trajectories:
        own = tiny_chat.tokenizer.decode(one.trajectory.ids_T[: one.trajectory.prompt_len])
        privileged = tiny_chat.tokenizer.decode(one.views["privileged"])
        cards[one.trajectory.role] = own.split("Card: ")[1][0], privileged.split("other player's card: ")[1][0]
        assert "other player's card" not in own
        assert privileged.endswith(own[own.index("Kuhn poker, you are") :])
    assert cards["first"] == cards["second"][::-1]
    assert len(set(cards["first"])) == 2
    [open_board, *_] = played(
        tiny_chat, lambda role, text: text.split("Moves: ")[1][0], "tic_tac_toe:TicTacToe"
    ).trajectories
    prompt = open_board.trajectory.ids_T[: open_board.trajectory.prompt_len]
    assert open_board.views["privileged"].tolist() == prompt.tolist()


def test_deals_are_named_by_the_episode_and_the_seed(tiny_chat: Chat) -> None:
    def cards(seed: int, number: int) -> str:
        engine = ScriptedEngine(tiny_chat, lambda request: "bet" if "Actions: none" in text(request) else "fold")

        def text(request: Generate) -> str:
            return str(tiny_chat.tokenizer.decode(request.ids_T))

        tasks = [Deal(str(i), "kuhn:Kuhn") for i in range(number)]
        stage(tiny_chat, engine, seed).play(Play().play, ("m1", "p", 0), tasks, [SEATS] * number, 1.0)
        return "".join(text(r).split("Card: ")[1][0] for r in engine.seen if "you are first" in text(r))

    assert cards(0, 20) == cards(0, 20)
    assert cards(0, 20).startswith(cards(0, 5))
    assert cards(0, 20) != cards(1, 20)
    assert set(cards(0, 20)) == {"J", "Q", "K"}


def test_the_numbers_of_a_step(tiny_chat: Chat) -> None:
    def episode(first: float, second: float, moves: int, illegal: str = "") -> Episode:
        facts: Mapping[str, float | str] = {"first": first, "second": second, "moves": moves, "illegal": illegal}
        return Episode(("e",), Deal("d", "kuhn:Kuhn"), (), facts=facts)

    episodes = [episode(2, -2, 3), episode(0, 0, 2), episode(-1, 1, 2), episode(-1.5, 0.5, 1, "first")]
    row = Play().metrics(episodes, None)
    assert row == {
        "draws": 0.25, "illegal": 0.25, "moves": 2.0, "first/payoff": -0.125, "first/wins": 0.25,
        "second/payoff": -0.125, "second/wins": 0.5,
    }  # fmt: skip
    assert set(Play.headline) <= set(row)


def test_the_warm_up_writes_random_legal_moves_itself(tiny_chat: Chat) -> None:
    def nothing(role: str, text: str) -> str:
        raise AssertionError("the model was asked")

    seen = set()
    for seed in range(12):
        episode = played(tiny_chat, nothing, game=WarmUp(), seed=seed)
        assert episode.facts["illegal"] == ""
        for one in episode.trajectories:
            trajectory = one.trajectory
            written = trajectory.ids_T[trajectory.owner_T == Owner.MODEL].tolist()
            assert written == tiny_chat.written(tiny_chat.phrase(content=trajectory.answer))
            seen.add(trajectory.answer)
    assert seen == {"check", "bet", "call", "fold"}


class Known:
    """An engine whose policies have known probabilities: scores alone."""

    def __init__(self, chat: Chat, table: Table[Any], policy: Policy, legal_mass: float = 1.0) -> None:
        self._masses: dict[tuple[str, str], float] = {}
        self.calls = 0
        for at in information_sets(table):
            for move, share in zip(at.legal, policy(at.view, at.legal, at.seat), strict=True):
                self._masses[at.view, move] = share * legal_mass
        self._chat = chat

    def score(self, policy: PolicyRef, samples: Sequence[Sample], view: str = "") -> list[Floats]:
        """The mass of the answer, spread over its tokens, end token included."""
        self.calls += 1
        found = []
        for sample in samples:
            text = self._chat.tokenizer.decode(sample.ids_T[: sample.prompt_len])
            [view_text] = {view for view, _ in self._masses if view in text}
            answer = sample.ids_T[sample.owner_T == Owner.MODEL]
            assert answer[-1] in self._chat.stop.ids
            mass = self._masses[view_text, self._chat.parse(answer.tolist()).content]
            found.append(np.where(sample.owner_T == Owner.MODEL, np.log(mass) / len(answer), 0).astype(np.float32))
        return found


def skewed(view: str, legal: tuple[str, ...], seat: int) -> tuple[float, ...]:
    weights = np.array([1.0 + (len(view) * 7 + seat * 3 + i * 5) % 4 for i in range(len(legal))])
    return tuple((weights / weights.sum()).tolist())


def evaluation(table: str, state: dict[str, Any], every: int = 0, window: int = 40) -> SpiralEvaluation:
    return SpiralEvaluation(TableEnvironment(table=table), state, load_config("kuhn", {}), every=every, window=window)


@pytest.mark.parametrize("legal_mass", [1.0, 0.75])
def test_exploitability_is_that_of_the_policys_own_probabilities(tiny_chat: Chat, legal_mass: float) -> None:
    table = Kuhn()
    engine = Known(tiny_chat, table, skewed, legal_mass)
    row = evaluation("kuhn:Kuhn", {}).measure(stage(tiny_chat, engine), 0)
    assert row["exploitability"] == pytest.approx(exploitability(table, [skewed, skewed]), abs=1e-5)
    assert row["illegal"] == pytest.approx(1 - legal_mass, abs=1e-5)
    assert engine.calls == 1
    even = evaluation("kuhn:Kuhn", {}).measure(stage(tiny_chat, Known(tiny_chat, table, uniform)), 0)
    assert even["exploitability"] == pytest.approx(0.9167 / 2, abs=1e-4)
    assert even["from_uniform"] == pytest.approx(0, abs=1e-6)


def test_the_average_is_of_the_last_policies_of_the_phase(tiny_chat: Chat) -> None:
    table, state = RockPaperScissors(), {}
    pure = [lambda view, legal, seat, i=i: tuple(float(j == i) * 0.999997 + 1e-6 for j in range(3)) for i in range(3)]
    [phase, *_] = load_config("kuhn", {}).phases
    measured = evaluation("rock_paper_scissors:RockPaperScissors", state, every=2)
    rows = [
        measured.after_step(
            stage(tiny_chat, Known(tiny_chat, table, pure[step // 2 % 3])), Place(1, phase, step, False), {}
        )
        for step in range(6)
    ]
    assert [bool(row) for row in rows] == [False, True] * 3
    assert [row["policy/exploitability"] for row in rows[1::2]] == pytest.approx([1.0] * 3, abs=1e-4)
    assert [row["policy/average_exploitability"] for row in rows[1::2]] == pytest.approx([1, 0.5, 0], abs=1e-4)
    assert rows[-1]["policy/average_from_uniform"] == pytest.approx(0, abs=1e-4)
    state = json.loads(json.dumps(state))
    again = evaluation("rock_paper_scissors:RockPaperScissors", state, every=2)
    row = again.measure(stage(tiny_chat, Known(tiny_chat, table, pure[0])), 1)
    assert row["average_exploitability"] == pytest.approx(0, abs=1e-4)
    narrow = evaluation("rock_paper_scissors:RockPaperScissors", state, every=1, window=1)
    row = narrow.after_step(stage(tiny_chat, Known(tiny_chat, table, pure[0])), Place(1, phase, 6, False), {})
    assert row["policy/average_exploitability"] == pytest.approx(1, abs=1e-4)
    again.after_step(stage(tiny_chat, Known(tiny_chat, table, pure[0])), Place(1, phase, 0, False), {})
    assert state["members"] == []


def test_the_evaluation_needs_a_table(tiny_chat: Chat) -> None:
    class Other:
        tools, heldout, audit = (), (), None

        def describe(self) -> str:
            return ""

    with pytest.raises(InputError, match="take the environment table"):
        SpiralEvaluation(Other(), {}, load_config("kuhn", {}))
    with pytest.raises(InputError, match="take the environment table"):
        Deals(Other())


RECIPE = """\
name = "toy-kuhn"
iterations = 1
environment = { kind = "table", table = "kuhn:Kuhn" }
sources.deals = { kind = "table:Deals" }
agent = "player"
evaluation = { kind = "spiral", every = 5 }
limits = { turns = 1, turn_tokens = 8, tokens = 400 }
engine = { threads = 1, slots = 8 }
report = { grid = 0 }
checkpoint_every = 4
policies.player = { lr = 1e-2 }

[[phases]]
name = "warm"
game = "spiral:WarmUp"
tasks = "deals"
steps = 15
episodes = 8
seats = { first = "player", second = "player" }
learn.first.losses.nll = {}
learn.second.losses.nll = {}

[[phases]]
name = "selfplay"
game = "spiral:Play"
tasks = "deals"
steps = 5
episodes = 6
seats = { first = "player", second = "player" }
opponents = { draw = "nash", every = 1, size = 3, matches = 2 }
learn.first = { advantage = "role_ema", losses.pg = {} }
learn.second = { advantage = "role_ema", losses.pg = {} }
"""


def left(run: Path) -> dict[str, Any]:
    """What a run leaves but for its times."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    [state] = sorted(run.glob("checkpoints/*/state.json"))[-1:]
    return {
        "rows": [{name: number for name, number in row.items() if name != "seconds"} for row in rows],
        "state": {name: part for name, part in json.loads(state.read_text()).items() if name != "seconds"},
        "weights": {p.name: p.read_bytes() for p in sorted(state.parent.glob("*.safetensors"))},
        "final": (run / "final" / "player" / "model.safetensors").read_bytes(),
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, toy: Callable[[str], Path]) -> Path:
    """A whole run; its recipe stands beside it."""
    folder = tmp_path_factory.mktemp("kuhn")
    (folder / "toy.toml").write_text(f'model = "{toy("qwen3")}"\n{RECIPE}', encoding="utf-8")
    assert main(["train", str(folder / "toy.toml"), "--run-dir", str(folder / "run")]) == 0
    return folder / "run"


@pytest.mark.slow
def test_a_run_keeps_its_pool_and_its_baselines(whole: Path) -> None:
    state = left(whole)["state"]
    assert state["opponents"]["player"]["snapshots"] == ["selfplay-2", "selfplay-3", "selfplay-4"]
    assert {f"player@selfplay-{n}.safetensors" for n in (2, 3, 4)} <= set(left(whole)["weights"])
    baselines = [key for name in ("first", "second") for key in state["learners"][f"selfplay/{name}"]["advantage"]]
    # A random model's first move is mostly illegal, and a seat that never moves has no baseline.
    assert '["kuhn:Kuhn", "first"]' in baselines
    assert set(baselines) <= {'["kuhn:Kuhn", "first"]', '["kuhn:Kuhn", "second"]'}
    rows = left(whole)["rows"]
    assert all(row["first/payoff"] == -row["second/payoff"] for row in rows[:15])
    assert all(row["first/nll"] > 0 for row in rows[:15])


@pytest.mark.long
@pytest.mark.parametrize("step", [6, 18])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    whole: Path, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Run.log

    def interrupted(self: Run, row: dict[str, Any]) -> None:
        log(self, row)
        if row["n"] == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", interrupted)
        assert main(["train", str(whole.parent / "toy.toml"), "--run-dir", str(tmp_path / "run")]) != 0
    assert main(["resume", str(tmp_path / "run")]) == 0
    found, expected = left(tmp_path / "run"), left(whole)
    for part, content in expected.items():
        assert found[part] == content, part


@pytest.mark.parametrize("recipe", ["kuhn", "rock-paper-scissors", "tic-tac-toe"])
def test_the_recipes_are_whole(recipe: str) -> None:
    assert recipe in recipes()
    config = load_config(recipe, {})
    check_parts(config, load_environment(config))


def test_a_wrong_option_is_named() -> None:
    config = load_config("kuhn", {"phases.selfplay.options": {"offende": 1}})
    with pytest.raises(InputError, match="no option 'offende'"):
        check_parts(config, load_environment(config))
