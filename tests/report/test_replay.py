"""What is played once more at the end, against plain computations with plain models."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys.scripted import DictSearcher, ScriptedEngine, says, searching, tools
from transformers import AutoModelForCausalLM, AutoTokenizer

from piplay.chat.base import Chat
from piplay.chat.pieces import pieces
from piplay.config import Config
from piplay.engine.local.attention import load_model
from piplay.engine.protocol import Generate
from piplay.envs.search.question import Passage, Question, Step
from piplay.envs.search.tool import SEARCH
from piplay.recipes import load_config
from piplay.report import replay
from piplay.report.replay import FEWEST, MOST, choose, play_examples, play_grid, score, teacher_of
from piplay.training.assemble import load_chat
from piplay.training.run_directory import Run
from piplay.types import Owner, PolicyRef, ScoredTrajectory, StopReason, Trajectory

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SEARCH_TOOL = {
    "type": "function",
    "function": {"name": SEARCH.name, "description": SEARCH.description, "parameters": SEARCH.parameters},
}


BOR = Passage("p1", "Bor", "Bor lies on the Tamsin.")
PATH = (Step("Bor", "p1", "river: the Tamsin."), Step("the Tamsin", "", "mouth: the sea."))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, toy_recipe: Path, toy: Callable[[str], Path]) -> Run:
    """As a run of two iterations leaves it: task sets of 5 and 8, three students, a teacher that is another model."""
    made = Run.create(tmp_path_factory.mktemp("replay") / "run", load_config(str(toy_recipe), {"report.grid": "4"}))
    for m, count in ((1, 5), (2, 8)):
        tasks = [
            Question(f"m{m}/{i}", 1 + i % 2, f"Where is {m} of {i}?", (f"Oum {m} {i}",), BOR, PATH)
            for i in range(count)
        ]
        made.save_tasks(f"m{m}-write", tasks)
    for folder in (*map(made.snapshot, range(3)), made.final("student"), made.final("teacher")):
        shutil.copytree(toy("qwen3"), folder)
    torch.manual_seed(3)
    teacher = AutoModelForCausalLM.from_pretrained(made.final("teacher"))
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    teacher.save_pretrained(made.final("teacher"))
    return made


class Land:
    """An environment of one passage, in which every question is ill-typed."""

    heldout = ()
    tools = tuple(tools(DictSearcher([BOR])).values())

    def audit(self, task: Question) -> str:
        return "ill_typed"

    def describe(self) -> str:
        return "a passage"


@pytest.fixture
def told(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, str], bool]], tuple[Land, Chat]]:
    """Lets every student search once and then answer: right where a test says so of its folder's name and the task."""

    def tell(right: Callable[[str, str], bool]) -> tuple[Land, Chat]:
        tasks = {task.question: task for found in run.task_sets().values() for task in found}
        chat = load_chat(run.final("student"), tools=(SEARCH,))

        def engine(config: Config) -> ScriptedEngine:
            assert config.model

            def script(request: Generate) -> str:
                text = chat.tokenizer.decode(request.ids_T.tolist())
                [task] = [task for question, task in tasks.items() if question in text]
                if "Tamsin" not in text:
                    return searching("Bor")
                return says(task.answers[0] if right(config.model.name, task.id) else "nowhere")

            return ScriptedEngine(chat, script)

        monkeypatch.setattr(replay, "load_engine", engine)
        config = run.config.model_copy(update={"limits": run.config.limits.model_copy(update={"turn_tokens": 200})})
        monkeypatch.setattr(run, "config", config)
        return Land(), chat

    return tell


def scored(ids: list[int], owners: list[Owner], views: dict[str, list[int]]) -> ScoredTrajectory:
    owner_T = np.array(owners, np.int8)
    start = int((owner_T != Owner.PROMPT).argmax())
    trajectory = Trajectory(
        ("s",), "student", PolicyRef("student"), np.array(ids), owner_T, np.zeros(len(ids), np.float32), start, (), (),
        StopReason.ANSWERED,
    )  # fmt: skip
    return ScoredTrajectory(trajectory, ("g",), views={name: np.array(prompt) for name, prompt in views.items()})


