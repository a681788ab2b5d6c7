"""The gradients of one optimiser step, and what is logged about it: samples cut into rows, and rows summed up.

``_S``: a model token of all samples; ``_T``: a token of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from piplay.algo.losses.base import Loss, Mean
from piplay.engine.local.rows import check_arrays, check_view, filled, has_loss, written
from piplay.engine.local.scored import Metric, Scored
from piplay.engine.local.sharded import release, within
from piplay.types import Floats, Sample

Kind = tuple[bool, tuple[str, ...]]
"""Whether a sample needs no backward, and its terms."""
Filling = Mapping[Kind, tuple[int, Sample]]
"""Of each kind how many rows every rank has to compute, and a sample without weight for those that it lacks."""


@dataclass(frozen=True, slots=True)
class Trainer:
    """The models of one update."""

    student: Any
    losses: Mapping[str, Loss]
    """By term. They are summed in this order."""
    others: Mapping[str, Any]
    """The models that the losses ask, by policy."""
    micro_batch_tokens: int

    def read(self, samples: Sequence[Sample]) -> list[dict[str, Floats]]:
        """What the losses report of each token; see ``protocol.Trainer.read``. Raises as ``accumulate`` does."""
        weightless = [_weightless(sample, self.losses) for sample in samples]
        return self.accumulate(weightless).by_token(weightless)

    def accumulate(self, samples: Sequence[Sample], filling: Filling = MappingProxyType({})) -> Tally:
        """Add the gradients of the samples' losses to the student; what there is to say of each token.

        Args:
            samples: of one update, or of a rank's part of one.
            filling: where ranks compute together.

        Raises:
            ValueError: see ``check``.
        """
        self.check(samples)
        rows, tally = rows_of(samples, self.micro_batch_tokens), Tally(self.losses)
        for kind in sorted({*rows, *filling}):
            own = rows.get(kind, [])
            for indices in own:
                tally.add(*self._row(indices, [samples[i] for i in indices], backward=not kind[0]))
            count, nothing = filling.get(kind, (0, None))
            for _ in range(count - len(own)):
                assert nothing is not None
                self._row([0], [nothing], backward=not kind[0])
        return tally

    def check(self, samples: Sequence[Sample]) -> None:
        """Look at samples before anything is computed.

        Raises:
            ValueError: one has a term that there is no loss for, or lacks a view that one reads; a loss asks a policy
                that there is none of; a model token in a prompt, or arrays of different lengths.
        """
        for sample in samples:
            self._check(sample)

    def _check(self, sample: Sample) -> None:
        check_arrays(sample)
        unknown = set(sample.terms) - set(self.losses)
        if unknown:
            raise ValueError(f"sample {sample.key} has unknown loss terms {sorted(unknown)}")
        for term in sample.terms:
            for scoring in self.losses[term].scorings:
                check_view(sample, scoring.view)
                if scoring.policy not in self.others:
                    raise ValueError(f"the loss {term} asks the policy {scoring.policy!r}, which the update lacks")

    def _row(
        self, indices: Sequence[int], samples: Sequence[Sample], backward: bool
    ) -> tuple[np.ndarray[Any, Any], Mapping[Metric, Tensor]]:
        try:
            with torch.set_grad_enabled(backward):
                loss, part = within(self.student, Scored(self.student, self.losses, self.others), samples)
            if backward:
                loss.backward()
        finally:
            release([self.student, *self.others.values()])
        return np.repeat(indices, [written(sample).size for sample in samples]), part


def rows_of(samples: Sequence[Sample], micro_batch_tokens: int) -> dict[Kind, list[list[int]]]:
    """Rows as indices into samples: uniform in their kind, equal prompts side by side."""
    kinds = [(not has_loss(sample), tuple(sorted(sample.terms))) for sample in samples]
    found = {}
    for kind in sorted(set(kinds)):
        members = [i for i in range(len(samples)) if kinds[i] == kind]
        found[kind] = list(filled(samples, members, micro_batch_tokens))
    return found


def filling_of(parts: Sequence[Sequence[Sample]], micro_batch_tokens: int) -> Filling:
    """What makes the rows of all ranks as many: they gather weights together, so that each has to compute as often.

    ``parts``: each rank's samples.
    """
    found: dict[Kind, tuple[int, Sample]] = {}
    for samples in parts:
        for kind, rows in rows_of(samples, micro_batch_tokens).items():
            if len(rows) > found.get(kind, (0,))[0]:
                one = samples[rows[0][0]]
                found[kind] = len(rows), _weightless(one, one.terms)
    return found


def _weightless(sample: Sample, terms: Iterable[str]) -> Sample:
    return replace(sample, terms={term: np.zeros(len(sample.ids_T), np.float32) for term in terms})


class Tally:
    """What each model token contributes to the metrics of one update."""

    def __init__(self, losses: Mapping[str, Loss]) -> None:
        self._values: dict[Metric, list[np.ndarray[Any, Any]]] = {}
        self._samples: dict[Metric, list[np.ndarray[Any, Any]]] = {}
        self._means: dict[Metric, Mean] = {("", "loss"): "sum", ("", "entropy"): "mean"}
        self._means |= {(term, name): mean for term, loss in losses.items() for name, mean in loss.metrics.items()}

    def add(self, sample_S: np.ndarray[Any, Any], part: Mapping[Metric, Tensor]) -> None:
        for metric, value_S in part.items():
            self._values.setdefault(metric, []).append(value_S.double().cpu().numpy())
            self._samples.setdefault(metric, []).append(sample_S)

    def join(self, other: Tally, numbers: Sequence[int]) -> None:
        """Add another's, of a part of the samples: ``numbers`` are those of the whole update, in the part's order."""
        for metric, values in other._values.items():
            self._values.setdefault(metric, []).extend(values)
            placed = [np.asarray(numbers)[sample_S] for sample_S in other._samples[metric]]
            self._samples.setdefault(metric, []).extend(placed)

    def metrics(self) -> dict[str, float]:
        """See ``LocalEngine.train``."""
        entropies = self._values.get(("", "entropy"), [])
        result = {"tokens": float(sum(map(len, entropies)))}
        if entropies:
            difference_S = np.concatenate(self._values["", "logprob_diff"])
            result |= {"logprob_diff_mean": float(difference_S.mean()), "logprob_diff_max": float(difference_S.max())}
        for metric, mean in self._means.items():
            if metric in self._values:
                value_S, sample_S = np.concatenate(self._values[metric]), np.concatenate(self._samples[metric])
                number = _MEANS[mean](value_S, sample_S)
            elif mean == "sum":
                number = 0.0
            else:
                continue
            # The first loss that reports a name has it; a later one, such as a second ``PgLoss``, puts its term before.
            term, name = metric
            result[f"{term}/{name}" if name in result else name] = number
        return result

    def by_token(self, samples: Sequence[Sample]) -> list[dict[str, Floats]]:
        """What the losses reported of each sample's tokens (T,), by term and name."""
        found: list[dict[str, Floats]] = [{} for _ in samples]
        for term, name in self._means:
            if not term:
                continue
            value_S = np.concatenate(self._values.get((term, name), [np.zeros(0)]))
            sample_S = np.concatenate(self._samples.get((term, name), [np.zeros(0, np.int64)]))
            for number, sample in enumerate(samples):
                value_T = np.zeros(len(sample.ids_T), np.float32)
                # A sample's tokens stand in their order, whichever row it was in.
                value_T[written(sample)] = value_S[sample_S == number]
                found[number][f"{term}/{name}"] = value_T
        return found


def _over_rollouts(value_S: np.ndarray[Any, Any], sample_S: np.ndarray[Any, Any]) -> float:
    count_B = np.bincount(sample_S)
    sum_B = np.bincount(sample_S, value_S)
    return float((sum_B[count_B > 0] / count_B[count_B > 0]).mean())


_MEANS = {
    "sum": lambda value_S, _: float(value_S.sum()),
    "mean": lambda value_S, _: float(value_S.mean()),
    "rollout": _over_rollouts,
}
