"""Randomness as data: every draw comes from a counter-based stream named by its whole path."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from piplay.types import Key

T = TypeVar("T")


def stream(seed: int, key: Key) -> np.random.Generator:
    """A generator that depends on ``seed`` and ``key`` alone (Philox keyed by a hash of both).

    Two keys that differ anywhere give independent streams, and what one stream has drawn never moves another.
    """
    digest = hashlib.blake2b(repr((seed, *key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of ``items``: what ``rng.choice(items)`` draws, to the bit, without first making an array of them all."""
    return items[int(rng.integers(len(items)))]
