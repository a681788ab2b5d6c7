"""The gradients of one optimiser step, and what is logged about it.

The student's and the teacher's bodies run over right-padded batches of whole sequences; only the rows that predict a
token the model wrote go on to the vocabulary, and those in chunks whose backward runs at once, so that no (tokens,
vocabulary) tensor of a batch ever exists, for either. ``_B_T``: a padded batch; ``_R``: one row per model token of it;
``_N``: one per model token of all samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from piplay.engine.protocol import Objective
from piplay.learn.losses import clipped_policy_gradient, entropy, k3_kl, topk_kl
from piplay.learn.packing import packs
from piplay.types import Ints, Owner, Sample

HEAD_ROWS = 1024
"""Rows whose logits exist at the same time."""
TERMS = ("pg", "distill", "kl")


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
        length = [max(len(sample.ids_T), len(_teacher_ids(sample))) for sample in samples]
        # Batches are uniform in whether they need a backward and a teacher, and come in order of length.
        kinds = [(not self._has_loss(sample), tuple(sorted(sample.terms))) for sample in samples]
        order = sorted(range(len(samples)), key=length.__getitem__)
        tally = _Tally()
        for kind in sorted(set(kinds)):
            for pack in packs((i for i in order if kinds[i] == kind), length, self.micro_batch_tokens):
                self._batch(pack, [samples[i] for i in pack], backward=not kind[0], tally=tally)
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

    def _batch(self, indices: Sequence[int], samples: Sequence[Sample], backward: bool, tally: _Tally) -> None:
        terms = samples[0].terms
        device = self.student.device
        position_B = [np.flatnonzero(sample.owner_T == Owner.MODEL) for sample in samples]
        rows = _Rows.gather(samples, position_B, device)
        if len(rows.target_R) == 0:
            return
        ids_B = [sample.ids_T for sample in samples]
        with torch.set_grad_enabled(backward):
            hidden_R_D = _predicting(self.student, ids_B, position_B)
        teacher_R_D = reference_R_D = None
        with torch.no_grad():
            if "distill" in terms:
                shifted_B = [
                    position + len(_teacher_ids(sample)) - len(sample.ids_T)
                    for position, sample in zip(position_B, samples, strict=True)
                ]
                teacher_R_D = _predicting(self.teacher, [_teacher_ids(sample) for sample in samples], shifted_B)
            if "kl" in terms:
                reference_R_D = _predicting(self.reference, ids_B, position_B)
        leaf_R_D = hidden_R_D.detach().requires_grad_(backward)
        parts = []
        for start in range(0, len(leaf_R_D), HEAD_ROWS):
            chunk = slice(start, start + HEAD_ROWS)
            with torch.set_grad_enabled(backward):
                loss, part = self._rows(
                    leaf_R_D[chunk],
                    None if teacher_R_D is None else teacher_R_D[chunk],
                    None if reference_R_D is None else reference_R_D[chunk],
                    rows[chunk],
                )
            if backward:
                torch.autograd.backward(loss)
            parts.append(part)
        if backward:
            torch.autograd.backward(hidden_R_D, leaf_R_D.grad)
        sample_R = np.repeat(indices, [len(position) for position in position_B])
        tally.add(sample_R, {name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def _rows(
        self, hidden_R_D: Tensor, teacher_R_D: Tensor | None, reference_R_D: Tensor | None, rows: _Rows
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The summed loss of some rows, and what each row contributes to the metrics."""
        logits_R_V = self.student.get_output_embeddings()(hidden_R_D).float()
        logp_R = _chosen(logits_R_V, rows.target_R)
        loss, clipped = clipped_policy_gradient(logp_R, None, rows.pg_R, self.objective.eps)
        with torch.no_grad():
            part = {
                "pg_loss": -rows.pg_R,
                "clipped": clipped.expand_as(logp_R),
                "entropy": entropy(logits_R_V),
                "logprob_diff": (logp_R - rows.sampler_R).abs(),
            }
        part["loss"] = part["pg_loss"]
        if teacher_R_D is not None and self.teacher is not None:
            with torch.no_grad():
                teacher_logits_R_V = self.teacher.get_output_embeddings()(teacher_R_D).float()
                part["teacher_entropy"] = entropy(teacher_logits_R_V)
                part["teacher_nll"] = -_chosen(teacher_logits_R_V, rows.target_R)
            kl_R = topk_kl(logits_R_V, teacher_logits_R_V, self.objective.top_k)
            loss = loss + (rows.distill_R * kl_R).sum()
            part["distill_kl"] = kl_R.detach()
            part["loss"] = part["loss"] + rows.distill_R * part["distill_kl"]
        if reference_R_D is not None and self.reference is not None:
            with torch.no_grad():
                reference_logp_R = _chosen(self.reference.get_output_embeddings()(reference_R_D).float(), rows.target_R)
            kl_ref_R = k3_kl(logp_R, reference_logp_R)
            loss = loss + self.objective.beta * (rows.kl_R * kl_ref_R).sum()
            part["kl_ref"] = kl_ref_R.detach()
            part["loss"] = part["loss"] + self.objective.beta * rows.kl_R * part["kl_ref"]
        return loss, part


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is known of each model token of a batch."""

    target_R: Tensor
    sampler_R: Tensor
    pg_R: Tensor
    distill_R: Tensor
    kl_R: Tensor

    @classmethod
    def gather(cls, samples: Sequence[Sample], position_B: Sequence[Ints], device: torch.device) -> _Rows:
        def column(arrays: Sequence[Any]) -> Tensor:
            picked = [array[position] for array, position in zip(arrays, position_B, strict=True)]
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

    def add(self, sample_R: np.ndarray[Any, Any], part: dict[str, Tensor]) -> None:
        for name, value_R in part.items():
            self._values.setdefault(name, []).append(value_R.double().cpu().numpy())
            self._samples.setdefault(name, []).append(sample_R)

    def metrics(self) -> dict[str, float]:
        """See ``LocalEngine.train``."""
        value_N = {name: np.concatenate(values) for name, values in self._values.items()}
        if not value_N:
            return {"loss": 0.0, "pg_loss": 0.0, "tokens": 0.0}
        result = {name: float(value_N.pop(name).sum()) for name in ("loss", "pg_loss")}
        result["tokens"] = float(len(value_N["entropy"]))
        result["logprob_diff_max"] = float(value_N.pop("logprob_diff").max())
        if "distill_kl" in value_N:
            sample_N = np.concatenate(self._samples["distill_kl"])
            count_S = np.bincount(sample_N)
            sum_S = np.bincount(sample_N, value_N.pop("distill_kl"))
            result["distill_kl"] = float((sum_S[count_S > 0] / count_S[count_S > 0]).mean())
        return result | {name: float(values.mean()) for name, values in value_N.items()}


def _teacher_ids(sample: Sample) -> Ints:
    """The response behind the teacher's prompt; the student's own ids where it has none."""
    if sample.teacher_prefix is None:
        return sample.ids_T
    return np.concatenate([sample.teacher_prefix, sample.ids_T[sample.prompt_len :]])


def _predicting(model: Any, ids_B: Sequence[Ints], position_B: Sequence[Ints]) -> Tensor:
    """Hidden states (R, D) that predict the tokens at ``position_B``: those one place before them."""
    ids_B_T = np.zeros((len(ids_B), max(map(len, ids_B))), dtype=np.int64)
    for row, ids in enumerate(ids_B):
        ids_B_T[row, : len(ids)] = ids
    device = model.device
    hidden_B_T_D = model.base_model(input_ids=torch.from_numpy(ids_B_T).to(device), use_cache=False).last_hidden_state
    row_R = np.repeat(np.arange(len(ids_B)), [len(position) for position in position_B])
    column_R = np.concatenate(position_B) - 1
    picked: Tensor = hidden_B_T_D[torch.from_numpy(row_R).to(device), torch.from_numpy(column_R).to(device)]
    return picked


def _chosen(logits_R_V: Tensor, target_R: Tensor) -> Tensor:
    return torch.log_softmax(logits_R_V, dim=-1).gather(-1, target_R[:, None])[:, 0]
