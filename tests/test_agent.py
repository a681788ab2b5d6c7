"""Asking an agent: what it does is what a plain model does, and its sources hold its answer."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from toys.scripted import DictSearcher, ScriptedEngine, says, searching, told, tools, turn, used
from transformers import AutoModelForCausalLM, AutoTokenizer

from piplay.agent import Agent, Reply, load_agent
from piplay.chat.base import Chat
from piplay.cli.main import main
from piplay.engine.protocol import Generate
from piplay.envs.search.match import normalise
from piplay.envs.search.question import Passage, Question
from piplay.envs.search.tool import SEARCH, SearchTool, passages_of, searches
from piplay.envs.world.store import World, default_world
from piplay.errors import InputError
from piplay.methods.pi_play.game import Study
from piplay.methods.pi_play.views import STUDENT
from piplay.rollout.stage import Stage
from piplay.settings import Limits
from piplay.training.assemble import tiny_base
from piplay.training.run_directory import Run
from piplay.types import StopReason, ToolCall, ToolResult, ToolUse, Turn

pytestmark = pytest.mark.slow

BOR = Passage("p1", "Bor", "Bor lies on the Tamsin, and the Tamsin is long.")
TAMSIN = Passage("p2", "Tamsin", "The Tamsin rises at <Oum> & ends at sea.")
OTHER = Passage("p3", "Quil", "The Quil is shorter.")
PASSAGES = [BOR, TAMSIN, OTHER]
SEARCH_TOOL = {
    "type": "function",
    "function": {
        "name": SEARCH.name,
        "description": SEARCH.description,
        "parameters": SEARCH.parameters,
    },
}
QUESTION = "Where does the river of Bor rise?"


@pytest.fixture(scope="module")
def base() -> Agent:
    return load_agent("base", **{"engine.threads": 1})


@pytest.fixture(scope="module")
def world() -> World:
    return default_world()


def scripted(chat: Chat, *turns: str, limits: Limits | None = None, down: tuple[str, ...] = ()) -> Agent:
    """An agent that writes these turns whatever it finds."""
    engine = ScriptedEngine(chat, lambda request: turns[int(request.key[-1])])
    limits = limits or Limits(turns=4, turn_tokens=200, tokens=4000)
    return Agent("scripted", Stage(engine, chat, tools(DictSearcher(PASSAGES, down)), limits))


def passages(agent: Agent, query: str) -> list[Passage]:
    """What an agent's search tool finds."""
    tool = agent.stage.tools["search"]
    assert isinstance(tool, SearchTool)
    return tool.searcher.search([query], 3)[0]


