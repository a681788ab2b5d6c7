"""A batch cut into several updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from piplay.types import Key, Sample


def splits(samples: Sequence[Sample], updates: int) -> list[list[Sample]]:
    """The batch in at most ``updates`` parts, in order, each of whole groups and with about as many samples.

    Of fewer groups than updates each is a part. Weights are averages over the batch; they are multiplied by the number
    of parts, so that each update's loss is as large as the batch's. Only the first is on-policy: the others need a loss
    that looks at the sampler's log-probs, ``PgLoss(old="sampler")``.

    Raises:
        ValueError: ``updates`` is below 1.
    """
    if updates < 1:
        raise ValueError(f"a batch is trained on in at least one update, not {updates}")
    groups: dict[Key, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(sample)
    count = min(updates, len(groups))
    if count < 2:
        return [list(samples)] if samples else []
    parts: list[list[Sample]] = [[]]
    for left, group in zip(range(len(groups), 0, -1), groups.values(), strict=True):
        done = sum(map(len, parts))
        # On to the next part where this one has its share, or where each further group has to be one.
        if (
            parts[-1]
            and len(parts) < count
            and (done >= len(samples) * len(parts) / count or left <= count - len(parts))
        ):
            parts.append([])
        parts[-1] += group
    return [[_scaled(sample, count) for sample in part] for part in parts]


def _scaled(sample: Sample, factor: int) -> Sample:
    return replace(sample, terms={term: weight_T * np.float32(factor) for term, weight_T in sample.terms.items()})
