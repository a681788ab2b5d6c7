"""The losses of a row of samples, with the gradients of its head; and the log-probabilities of given samples.

The student's body and those of the policies that losses ask (teachers, references) run over a row. Its model tokens go
on to the vocabulary in chunks, and a chunk's gradients are made as soon as its losses are: no (tokens, vocabulary)
tensor of a row ever exists, for any of them. Which losses there are is data.

``_R``: a model token of a row; ``_D``: the model's width; ``_V``: the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from piplay.algo.losses.base import Loss, Rows, Scoring
from piplay.algo.losses.formulas import chosen, entropy, log_probs
from piplay.border.learn import losses_of
from piplay.engine.local.rows import check_arrays, check_view, filled, predicting, written
from piplay.engine.local.sharded import within
from piplay.types import Floats, Sample

HEAD_ROWS = 128
"""Rows whose logits exist at the same time; as many as the model is wide where that is more. A chunk of them makes one
gradient of the head's weights: as large, at the model's width, as its logits, which are gone by then."""

Metric = tuple[str, str]
"""The term that reports it, empty for the trainer, and its name."""


def loss_bytes(device: torch.device) -> int:
    """What one fp32 value for each entry of the vocabulary may take, over the rows whose losses are computed at the
    same time: some ten such tensors live then. A CPU's stay in its cache; a GPU's make each launch worth its while."""
    return 2**23 if device.type == "cpu" else 2**27


class Scored(Module):
    """A model with the losses that it is trained by. Its forward is that of a row."""

    def __init__(self, model: Any, losses: Mapping[str, Loss], others: Mapping[str, Any]) -> None:
        """``losses`` by term; ``others``: the models that they ask, by policy."""
        super().__init__()
        self.model, self._losses, self._others = model, losses, others

    def forward(self, samples: Sequence[Sample]) -> tuple[Tensor, dict[Metric, Tensor]]:
        """The summed loss of samples of the same terms, and what each model token (R,) contributes to the metrics.

        Where gradients are on, those of the head's weights are there when it returns; the loss's backward makes the
        others, and is to be called once.
        """
        terms = [term for term in self._losses if term in samples[0].terms]
        rows = _Rows.gather(samples, terms, self.model.device)
        hidden_R_D = predicting(self.model, samples)
        # Two losses that ask the same share one answer.
        scorings = dict.fromkeys(scoring for term in terms for scoring in self._losses[term].scorings)
        with torch.no_grad():
            asked = {scoring: self._asked(scoring, samples) for scoring in scorings}
        found: tuple[Tensor, dict[Metric, Tensor]] = _Head.apply(hidden_R_D, self, asked, rows)  # type: ignore[no-untyped-call]
        return found

    def _asked(self, scoring: Scoring, samples: Sequence[Sample]) -> Tensor:
        other = self._others[scoring.policy]
        # The head's weights stay gathered until the row is done.
        hidden_R_D: Tensor = within(other, predicting, other, samples, scoring.view)
        return hidden_R_D

    def chunk(
        self, hidden_R_D: Tensor, asked: Mapping[Scoring, Tensor], rows: _Rows, backward: bool
    ) -> tuple[Tensor, list[dict[Metric, Tensor]]]:
        """The summed loss of some rows, and their metrics in parts; and back to the gradients of head and leaf.

        ``hidden_R_D`` is a part of a leaf; ``asked`` has the hidden states of the policies that losses ask.
        """
        with torch.set_grad_enabled(backward):
            logits_R_V = _logits(self.model, hidden_R_D)
        # The others' at the same height: rows of a product depend on it in their last bits, and where views and weights
        # are equal the KL has to be 0.
        others = {scoring: _logits(self._others[scoring.policy], other_R_D) for scoring, other_R_D in asked.items()}
        values_R_V = logits_R_V.detach()
        total, parts = torch.zeros((), device=values_R_V.device), []
        for some in _chunks(len(values_R_V), _loss_rows(values_R_V)):
            leaf_R_V = values_R_V[some].detach().requires_grad_(backward)
            with torch.set_grad_enabled(backward):
                loss, part = self._summed(
                    log_probs(leaf_R_V),
                    {scoring: log_probs(other_R_V[some]) for scoring, other_R_V in others.items()},
                    rows[some],
                )
            if backward:
                # The gradient takes the room of the logits, which nothing needs any more.
                values_R_V[some] = torch.autograd.grad(loss, leaf_R_V)[0]
            total += loss.detach()
            parts.append(part)
        del others
        if backward:
            torch.autograd.backward(logits_R_V, values_R_V)
        return total, parts

    def _summed(
        self, logp_R_V: Tensor, asked: Mapping[Scoring, Tensor], rows: _Rows
    ) -> tuple[Tensor, dict[Metric, Tensor]]:
        """The summed loss of some rows, and what each row contributes to the metrics; from log-probs."""
        logp_R = chosen(logp_R_V, rows.target_R)
        total, part = (
            logp_R.new_zeros(()),
            {
                ("", "loss"): torch.zeros_like(logp_R),
                ("", "entropy"): entropy(logp_R_V.detach()),
                ("", "logprob_diff"): (logp_R.detach() - rows.sampled_R).abs(),
            },
        )
        for term, weight_R in rows.weights.items():
            loss = self._losses[term]
            others = [asked[scoring] for scoring in loss.scorings]
            rows_of_term = Rows(logp_R_V, logp_R, rows.sampled_R, rows.target_R, rows.advantage_R, weight_R, others)
            value, reported = losses_of(loss, rows_of_term)
            total = total + value
            part["", "loss"] = part["", "loss"] + reported.pop("loss")
            part |= {(term, name): value_R for name, value_R in reported.items()}
        return total, part


class _Head(torch.autograd.Function):
    """From hidden states over the vocabulary to the summed loss.

    Gradients are made in the forward, chunk by chunk. Those of the head's weights gather where a backward would leave
    them: in fp32 in the masters of a bf16 model, unless ranks share its weights out (``sharded.py``). The hidden
    states' are kept, and are what the backward gives on.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_R_D: Tensor, scored: Scored, asked: Mapping[Scoring, Tensor], rows: _Rows
    ) -> tuple[Tensor, dict[Metric, Tensor]]:
        backward = ctx.needs_input_grad[0]
        leaf_R_D = hidden_R_D.detach().requires_grad_(backward)
        total, parts = torch.zeros((), device=leaf_R_D.device), list[dict[Metric, Tensor]]()
        for some in _chunks(len(leaf_R_D), max(HEAD_ROWS, leaf_R_D.shape[-1])):
            behind = {scoring: other_R_D[some] for scoring, other_R_D in asked.items()}
            with torch.set_grad_enabled(backward):
                piece_R_D = leaf_R_D[some]
            loss, found = scored.chunk(piece_R_D, behind, rows[some], backward)
            total += loss
            parts += found
        if backward:
            ctx.save_for_backward(leaf_R_D.grad)
        return total, {metric: torch.cat([part[metric] for part in parts]) for metric in parts[0]}

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None, None]:
        (grad_R_D,) = ctx.saved_tensors
        return grads[0] * grad_R_D, None, None, None


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is known of each model token of a row of sequences."""

    target_R: Tensor
    sampled_R: Tensor
    advantage_R: Tensor
    weights: Mapping[str, Tensor]
    """By term."""

    @classmethod
    def gather(cls, samples: Sequence[Sample], terms: Sequence[str], device: torch.device) -> _Rows:
        def column(arrays: Sequence[Any]) -> Tensor:
            picked = [array[written(sample)] for array, sample in zip(arrays, samples, strict=True)]
            return torch.from_numpy(np.concatenate(picked)).to(device)

        return cls(
            column([sample.ids_T for sample in samples]),
            column([sample.logprobs_T for sample in samples]),
            column([_advantage(sample) for sample in samples]),
            {term: column([sample.terms[term] for sample in samples]) for term in terms},
        )

    def __getitem__(self, chunk: slice) -> _Rows:
        weights = {term: weight_R[chunk] for term, weight_R in self.weights.items()}
        return _Rows(self.target_R[chunk], self.sampled_R[chunk], self.advantage_R[chunk], weights)


def _advantage(sample: Sample) -> Floats:
    return np.zeros(len(sample.ids_T), np.float32) if sample.advantage_T is None else sample.advantage_T


@torch.no_grad()
def score(model: Any, samples: Sequence[Sample], view: str, micro_batch_tokens: int) -> list[Floats]:
    """Log-probabilities (T,) of each sample's tokens behind one of its views; 0 where the model did not write.

    Raises:
        ValueError: a sample lacks the view, has a model token in its prompt, or arrays of different lengths.
    """
    for sample in samples:
        check_arrays(sample)
        check_view(sample, view)
    found = [np.zeros(len(sample.ids_T), np.float32) for sample in samples]
    for indices in filled(samples, range(len(samples)), micro_batch_tokens):
        row = [samples[i] for i in indices]
        rows, hidden_R_D = _Rows.gather(row, (), model.device), predicting(model, row, view)
        parts = []
        for chunk in _chunks(len(hidden_R_D), max(HEAD_ROWS, hidden_R_D.shape[-1])):
            logits_R_V, target_R = _logits(model, hidden_R_D[chunk]), rows.target_R[chunk]
            parts += [
                chosen(log_probs(logits_R_V[some]), target_R[some])
                for some in _chunks(len(logits_R_V), _loss_rows(logits_R_V))
            ]
        logp_R = torch.cat(parts).float().cpu().numpy()
        ends = np.cumsum([written(sample).size for sample in row])
        for i, sample, own in zip(indices, row, np.split(logp_R, ends[:-1]), strict=True):
            found[i][written(sample)] = own
    return found


def _chunks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, start + size)


def _loss_rows(logits_R_V: Tensor) -> int:
    """Rows whose losses are computed at the same time."""
    return max(1, loss_bytes(logits_R_V.device) // (4 * logits_R_V.shape[-1]))


def _logits(model: Any, hidden_R_D: Tensor) -> Tensor:
    logits: Tensor = model.get_output_embeddings()(hidden_R_D)
    return logits
