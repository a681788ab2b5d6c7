"""Whole runs at toy size: same bits, no leak of the truth, no pull where teacher and student are one."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from piplay.algo.losses import distill
from piplay.chat.native import Native
from piplay.cli.main import main
from piplay.engine.local.engine import LocalEngine
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Question
from piplay.envs.search.tool import SEARCH
from piplay.errors import InputError
from piplay.protocols import Environment
from piplay.recipes import load_config
from piplay.training.assemble import load_chat, load_engine, load_environment, tiny_base, tool_specs
from piplay.training.loop import Loop
from piplay.training.run_directory import Run
from piplay.types import Sample

pytestmark = pytest.mark.slow


class Silent:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.measured: list[tuple[object, ...]] = []

    def began(self, *told: object) -> None: ...
    def phase(self, *told: object) -> None: ...
    def step(self, *told: object) -> None: ...
    def evaluated(self, *told: object) -> None: ...
    def measuring(self, *told: object) -> None:
        self.measured.append(told)

    def message(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def close(self, failed: bool) -> None: ...


def play(
    recipe: str | Path,
    folder: Path,
    overrides: dict[str, str],
    change: Callable[[Environment], Environment] = lambda environment: environment,
) -> Run:
    loop = loop_of(recipe, folder, {"engine.threads": "1"} | overrides, change=change)
    loop.train()
    return loop.run


def loop_of(
    recipe: str | Path,
    folder: Path,
    overrides: dict[str, str],
    listener: Silent | None = None,
    change: Callable[[Environment], Environment] = lambda environment: environment,
) -> Loop:
    config = load_config(str(recipe), overrides)
    environment = change(load_environment(config))
    chat = load_chat(config.model or tiny_base(), config.chat, tool_specs(environment))
    return Loop(Run.create(folder, config), environment, load_engine(config), chat, listener or Silent())


def weights(run: Run) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(run.folder.glob("final/*/model.safetensors"))}


def timeless(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.rows()]


def rows_of(run: Run, phase: str) -> list[dict[str, Any]]:
    return [row for row in run.rows() if row["phase"] == phase]


@pytest.fixture(scope="module")
def whole(toy_run: Path) -> Run:
    return Run.open(toy_run)


def test_the_same_command_twice_gives_the_same_bits(whole: Run, toy_recipe: Path, tmp_path: Path) -> None:
    assert main(["train", str(toy_recipe), "--run-dir", str(tmp_path / "again")]) == 0
    again = Run.open(tmp_path / "again")
    assert weights(again) == weights(whole)
    assert timeless(again) == timeless(whole)


@pytest.mark.long
def test_another_seed_gives_another_run(whole: Run, toy_recipe: Path, tmp_path: Path) -> None:
    other = play(toy_recipe, tmp_path / "other", {"seed": "1"})
    for name, bits in weights(whole).items():
        assert weights(other)[name] != bits


@pytest.mark.long
def test_evaluation_uses_no_randomness_of_the_training(whole: Run, toy_recipe: Path, tmp_path: Path) -> None:
    for per_hop, every in (("0", "0"), ("10", "1")):
        settings = {"evaluation.per_hop": per_hop, "evaluation.teacher_every": every}
        other = play(toy_recipe, tmp_path / per_hop, settings)
        assert weights(other) == weights(whole)


@pytest.mark.long
def test_checkpoints_are_no_part_of_what_is_learnt(whole: Run, toy_recipe: Path, tmp_path: Path) -> None:
    assert weights(play(toy_recipe, tmp_path / "run", {"checkpoint_every": "50"})) == weights(whole)


def test_the_summary_says_what_a_run_was_and_what_came_of_it(whole: Run) -> None:
    summary = json.loads((whole.folder / "summary.json").read_text())
    assert (summary["recipe"], summary["seed"]) == ("toy", 0)
    assert summary["wall_seconds"] > 0
    assert [row["iteration"] for row in summary["eval"]] == [0, 1, 2]
    for row in summary["eval"]:
        assert row["n_by_hops"] == {"1": 1, "2": 1, "3": 1, "4": 1}
        assert set(row["em_by_hops"]) == set(row["teacher_em_by_hops"]) == {"1", "2", "3", "4"}
        assert row["em"] == pytest.approx(sum(row["em_by_hops"].values()) / 4)


def test_the_final_policies_are_ordinary_models(whole: Run, toy: Callable[[str], Path]) -> None:
    base = AutoModelForCausalLM.from_pretrained(toy("qwen3"))
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]
    for name in ("student", "examiner", "teacher"):
        folder = whole.folder / "final" / name
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        prompt = tokenizer.apply_chat_template(
            messages,
            tools=[{"type": "function", "function": asdict(SEARCH)}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        assert "Finds passages" in tokenizer.decode(prompt["input_ids"][0])
        logits, before = model(**prompt).logits, base(**prompt).logits
        assert torch.isfinite(logits).all()
        assert not torch.equal(logits, before)


def test_a_step_is_logged_under_names_of_its_own(whole: Run) -> None:
    for row in rows_of(whole, "study"):
        assert row["student/length"] <= row["student/length_max"]
        assert row["student/tokens"] == pytest.approx(row["student/tokens_written"] * 4)  # trained: of 4 rollouts
        assert row["student/logprob_diff_max"] < 1e-4
        assert set(row["seconds"]) == {"play", "measure", "train", "save"}
    assert [row["student/weight/distill"] for row in rows_of(whole, "study")] == [1.0] * 3 + [0.5] * 3


def test_a_phase_ends_early_where_all_is_solved(toy_recipe: Path, tmp_path: Path) -> None:
    settings = {
        "iterations": "1",
        "phases.study.steps": "5",
        "phases.study.until": '{ metric = "solved", above = 0.9 }',
    }
    unsolved = play(toy_recipe, tmp_path / "unsolved", settings)
    assert len(rows_of(unsolved, "study")) == 5
    run = play(
        toy_recipe, tmp_path / "run", settings | {"phases.study.game": "toys.games:SolvedStudy", "iterations": "2"}
    )
    assert [row["iteration"] for row in rows_of(run, "study")] == [1, 1, 1, 2, 2, 2]
    assert ["teacher/em" in row for row in rows_of(run, "study")] == [True, True, True] * 2, "first, second, last"
    assert rows_of(run, "examine")[-1]["step"] == 3


@pytest.mark.long
def test_a_phase_that_ends_early_says_so(toy_recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [
        "--phases.study.until",
        '{metric = "solved", above = 0.9}',
        "--phases.study.game",
        "toys.games:SolvedStudy",
    ]
    recipe = [str(toy_recipe), "--iterations", "1", "--phases.study.steps", "4", "--run-dir", str(tmp_path / "run")]
    assert main(["train", *recipe, *words]) == 0
    said = "phase study of iteration 1 ends after 3 of 4 steps: over the last 3 solved was 1.00"
    assert said in capfd.readouterr().out


@pytest.mark.parametrize(
    ("setting", "value", "role"),
    [
        ("phases.examine.seats", '{examiner = "examiner"}', "student"),
        ("phases.write.options.gates", '["checked"]', "checker"),
        ("phases.study.seats", "{}", "student"),
    ],
)
def test_a_role_without_a_seat_is_refused_before_anything_is_played(
    toy_recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], setting: str, value: str, role: str
) -> None:
    learn = ["--phases.study.learn", "{}"] if "study" in setting else []
    words = ["train", str(toy_recipe), "--run-dir", str(tmp_path / "run"), f"--{setting}", value, *learn]
    assert main(words) == 2
    assert f"needs a policy for the role {role!r}: give it a seat" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_roles_that_share_a_policy_take_one_step_together(
    toy_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On all that they played with the weights they had: a second step would learn from what it no longer is."""
    taken: list[tuple[str, list[str]]] = []
    train = LocalEngine.train

    def noted(self: LocalEngine, policy: str, samples: Sequence[Sample], *rest: Any) -> dict[str, float]:
        taken.append((policy, [sample.role for sample in samples]))
        return train(self, policy, samples, *rest)

    monkeypatch.setattr(LocalEngine, "train", noted)
    seats = '{examiner = "student", student = "student"}'
    settings = {"iterations": "1", "phases.examine.seats": seats, "phases.examine.learn.student": "{}"}
    run = play(toy_recipe, tmp_path / "run", settings)
    # Three steps of three seeds, each with an examiner; some wrote what two students then tried.
    assert [policy for policy, _ in taken] == ["student"] * 6
    assert [roles.count("examiner") for _, roles in taken] == [3, 3, 3, 0, 0, 0]
    both = [row for row in rows_of(run, "examine") if "student/reward" in row]
    assert both
    assert all(row["examiner/grad_norm"] == row["student/grad_norm"] for row in both)
    assert all(row["student/logprob_diff_max"] < 1e-4 for row in both), "both were sampled by what is trained"


