"""One tree of settings per run, checked before anything starts; ``recipes/`` reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from piplay.errors import check_text, nearest
from piplay.settings import Component, EngineSettings, Learn, Limits, Phase, Policy, ReportSettings, Settings


class Config(Settings):
    """Everything that a run is."""

    name: str
    seed: int = Field(0, ge=0)
    iterations: int = Field(3, ge=1)
    """M, times that the list of phases is played."""
    phases: tuple[Phase, ...]
    policies: dict[str, Policy]
    model: Path | None = None
    """A Hugging Face folder; none is the embedded tiny base."""
    chat: Literal["auto", "native", "chat", "tags"] = "auto"
    """``native``: the tokenizer's own chat template and tool calls. ``chat``: tags such as <answer> within the
    template. ``tags``: the same in plain text, for any tokenizer. ``auto``: the first of these that can be played as
    the template would render it."""
    prompts: dict[str, str] = Field(default_factory=dict)
    """Role to system prompt, in training and evaluation alike; a role without one has its game's."""
    environment: Component = Component(kind="search")
    """What is played in: ``search`` or another of ``piplay.envs``, or one's own."""
    sources: dict[str, Component] = Field(default_factory=dict)
    """Where phases draw their tasks from, by name. ``written``, what phases write, is always there."""
    limits: Limits = Limits()
    engine: EngineSettings = EngineSettings()
    evaluation: Component | None = None
    """What is measured before training and after each iteration; of ``piplay.methods``, or one's own."""
    agent: str = ""
    """The policy that answers in the end: what ``ask``, ``eval`` and the report play; by default the one that learns
    last."""
    report: ReportSettings = ReportSettings()
    keep_rollouts: bool = True
    """Whether every trajectory is written to the run's folder ``rollouts``."""
    checkpoint_every: int = Field(5, ge=1)
    """Steps between checkpoints; the end of a phase always makes one."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Where the numbers go besides metrics.jsonl."""

    @field_validator("sources")
    @classmethod
    def _with_written(cls, value: dict[str, Component]) -> dict[str, Component]:
        return {"written": Component(kind="written")} | value

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if not self.agent:
            learning = [phase.seats[role] for phase in self.phases for role in phase.learn]
            # The settings are frozen for everyone else.
            object.__setattr__(self, "agent", learning[-1] if learning else next(iter(self.policies), ""))
        _check_names(self)
        _check_snapshots(self)
        for phase in self.phases:
            _check_learning(self, phase)
        _check_written(self)
        if self.engine.cache_tokens is not None and self.engine.cache_tokens < self.limits.tokens:
            raise ValueError(
                f"engine.cache_tokens is {self.engine.cache_tokens}, and a trajectory may have {self.limits.tokens} "
                "(limits.tokens): let there be room for one at least"
            )
        return self


def flat(config: Config) -> dict[str, Any]:
    """Every setting by its dotted name, as an override has it: phases by theirs."""
    return dict(_flat(config.model_dump(mode="json"), ""))


def _flat(tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else key)
    elif prefix == "phases":
        for phase in tree:
            yield from _flat(phase, f"phases.{phase['name']}")
    else:
        yield prefix, tree


