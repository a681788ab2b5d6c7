"""Gymnasium's environments as text: what a model reads, and the words by which it moves."""

from piplay.envs.gym.environment import GymEnvironment, Start, Starts, TextEnvironment

__all__ = ["GymEnvironment", "Start", "Starts", "TextEnvironment"]
