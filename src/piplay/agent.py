"""A search agent to ask: it plays the student of a game on a question of yours, turn by turn, over a corpus.

agent = piplay.load_agent("runs/pi-play-1")
agent.ask("Name the river of the capital of Bor.").answer
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from piplay.chat.base import show
from piplay.config import load_config
from piplay.envs.search.match import contains
from piplay.envs.search.searcher import SearchError
from piplay.errors import InputError
from piplay.methods.pi_play.game import Study
from piplay.rollout.context import Context, WantSearch, WantTurn
from piplay.rollout.drive import watch
from piplay.rollout.stage import Stage
from piplay.training.assemble import load_chat, load_engine, load_searcher, model_folder, playing, run_at
from piplay.types import Call, Passage, PolicyRef, StopReason, Task, Trajectory, Turn


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
    def steps(self) -> tuple[Turn | Call, ...]:
        """What the agent wrote and what its searches found, in order."""
        steps: list[Turn | Call] = []
        for number, turn in enumerate(self.trajectory.turns):
            steps += [turn, *self.trajectory.calls[number : number + 1]]
        return tuple(steps)

    @property
    def sources(self) -> tuple[Passage, ...]:
        """The passages that the agent saw and that contain its answer, the last first."""
        seen = [passage for call in reversed(self.trajectory.calls) for passage in call.passages]
        return tuple(dict.fromkeys(passage for passage in seen if contains(show([passage]), self.answer)))

    def to_dict(self) -> dict[str, Any]:
        """The reply as JSON takes it; a step is a turn with the passages that its search found."""
        calls = [call.passages for call in self.trajectory.calls]
        found = [*calls, *[()] * (len(self.trajectory.turns) - len(calls))]
        return {
            "question": self.question,
            "answer": self.answer,
            "stop": str(self.stop),
            "sources": [_passage(passage) for passage in self.sources],
            "steps": [
                {"think": turn.think, "query": turn.query, "content": turn.content, "passages": list(map(_passage, p))}
                for turn, p in zip(self.trajectory.turns, found, strict=True)
            ],
        }

    def __repr__(self) -> str:
        titles, searches = [passage.title for passage in self.sources], len(self.trajectory.calls)
        return f"Reply(answer={self.answer!r}, sources={titles}, searches={searches}, stop={str(self.stop)!r})"

    def _repr_html_(self) -> str:
        """For Jupyter."""
        steps = []
        for step in self.steps:
            if isinstance(step, Call):
                found = "; ".join(f"<b>{escape(p.title)}</b>: {escape(p.text)}" for p in step.passages) or "nothing"
                steps.append(f"<li>searched <i>{escape(step.query)}</i> and found {found}</li>")
            elif step.think:
                steps.append(f"<li>thought: {escape(step.think)}</li>")
        sources = ", ".join(escape(passage.title) for passage in self.sources) or "in no passage that it saw"
        answer = f"<b>{escape(self.answer)}</b> ({sources})" if self.answer else f"no answer ({self.stop})"
        return f"<p>{escape(self.question)}</p><ol>{''.join(steps)}</ol><p>Answer: {answer}</p>"


@dataclass(frozen=True, slots=True)
class Agent:
    """A policy in the student's seat, and what it searches."""

    model: str
    """What it was loaded from."""
    stage: Stage = field(repr=False)

    def ask(self, question: str, temperature: float = 0.0, seed: int = 0) -> Reply:
        """The agent's reply: always the same at temperature 0, above it the same for the same seed."""
        *_, reply = self.steps(question, temperature, seed)
        assert isinstance(reply, Reply)
        return reply

    def steps(self, question: str, temperature: float = 0.0, seed: int = 0) -> Iterator[Turn | Call | Reply]:
        """What the agent does, as it does it: a ``Turn`` it wrote, a ``Call`` and what it found, at last the ``Reply``.

        Raises ``InputError`` for an empty question or a temperature below 0.
        """
        question = question.strip()
        if not question:
            raise InputError("the question is empty: ask something")
        if not 0 <= temperature < math.inf:
            raise InputError(f"the temperature is {temperature}: give 0 for the likeliest words, or a number above it")
        stage, seats = self.stage, {"student": PolicyRef("student")}
        # As evaluation plays it, so that what was measured is what answers.
        game = Study({}, rollouts=1)
        context = Context(("ask", seed), stage.chat, seats, stage.limits, temperature, stage.prompts)
        playing = watch([game.play(Task("ask", 0, question), context)], stage.engine, stage.searcher, stage.top_k)
        while True:
            try:
                want, result = next(playing)
            except StopIteration as end:
                [episode] = end.value
                break
            match want:
                case WantTurn():
                    yield stage.chat.parse(result.ids.tolist())
                case WantSearch(query) if not isinstance(result, SearchError):
                    yield Call(query, tuple(result))
        yield Reply(question, episode.seats[0].trajectory)


def load_agent(model: str | Path = "base", /, **overrides: object) -> Agent:
    """An agent that can be asked.

    Args:
        model: a Hugging Face folder, a run directory (its trained student, on what the run searched), or ``"base"``,
            the tiny base.
        overrides: settings as in ``train``, such as ``corpus``, ``world`` or ``**{"limits.turns": 8}``; without a
            corpus or a world it searches the default world.

    Raises:
        InputError: there is no such model, or something is wrong with the settings or the corpus.
    """
    if "model" in overrides:
        raise InputError("the agent's model is the first thing that is named: leave the setting model out")
    folder, run = model_folder(str(model)), run_at(str(model))
    settings: dict[str, object] = {"engine.slots": 1, "engine.cache_tokens": None}
    if overrides.keys() & {"world", "corpus"}:
        settings |= {"world": None, "corpus": None}
    config = load_config(run.config if run else "pi-play", settings | overrides)
    config = playing(config, folder)
    chat = load_chat(folder, config.chat)
    searcher, engine = load_searcher(config), load_engine(config, chat)
    return Agent(str(model), Stage(engine, chat, searcher, config.limits, config.search.top_k, config.prompts))


def _passage(passage: Passage) -> dict[str, str]:
    return {"id": passage.id, "title": passage.title, "text": passage.text}
