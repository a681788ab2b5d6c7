"""What a model is taught before self-play: how each role of π-Play writes, by lessons that programs make.

A recipe names ``piplay.warm_up:Teach`` as its game, ``piplay.warm_up:Lessons`` as its source and
``piplay.warm_up:Card`` as its evaluation.
"""

from piplay.warm_up.card import Card
from piplay.warm_up.game import Teach
from piplay.warm_up.source import Lessons

__all__ = ["Card", "Lessons", "Teach"]