def test_a_teacher_of_what_is_played_from_seeds_is_not_examined(toy_recipe: Path, tmp_path: Path) -> None:
    """There is no written task with a path for it to play."""
    losses = '{pg = {}, distill = {policy = "teacher", view = ""}}'
    settings = {"iterations": "1", "phases.examine.learn.examiner.losses": losses}
    run = play(toy_recipe, tmp_path / "run", settings)
    assert not any("teacher/em" in row for row in rows_of(run, "examine"))
    assert rows_of(run, "study")[0]["teacher/em"] >= 0


def test_each_task_is_played_once_before_any_is_played_twice(whole: Run) -> None:
    played = [
        row["task"]
        for path in sorted(whole.folder.glob("rollouts/*"))
        for row in pq.read_table(path).to_pylist()
        if row["key"].startswith("m1/study") and row["key"].endswith("student/0")
    ]
    tasks = [row["id"] for row in pq.read_table(whole.folder / "tasks" / "m1-write.parquet").to_pylist()]
    assert len(tasks) == 4
    assert sorted(played[:4]) == sorted(tasks)
    assert len(set(played[4:])) == 2


@pytest.mark.parametrize("per_hop", ["2", pytest.param("0", marks=pytest.mark.long)])
def test_no_truth_reaches_the_weights(small_world: Path, tmp_path: Path, per_hop: str) -> None:
    """A recipe of the paper's games on the tiny base: true audit and answers, then garbage, or no evaluation at all."""
    small = {
        "environment.world": str(small_world),
        "limits.turn_tokens": "24",
        "limits.turns": "2",
        "phases.examine.steps": "1",
        "phases.examine.episodes": "4",
        "phases.examine.options.gates": "[]",
        "phases.write.options.gates": "[]",
        "phases.write.writes": "4",
        "phases.write.episodes": "4",
        "phases.study.episodes": "3",
        "phases.study.steps": "2",
        "phases.study.options.rollouts": "3",
        "evaluation.per_hop": "2",
    }

    def garbage(environment: Environment) -> Environment:
        assert isinstance(environment, SearchEnvironment)

        def wrong(task: Question) -> Question:
            return replace(task, answers=("garbage",), path=tuple(replace(s, evidence="garbage") for s in task.path))

        environment.heldout = [wrong(task) for task in environment.heldout]
        environment.audit = lambda task: "garbage"
        return environment

    told = play("smoke", tmp_path / "told", small)
    misled = play("smoke", tmp_path / "misled", small | {"evaluation.per_hop": per_hop}, garbage)
    assert weights(told) == weights(misled)
    assert len(set(weights(told).values())) == 3  # each policy has moved in its own way
    assert {row["true"] for row in rows_of(misled, "study")} == {0.0}