@pytest.mark.parametrize("view", ["", "privileged"])
def test_each_token_has_the_kl_of_the_whole_vocabulary(run: Run, toy: Callable[[str], Path], view: str) -> None:
    """Token by token from the two distributions, each from a plain forward of what stood before that token alone."""
    chat = load_chat(toy("qwen3"))
    ids = np.random.default_rng(5).integers(3, 300, 24).tolist()
    owners = [Owner.PROMPT] * 6 + [Owner.MODEL] * 7 + [Owner.TOOL] * 5 + [Owner.MODEL] * 6
    folders = (toy("qwen3"), run.final("teacher"))
    prompts = {"": ids[:6], "privileged": [9, 8, 7, 6, 5, 4, 3]}
    played = scored(ids, owners, {"privileged": prompts["privileged"]})
    found = score(chat, *(load_model(folder, CPU) for folder in folders), played, view)
    plain = [AutoModelForCausalLM.from_pretrained(folder).double() for folder in folders]
    written = [t for t, owner in enumerate(owners) if owner is Owner.MODEL]
    assert len(found) == len(written)
    for row, t in zip(found, written, strict=True):
        views = [ids[:t], prompts[view] + ids[6:t]]
        with torch.no_grad():
            p, q = (m(torch.tensor([v])).logits[0, -1].softmax(-1) for m, v in zip(plain, views, strict=True))
        assert row["kl"] == pytest.approx(float((p * (p / q).log()).sum()), abs=1e-4)
        assert row["agree"] == (int(q.argmax()) == ids[t])
        for name, odds in (("student", p), ("teacher", q)):
            best = sorted(enumerate(odds.tolist()), key=lambda pair: -pair[1])[:3]
            assert [text for text, _ in row[name]] == [chat.tokenizer.decode([token]) for token, _ in best]
            assert [share for _, share in row[name]] == pytest.approx([share for _, share in best], abs=6e-4)


def test_equal_models_behind_equal_prompts_do_not_differ(toy: Callable[[str], Path]) -> None:
    model, owners = load_model(toy("llama"), CPU), [Owner.PROMPT] * 3 + [Owner.MODEL] * 5
    found = score(load_chat(toy("llama")), model, model, scored([5, 6, 7, 8, 9, 10, 11, 12], owners, {}), "")
    assert [row["kl"] for row in found] == [0.0] * 5
    assert all(row["student"] == row["teacher"] for row in found)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_pieces_add_up_to_the_text(tiny_chat: Chat, text: str) -> None:
    ids = tiny_chat.encode(text)
    found = pieces(tiny_chat, ids)
    assert len(found) == len(ids)
    assert "".join(found) == tiny_chat.tokenizer.decode(ids)


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.floats(0, 5)), max_size=30))
def test_examples_are_of_every_kind(candidates: list[tuple[int, bool, float]]) -> None:
    candidates = sorted(candidates, key=lambda c: c[0])
    hops, solved, kl = ([c[i] for c in candidates] for i in range(3))
    shown = choose(hops, solved, kl)
    assert shown == sorted(set(shown))
    assert min(FEWEST, len(candidates)) <= len(shown) <= MOST
    assert {(hops[i], solved[i]) for i in shown} == set(zip(hops, solved, strict=True))
    if candidates:
        assert max(kl) == max(kl[i] for i in shown)


def test_of_many_hop_counts_no_more_are_shown_than_fit() -> None:
    hops = [h for h in range(1, 21) for _ in range(4)]
    assert len(choose(hops, [i % 2 == 0 for i in range(80)], [0.0] * 80)) == MOST


