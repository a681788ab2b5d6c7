"""Turns to ask an engine for, and the plain model that writes the same one token at a time."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from transformers import PreTrainedModel

from piplay.engine.protocol import Generate, Generated, Sampler
from piplay.streams import stream
from piplay.types import Ints, Key, PolicyRef, Stop

END = 60
SEED = 7
LIVE = PolicyRef("student")
STOP = Stop((END,))
WORDS = ["".join(letters) for length in range(1, 6) for letters in product("a>", repeat=length)]
SAYS = [*WORDS[:END], "</s>"]
"""What each token of ``lettered`` says: nearly all words of up to five letters over an alphabet of two."""


def request(
    key: Key,
    ids: Sequence[int] | Ints,
    max_new: int = 12,
    temperature: float = 1,
    policy: PolicyRef = LIVE,
    session: Key | None = None,
    stop: Stop = STOP,
) -> Generate:
    return Generate(key, policy, np.array(ids), key if session is None else session, max_new, temperature, stop)


def drain(engine: Sampler) -> dict[Key, Generated]:
    results: dict[Key, Generated] = {}
    while ready := engine.ready():
        results |= {generated.key: generated for generated in ready}
    return results


def contexts(count: int, seed: int = 0) -> list[Ints]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, END, rng.integers(1, 40)) for _ in range(count)]


def says(ids: Sequence[int] | Ints) -> str:
    return "".join(SAYS[token] for token in ids)


@torch.no_grad()
def reference(model: PreTrainedModel, asked: Generate, version: int = 0) -> Generated:
    """One sequence at a time, no cache: the whole context through the plain model for every token."""
    uniforms = stream(SEED, asked.key).random(asked.max_new)
    ids, logprobs = asked.ids_T.tolist(), []
    for uniform in uniforms:
        logits = model(torch.tensor([ids])).logits[0, -1]
        if asked.temperature == 0:
            token = int(logits.argmax())
        else:
            cumulative = np.cumsum((logits.double() / asked.temperature).softmax(-1).numpy())
            token = int(np.flatnonzero(cumulative > uniform)[0])
        logprobs.append(float(logits.log_softmax(-1)[token]))
        ids.append(token)
        said = says(ids[len(asked.ids_T) :])
        if closed := token in asked.stop.ids or any(text in said for text in asked.stop.texts):
            break
    return Generated(asked.key, np.array(ids[len(asked.ids_T) :]), np.array(logprobs, np.float32), closed, version)


def assert_same(actual: Generated, expected: Generated) -> None:
    np.testing.assert_array_equal(actual.ids, expected.ids)
    np.testing.assert_allclose(actual.logprobs, expected.logprobs, atol=1e-5)
    assert (actual.key, actual.closed, actual.version) == (expected.key, expected.closed, expected.version)
