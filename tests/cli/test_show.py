"""``piplay ask`` and ``piplay play`` at the command line."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from toys.scripted import DictSearcher, ScriptedEngine, says, searching, tools

from piplay.agent import Agent
from piplay.chat.base import Chat
from piplay.cli.main import main
from piplay.cli.show import show_steps
from piplay.envs.search.question import Passage
from piplay.rollout.stage import Stage
from piplay.settings import Limits
from piplay.types import ToolCall, ToolResult, ToolUse, Turn

pytestmark = pytest.mark.slow

LONG = Passage(
    "p1", "Bor", "Bor is a town of [red]some[/red] size. " * 3 + "It lies on the Tamsin. " + "More is told. " * 9
)


def told(chat: Chat, *turns: str, limits: Limits | None = None) -> list[str]:
    engine = ScriptedEngine(chat, lambda request: turns[int(request.key[-1])])
    limits = limits or Limits(turns=4, turn_tokens=200, tokens=4000)
    agent = Agent("scripted", Stage(engine, chat, tools(DictSearcher([LONG])), limits))
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        show_steps(agent.steps("On what does Bor lie?"), console)
    return captured.get().splitlines()


def test_an_answer_with_its_source(tiny_chat: Chat) -> None:
    lines = told(tiny_chat, searching("Bor", "river of Bor"), says("Tamsin", "river: Tamsin"))
    assert lines[:2] == ["thinks   river of Bor", "searches Bor"]
    assert lines[2].startswith("  found  Bor: Bor is a town of [red]some[/red] size. Bor is")
    assert lines[2].endswith(" …")
    assert lines[3:5] == ["thinks   river: Tamsin", "answer   Tamsin"]
    assert lines[5].startswith("  source Bor: … It lies on the Tamsin. More is told.")
    assert len(lines) == 6
    assert max(map(len, lines)) < 120


def test_an_answer_from_nowhere(tiny_chat: Chat) -> None:
    lines = told(tiny_chat, searching("Oum"), says("Quil"))
    assert lines == [
        "searches Oum",
        "  found  nothing",
        "answer   Quil",
        "  source none: the answer stands in no passage that the agent saw",
    ]


def test_no_answer(tiny_chat: Chat) -> None:
    lines = told(tiny_chat, searching("Bor"), searching("Bor"), limits=Limits(turns=2, turn_tokens=200, tokens=4000))
    assert lines[-1] == "no answer: the agent was still searching in its last turn (limits.turns)"
    assert lines[-2].startswith("wrote    <tool_call>")


def test_calls_of_other_tools_are_told_as_they_were_made() -> None:
    call = ToolCall("add", {"a": 1, "b": "two"})
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        show_steps(iter([Turn("", "a sum", "", call), ToolUse(call, ToolResult("3"))]), console)
    assert captured.get().splitlines() == ["thinks   a sum", "calls    add(a=1, b='two')", "  found  3"]


def asked(*words: str | Path) -> list[str]:
    return ["ask", *map(str, words), "--engine.threads", "1"]


def test_a_question_at_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    question = "Which is the river of Valtan?"
    assert main(asked("base", question)) == 0
    lines = capfd.readouterr().out.splitlines()
    assert main(asked("base", question, "--json")) == 0
    [line] = capfd.readouterr().out.splitlines()
    reply = json.loads(line)
    assert reply["question"] == question
    assert f"answer   {reply['answer']}" in lines
    assert [f"searches {step['query']}" for step in reply["steps"] if step["query"]] == [
        line for line in lines if line.startswith("searches")
    ]
    assert sum(line.startswith("  source ") for line in lines) == max(len(reply["sources"]), 1)


def test_a_question_to_a_corpus_and_to_a_world(
    tmp_path: Path, small_world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "corpus.jsonl").write_bytes((small_world / "passages.jsonl").read_bytes())
    name = json.loads((small_world / "passages.jsonl").read_text().splitlines()[0])["id"]
    for ground in (["--corpus", tmp_path / "corpus.jsonl"], ["--world", small_world]):
        assert main(asked("base", f"What is the country of {name}?", "--json", *ground)) == 0
    first, second = map(json.loads, capfd.readouterr().out.splitlines())
    assert first == second
    assert first["steps"][0]["passages"][0]["title"] == name


def test_questions_line_by_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    questions = ["Which is the river of Valtan?", "Which is the river of Bor?"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{questions[0]}\n\n  {questions[1]}"))
    assert main(asked("base", "--json")) == 0
    together = capfd.readouterr().out.splitlines()
    for question in questions:
        assert main(asked("base", question, "--json")) == 0
    assert together == capfd.readouterr().out.splitlines()


def test_drawn_answers_depend_on_the_seed_alone(capfd: pytest.CaptureFixture[str]) -> None:
    replies = []
    for seed in ("0", "1", "1"):
        assert main(asked("base", "blub", "--temperature", "1.5", "--seed", seed, "--json")) == 0
        replies.append(capfd.readouterr().out)
    assert replies[0] != replies[1] == replies[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ask", "nowhere", "Bor?"], "there is no model folder nowhere"),
        (["ask", "base", " "], "the question is empty"),
        (["ask", "base", "Bor?", "--temperature", "-1"], "the temperature is -1"),
        (["ask", "base", "Bor?", "--corpus", "nowhere"], "nowhere does not exist"),
        (["ask", "base", "Bor?", "--envronment.top_k", "2"], "did you mean 'environment'?"),
        (["ask", "base", "Bor?", "--environment.searcher", "bm25:BM25Sercher"], "did you mean 'BM25Searcher'?"),
        (["play", "smok"], "did you mean 'smoke'?"),
        (["play", "smoke", "--role", "studnet"], "did you mean 'student'?"),
        (["play", "smoke", "-n", "0"], "at least 1"),
        (["play", "smoke", "--hops", "9", "--role", "student"], "no held-out question of 9 hops"),
        (["play", "--run-dir", "nowhere"], "no run directory"),
        (["play", "smoke", "--phases.study.game", "pi_play:Stdy"], "did you mean 'Study'?"),
        (["play", "smoke", "--phases.examine.options.gates", '["own:gate"]'], "no gate 'own:gate'"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(words: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capfd.readouterr().err
    assert error.startswith("piplay: ")
    assert error.count("\n") == 1
    assert said in error


def test_play_at_the_command_line(
    toy_recipe: Path, small_world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", str(toy_recipe), "--run-dir", str(run), "--iterations", "1"]) == 0
    capfd.readouterr()
    trusted = ["--run-dir", str(run), "--trust"]
    for words in ([str(toy_recipe)], trusted, [str(toy_recipe), *trusted]):
        assert main(["play", *words, "--role", "examiner", "-n", "2"]) == 0
    base, own, both = capfd.readouterr().out.split("toy: ")[1:]
    assert base.count("[model]") == 2
    assert "played by" in own
    assert own == both
    assert base != own
    assert main(["play", *trusted, "--corpus", str(small_world / "passages.jsonl"), "-n", "1"]) == 0
    assert "truth" not in capfd.readouterr().out
