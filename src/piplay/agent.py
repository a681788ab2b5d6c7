"""A search agent to ask: it plays the student of a game on a question of yours, turn by turn, over a corpus.

agent = piplay.load_agent("runs/pi-play-1")
agent.ask("Name the river of the capital of Serarbran.").answer
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from piplay.agent_file import origin_of
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Passage, Question, show
from piplay.envs.search.tool import SEARCH, passages_of, query_of, searches
from piplay.envs.search.values import mentions
from piplay.errors import InputError, check_text
from piplay.methods.pi_play.game import Study
from piplay.recipes import load_config
from piplay.registry import package_alone
from piplay.rollout.context import Request, ToolRequest, TurnRequest
from piplay.rollout.driver import watch
from piplay.rollout.stage import Stage
from piplay.rollout.tools import ToolError
from piplay.training.assemble import (
    check_passages,
    load_chat,
    load_engine,
    load_environment,
    model_folder,
    playing,
    tool_specs,
)
from piplay.training.run_directory import Run
from piplay.types import Key, PolicyRef, StopReason, ToolCall, ToolUse, Trajectory, Turn


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A question and what came of it."""

    question: str
    trajectory: Trajectory

    @property
    def answer(self) -> str:
        """What the agent answered; empty where a limit, or a call that cannot be read, ended its search."""
        return self.trajectory.answer

    @property
    def stop(self) -> StopReason:
        """Why it ended."""
        return self.trajectory.stop

    @property
    def steps(self) -> tuple[Turn | ToolUse, ...]:
        """What the agent wrote and what its tools answered, in order."""
        return tuple(step for pair in self._pairs() for step in pair if step is not None)

    @property
    def sources(self) -> tuple[Passage, ...]:
        """The passages that the agent saw and that contain its answer, the last first."""
        seen = [passage for use in reversed(searches(self.trajectory)) for passage in passages_of(use)]
        return tuple(dict.fromkeys(passage for passage in seen if mentions(show([passage]), self.answer)))

    def to_dict(self) -> dict[str, Any]:
        """The reply as JSON takes it; a step is a turn with the passages that its search found.

        A turn that calls another tool has ``call`` and ``result`` besides.
        """
        return {
            "question": self.question,
            "answer": self.answer,
            "stop": str(self.stop),
            "sources": [_passage(passage) for passage in self.sources],
            "steps": [_step(turn, use) for turn, use in self._pairs()],
        }

    def _pairs(self) -> Iterator[tuple[Turn, ToolUse | None]]:
        """Each turn with the tool call of it that was answered, if it made one."""
        uses = iter(self.trajectory.uses)
        for turn in self.trajectory.turns:
            yield turn, next(uses, None) if turn.call is not None else None

    def __repr__(self) -> str:
        titles, count = [passage.name for passage in self.sources], len(searches(self.trajectory))
        return f"Reply(answer={self.answer!r}, sources={titles}, searches={count}, stop={str(self.stop)!r})"

    def _repr_html_(self) -> str:
        """For Jupyter."""
        steps = [f"<li>{told}</li>" for told in map(_html, self.steps) if told]
        sources = ", ".join(escape(passage.name) for passage in self.sources) or "in no passage that it saw"
        answer = f"<b>{escape(self.answer)}</b> ({sources})" if self.answer else f"no answer ({self.stop})"
        return f"<p>{escape(self.question)}</p><ol>{''.join(steps)}</ol><p>Answer: {answer}</p>"


@dataclass(frozen=True, slots=True)
class Agent:
    """A policy in the student's seat, and what it searches."""

    model: str
    """What it was loaded from."""
    stage: Stage = field(repr=False)
    policy: str = "student"
    """The policy of the stage's engine that answers."""

    def ask(self, question: str, temperature: float = 0.0, seed: int = 0) -> Reply:
        """The agent's reply: always the same at temperature 0, above it the same for the same seed."""
        *_, reply = self.steps(question, temperature, seed)
        assert isinstance(reply, Reply)
        return reply

    def steps(self, question: str, temperature: float = 0.0, seed: int = 0) -> Iterator[Turn | ToolUse | Reply]:
        """What the agent does, as it does it: each ``Turn``, each ``ToolUse`` with its result, at last the ``Reply``.

        Raises ``InputError`` for an empty question or a temperature below 0.
        """
        question = self.checked(question, temperature)
        playing = watch([self.play(question, ("ask", seed), temperature)], self.stage.engine, self.stage.tools)
        while True:
            try:
                request, result = next(playing)
            except StopIteration as end:
                [reply] = end.value
                break
            if (step := self.step(request, result)) is not None:
                yield step
        yield reply

    def checked(self, question: str, temperature: float) -> str:
        """The question without space around it. Raises ``InputError`` where it or the temperature cannot be played."""
        question = question.strip()
        if not question:
            raise InputError("the question is empty: ask something")
        check_text(question, "the question")
        if not 0 <= temperature < math.inf:
            raise InputError(f"the temperature is {temperature}: give 0 for the likeliest words, or a number above it")
        return question

    async def play(self, question: str, key: Key, temperature: float) -> Reply:
        """The coroutine that answers, for a driver of the rollout; ``key`` names its draws and its session."""
        # As evaluation plays it, so that what was measured is what answers.
        context = self.stage.context(key, {"student": PolicyRef(self.policy)}, temperature)
        episode = await Study(rollouts=1, privilege="none").play(Question("ask", question=question), context)
        return Reply(question, episode.trajectories[0].trajectory)

    def step(self, request: Request | None, result: Any) -> Turn | ToolUse | None:
        """What a fulfilled request of ``play`` shows, if anything: a turn, or a tool's result."""
        match request:
            case TurnRequest():
                return self.stage.chat.parse(result.ids.tolist())
            case ToolRequest(call) if not isinstance(result, ToolError):
                return ToolUse(call, result)
        return None