def _check_names(config: Config) -> None:
    """Raises ``ValueError`` where a policy, a role or a source is named that is not there, or a name is no file's."""
    named = [(f"phase {one.name}, seats.{role}", name) for one in config.phases for role, name in one.seats.items()]
    named += [
        (f"phase {phase.name}, losses.{term} of {role}", loss.policy)
        for phase in config.phases
        for role, learn in phase.learn.items()
        for term, loss in learn.losses.items()
        if loss.policy and "@" not in loss.policy
    ]
    named += [(f"policies.{name}.follows", one.follows) for name, one in config.policies.items() if one.follows]
    for place, name in [*named, ("agent", config.agent)]:
        if name not in config.policies:
            raise ValueError(f"{place}: there is no policy {name!r}{nearest(name, config.policies)}")
    roles = [role for phase in config.phases for role in phase.seats]
    for role, prompt in config.prompts.items():
        if config.phases and role not in roles:  # without phases the policy is only asked
            raise ValueError(f"prompts: there is no role {role!r}{nearest(role, roles)}")
        check_text(prompt, f"prompts.{role}")
    for phase in config.phases:
        for source in (phase.tasks, phase.writes_to):
            if source not in config.sources:
                raise ValueError(
                    f"phase {phase.name}: there is no source {source!r}{nearest(source, config.sources)} in sources"
                )
    if not re.fullmatch(r"[\w+-][\w+. -]{0,99}", config.name):
        raise ValueError(
            f"the name {config.name!r} names a folder below runs/: take letters, digits, spaces, . _ + and -, not more "
            "than 100"
        )
    for what, names in (("phase", [phase.name for phase in config.phases]), ("policy", list(config.policies))):
        for name in names:
            if not re.fullmatch(r"[\w-]+", name):
                raise ValueError(f"the {what} {name!r} names files: take letters, digits, hyphens and underscores")
            if names.count(name) > 1:
                raise ValueError(f"two phases are called {name!r}: they would draw the same; name one otherwise")


def _check_snapshots(config: Config) -> None:
    """Raises ``ValueError`` where a snapshot cannot be taken, or is asked before it is."""
    taken: list[str] = []
    for phase in config.phases:
        for snapshot in phase.snapshots:
            policy, _, name = snapshot.partition("@")
            if policy not in config.policies or not re.fullmatch(r"[\w-]+", name):
                raise ValueError(
                    f"phase {phase.name}: the snapshot {snapshot!r} is not POLICY@NAME of a policy there is"
                )
            pools = [f"{one.name}-" for one in config.phases if one.opponents]
            if any(name.startswith(pool) and name.removeprefix(pool).isdecimal() for pool in pools):
                raise ValueError(f"phase {phase.name}: opponents are called as the snapshot {snapshot!r}: rename it")
            if snapshot in taken:
                raise ValueError(f"phase {phase.name}: the snapshot {snapshot!r} is taken twice: give it two names")
            taken.append(snapshot)
        for policy in sorted(phase.asked):
            if "@" in policy and policy not in taken:
                raise ValueError(
                    f"phase {phase.name}: there is no snapshot {policy!r} yet{nearest(policy, taken)}: "
                    f'name it in snapshots of this phase or of an earlier one, as snapshots = ["{policy}"]'
                )


def _check_learning(config: Config, phase: Phase) -> None:
    """Raises ``ValueError`` where a role cannot learn, or two that share a policy cannot learn in one step."""
    for role in phase.learn:
        if config.policies[phase.seats[role]].follows:
            raise ValueError(f"phase {phase.name}: {role} learns, but its policy follows another")
    for one, other in combinations(phase.learn, 2):
        if phase.seats[one] != phase.seats[other]:
            continue
        key = _conflict(phase.learn[one], phase.learn[other])
        if key:
            raise ValueError(
                f"phase {phase.name}: {one} and {other} train {phase.seats[one]} in one step, with different {key}: "
                "give them the same, or each a policy of its own"
            )


def _check_written(config: Config) -> None:
    """Raises ``ValueError`` where a phase plays written tasks before any are written."""
    first = next((phase for phase in config.phases if config.sources[phase.tasks].kind == "written"), None)
    if first is None:
        return
    before = config.phases[: config.phases.index(first)]
    if not any(phase.writes and phase.writes_to == first.tasks for phase in before):
        raise ValueError(f"phase {first.name} plays written tasks, but no phase before it writes any")


def _conflict(one: Learn, other: Learn) -> str | None:
    """What two roles that are trained in one step have to agree on, and do not."""
    for key in ("lr", "updates"):
        if getattr(one, key) != getattr(other, key):
            return key
    for name in one.losses.keys() & other.losses.keys():
        mine, yours = one.losses[name], other.losses[name]
        if (mine.kind, mine.options) != (yours.kind, yours.options):
            return f"losses.{name}"
    return None