def test_the_grid_is_what_each_student_solves(run: Run, told: Any) -> None:
    def right(student: str, task: str) -> bool:
        return int(task[-1]) < int(student) and not task.startswith("m2/0")

    grid = play_grid(run, *told(right))
    assert grid == {
        "students": [0, 1, 2],
        "sets": [
            {"name": "m1-write", "tasks": 4, "rates": [0.0, 0.25, 0.5]},
            {"name": "m2-write", "tasks": 4, "rates": [0.0, 0.0, 0.25]},
        ],
    }


def test_examples_are_whole_rollouts_of_both_students(run: Run, told: Any) -> None:
    found = play_examples(run, *told(lambda student, task: student == "student" and int(task[-1]) > 1))
    assert (found["set"], found["student"]) == ("m2-write", "student")
    assert (found["teacher"], found["view"]) == ("teacher", "privileged")
    tokenizer = AutoTokenizer.from_pretrained(run.final("student"))
    tasks = {task.question: task for task in run.task_sets()["m2-write"]}
    assert len(found["examples"]) == FEWEST
    assert [one["hops"] for one in found["examples"]] == sorted(one["hops"] for one in found["examples"])
    for one in found["examples"]:
        task = tasks[one["question"]]
        right = int(task.id[-1]) > 1
        assert (one["hops"], one["answers"], one["verdict"]) == (task.hops, list(task.answers), "ill_typed")
        assert one["path"] == [{"query": step.query, "evidence": step.evidence} for step in PATH]
        assert [(when, r["correct"]) for when, r in one["rollouts"].items()] == [("before", False), ("after", right)]
        for rollout in one["rollouts"].values():
            answer = task.answers[0] if rollout["correct"] else "nowhere"
            messages = [
                {"role": "system", "content": "Answer the question: search for one fact at a time."},
                {"role": "user", "content": one["question"]},
                {"role": "assistant", "content": searching("Bor")},
                {"role": "tool", "content": "Bor: Bor lies on the Tamsin."},
            ]
            text = tokenizer.apply_chat_template(
                messages, tools=[SEARCH_TOOL], add_generation_prompt=True, tokenize=False
            )
            parts = rollout["parts"]
            assert [part["owner"] for part in parts] == ["prompt", "model", "tool", "model"]
            shown = [part.get("text") or "".join(token["text"] for token in part["tokens"]) for part in parts]
            assert "".join(shown) == f"{text}{answer}<|im_end|>"
            assert parts[0]["count"] == len(tokenizer(shown[0])["input_ids"])
            kl = [token["kl"] for part in parts[1::2] for token in part["tokens"]]
            assert rollout["kl"] == pytest.approx(sum(kl) / len(kl), abs=1e-3)
            assert min(kl) >= 0 < max(kl)
            assert (rollout["answer"], rollout["stop"]) == (answer, "answered")


def test_without_the_students_before_there_is_only_after(run: Run, told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    land, chat = told(lambda student, task: True)
    monkeypatch.setattr(run, "snapshot", lambda iteration: run.folder / "nowhere")
    assert play_grid(run, land, chat)["students"] == []
    assert {tuple(one["rollouts"]) for one in play_examples(run, land, chat)["examples"]} == {("after",)}


@pytest.mark.parametrize(
    ("losses", "teacher"),
    [
        ("{}", None),
        ("{ kl = { policy = 'examiner' } }", None),
        ("{ kl = { policy = 'examiner' }, distill = { policy = 'teacher' } }", ("teacher", "privileged")),
        ("{ distill = { policy = 'examiner', view = '' } }", ("examiner", "")),
        ("{ far = { kind = 'distill', policy = 'examiner', weight = 0.0 } }", ("examiner", "privileged")),
        ("{ distill = { policy = 'teacher', view = 'what no student is shown' } }", None),
    ],
)
def test_the_teacher_is_whom_a_loss_of_the_agent_asks(losses: str, teacher: tuple[str, str] | None) -> None:
    found = teacher_of(load_config("pi-play", {"phases.study.learn.student.losses": losses}))
    assert (found and (found.policy, found.view)) == teacher


def test_of_another_agent_there_is_no_teacher() -> None:
    assert teacher_of(load_config("pi-play", {"agent": "examiner"})) is None
