"""SPIRAL (arXiv 2506.24119): one policy plays both seats of a text game, each seat against a baseline of its own."""

from piplay.methods.spiral.evaluation import SpiralEvaluation
from piplay.methods.spiral.game import Play, WarmUp

__all__ = ["Play", "SpiralEvaluation", "WarmUp"]
