"""Who is measured: a model as it played in its run, and what it searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from piplay.agent_file import origin_of
from piplay.config import Config
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Question
from piplay.envs.search.tool import SearchTool
from piplay.errors import InputError
from piplay.eval.notes import Notes
from piplay.eval.scores import Record, records
from piplay.methods.pi_play.evaluation import play_student
from piplay.rollout.stage import Stage
from piplay.settings import Component, Policy
from piplay.training.assemble import (
    check_passages,
    load_chat,
    load_engine,
    load_environment,
    model_folder,
    playing,
    tool_specs,
)
from piplay.types import Episode

TOP_K = 1
"""Passages that one search returns where neither the command nor a run says."""
TOLERATED = 0.05
"""The share of answers that a searcher may fail: they count as no answer, and are said. Of more there is no result."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model and the stage it plays on."""

    name: str
    """As it was given on the command line."""
    stage: Stage
    policy: str
    """The stage's one policy."""
    settings: dict[str, Any]
    """Under which limits it plays, how much a search returns, in which dtype, where, and on how many threads."""

    @property
    def about(self) -> str:
        return f"{self.name}: chat {self.stage.chat.why}"

    def play(
        self, tasks: Sequence[Question], samples: int, temperature: float, notes: Notes, told: Callable[[], None]
    ) -> list[Record]:
        """Every question greedily, and ``samples`` times at the temperature; each is noted, and told, as it comes."""
        torch.set_num_threads(self.settings["threads"])  # the process has one number, and the last engine set it
        by_task: dict[int, Episode] = {}

        def answered(episode: Episode) -> None:
            by_task[id(episode.task)] = episode
            notes.add(self.name, records([episode], ())[0])
            told()

        def sampled(episode: Episode) -> None:
            notes.add(self.name, records([by_task[id(episode.task)]], [episode])[0])
            told()

        greedy = play_student(self.stage, self.policy, tasks, ("eval", "greedy"), note=answered, tolerated=TOLERATED)
        if not samples:
            return records(greedy, ())
        key = "eval", "samples"
        drawn = play_student(
            self.stage,
            self.policy,
            tasks,
            key,
            samples=samples,
            temperature=temperature,
            note=sampled,
            tolerated=TOLERATED,
        )
        return records(greedy, drawn)


def environment_of(
    model: str, world: Path | None, corpus: Path | None, seed: int, strict: bool, truth: bool
) -> SearchEnvironment:
    """What the models search: as the first model's run has it, if it comes from one, in the world or corpus given."""
    origin = origin_of(model)
    usual = origin.config.environment if origin else Component(kind="search")
    given = {"world": world and str(world), "corpus": corpus and str(corpus)}
    # What the run has and is not given is taken away: one of them is searched.
    places: dict[str, Any] = {name: path for name, path in given.items() if path or name in usual.options}
    if strict:
        places["strict"] = True
    config = settings_of(Component(kind=usual.kind, **usual.options | places), seed)
    environment = load_environment(config, truth=truth)
    if not isinstance(environment, SearchEnvironment):
        raise InputError(f"the run {model} plays in the environment {usual.kind}: only what searches can be asked.")
    if origin:
        origin.warn_of_changes(config, environment)
    return environment


def settings_of(environment: Component, seed: int) -> Config:
    """Those of a model that comes from no run."""
    return Config(name="eval", seed=seed, phases=(), policies={"student": Policy()}, environment=environment)


def contestant_of(name: str, environment: SearchEnvironment, given: Mapping[str, Any]) -> Contestant:
    """A model as it played in its run, if it comes from one, but for what is given otherwise."""
    folder, origin = model_folder(name), origin_of(name)
    if origin:
        origin.check()
    usual = origin.config if origin else settings_of(Component(kind="search"), given["seed"])
    kind = usual.chat if origin and given["chat"] == "auto" else given["chat"]
    limits = usual.limits.model_copy(update={key: given[key] or old for key, old in usual.limits.model_dump().items()})
    specs = origin.tools_in(environment) if origin else tool_specs(environment)
    chat = load_chat(folder, kind, specs, limits.tokens)
    check_passages(environment, chat, limits)
    top_k, one = given["top_k"] or usual.environment.options.get("top_k", TOP_K), playing(usual, folder)
    changed = {key: given[key] for key in ("threads", "device", "dtype") if given[key] is not None}
    if one.engine.cache_tokens is not None:
        changed["cache_tokens"] = max(one.engine.cache_tokens, limits.tokens)
    engine = one.engine.model_copy(update=changed)
    player = load_engine(one.model_copy(update={"seed": given["seed"], "engine": engine}))
    tools = {
        tool.spec.name: replace(tool, top_k=top_k) if isinstance(tool, SearchTool) else tool
        for tool in environment.tools
    }
    prompts = {"student": given["prompt"]} if given["prompt"] else usual.prompts
    stage = Stage(player, chat, tools, limits, prompts, given["seed"])
    where = engine.model_dump(include={"dtype", "device", "threads"})
    return Contestant(name, stage, usual.agent, limits.model_dump() | {"top_k": top_k} | where)
