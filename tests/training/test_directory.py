"""The run on disk: what is written, what is kept, and what is refused."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
from toys.scripted import told, turn, used

import piplay
from piplay.config import Config
from piplay.envs.search.question import Passage, Question, Step
from piplay.errors import InputError
from piplay.recipes import load_config
from piplay.training.run_directory import Run
from piplay.training.state import SCHEMA, RunState, task_of, task_tree
from piplay.types import Episode, ScoredTrajectory, Task

BOR = Passage("p1", "Bor", "Bor lies on the Tamsin.")
TASK = Question("t1", 2, "Where?", ("Oum", "Mount Oum"), BOR, (Step("Bor", "p1", "so"), Step("Tamsin", "", "")))


@pytest.fixture
def config() -> Config:
    return load_config("smoke", {"seed": "4"})


@pytest.fixture
def run(tmp_path: Path, config: Config) -> Run:
    return Run.create(tmp_path / "deep" / "run", config)


def save(folder: Path) -> None:
    (folder / "weights").write_text(folder.parent.name)


def test_a_run_opens_with_the_settings_it_was_made_with(run: Run, config: Config) -> None:
    assert Run.open(run.folder).config == config


def test_a_new_run_has_a_new_state(run: Run) -> None:
    assert run.resume(lambda folder: pytest.fail("there is nothing to load")) == RunState()


def test_a_committed_state_comes_back(run: Run) -> None:
    state = RunState(
        done=3, phase=1, step=2, games={"write": {"questions": ["who"]}},
        sources={"written": {"tasks": [task_tree(TASK)]}}, evals=[{"iteration": 0, "em": 0.5}], seconds=1.5,
    )  # fmt: skip
    for n in range(1, 4):
        run.log({"n": n})
    run.commit(state, save)
    loaded: list[Path] = []
    assert Run.open(run.folder).resume(loaded.append) == state
    assert loaded == [run.folder / "checkpoints" / "1"]


def test_tasks_of_two_classes_are_not_mistaken_for_each_other() -> None:
    @dataclass(frozen=True, slots=True)
    class One(Task):
        kind: ClassVar[str] = "twice"
        name: str = ""

    one = One("a", name="x")
    assert task_of(task_tree(one)) == one

    @dataclass(frozen=True, slots=True)
    class Other(Task):
        kind: ClassVar[str] = "twice"
        names: str = ""

    for read in (lambda: task_tree(one), lambda: task_of({"kind": "twice", "id": "a"}), lambda: task_tree(Other("b"))):
        with pytest.raises(InputError, match=r"One and .*Other are all tasks of kind 'twice': give each a kind"):
            read()
    with pytest.raises(InputError, match=r"a stored task is of kind 'never', which is no class that was imported"):
        task_of({"kind": "never", "id": "a"})


def test_the_last_two_checkpoints_are_kept(run: Run) -> None:
    state = RunState()
    for _ in range(11):
        run.commit(state, save)
    assert sorted(path.name for path in (run.folder / "checkpoints").iterdir()) == ["10", "11"]
    loaded: list[Path] = []
    assert run.resume(loaded.append).commits == 11
    assert loaded == [run.folder / "checkpoints" / "11"]


def test_what_was_logged_after_the_last_checkpoint_is_cut_away(run: Run) -> None:
    episode = Episode(("e",), TASK, (ScoredTrajectory(told([turn("x")]), ("g",)),))
    state = RunState()
    for n in range(1, 5):
        run.log({"n": n})
        run.save_episodes(n, [episode])
        if n == 2:
            state.done = 2
            run.commit(state, save)
    (run.folder / "rollouts" / "000005.parquet.new").write_text("half a file")
    (run.folder / "checkpoints" / "2.new").mkdir()
    (run.folder / "rollouts" / "why.txt").write_text("somebody's own")
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"n": 5, "ph')
    run.resume(lambda folder: None)
    assert run.rows() == [{"n": 1}, {"n": 2}]
    assert sorted(path.name for path in (run.folder / "rollouts").iterdir()) == [
        "000001.parquet",
        "000002.parquet",
        "why.txt",
    ]
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["1"]


def test_rows_that_are_lost_are_not_passed_over(run: Run) -> None:
    for n in range(1, 4):
        run.log({"n": n})
    run.commit(RunState(done=3), save)
    metrics = run.folder / "metrics.jsonl"
    for other in ('{"n":', "3", '{"n": 1}'):
        metrics.write_text('{"n": 1}\n' + other + '\n{"n": 3}\n')
        with pytest.raises(InputError, match=r"metrics.jsonl is damaged: it lacks some of the 3 steps"):
            run.resume(lambda folder: None)
        assert metrics.read_text().count("\n") == 3, "nothing is cut away"


def test_a_checkpoint_that_cannot_be_saved_leaves_the_one_before(run: Run) -> None:
    state = RunState(done=1)
    run.log({"n": 1})
    run.commit(state, save)

    def full(folder: Path) -> None:
        save(folder)
        raise OSError("no space left on device")

    state.done = 2
    with pytest.raises(InputError, match=r"no space.*piplay resume"):
        run.commit(state, full)
    assert run.resume(lambda folder: None).done == 1


def test_rollouts_are_one_row_a_trajectory(run: Run) -> None:
    trajectory = told(
        [turn(query="Bor"), turn("Oum", "so")], [used("Bor", (BOR,))], key=("m1", "examine", 0, "student", 3)
    )
    asked = Question("seed", 2, source=BOR)
    run.save_episodes(
        7,
        [
            Episode(
                ("e",),
                asked,
                (ScoredTrajectory(trajectory, ("g",), 0.5), ScoredTrajectory(trajectory, ("g",))),
                (TASK,),
                {"gate": "", "k": 2.0},
            )
        ],
    )
    first, second = pq.read_table(run.folder / "rollouts" / "000007.parquet").to_pylist()
    np.testing.assert_array_equal(first.pop("ids"), trajectory.ids_T)
    np.testing.assert_array_equal(first.pop("owner"), trajectory.owner_T)
    np.testing.assert_array_equal(first.pop("logprobs"), trajectory.logprobs_T)
    assert first == {
        "key": "m1/examine/0/student/3",
        "role": "examiner",
        "policy": "examiner",
        "version": 0,
        "task": "t1",
        "hops": 2,
        "question": "Where?",
        "answers": ["Oum", "Mount Oum"],
        "gate": "",
        "k": 2.0,
        "reward": 0.5,
        "stop": "answered",
        "failure": "",
        "answer": "Oum",
        "calls": ['{"name": "search", "arguments": {"query": "Bor"}}'],
        "turns": ["", "Oum"],
        "prompt_len": 2,
    }
    assert second["reward"] == 0.0


def test_tasks_keep_the_passage_and_the_path(run: Run) -> None:
    run.save_tasks("m1-write", [TASK])
    [row] = pq.read_table(run.folder / "tasks" / "m1-write.parquet").to_pylist()
    assert row["source"] == {"id": "p1", "title": "Bor", "text": "Bor lies on the Tamsin."}
    assert row["path"][1] == {"query": "Tamsin", "passage_id": "", "evidence": ""}
    assert (row["question"], row["answers"], row["hops"]) == ("Where?", ["Oum", "Mount Oum"], 2)


def test_task_sets_come_back_in_the_order_of_their_iterations(run: Run) -> None:
    sets = {f"m{m}-write": [TASK, Question(f"{m}", m)] for m in (10, 2, 1)}
    for name, tasks in sets.items():
        run.save_tasks(name, tasks)
    assert list(run.task_sets().items()) == list(reversed(sets.items()))


def test_an_existing_folder_is_refused(tmp_path: Path, config: Config) -> None:
    (tmp_path / "diary.txt").write_text("somebody's own")
    with pytest.raises(InputError, match="already exists"):
        Run.create(tmp_path, config)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_a_run_takes_the_place_of_one_that_died_before_its_settings(tmp_path: Path, config: Config) -> None:
    first = Run.create(tmp_path / "run", config)
    (first.folder / "config.json").unlink()
    (first.folder / "config.json.new").write_text("{")
    with pytest.raises(InputError, match=r"was interrupted before it began: `piplay train … --run-dir"):
        Run.open(first.folder)
    assert Run.open(Run.create(first.folder, config).folder).config == config


def test_a_place_that_cannot_be_made_is_refused(tmp_path: Path, config: Config) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    with pytest.raises(InputError, match=r"cannot be .*Not a directory"):
        Run.create(tmp_path / "file" / "run", config)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"wings": 2}'])
def test_a_damaged_state_is_refused(run: Run, text: str) -> None:
    run.commit(RunState(done=1), save)
    (run.folder / "checkpoints" / "1" / "state.json").write_text(text)
    with pytest.raises(InputError, match="damaged") as caught:
        run.resume(lambda folder: None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', json.dumps({"wings": 2})])
def test_damaged_settings_are_refused(run: Run, text: str) -> None:
    (run.folder / "config.json").write_text(text)
    with pytest.raises(InputError) as caught:
        Run.open(run.folder)
    assert "\n" not in str(caught.value)


def test_a_run_without_its_folders_is_refused(run: Run) -> None:
    (run.folder / "checkpoints").rmdir()
    with pytest.raises(InputError):
        Run.open(run.folder).resume(lambda folder: None)


def test_a_run_says_which_piplay_made_it(run: Run) -> None:
    made_by = json.loads((run.folder / "piplay.json").read_text())
    assert made_by["version"] == piplay.__version__
    assert made_by["schema"] == SCHEMA
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert made_by["commit"] == (head.stdout.strip() if head.returncode == 0 else None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "was made by piplay 0.1"),
        ('{"schema": 99, "version": "7.5", "commit": null}', "was made by piplay 7.5 in schema 99"),
        ("{}", "piplay.json is damaged"),
        ("[1]", "piplay.json is damaged"),
    ],
)
def test_a_run_of_another_piplay_is_refused_in_a_sentence(run: Run, text: str | None, said: str) -> None:
    if text is None:
        (run.folder / "piplay.json").unlink()
    else:
        (run.folder / "piplay.json").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        Run.open(run.folder)
    assert "\n" not in str(caught.value)