def load_agent(model: str | Path | Run = "base", /, *, trust: bool = False, **overrides: object) -> Agent:
    """An agent that can be asked.

    Args:
        model: a run or its directory (its trained student, on what the run searched); a Hugging Face folder, with an
            ``agent.json`` asked as that says; or ``"base"``, the tiny base.
        trust: whether classes that are not the package's, which a run's settings or overrides name, may be imported.
        overrides: settings as in ``train``, such as ``corpus``, ``world`` or ``**{"limits.turns": 8}``; without a
            corpus or a world it searches the default world.

    Raises:
        InputError: there is no such model, something is wrong with the settings or the corpus, or there is nothing to
            search; or such classes are named and not trusted.
    """
    with package_alone(not trust):
        return _load_agent(model, overrides)


def _load_agent(model: str | Path | Run, overrides: dict[str, object]) -> Agent:
    if "model" in overrides:
        raise InputError("the agent's model is the first thing that is named: leave the setting model out")
    name = str(model.folder if isinstance(model, Run) else model)
    folder, origin = model_folder(name), origin_of(name)
    settings: dict[str, object] = {"engine.slots": 1, "engine.cache_tokens": None, **without_place(overrides)}
    config = playing(load_config(origin.config if origin else "pi-play", settings | overrides), folder)
    environment = load_environment(config, truth=False)
    if not isinstance(environment, SearchEnvironment):
        raise InputError(f"{name} plays in the environment {config.environment.kind}: only what searches can be asked")
    if origin:
        origin.check()
        origin.warn_of_changes(config, environment)
    specs = origin.tools_in(environment) if origin else tool_specs(environment)
    chat = load_chat(folder, config.chat, specs, config.limits.tokens)
    check_passages(environment, chat, config.limits)
    tools = {tool.spec.name: tool for tool in environment.tools}
    return Agent(name, Stage.of(config, load_engine(config), chat, tools), config.agent)


def without_place(overrides: Iterable[str]) -> dict[str, object]:
    """Settings that clear what a run searches, where overrides name a world or a corpus to search instead."""
    named = {key.removeprefix("environment.") for key in overrides} & {"world", "corpus"}
    return {"world": None, "corpus": None} if named else {}


def searched(call: ToolCall | None) -> str | None:
    """What a call searches for; None where it is no search."""
    return query_of(call) if call is not None and call.name == SEARCH.name else None


def written_call(call: ToolCall) -> str:
    """A call as a line of code."""
    return f"{call.name}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})"


def _step(turn: Turn, use: ToolUse | None) -> dict[str, Any]:
    query = searched(turn.call)
    passages = passages_of(use) if use is not None and query is not None else ()
    step: dict[str, Any] = {"think": turn.think, "query": query, "content": turn.content}
    step["passages"] = list(map(_passage, passages))
    if turn.call is not None and query is None:
        step["call"] = {"name": turn.call.name, "arguments": dict(turn.call.arguments)}
        step["result"] = use.result.text if use is not None else None
    return step


def _html(step: Turn | ToolUse) -> str:
    if isinstance(step, Turn):
        return f"thought: {escape(step.think)}" if step.think else ""
    query = searched(step.call)
    if query is None:
        return f"called <i>{escape(written_call(step.call))}</i> and found {escape(step.result.text)}"
    found = "; ".join(f"<b>{escape(p.name)}</b>: {escape(p.text)}" for p in passages_of(step)) or "nothing"
    return f"searched <i>{escape(query)}</i> and found {found}"


def _passage(passage: Passage) -> dict[str, str]:
    return {"id": passage.id, "title": passage.title, "text": passage.text}
