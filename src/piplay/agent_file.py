"""``agent.json``, beside the weights of each final policy: what a model is asked with to answer as in its run.

So a folder that is copied out of its run answers as the run does. Paths of a world or a corpus are those of the machine
where the run was made; their hashes stand beside them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from piplay.chat.base import Chat
from piplay.config import Config
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Passage, check_asks, show
from piplay.errors import InputError, InputWarning
from piplay.files import from_json
from piplay.methods.pi_play.views import STUDENT
from piplay.protocols import Environment
from piplay.settings import Component, EngineSettings, Limits, Lora, Policy, Settings
from piplay.training.assemble import run_at
from piplay.training.fingerprints import warn_of_changes, warn_of_damage
from piplay.training.run_directory import AGENT, Run
from piplay.types import ToolSpec
from piplay.version import current_version

SCHEMA = 1
ONE, TWO = Passage("1", "TITLE 1", "TEXT 1"), Passage("2", "TITLE 2", "TEXT 2")


def passage_format() -> list[str]:
    """How nothing, one passage and two are shown."""
    return [show([]), show([ONE]), show([ONE, TWO])]


class Tool(Settings):
    """See ``ToolSpec``."""

    name: str
    description: str
    parameters: dict[str, Any]


class AgentFile(Settings):
    """What stands in ``agent.json``."""

    piplay: str
    """The version that wrote it."""
    run: str
    """The recipe's name."""
    policy: str
    seed: int
    chat: Literal["native", "chat", "tags"]
    """See ``Config.chat``: what was taken."""
    prompts: dict[str, str]
    """Role to system prompt: of the student always."""
    tools: tuple[Tool, ...]
    """As the model was told of them."""
    passage_format: tuple[str, ...]
    """How no passage, one and two were shown."""
    limits: Limits
    environment: Component
    """What is searched, by what retriever, and how many passages a search finds."""
    engine: EngineSettings
    sources: dict[str, str]
    """The hashes of what the run read, by name."""

    def config(self) -> Config:
        """The settings of a model that is only asked."""
        return Config(
            name=self.run,
            seed=self.seed,
            phases=(),
            policies={self.policy: Policy()},
            chat=self.chat,
            prompts=self.prompts,
            environment=self.environment,
            limits=self.limits,
            engine=self.engine,
        )


def describe(run: Run, environment: Environment, chat: Chat, policy: str) -> str:
    """The text of a policy's ``agent.json``; empty where the run searches nothing, so that nobody can ask it."""
    if not isinstance(environment, SearchEnvironment):
        return ""
    config = run.config
    made = AgentFile(
        piplay=current_version(),
        run=config.name,
        policy=policy,
        seed=config.seed,
        chat=chat.kind,
        prompts={"student": STUDENT} | config.prompts,
        tools=tuple(Tool(**asdict(tool)) for tool in chat.tools),
        passage_format=tuple(passage_format()),
        limits=config.limits,
        environment=config.environment,
        engine=config.engine.model_copy(update={"lora": Lora()}),
        sources={name: value for name, value in run.sources.items() if name != "model"},
    )
    return json.dumps({"schema": SCHEMA, **made.model_dump(mode="json")}, indent=2, ensure_ascii=False) + "\n"


def read(folder: Path) -> AgentFile | None:
    """What a model's folder says of how it is asked; None where it says nothing.

    Raises ``InputError`` where the file is damaged or of another schema; warns where passages are now shown otherwise.
    """
    file = folder / AGENT
    if not file.is_file():
        return None
    try:
        tree = from_json(file.read_text(encoding="utf-8"))
        schema, version = tree.pop("schema"), tree.get("piplay")
        if schema != SCHEMA:
            raise InputError(f"{file} was made by piplay {version} in schema {schema}: use that piplay for it")
        found = AgentFile.model_validate(tree)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise InputError(f"{file} is damaged ({reason}): copy it again from its run, or remove it") from error
    if list(found.passage_format) != passage_format():
        warnings.warn(
            f"{file} was made by piplay {version}, which showed passages otherwise: the model may answer otherwise",
            InputWarning,
            stacklevel=2,
        )
    return found


@dataclass(frozen=True, slots=True)
class Origin:
    """How a model that was trained here is asked: as its run did, or as its folder says."""

    name: str
    config: Config
    sources: Mapping[str, str]
    """The hashes of what the run read, by name."""
    tools: Sequence[ToolSpec] = ()
    """As the model was told of them; empty: as they are."""
    run: Run | None = field(default=None, repr=False)

    def check(self) -> None:
        """Raises ``InputError`` where a run played no questions; warns where the run's policy is not what it left."""
        if self.run is not None:
            check_asks(self.name, self.run.column_kinds())
            warn_of_damage(self.run)

    def warn_of_changes(self, config: Config, environment: Environment) -> None:
        """Warn where something else is searched than in the run, under the same name."""
        warn_of_changes(self.name, self.config, self.sources, config, environment)

    def tools_in(self, environment: SearchEnvironment) -> tuple[ToolSpec, ...]:
        """What the model is told of the environment's tools. Raises ``InputError`` where it knows others."""
        there = tuple(tool.spec for tool in environment.tools)
        known = tuple(self.tools) or there
        if [tool.name for tool in known] != [tool.name for tool in there]:
            wanted = ", ".join(tool.name for tool in known)
            raise InputError(f"{self.name} was trained with the tools {wanted}, and the environment has others")
        return known


def origin_of(name: str) -> Origin | None:
    """Of a run directory, or of a folder with an ``agent.json``; None of any other model."""
    run = run_at(name)
    if run is not None:
        return Origin(name, run.config, run.sources, run=run)
    found = read(Path(name))
    if found is None:
        return None
    return Origin(name, found.config(), found.sources, [ToolSpec(**dict(tool)) for tool in found.tools])
