"""Numbers that change while a role learns: with the iterations of self-play, or with the role's own updates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)

from piplay.errors import InputError


class Schedule(BaseModel):
    """Either ``{start, decay}`` or ``{from, to, steps, shape}``.

    - start · decay^(m−1) in iteration m = 1, 2, …: λ of the distillation (formula 5 of docs/method.md).
    - from ``from`` to ``to`` over ``steps`` of the role's updates, and ``to`` from then on. With t, the share of them
      that is done: from + (to − from) · t, or as a cosine from + (to − from) · (1 − cos πt) / 2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: float | None = None
    decay: float | None = Field(None, ge=0)
    from_: float | None = Field(None, alias="from")
    to: float | None = None
    steps: int | None = Field(None, ge=1)
    shape: Literal["linear", "cosine"] = "linear"

    @model_validator(mode="after")
    def _one_form(self) -> Schedule:
        given = list(self.written())
        if sorted(given) != ["decay", "start"] and sorted({*given} - {"shape"}) != ["from", "steps", "to"]:
            raise ValueError(
                f"a schedule needs start and decay, or from, to and steps; this one has {', '.join(given) or 'nothing'}"
            )
        return self

    @model_serializer
    def written(self) -> dict[str, Any]:
        """As it stands in a recipe."""
        return {
            name.rstrip("_"): getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }

    def at(self, iteration: int, update: int) -> float:
        """See ``value``."""
        if self.start is not None and self.decay is not None:
            return self.start * self.decay ** (iteration - 1)
        assert self.from_ is not None
        assert self.to is not None
        assert self.steps is not None
        share = min(update / self.steps, 1.0)
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.from_ + (self.to - self.from_) * share


def _kind(number: Any) -> str:
    return "schedule" if isinstance(number, Mapping | Schedule) else "number"


Number: TypeAlias = Annotated[
    Annotated[float, Tag("number")] | Annotated[Schedule, Tag("schedule")], Discriminator(_kind)
]
"""A setting that may change."""


def value(number: float | Schedule, iteration: int, update: int) -> float:
    """What a number is in an iteration, counted from 1, after ``update`` of the role's own updates.

    Raises:
        ValueError: the iteration is below 1 or the update below 0.
    """
    if iteration < 1 or update < 0:
        raise ValueError(f"iterations count from 1 and updates from 0, not {iteration} and {update}")
    return number.at(iteration, update) if isinstance(number, Schedule) else float(number)


def resolved(tree: Mapping[str, Any], iteration: int, update: int) -> dict[str, Any]:
    """Options, nested as they are, with its number in place of each schedule.

    A schedule is a ``Schedule``, or a mapping with ``start`` and ``decay`` or ``from`` and ``to``; or with one of its
    two first keys and no other than its own.

    Raises:
        InputError: a schedule that lacks something, or has something wrong.
    """
    return {name: _resolved(option, name, iteration, update) for name, option in tree.items()}


def _resolved(option: Any, where: str, iteration: int, update: int) -> Any:
    if isinstance(option, Mapping) and _looks_like_one(option):
        try:
            option = Schedule.model_validate(option)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join([where, *map(str, problem["loc"])])
            raise InputError(f"{place}: {problem['msg'].removeprefix('Value error, ')}") from error
    if isinstance(option, Schedule):
        return value(option, iteration, update)
    if isinstance(option, Mapping):
        return {name: _resolved(inner, f"{where}.{name}", iteration, update) for name, inner in option.items()}
    if isinstance(option, list | tuple):
        return type(option)(_resolved(inner, where, iteration, update) for inner in option)
    return option


def _looks_like_one(option: Mapping[str, Any]) -> bool:
    keys = set(option)
    if {"start", "decay"} <= keys or {"from", "to"} <= keys:
        return True
    return keys <= {"start", "decay", "from", "to", "steps", "shape"} and bool({"start", "from"} & keys)
