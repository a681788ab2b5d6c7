"""The gradients of one optimiser step, and what is logged about it.

The student's and the teacher's bodies run over rows of sequences laid end to end, without padding; a prompt that the
rollouts of one question have in common stands in a row once. Of a row only the places that predict a token the model
wrote go on to the vocabulary, in chunks whose backward runs at once, so that no (tokens, vocabulary) tensor of a row
ever exists, for either. ``_N``: a place of a row; ``_R``: a model token of it; ``_S``: a model token of all samples;
``_V``: the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from piplay.algo.losses.formulas import clipped_policy_gradient, entropy, k3_kl, log_probs, topk_kl
from piplay.algo.packing import fill, lay_out
from piplay.engine.local.attention import Packed
from piplay.engine.protocol import Objective
from piplay.types import Ints, Owner, Sample

HEAD_ROWS = 128
"""Rows whose logits exist at the same time; as many as the model is wide where that is more. A chunk of them makes one
gradient of the head's weights: as large, at the model's width, as its logits, which are gone by then."""
TERMS = ("pg", "distill", "kl")


def loss_bytes(device: torch.device) -> int:
    """What one fp32 value for each entry of the vocabulary may take, over the rows whose losses are computed at the
    same time: some ten such tensors live then. A CPU's stay in its cache; a GPU's make each launch worth its while."""
    return 2**23 if device.type == "cpu" else 2**27


@dataclass(frozen=True, slots=True)
class Trainer:
    """The models of one update."""

    student: Any
    teacher: Any | None
    reference: Any | None
    objective: Objective
    micro_batch_tokens: int

    def accumulate(self, samples: Sequence[Sample]) -> tuple[dict[str, float], bool]:
        """Add the gradients of ``Objective``'s loss to the student; the metrics, and whether there was any loss.

        Raises:
            ValueError: a sample has a term that is unknown or whose policy the objective does not name, a model token
                in its prompt, or arrays of different lengths.
        """
        for sample in samples:
            self._check(sample)
        # Rows are uniform in whether they need a backward and in their terms, and equal prompts stand together.
        kinds = [(not self._has_loss(sample), tuple(sorted(sample.terms))) for sample in samples]
        first: dict[bytes, int] = {}
        begun = [first.setdefault(_views(sample)[0].tobytes(), number) for number, sample in enumerate(samples)]
        tally = _Tally()
        for kind in sorted(set(kinds)):
            members = [i for i, sample in enumerate(samples) if kinds[i] == kind and _written(sample).size]
            members.sort(key=begun.__getitem__)
            whole, added = _costs([samples[i] for i in members])
            for row in fill(range(len(members)), whole, added, self.micro_batch_tokens):
                indices = [members[place] for place in row]
                self._row(indices, [samples[i] for i in indices], backward=not kind[0], tally=tally)
        return tally.metrics(), any(not silent for silent, _ in kinds)

    def _check(self, sample: Sample) -> None:
        unknown = set(sample.terms) - set(TERMS)
        if unknown:
            raise ValueError(f"sample {sample.key} has unknown loss terms {sorted(unknown)}")
        if ("distill" in sample.terms and self.teacher is None) or ("kl" in sample.terms and self.reference is None):
            raise ValueError(f"sample {sample.key} has terms {sorted(sample.terms)}, but the objective lacks a policy")
        if (sample.owner_T[: max(sample.prompt_len, 1)] == Owner.MODEL).any():
            raise ValueError(f"sample {sample.key} has a model token in its prompt")
        arrays: list[np.ndarray[Any, Any]] = [sample.owner_T, sample.logprobs_T, *sample.terms.values()]
        if any(len(array) != len(sample.ids_T) for array in arrays):
            raise ValueError(f"sample {sample.key} has arrays of different lengths")

    def _has_loss(self, sample: Sample) -> bool:
        counted = {"pg", "distill"} | ({"kl"} if self.objective.beta else set())
        written_T = sample.owner_T == Owner.MODEL
        return any(bool(weight_T[written_T].any()) for term, weight_T in sample.terms.items() if term in counted)

    def _row(self, indices: Sequence[int], samples: Sequence[Sample], backward: bool, tally: _Tally) -> None:
        terms = samples[0].terms
        device = self.student.device
        rows = _Rows.gather(samples, device)
        with torch.set_grad_enabled(backward):
            hidden_R_D = _predicting(self.student, samples)
        teacher_R_D = reference_R_D = None
        with torch.no_grad():
            if "distill" in terms:
                teacher_R_D = _predicting(self.teacher, samples, teacher=True)
            if "kl" in terms:
                reference_R_D = _predicting(self.reference, samples)
        leaf_R_D = hidden_R_D.detach().requires_grad_(backward)
        parts = []
        count = max(HEAD_ROWS, leaf_R_D.shape[-1])
        for start in range(0, len(leaf_R_D), count):
            chunk = slice(start, start + count)
            parts += self._head(
                leaf_R_D[chunk],
                None if teacher_R_D is None else teacher_R_D[chunk],
                None if reference_R_D is None else reference_R_D[chunk],
                rows[chunk],
                backward,
            )
        if backward:
            torch.autograd.backward(hidden_R_D, leaf_R_D.grad)
        sample_S = np.repeat(indices, [_written(sample).size for sample in samples])
        tally.add(sample_S, {name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def _head(
        self,
        hidden_R_D: Tensor,
        teacher_R_D: Tensor | None,
        reference_R_D: Tensor | None,
        rows: _Rows,
        backward: bool,
    ) -> list[dict[str, Tensor]]:
        """From hidden states to losses, and back to the hidden states' and the head's gradients; the metrics."""
        with torch.set_grad_enabled(backward):
            logits_R_V = _logits(self.student, hidden_R_D)
        # The others' at the same height: rows of a product depend on it in their last bits, and where views and weights
        # are equal the KL has to be 0.
        with torch.no_grad():
            teacher_R_V = None if teacher_R_D is None else _logits(self.teacher, teacher_R_D)
            reference_R_V = None if reference_R_D is None else _logits(self.reference, reference_R_D)
        values_R_V = logits_R_V.detach()
        parts = []
        count = max(1, loss_bytes(values_R_V.device) // (4 * values_R_V.shape[-1]))
        for start in range(0, len(values_R_V), count):
            some = slice(start, start + count)
            leaf_R_V = values_R_V[some].detach().requires_grad_(backward)
            with torch.set_grad_enabled(backward):
                loss, part = self._losses(
                    log_probs(leaf_R_V),
                    None if teacher_R_V is None else log_probs(teacher_R_V[some]),
                    None if reference_R_V is None else log_probs(reference_R_V[some]),
                    rows[some],
                )
            if backward:
                # The gradient takes the room of the logits, which nothing needs any more.
                values_R_V[some] = torch.autograd.grad(loss, leaf_R_V)[0]
            parts.append(part)
        del teacher_R_V, reference_R_V
        if backward:
            torch.autograd.backward(logits_R_V, values_R_V)
        return parts

    def _losses(
        self, logp_R_V: Tensor, logq_R_V: Tensor | None, ref_R_V: Tensor | None, rows: _Rows
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The summed loss of some rows, and what each row contributes to the metrics; log-probs of the three models."""
        logp_R = _chosen(logp_R_V, rows.target_R)
        loss, clipped = clipped_policy_gradient(logp_R, None, rows.pg_R, self.objective.eps)
        part = {
            "pg_loss": -rows.pg_R,
            "clipped": clipped.expand_as(logp_R),
            "entropy": entropy(logp_R_V.detach()),
            "logprob_diff": (logp_R.detach() - rows.sampler_R).abs(),
        }
        part["loss"] = part["pg_loss"]
        if logq_R_V is not None:
            kl_R = topk_kl(logp_R_V, logq_R_V, self.objective.top_k)
            loss = loss + (rows.distill_R * kl_R).sum()
            part["teacher_entropy"] = entropy(logq_R_V)
            part["teacher_nll"] = -_chosen(logq_R_V, rows.target_R)
            part["distill_kl"] = kl_R.detach()
            part["loss"] = part["loss"] + rows.distill_R * part["distill_kl"]
        if ref_R_V is not None:
            kl_ref_R = k3_kl(logp_R, _chosen(ref_R_V, rows.target_R))
            loss = loss + self.objective.beta * (rows.kl_R * kl_ref_R).sum()
            part["kl_ref"] = kl_ref_R.detach()
            part["loss"] = part["loss"] + self.objective.beta * rows.kl_R * part["kl_ref"]
        return loss, part


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is known of each model token of a row of sequences."""

    target_R: Tensor
    sampler_R: Tensor
    pg_R: Tensor
    distill_R: Tensor
    kl_R: Tensor

    @classmethod
    def gather(cls, samples: Sequence[Sample], device: torch.device) -> _Rows:
        def column(arrays: Sequence[Any]) -> Tensor:
            picked = [array[_written(sample)] for array, sample in zip(arrays, samples, strict=True)]
            return torch.from_numpy(np.concatenate(picked)).to(device)

        def weight(term: str) -> Tensor:
            return column([sample.terms.get(term, np.zeros(len(sample.ids_T), np.float32)) for sample in samples])

        return cls(
            column([sample.ids_T for sample in samples]),
            column([sample.logprobs_T for sample in samples]),
            *(weight(term) for term in TERMS),
        )

    def __getitem__(self, chunk: slice) -> _Rows:
        return _Rows(
            self.target_R[chunk], self.sampler_R[chunk], self.pg_R[chunk], self.distill_R[chunk], self.kl_R[chunk]
        )


class _Tally:
    """Rows of metrics over the batches of one update."""

    def __init__(self) -> None:
        self._values: dict[str, list[np.ndarray[Any, Any]]] = {}
        self._samples: dict[str, list[np.ndarray[Any, Any]]] = {}

    def add(self, sample_S: np.ndarray[Any, Any], part: dict[str, Tensor]) -> None:
        for name, value_S in part.items():
            self._values.setdefault(name, []).append(value_S.double().cpu().numpy())
            self._samples.setdefault(name, []).append(sample_S)

    def metrics(self) -> dict[str, float]:
        """See ``LocalEngine.train``."""
        value_S = {name: np.concatenate(values) for name, values in self._values.items()}
        if not value_S:
            return {"loss": 0.0, "pg_loss": 0.0, "tokens": 0.0}
        result = {name: float(value_S.pop(name).sum()) for name in ("loss", "pg_loss")}
        result["tokens"] = float(len(value_S["entropy"]))
        result["logprob_diff_max"] = float(value_S.pop("logprob_diff").max())
        if "distill_kl" in value_S:
            sample_S = np.concatenate(self._samples["distill_kl"])
            count_B = np.bincount(sample_S)
            sum_B = np.bincount(sample_S, value_S.pop("distill_kl"))
            result["distill_kl"] = float((sum_B[count_B > 0] / count_B[count_B > 0]).mean())
        return result | {name: float(values.mean()) for name, values in value_S.items()}


def _written(sample: Sample) -> Ints:
    """Where its model tokens stand."""
    return np.flatnonzero(sample.owner_T == Owner.MODEL)


def _views(sample: Sample) -> tuple[Ints, Ints]:
    """The prompts behind which the student and the teacher read the response; the same where it has no other."""
    own = sample.ids_T[: sample.prompt_len]
    return own, own if sample.teacher_prefix is None else sample.teacher_prefix


def _costs(samples: Sequence[Sample]) -> tuple[list[int], list[int]]:
    """Tokens that each sample takes of a row by itself and behind the sample before it, in the longer of its views."""
    whole, added = [], []
    before: tuple[Ints, ...] = ()
    for sample in samples:
        response = len(sample.ids_T) - sample.prompt_len
        views = _views(sample)
        shared = [np.array_equal(one, other) for one, other in zip(views, before, strict=False)] or [False, False]
        whole.append(response + max(map(len, views)))
        added.append(response + max(0 if known else len(view) for view, known in zip(views, shared, strict=True)))
        before = views
    return whole, added


def _predicting(model: Any, samples: Sequence[Sample], teacher: bool = False) -> Tensor:
    """Hidden states (R, D) that predict the samples' model tokens, behind the teacher's prompts or their own."""
    layout = lay_out(
        [_views(sample)[teacher] for sample in samples],
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


def _chosen(logp_R_V: Tensor, target_R: Tensor) -> Tensor:
    return logp_R_V.gather(-1, target_R[:, None])[:, 0]
