"""The gradients of one optimiser step, and what is logged about it; and the log-probabilities of given samples.

The student's body and those of the policies that losses ask (teachers, references) run over rows of sequences laid end
to end, without padding; a prompt that the rollouts of one question have in common stands in a row once. Of a row only
the places that predict a token the model wrote go on to the vocabulary, in chunks whose backward runs at once, so that
no (tokens, vocabulary) tensor of a row ever exists, for any of them. Which losses there are is data.

``_N``: a place of a row; ``_R``: a model token of it; ``_S``: a model token of all samples; ``_V``: the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from piplay.algo.losses.base import Loss, Mean, Rows, Scoring
from piplay.algo.losses.formulas import chosen, entropy, log_probs
from piplay.algo.packing import fill, lay_out
from piplay.border.learn import losses_of
from piplay.engine.local.attention import Packed
from piplay.types import Floats, Ints, Owner, Sample

HEAD_ROWS = 128
"""Rows whose logits exist at the same time; as many as the model is wide where that is more. A chunk of them makes one
gradient of the head's weights: as large, at the model's width, as its logits, which are gone by then."""


def loss_bytes(device: torch.device) -> int:
    """What one fp32 value for each entry of the vocabulary may take, over the rows whose losses are computed at the
    same time: some ten such tensors live then. A CPU's stay in its cache; a GPU's make each launch worth its while."""
    return 2**23 if device.type == "cpu" else 2**27


@dataclass(frozen=True, slots=True)
class Trainer:
    """The models of one update."""

    student: Any
    losses: Mapping[str, Loss]
    """By term. They are summed in this order."""
    others: Mapping[str, Any]
    """The models that the losses ask, by policy."""
    micro_batch_tokens: int

    def accumulate(self, samples: Sequence[Sample]) -> tuple[dict[str, float], bool]:
        """Add the gradients of the samples' losses to the student; the metrics, and whether there was any loss.

        Raises:
            ValueError: a sample has a term that there is no loss for, or lacks a view that one reads; a loss asks a
                policy that there is none of; a model token in a prompt, or arrays of different lengths.
        """
        tally = self._tally(samples)
        return tally.metrics(), any(map(_has_loss, samples))

    def read(self, samples: Sequence[Sample]) -> list[dict[str, Floats]]:
        """What the losses report of each token; see ``protocol.Trainer.read``. Raises as ``accumulate`` does."""
        weightless = [replace(s, terms={t: np.zeros(len(s.ids_T), np.float32) for t in self.losses}) for s in samples]
        return self._tally(weightless).by_token(weightless)

    def _tally(self, samples: Sequence[Sample]) -> _Tally:
        for sample in samples:
            self._check(sample)
        # Rows are uniform in whether they need a backward and in their terms, and equal prompts stand together.
        kinds = [(not _has_loss(sample), tuple(sorted(sample.terms))) for sample in samples]
        begun = _begun(samples)
        tally = _Tally(self.losses)
        for kind in sorted(set(kinds)):
            members = [i for i in range(len(samples)) if kinds[i] == kind]
            for indices in _filled(samples, members, begun, self.micro_batch_tokens):
                self._row(indices, [samples[i] for i in indices], backward=not kind[0], tally=tally)
        return tally

    def _check(self, sample: Sample) -> None:
        _check_arrays(sample)
        unknown = set(sample.terms) - set(self.losses)
        if unknown:
            raise ValueError(f"sample {sample.key} has unknown loss terms {sorted(unknown)}")
        for term in sample.terms:
            for scoring in self.losses[term].scorings:
                _check_view(sample, scoring.view)
                if scoring.policy not in self.others:
                    raise ValueError(f"the loss {term} asks the policy {scoring.policy!r}, which the update lacks")

    def _row(self, indices: Sequence[int], samples: Sequence[Sample], backward: bool, tally: _Tally) -> None:
        rows = _Rows.gather(samples, [term for term in self.losses if term in samples[0].terms], self.student.device)
        with torch.set_grad_enabled(backward):
            hidden_R_D = _predicting(self.student, samples)
        # Two losses that ask the same share one answer.
        scorings = dict.fromkeys(scoring for term in rows.weights for scoring in self.losses[term].scorings)
        with torch.no_grad():
            others = {scoring: _predicting(self.others[scoring.policy], samples, scoring.view) for scoring in scorings}
        leaf_R_D = hidden_R_D.detach().requires_grad_(backward)
        parts = []
        for chunk in _chunks(len(leaf_R_D), max(HEAD_ROWS, leaf_R_D.shape[-1])):
            behind = {scoring: other_R_D[chunk] for scoring, other_R_D in others.items()}
            parts += self._head(leaf_R_D[chunk], behind, rows[chunk], backward)
        if backward:
            torch.autograd.backward(hidden_R_D, leaf_R_D.grad)
        sample_S = np.repeat(indices, [_written(sample).size for sample in samples])
        tally.add(sample_S, {name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def _head(
        self, hidden_R_D: Tensor, others: Mapping[Scoring, Tensor], rows: _Rows, backward: bool
    ) -> list[dict[_Metric, Tensor]]:
        """From hidden states to losses, and back to the hidden states' and the head's gradients; the metrics."""
        with torch.set_grad_enabled(backward):
            logits_R_V = _logits(self.student, hidden_R_D)
        # The others' at the same height: rows of a product depend on it in their last bits, and where views and weights
        # are equal the KL has to be 0.
        with torch.no_grad():
            asked = {scoring: _logits(self.others[scoring.policy], other_R_D) for scoring, other_R_D in others.items()}
        values_R_V = logits_R_V.detach()
        parts = []
        for some in _chunks(len(values_R_V), _loss_rows(values_R_V)):
            leaf_R_V = values_R_V[some].detach().requires_grad_(backward)
            with torch.set_grad_enabled(backward):
                loss, part = self._losses(
                    log_probs(leaf_R_V),
                    {scoring: log_probs(other_R_V[some]) for scoring, other_R_V in asked.items()},
                    rows[some],
                )
            if backward:
                # The gradient takes the room of the logits, which nothing needs any more.
                values_R_V[some] = torch.autograd.grad(loss, leaf_R_V)[0]
            parts.append(part)
        del asked
        if backward:
            torch.autograd.backward(logits_R_V, values_R_V)
        return parts

    def _losses(
        self, logp_R_V: Tensor, asked: Mapping[Scoring, Tensor], rows: _Rows
    ) -> tuple[Tensor, dict[_Metric, Tensor]]:
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
            loss = self.losses[term]
            others = [asked[scoring] for scoring in loss.scorings]
            rows_of_term = Rows(logp_R_V, logp_R, rows.sampled_R, rows.target_R, rows.advantage_R, weight_R, others)
            value, reported = losses_of(loss, rows_of_term)
            total = total + value
            part["", "loss"] = part["", "loss"] + reported.pop("loss")
            part |= {(term, name): value_R for name, value_R in reported.items()}
        return total, part


@torch.no_grad()
def score(model: Any, samples: Sequence[Sample], view: str, micro_batch_tokens: int) -> list[Floats]:
    """Log-probabilities (T,) of each sample's tokens behind one of its views; 0 where the model did not write.

    Raises:
        ValueError: a sample lacks the view, has a model token in its prompt, or arrays of different lengths.
    """
    for sample in samples:
        _check_arrays(sample)
        _check_view(sample, view)
    found = [np.zeros(len(sample.ids_T), np.float32) for sample in samples]
    for indices in _filled(samples, range(len(samples)), _begun(samples), micro_batch_tokens):
        row = [samples[i] for i in indices]
        rows, hidden_R_D = _Rows.gather(row, (), model.device), _predicting(model, row, view)
        parts = []
        for chunk in _chunks(len(hidden_R_D), max(HEAD_ROWS, hidden_R_D.shape[-1])):
            logits_R_V, target_R = _logits(model, hidden_R_D[chunk]), rows.target_R[chunk]
            parts += [
                chosen(log_probs(logits_R_V[some]), target_R[some])
                for some in _chunks(len(logits_R_V), _loss_rows(logits_R_V))
            ]
        logp_R = torch.cat(parts).float().cpu().numpy()
        ends = np.cumsum([_written(sample).size for sample in row])
        for i, sample, own in zip(indices, row, np.split(logp_R, ends[:-1]), strict=True):
            found[i][_written(sample)] = own
    return found


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
            picked = [array[_written(sample)] for array, sample in zip(arrays, samples, strict=True)]
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


_Metric = tuple[str, str]
"""The term that reports it, empty for the trainer, and its name."""


class _Tally:
    """Rows of metrics over the batches of one update."""

    def __init__(self, losses: Mapping[str, Loss]) -> None:
        self._values: dict[_Metric, list[np.ndarray[Any, Any]]] = {}
        self._samples: dict[_Metric, list[np.ndarray[Any, Any]]] = {}
        self._means: dict[_Metric, Mean] = {("", "loss"): "sum", ("", "entropy"): "mean"}
        self._means |= {(term, name): mean for term, loss in losses.items() for name, mean in loss.metrics.items()}

    def add(self, sample_S: np.ndarray[Any, Any], part: Mapping[_Metric, Tensor]) -> None:
        for metric, value_S in part.items():
            self._values.setdefault(metric, []).append(value_S.double().cpu().numpy())
            self._samples.setdefault(metric, []).append(sample_S)

    def metrics(self) -> dict[str, float]:
        """See ``LocalEngine.train``."""
        entropies = self._values.get(("", "entropy"), [])
        result = {"tokens": float(sum(map(len, entropies)))}
        if entropies:
            result["logprob_diff_max"] = float(np.concatenate(self._values["", "logprob_diff"]).max())
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
                value_T[_written(sample)] = value_S[sample_S == number]
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


def _check_arrays(sample: Sample) -> None:
    if (sample.owner_T[: max(sample.prompt_len, 1)] == Owner.MODEL).any():
        raise ValueError(f"sample {sample.key} has a model token in its prompt")
    arrays: list[np.ndarray[Any, Any]] = [sample.owner_T, sample.logprobs_T, *sample.terms.values()]
    if any(len(array) != len(sample.ids_T) for array in arrays):
        raise ValueError(f"sample {sample.key} has arrays of different lengths")


def _check_view(sample: Sample, view: str) -> None:
    if view and view not in sample.views:
        raise ValueError(f"sample {sample.key} has no view {view!r}, only {sorted(sample.views) or 'its own prompt'}")


def _has_loss(sample: Sample) -> bool:
    written_T = sample.owner_T == Owner.MODEL
    return any(bool(weight_T[written_T].any()) for weight_T in sample.terms.values())


def _written(sample: Sample) -> Ints:
    """Where its model tokens stand."""
    return np.flatnonzero(sample.owner_T == Owner.MODEL)


def _prompt(sample: Sample, view: str = "") -> Ints:
    """What stands before the response in one of a sample's views, by default its own."""
    return sample.views[view] if view else sample.ids_T[: sample.prompt_len]