@pytest.mark.parametrize("kind", ["tiny", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("qwen3", "llama"))])
def test_behind_the_same_view_equal_weights_do_not_pull_at_all(
    toy_recipe: Path, toy: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    values: list[torch.Tensor] = []
    original = distill.topk_kl

    def spy(*arguments: Any) -> torch.Tensor:
        values.append(original(*arguments).detach())
        return original(*arguments)

    monkeypatch.setattr(distill, "topk_kl", spy)
    settings = {
        "model": str(tiny_base() if kind == "tiny" else toy(kind)),
        "iterations": "1",
        "evaluation.per_hop": "0",
        "phases.examine.steps": "1",
        "phases.study.learn.student.losses.distill.view": "",
    }
    still = play(toy_recipe, tmp_path / "still", settings | {"policies.student.lr": "0.0"})
    assert [row["student/distill_kl"] for row in rows_of(still, "study")] == [0.0, 0.0, 0.0]
    assert sum(map(len, values)) == sum(row["student/tokens"] for row in rows_of(still, "study"))
    assert all((value == 0).all() for value in values)
    moving = play(toy_recipe, tmp_path / "moving", settings)
    first, *later = [row["student/distill_kl"] for row in rows_of(moving, "study")]
    assert first == 0.0
    assert min(later) > 0


def test_with_a_path_equal_weights_pull(whole: Run) -> None:
    assert rows_of(whole, "study")[0]["student/distill_kl"] > 0


BOOKS = {
    "towns/bor.md": "# Bor\n\nBor lies on the Tamsin. It was founded in 1201.\n\n# Oum\n\nOum stands on a hill.\n",
    "rivers.txt": "The Tamsin rises in Oum and ends at the sea.\n\nThe Quil is shorter.\n",
}


def corpora(folder: Path) -> Iterable[Path]:
    for name, text in BOOKS.items():
        path = folder / "books" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    lines = [{"id": i, "contents": f"Town {i}\nTown {i} lies on the river R{i}. <|im_end|>"} for i in range(5)]
    (folder / "towns.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder / "books", folder / "towns.jsonl"


@pytest.mark.parametrize("number", [0, 1])
def test_a_corpus_runs_the_same_loop_with_its_truth_unknown(
    recipe_on: Callable[[str, Path], Path], tmp_path: Path, number: int
) -> None:
    corpus = list(corpora(tmp_path))[number]
    run = play(recipe_on("corpus", corpus), tmp_path / "run", {"iterations": "1"})
    assert len(weights(run)) == 3
    assert {row["phase"] for row in run.rows()} == {"examine", "write", "study"}
    assert not any(name in row for row in run.rows() for name in ("true", "truth/1", "false_agreement"))
    assert json.loads((run.folder / "summary.json").read_text())["eval"] == [{"iteration": 0}, {"iteration": 1}]
    sources = {row["source"]["id"] for row in pq.read_table(run.folder / "tasks" / "m1-write.parquet").to_pylist()}
    known = {"towns/bor.md#1", "towns/bor.md#2", "rivers.txt#1"} if number == 0 else set("01234")
    assert sources <= known


FAMILIES = [
    pytest.param("qwen3", "auto", marks=pytest.mark.long),
    pytest.param("qwen2", "auto", marks=pytest.mark.long),
    ("llama", "auto"),
    ("base", "tags"),
]


@pytest.mark.parametrize(("kind", "protocol"), FAMILIES)
def test_a_model_of_any_family_plays_and_learns_in_every_phase(
    toy_recipe: Path, toy: Callable[[str], Path], tmp_path: Path, kind: str, protocol: str
) -> None:
    settings = {"model": str(toy(kind)), "chat": protocol, "iterations": "1", "limits.tokens": "2000"}
    run = play(toy_recipe, tmp_path / "run", settings)
    assert all(row["examiner/grad_norm"] > 0 for row in rows_of(run, "examine"))
    assert all(row["student/distill_kl"] > 0 for row in rows_of(run, "study"))
    assert len(set(weights(run).values())) == 3
    written = [row["written"] for row in rows_of(run, "write")]
    assert written[-1] == 4


def test_a_runs_prompts_are_what_its_roles_read_in_training_and_evaluation(
    toy_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's prefix, the teacher that plays and the student all read the student's."""
    seen: set[str] = set()
    original = Native.prompt
    monkeypatch.setattr(Native, "prompt", lambda chat, *said: (seen.add(said[0]), original(chat, *said))[1])
    play(toy_recipe, tmp_path / "run", {"iterations": "1", "prompts": '{ student = "S!", examiner = "E!" }'})
    assert seen == {"S!", "E!"}


def test_the_recipe_for_models_of_ones_own_runs_by_tags(
    toy: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = f"train pi-play-hf --model {toy('base')} --chat tags --run-dir {tmp_path / 'run'} --engine.device cpu"
    small = "--engine.dtype float32 --engine.threads 1 --evaluation.per_hop 0 --limits.turn_tokens 12 --limits.turns 2"
    small += " --limits.tokens 2048"
    fewer = "--phases.examine.steps 1 --phases.examine.episodes 4 --phases.write.steps 2 --phases.write.episodes 6"
    assert main(f"{words} {small} {fewer}".split()) == 2
    assert "12 tries with 0 of 1600 tasks that pass" in capfd.readouterr().err


@pytest.fixture(scope="module")
def probed(recipe_on: Callable[[str, Path], Path], towns: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that is measured by questions of its own."""
    return play(recipe_on("corpus", towns), tmp_path_factory.mktemp("probed") / "run", {"iterations": "1"})


def test_a_corpus_of_some_size_is_measured_by_probes(probed: Run) -> None:
    probes = pq.read_table(probed.folder / "tasks" / "self_generated.parquet").to_pylist()
    assert len(probes) == 4
    rows = json.loads((probed.folder / "summary.json").read_text())["eval"]
    assert [row["iteration"] for row in rows] == [0, 1]
    for row in rows:
        assert row["questions"] == "self-generated, unverified"
        assert (row["n_by_hops"], set(row["teacher_em_by_hops"])) == ({"1": 4}, {"1"})


def test_probes_are_never_trained_on(probed: Run) -> None:
    def values(file: str, of: Callable[[dict[str, Any]], str]) -> set[str]:
        return {of(row) for path in probed.folder.glob(file) for row in pq.read_table(path).to_pylist()}

    assert not values("tasks/self_generated.*", lambda row: row["source"]["id"]) & values(
        "tasks/m1-write.*", lambda row: row["source"]["id"]
    )
    # Several passages share a title, which is all that a toy question asks about.
    probes = values("tasks/self_generated.*", lambda row: row["question"])
    tried = values("rollouts/*", lambda row: row["question"] if "/write/" in row["key"] else "")
    studied = values("rollouts/*", lambda row: row["question"] if "/study/" in row["key"] else "") - {""}
    assert probes & tried
    assert not probes & studied
    assert studied == values("tasks/m1-write.*", lambda row: row["question"])


def test_reserved_passages_can_be_given_back(recipe_on: Callable[[str, Path], Path], towns: Path) -> None:
    for reserve, seeds in (("0", 40), ("0.1", 36)):
        environment = load_environment(load_config(str(recipe_on("corpus", towns)), {"environment.reserve": reserve}))
        assert isinstance(environment, SearchEnvironment)
        assert (len(environment.seeds), len(environment.reserved)) == (seeds, 40 - seeds)


def test_where_no_probe_can_be_written_the_run_stops_there(
    recipe_on: Callable[[str, Path], Path], towns: Path, tmp_path: Path
) -> None:
    """The probes' gates refuse everything: nothing is measured and nothing is trained."""
    listener = Silent()
    settings = {"phases.write.options.gates": '["format"]'}
    loop = loop_of(recipe_on("corpus", towns), tmp_path / "run", settings, listener)
    with pytest.raises(InputError, match="no question for an evaluation set that passes the gates in 20 tries"):
        loop.train()
    assert listener.sentences == []
    assert listener.measured == [("evaluation set", done, 20) for done in range(1, 21)]
    assert (loop.state.evals, loop.run.rows()) == ([], [])
    assert not (loop.run.folder / "tasks" / "self_generated.parquet").exists()


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
@pytest.mark.parametrize("ground", ["world", "corpus"])
def test_a_model_that_writes_no_valid_question_ends_with_a_sentence(
    toy: Callable[[str], Path],
    small_world: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    ground: str,
) -> None:
    place = small_world if ground == "world" else next(iter(corpora(tmp_path)))
    words = ["--model", str(toy(kind)), f"--{ground}", str(place), "--run-dir", str(tmp_path / "run")]
    small = "--limits.turn_tokens 12 --limits.turns 2 --limits.tokens 2000 --evaluation.per_hop 1 --engine.threads 1"
    fewer = "--phases.examine.steps 1 --phases.write.steps 2 --phases.write.episodes 6"
    assert main(["train", "smoke", *words, *small.split(), *fewer.split()]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert "phase write of iteration 1 stopped after 12 tries with 0 of 24 tasks that pass" in error
    assert "this model writes no valid task here" in error
    assert re.search(r"refused: format 12 \(\w+ \d+", error)


def test_fewer_written_tasks_than_wanted_are_said_and_played(toy_recipe: Path, tmp_path: Path) -> None:
    listener = Silent()
    settings = {"phases.write.writes": "100", "iterations": "1", "evaluation.per_hop": "0"}
    loop = loop_of(toy_recipe, tmp_path / "run", settings, listener)
    loop.train()
    [sentence] = listener.sentences
    assert "stopped after 9 tries with 9 of 100" in sentence
    assert len(loop.state.sources["written"]["tasks"]) == 9
