"""What a model is taught before self-play: how each role of π-Play writes, by lessons that programs make.

A recipe names ``warm_up:Teach`` as its game, ``warm_up:Lessons`` as its source and ``warm_up:Card`` as its evaluation.
"""

from piplay.methods.warm_up.card import Card
from piplay.methods.warm_up.game import Teach
from piplay.methods.warm_up.source import Lessons

__all__ = ["Card", "Lessons", "Teach"]