def _begun(samples: Sequence[Sample]) -> list[int]:
    """The first sample that has the same prompt as each."""
    first: dict[bytes, int] = {}
    return [first.setdefault(_prompt(sample).tobytes(), number) for number, sample in enumerate(samples)]


def _filled(
    samples: Sequence[Sample], members: Sequence[int], begun: Sequence[int], budget: int
) -> Iterator[list[int]]:
    """Rows of ``members`` (indices into ``samples``) that have model tokens, equal prompts side by side."""
    ordered = sorted((i for i in members if _written(samples[i]).size), key=begun.__getitem__)
    whole, added = _costs([samples[i] for i in ordered])
    for row in fill(range(len(ordered)), whole, added, budget):
        yield [ordered[place] for place in row]


def _costs(samples: Sequence[Sample]) -> tuple[list[int], list[int]]:
    """Tokens that each sample takes of a row by itself and behind the sample before it, in the longest of its views."""
    whole, added = [], []
    before: dict[str, Ints] = {}
    for sample in samples:
        response = len(sample.ids_T) - sample.prompt_len
        prompts = {view: _prompt(sample, view) for view in ("", *sample.views)}
        new = [
            0 if view in before and np.array_equal(prompt, before[view]) else len(prompt)
            for view, prompt in prompts.items()
        ]
        whole.append(response + max(map(len, prompts.values())))
        added.append(response + max(new))
        before = prompts
    return whole, added


