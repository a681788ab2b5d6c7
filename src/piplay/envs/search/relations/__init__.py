"""The relations that facts of prose are sought by: what each is called, how it is asked for, how sentences say it."""

from __future__ import annotations

from piplay.envs.search.relations.knowledge import KNOWLEDGE, NAMES
from piplay.envs.search.relations.making import MAKING
from piplay.envs.search.relations.patterns import Relation
from piplay.envs.search.relations.people import PEOPLE
from piplay.envs.search.relations.places import PLACES

RELATIONS = (*PEOPLE, *NAMES, *PLACES, *MAKING, *KNOWLEDGE)
"""A value that a passage gives for several of them belongs to the first."""

__all__ = ["RELATIONS", "Relation"]