def plainly(question: str, passages: dict[str, Passage]) -> str:
    """The same conversation by transformers alone: its template, its generate, and a dictionary for a search tool."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_base())
    model = AutoModelForCausalLM.from_pretrained(tiny_base(), dtype=torch.float32)
    messages = [{"role": "system", "content": STUDENT}, {"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, tools=[SEARCH_TOOL], add_generation_prompt=True, tokenize=False)
    while True:
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        out = model.generate(**ids, do_sample=False, max_new_tokens=96, pad_token_id=0)
        said = tokenizer.decode(out[0, ids["input_ids"].shape[1] :]).removesuffix(tokenizer.eos_token)
        messages.append({"role": "assistant", "content": said})
        call = re.search("<tool_call>(.*)</tool_call>", said)
        if call is None:
            return text + said + tokenizer.eos_token
        passage = passages[json.loads(call[1])["arguments"]["query"].strip()]
        messages.append({"role": "tool", "content": f"{passage.title}: {passage.text}"})
        text = tokenizer.apply_chat_template(messages, tools=[SEARCH_TOOL], add_generation_prompt=True, tokenize=False)


def test_the_agent_says_what_the_plain_model_says(base: Agent, world: World) -> None:
    question = next(q for q in world.heldout if q.hops == 1)
    reply = base.ask(question.question)
    whole = base.stage.chat.tokenizer.decode(reply.trajectory.ids_T.tolist())
    expected = plainly(question.question, {passage.title: passage for passage in world.passages})
    # The template's text and ours are cut into other tokens where text from outside begins.
    assert whole.replace(" ", "") == expected.replace(" ", "")


def test_the_agent_plays_what_the_study_game_plays_greedily(base: Agent, world: World) -> None:
    for question in world.heldout[::150]:
        task = Question("t", 1, question.question, question.answers)
        game = Study(rollouts=1, privilege="none")
        [episode] = base.stage.play(game.play, ("other",), [task], {"student": "student"}, 0.0)
        reply = base.ask(question.question)
        assert reply.trajectory.turns == episode.trajectories[0].trajectory.turns
        assert reply.trajectory.uses == episode.trajectories[0].trajectory.uses
        assert base.ask(question.question).trajectory.ids_T.tolist() == reply.trajectory.ids_T.tolist()


def test_sources_hold_the_answer_and_were_seen(base: Agent, world: World) -> None:
    found = 0
    for question in world.heldout[:6]:
        reply = base.ask(question.question)
        assert set(reply.sources) <= {passage for use in searches(reply.trajectory) for passage in passages_of(use)}
        for source in reply.sources:
            assert normalise(reply.answer) in normalise(f"{source.title} {source.text}")
        found += bool(reply.sources)
    assert found > 3


def test_steps_come_as_they_happen(tiny_chat: Chat) -> None:
    agent = scripted(tiny_chat, searching("Bor", "river of Bor"), searching("Tamsin"), says("<Oum>", "spring: <Oum>"))
    engine = agent.stage.engine
    assert isinstance(engine, ScriptedEngine)
    steps = agent.steps(QUESTION)
    seen = []
    for step in steps:
        seen.append((type(step), len(engine.seen)))
    assert seen == [(Turn, 1), (ToolUse, 1), (Turn, 2), (ToolUse, 2), (Turn, 3), (Reply, 3)]


def test_a_reply_holds_the_steps_that_were_told(tiny_chat: Chat) -> None:
    agent = scripted(tiny_chat, searching("Bor", "river of Bor"), searching("Nowhere"), says("Tamsin", "river: Tamsin"))
    *steps, reply = agent.steps(f"  {QUESTION} ")
    assert isinstance(reply, Reply)
    assert reply.steps == tuple(steps)
    assert (reply.question, reply.answer, reply.stop) == (QUESTION, "Tamsin", StopReason.ANSWERED)
    assert steps[1] == used("Bor", [BOR])
    assert steps[3] == used("Nowhere", [])


def test_sources_stand_last_first_and_once(tiny_chat: Chat) -> None:
    turns = [searching("Bor"), searching("Tamsin"), searching("Bor"), says("the tamsin.")]
    assert scripted(tiny_chat, *turns).ask(QUESTION).sources == (BOR, TAMSIN)
    assert scripted(tiny_chat, searching("Bor"), says("Tam")).ask(QUESTION).sources == ()
    assert scripted(tiny_chat, says("Tamsin")).ask(QUESTION).sources == ()


@pytest.mark.parametrize(
    ("turns", "limits", "stop"),
    [
        ([searching("Bor")] * 2, Limits(turns=2, turn_tokens=200, tokens=4000), StopReason.TURNS),
        (["blue " * 90], Limits(turns=2, turn_tokens=20, tokens=4000), StopReason.TURN_TOKENS),
        (["blue"], Limits(turns=2, turn_tokens=20, tokens=30), StopReason.TOTAL_TOKENS),
        (["<tool_call>Bor</tool_call>"], None, StopReason.MALFORMED),
        ([searching("down")], None, StopReason.TOOL_FAILED),
    ],
)
def test_a_search_without_an_answer(tiny_chat: Chat, turns: list[str], limits: Limits | None, stop: StopReason) -> None:
    reply = scripted(tiny_chat, *turns, limits=limits, down=("down",)).ask(QUESTION)
    assert (reply.answer, reply.sources, reply.stop) == ("", (), stop)
    assert str(stop) in reply._repr_html_()


def test_a_reply_shows_itself(tiny_chat: Chat) -> None:
    reply = scripted(tiny_chat, searching("Tamsin", "a < b"), says("<Oum>")).ask("Where is <b>Bor</b>?")
    assert repr(reply) == "Reply(answer='<Oum>', sources=['Tamsin'], searches=1, stop='answered')"
    html = reply._repr_html_()
    assert "&lt;Oum&gt; &amp; ends" in html
    assert "a &lt; b" in html
    assert "<b>Bor" not in html
    assert json.loads(json.dumps(reply.to_dict())) == {
        "question": "Where is <b>Bor</b>?",
        "answer": "<Oum>",
        "stop": "answered",
        "sources": [{"id": "p2", "title": "Tamsin", "text": TAMSIN.text}],
        "steps": [
            {
                "think": "a < b",
                "query": "Tamsin",
                "content": "",
                "passages": [{"id": "p2", "title": "Tamsin", "text": TAMSIN.text}],
            },
            {"think": "", "query": None, "content": "<Oum>", "passages": []},
        ],
    }


def test_a_reply_tells_other_tools_calls_beside_searches() -> None:
    add = ToolUse(ToolCall("add", {"a": 1, "b": 2}), ToolResult("3 < 4"))
    find = used("Bor", [BOR])
    turns = [Turn("", "", "", add.call), Turn("", "", "", find.call), turn("the Tamsin")]
    reply = Reply(QUESTION, told(turns, [add, find], role="student"))
    assert reply.steps == (turns[0], add, turns[1], find, turns[2])
    assert reply.sources == (BOR,)
    steps = json.loads(json.dumps(reply.to_dict()))["steps"]
    assert steps[0] == {
        "think": "", "query": None, "content": "", "passages": [],
        "call": {"name": "add", "arguments": {"a": 1, "b": 2}}, "result": "3 < 4",
    }  # fmt: skip
    assert [(step["query"], len(step["passages"]), "call" in step) for step in steps[1:]] == [
        ("Bor", 1, False),
        (None, 0, False),
    ]
    assert "called <i>add(a=1, b=2)</i> and found 3 &lt; 4" in reply._repr_html_()


def test_the_temperature_and_the_seed_reach_the_engine(tiny_chat: Chat) -> None:
    seen: list[Generate] = []
    for temperature, seed in ((0.0, 0), (0.7, 0), (0.7, 1)):
        agent = scripted(tiny_chat, says("Oum"))
        agent.ask(QUESTION, temperature, seed)
        assert isinstance(agent.stage.engine, ScriptedEngine)
        seen += agent.stage.engine.seen
    assert [request.temperature for request in seen] == [0.0, 0.7, 0.7]
    assert len({request.key for request in seen[1:]}) == 2


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(tiny_chat: Chat, question: str) -> None:
    with pytest.raises(InputError, match="question is empty"):
        scripted(tiny_chat).ask(question)


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(tiny_chat: Chat, temperature: float) -> None:
    with pytest.raises(InputError, match="temperature"):
        scripted(tiny_chat).ask(QUESTION, temperature)


def test_whoever_left_in_the_middle_can_ask_again(base: Agent) -> None:
    whole = base.ask("Which is the river of Valtan?")
    next(base.steps("Which is the river of Valtan?"))
    assert base.ask("Which is the river of Valtan?").steps == whole.steps


def test_an_agent_answers_within_an_event_loop_and_outside_the_main_thread(tiny_chat: Chat) -> None:
    agent = scripted(tiny_chat, searching("Bor"), says("Tamsin"))

    async def cell() -> str:
        return agent.ask(QUESTION).answer

    assert asyncio.run(cell()) == "Tamsin"
    assert asyncio.run(asyncio.to_thread(agent.ask, QUESTION)).answer == "Tamsin"  # type: ignore[arg-type]


# What an agent is loaded from


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, toy_recipe: Path) -> Run:
    folder = tmp_path_factory.mktemp("agent") / "run"
    assert main(["train", str(toy_recipe), "--run-dir", str(folder), "--iterations", "1"]) == 0
    return Run.open(folder)


def test_a_run_is_asked_through_its_trained_student_on_its_own_ground(run: Run, toy: Callable[[str], Path]) -> None:
    agents = {
        "run": load_agent(run),
        "folder": load_agent(run.folder / "final" / "student", **{"engine.threads": 1}),
        "base": load_agent(toy("qwen3"), **{"engine.threads": 1}),
    }
    game = Study(rollouts=1, privilege="none")
    written = {
        # Limits of the toy recipe, under which a random model never answers: compare what it writes.
        name: agent.stage.play(game.play, ("t",), [Question("t", 1, "Bor?")], {"student": "student"}, 0.0)
        for name, agent in agents.items()
    }
    ids = {name: played[0].trajectories[0].trajectory.ids_T.tolist() for name, played in written.items()}
    shared = len(ids["run"])
    assert ids["run"] == ids["folder"][:shared] != ids["base"][:shared]
    assert agents["run"].stage.limits == run.config.limits
    found = {name: passages(agent, "population") for name, agent in agents.items()}
    assert found["run"] != found["base"]


def test_another_corpus_takes_the_place_of_the_runs_world(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "bor.md").write_text("# Bor\n\nBor lies on the Tamsin.\n")
    [found] = passages(load_agent(run, corpus=tmp_path / "notes"), "Tamsin")
    assert found.title == "Bor"


def test_what_searches_nothing_cannot_be_asked() -> None:
    with pytest.raises(InputError, match="only what searches can be asked"):
        load_agent(
            "base",
            **{"environment.kind": "table", "table": "kuhn:Kuhn", "sources": {}, "evaluation": None, "phases": []},
        )


def test_a_run_that_is_not_complete_cannot_be_asked(toy_recipe: Path, tmp_path: Path, run: Run) -> None:
    half = Run.create(tmp_path / "half", run.config)
    with pytest.raises(InputError, match="no final/student yet"):
        load_agent(half)


def test_a_model_is_named_once(run: Run) -> None:
    with pytest.raises(InputError, match="leave the setting model out"):
        load_agent(run.folder, model="other")