def _chunks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, start + size)


def _loss_rows(logits_R_V: Tensor) -> int:
    """Rows whose losses are computed at the same time."""
    return max(1, loss_bytes(logits_R_V.device) // (4 * logits_R_V.shape[-1]))


def _predicting(model: Any, samples: Sequence[Sample], view: str = "") -> Tensor:
    """Hidden states (R, D) that predict the samples' model tokens, behind the prompts of a view."""
    layout = lay_out(
        [_prompt(sample, view) for sample in samples],
        [sample.ids_T[sample.prompt_len :] for sample in samples],
        [_written(sample) - sample.prompt_len for sample in samples],
    )

    def on_device(array: Ints) -> Tensor:
        return torch.from_numpy(array).to(model.device)

    hidden_1_N_D = model.base_model(
        input_ids=on_device(layout.ids_N)[None],
        position_ids=on_device(layout.position_N)[None],
        use_cache=False,
        view=Packed(layout.lengths, layout.parents, model.device),
    ).last_hidden_state
    # Not by indexing: on several threads its backward adds what stands at one place in any order.
    picked: Tensor = hidden_1_N_D[0].index_select(0, on_device(layout.row_R))
    return picked


def _logits(model: Any, hidden_R_D: Tensor) -> Tensor:
    logits: Tensor = model.get_output_embeddings()(hidden_R_D)
    return logits
