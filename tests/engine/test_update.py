import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_helpers import TEACHER_VIEW, M, T, make_engine, make_sample
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from piplay.algo.losses.base import Loss
from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.kl import KlLoss
from piplay.algo.losses.nll import NllLoss
from piplay.algo.losses.pg import PgLoss
from piplay.engine.local import rows, scored
from piplay.engine.local.attention import load_model
from piplay.engine.local.scored import Scored, score
from piplay.engine.local.update import Trainer
from piplay.types import PolicyRef, Sample

pytestmark = pytest.mark.slow

Folder = Callable[[str], Path]
Plain = Callable[[str | Path], PreTrainedModel]


def shaken(model: Any, seed: int) -> Any:
    """The same model a little away from where it was, so that student, teacher and reference differ."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def reference_loss(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    base: PreTrainedModel,
    samples: Sequence[Sample],
    k: int,
) -> tuple[Tensor, dict[str, float]]:
    """Formula 5 by itself: one sample and one token at a time, all logits, plain autograd."""
    total = torch.zeros((), dtype=torch.float64)
    kls, entropies, teacher_entropies, teacher_nlls, k3s, differences = [], [], [], [], [], []
    pg = logged = 0.0
    for sample in samples:
        logp = student(torch.tensor(sample.ids_T[None])).logits[0].log_softmax(-1)
        prefix = sample.views.get("privileged", sample.ids_T[: sample.prompt_len])
        behind = np.concatenate([prefix, sample.ids_T[sample.prompt_len :]])
        with torch.no_grad():
            logq = teacher(torch.tensor(behind[None])).logits[0].log_softmax(-1)
            logref = base(torch.tensor(sample.ids_T[None])).logits[0].log_softmax(-1)
        zero = np.zeros(len(sample.ids_T))
        rollout = []
        for t in np.flatnonzero(sample.owner_T == M):
            token = sample.ids_T[t]
            p_V, q_V = logp[t - 1].exp(), logq[t - 1 + len(prefix) - sample.prompt_len].exp()
            top = p_V.argsort(descending=True)[:k]
            rest = torch.ones(len(p_V), dtype=torch.bool)
            rest[top] = False
            p_K, q_K = torch.cat([p_V[top], p_V[rest].sum()[None]]), torch.cat([q_V[top], q_V[rest].sum()[None]])
            kl = (p_K * (p_K / q_K).log()).sum()
            d = logref[t - 1, token] - logp[t - 1, token]
            k3 = d.exp() - d - 1
            advantage = float(sample.terms.get("pg", zero)[t])
            total = total - advantage * logp[t - 1, token] + float(sample.terms.get("distill", zero)[t]) * kl
            total = total + float(sample.terms.get("kl", zero)[t]) * k3
            # The logged policy loss is −Σ w a with w = 1; only its gradient is that of −Σ a logp.
            pg -= advantage
            logged += advantage * logp[t - 1, token].item() - advantage
            rollout.append(kl.item())
            entropies.append(-(p_V * p_V.log()).sum().item())
            teacher_entropies.append(-(q_V * q_V.log()).sum().item())
            teacher_nlls.append(-q_V[token].log().item())
            k3s.append(k3.item())
            differences.append(abs(logp[t - 1, token].item() - sample.logprobs_T[t]))
        kls.append(np.mean(rollout))
    return total, {
        "loss": total.item() + logged,
        "pg_loss": pg,
        "distill_kl": float(np.mean(kls)),
        "entropy": float(np.mean(entropies)),
        "teacher_entropy": float(np.mean(teacher_entropies)),
        "teacher_nll": float(np.mean(teacher_nlls)),
        "kl_ref": float(np.mean(k3s)),
        "logprob_diff_mean": float(np.mean(differences)),
        "logprob_diff_max": max(differences),
        "tokens": len(entropies),
        "clipped": 0.0,
    }


def sibling(sample: Sample, number: int) -> Sample:
    """Another rollout of the same question: the same prompts before another response, sometimes of one token."""
    other = make_sample(number, tuple(sample.terms), None)
    if number % 2:
        other = replace(
            other, ids_T=other.ids_T[: other.prompt_len + 1], owner_T=other.owner_T[: other.prompt_len + 1],
            logprobs_T=other.logprobs_T[: other.prompt_len + 1],
            terms={name: weight[: other.prompt_len + 1] for name, weight in other.terms.items()},
        )  # fmt: skip

    def behind(own: Any, its: Any) -> Any:
        return np.concatenate([own[: sample.prompt_len], its[other.prompt_len :]])

    return replace(
        other, ids_T=behind(sample.ids_T, other.ids_T), owner_T=behind(sample.owner_T, other.owner_T),
        logprobs_T=behind(sample.logprobs_T, other.logprobs_T), prompt_len=sample.prompt_len,
        terms={name: behind(sample.terms[name], weight) for name, weight in other.terms.items()},
        views=sample.views,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["qwen3", "llama", "qwen2"])
@pytest.mark.parametrize(("tokens", "head_rows"), [(1, 1024), (90, 7)])
def test_gradients_and_metrics_equal_the_plain_loss(
    kind: str, tokens: int, head_rows: int, model_folder: Folder, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scored, "HEAD_ROWS", head_rows)
    monkeypatch.setattr(scored, "loss_bytes", lambda _: 4 * 61 * 5)
    samples = [make_sample(i, ("pg", "distill", "kl"), 4 + i) for i in range(6)]
    samples += [sibling(samples[i], 10 + number) for number, i in enumerate((1, 3, 1, 5))]
    # In fp64, but for the norms, which transformers computes in fp32.
    student, teacher, base = plain(kind).double(), shaken(plain(kind), 1).double(), shaken(plain(kind), 2).double()
    mine = [load_model(model_folder(kind), torch.device("cpu")).double() for _ in range(3)]
    for own, other in zip(mine, (student, teacher, base), strict=True):
        own.load_state_dict(other.state_dict())
    losses: dict[str, Loss] = {"pg": PgLoss(), "distill": DistillLoss("teacher", top_k=6), "kl": KlLoss("base")}
    trainer = Trainer(mine[0], losses, {"teacher": mine[1], "base": mine[2]}, tokens)
    metrics = trainer.accumulate(samples).metrics()
    loss, expected = reference_loss(student, teacher, base, samples, 6)
    loss.backward()
    norm = torch.nn.utils.get_total_norm(parameter.grad for parameter in student.parameters())
    for (name, own), other in zip(mine[0].named_parameters(), student.parameters(), strict=True):
        assert (own.grad - other.grad).norm() < 3e-6 * norm, name
    assert all(parameter.grad is None for model in mine[1:] for parameter in model.parameters())
    assert metrics == pytest.approx(expected, rel=1e-4)


def test_the_heads_gradients_are_made_in_the_forward_and_the_others_in_the_backward(model_folder: Folder) -> None:
    model, teacher = (load_model(model_folder("llama"), torch.device("cpu")) for _ in range(2))
    module = Scored(model, TEACHER_VIEW, {"teacher": shaken(teacher, 1)})
    loss, _ = module([make_sample(0)])
    head, body = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    made = head.grad.clone()
    assert made.norm() > 0
    assert body.grad is None
    loss.backward()
    assert torch.equal(head.grad, made)
    assert body.grad.norm() > 0
    with torch.no_grad():
        read, part = module([make_sample(0)])
    assert not read.requires_grad
    assert torch.equal(read, loss.detach())
    assert part["", "loss"].shape == (int((make_sample(0).owner_T == M).sum()),)
    assert torch.equal(head.grad, made)


def test_a_step_is_adamw_on_the_clipped_gradient_and_followers_move(model_folder: Folder, plain: Plain) -> None:
    engine = make_engine(model_folder("qwen3"), weight_decay=0.1, max_grad_norm=0.5)
    model, teacher = plain("qwen3"), plain("qwen3")
    optimizer = torch.optim.AdamW(model.parameters(), 0.02, weight_decay=0.1, foreach=False)
    start = [parameter.clone() for parameter in teacher.parameters()]
    for step in range(3):
        samples = [make_sample(10 * step + i) for i in range(4)]
        metrics = engine.train("student", samples, TEACHER_VIEW, lr=0.02)
        loss, _ = reference_loss(model, teacher, model, samples, 5)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        assert metrics["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)
        optimizer.step()
        with torch.no_grad():
            for psi, theta in zip(teacher.parameters(), model.parameters(), strict=True):
                psi.copy_(0.75 * psi + 0.25 * theta)
    for name, expected in (("student", model.parameters()), ("teacher", teacher.parameters()), ("base", start)):
        own_parameters = engine._policies.model(PolicyRef(name)).parameters()
        for own, other, begun in zip(own_parameters, expected, start, strict=True):
            assert (own - other).norm() <= 0.01 * (other - begun).norm()


@pytest.mark.parametrize("tokens", [1, 64, 10_000])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_with_the_same_view_and_weights_the_teacher_teaches_nothing(
    kind: str, tokens: int, model_folder: Folder
) -> None:
    """The KL is 0 on every token, to the bit, so the gradient is too."""
    engine = make_engine(model_folder(kind), tokens=tokens)
    samples = [make_sample(i, ("distill", "own"), None) for i in range(12)]
    samples += [sibling(samples[i % 3], 20 + i) for i in range(6)]
    samples = [replace(s, views={"same": s.ids_T[: s.prompt_len]}) for s in samples]
    losses: dict[str, Loss] = {"distill": DistillLoss("teacher", "same", 5), "own": DistillLoss("teacher", "", 5)}
    metrics = engine.train("student", samples, losses)
    assert metrics["distill_kl"] == 0.0
    assert metrics["loss"] == 0.0
    assert metrics["grad_norm"] == 0.0
    assert metrics["entropy"] == metrics["teacher_entropy"]


def gradients(path: Path, samples: Sequence[Sample]) -> list[Tensor]:
    model, teacher = (load_model(path, torch.device("cpu")) for _ in range(2))
    Trainer(model, TEACHER_VIEW, {"teacher": shaken(teacher, 3)}, 64).accumulate(samples)
    return [parameter.grad for parameter in model.parameters()]


def test_tool_tokens_are_attended_to_but_not_trained_on(model_folder: Folder) -> None:
    sample = make_sample(3)
    tool_T = sample.owner_T == T
    loud = replace(
        sample, terms={name: np.where(tool_T, 5.0, w).astype(np.float32) for name, w in sample.terms.items()}
    )
    quiet, same = gradients(model_folder("qwen3"), [sample]), gradients(model_folder("qwen3"), [loud])
    assert all(torch.equal(one, other) for one, other in zip(quiet, same, strict=True))
    other_tool = replace(sample, ids_T=np.where(tool_T, (sample.ids_T + 1) % 61, sample.ids_T))
    moved = gradients(model_folder("qwen3"), [other_tool])
    assert not all(torch.equal(one, other) for one, other in zip(quiet, moved, strict=True))
    cut = np.flatnonzero(sample.owner_T == M)[-1]
    after = replace(
        sample, ids_T=np.append(sample.ids_T, 7), owner_T=np.append(sample.owner_T, np.int8(T)),
        logprobs_T=np.append(sample.logprobs_T, np.float32(0)),
        terms={name: np.append(w, np.float32(0)) for name, w in sample.terms.items()},
    )  # fmt: skip
    assert cut == len(sample.ids_T) - 1
    trailing = gradients(model_folder("qwen3"), [after])
    for one, other in zip(quiet, trailing, strict=True):
        torch.testing.assert_close(one, other)


def test_without_loss_the_optimiser_rests_and_followers_move(model_folder: Folder) -> None:
    engine = make_engine(model_folder("qwen3"))
    silent = replace(make_sample(1), terms={name: 0 * weight for name, weight in make_sample(1).terms.items()})
    engine.train("student", [make_sample(0)], TEACHER_VIEW)
    student, teacher = (engine._policies.model(PolicyRef(name)) for name in ("student", "teacher"))
    before, teacher_before = ([p.clone() for p in model.parameters()] for model in (student, teacher))
    metrics = engine.train("student", [silent], TEACHER_VIEW)
    assert metrics["grad_norm"] == 0.0
    assert metrics["distill_kl"] > 0
    for parameter, old in zip(student.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
    for psi, old, theta in zip(teacher.parameters(), teacher_before, student.parameters(), strict=True):
        torch.testing.assert_close(psi, 0.75 * old + 0.25 * theta)
    assert engine.train("student", [], TEACHER_VIEW)["tokens"] == 0


def test_the_rollouts_of_a_question_share_one_prompt(model_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt is run over once for the student and once for the teacher, and rows have no padding."""
    samples = [make_sample(2)]
    samples += [sibling(samples[0], number) for number in (10, 12, 14)]
    fed: list[int] = []
    original = rows.lay_out

    def spy(*arguments: Any) -> Any:
        layout = original(*arguments)
        fed.append(len(layout.ids_N))
        return layout

    monkeypatch.setattr(rows, "lay_out", spy)
    make_engine(model_folder("qwen3"), tokens=10_000).train("student", samples, TEACHER_VIEW)
    before_last = sum(int(np.flatnonzero(s.owner_T == M)[-1]) - s.prompt_len for s in samples)
    assert fed == [samples[0].prompt_len + before_last, len(samples[0].views["privileged"]) + before_last]


class WidestLogits(TorchDispatchMode):
    """The most rows that any result with one column per vocabulary entry has."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary, self.rows = vocabulary, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, Tensor) and value.ndim and value.shape[-1] == self.vocabulary:
                self.rows = max(self.rows, value.numel() // self.vocabulary)
        return result


def test_logits_exist_for_a_few_rows_at_a_time(model_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scored, "HEAD_ROWS", 40)
    engine = make_engine(model_folder("qwen3"), tokens=10_000)
    samples = [make_sample(i) for i in range(30)]
    with WidestLogits(61) as widest:
        metrics = engine.train("student", samples, TEACHER_VIEW)
    assert metrics["tokens"] > 200
    assert widest.rows == 40


def test_a_policy_that_two_losses_ask_about_one_view_answers_once(
    model_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [make_sample(i, ("pg", "distill", "wide", "kl")) for i in range(3)]
    losses: dict[str, Loss] = TEACHER_VIEW | {"wide": DistillLoss("teacher", top_k=60), "kl": KlLoss("teacher")}
    asked: list[str] = []
    original = scored.predicting

    def spy(model: Any, row: Any, view: str = "") -> Any:
        asked.append(view)
        return original(model, row, view)

    monkeypatch.setattr(scored, "predicting", spy)
    metrics = make_engine(model_folder("qwen3"), tokens=10_000).train("student", samples, losses)
    assert asked == ["", "privileged", ""], "the student, and the teacher's two views"
    assert metrics["wide/distill_kl"] >= metrics["distill_kl"] > 0


@pytest.mark.parametrize(("tokens", "head_rows"), [(1, 1024), (90, 7)])
def test_scores_are_the_plain_models_log_probs(
    tokens: int, head_rows: int, model_folder: Folder, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scored, "HEAD_ROWS", head_rows)
    monkeypatch.setattr(scored, "loss_bytes", lambda _: 4 * 61 * 5)
    samples = [make_sample(i) for i in range(5)]
    samples += [sibling(samples[1], 11), sibling(samples[3], 12)]
    silent = make_sample(9)
    samples.append(replace(silent, owner_T=np.where(silent.owner_T == M, T, silent.owner_T)))
    model = plain("qwen3")
    engine = make_engine(model_folder("qwen3"), tokens=tokens)
    for view in ("", "privileged"):
        for sample, own_T in zip(samples, engine.score(PolicyRef("base"), samples, view), strict=True):
            prompt = sample.views[view] if view else sample.ids_T[: sample.prompt_len]
            ids = torch.tensor(np.concatenate([prompt, sample.ids_T[sample.prompt_len :]])[None])
            with torch.no_grad():
                logp = model(ids).logits[0].log_softmax(-1)
            expected = np.zeros(len(sample.ids_T), np.float32)
            for t in np.flatnonzero(sample.owner_T == M):
                expected[t] = logp[t - 1 + len(prompt) - sample.prompt_len, sample.ids_T[t]]
            np.testing.assert_allclose(own_T, expected, atol=1e-5)
    assert engine.score(PolicyRef("base"), []) == []


def test_scores_are_what_a_ratio_of_one_needs(model_folder: Folder) -> None:
    """With its own scores as old log-probs a step is the strictly on-policy step."""
    samples = [make_sample(i, ("pg",)) for i in range(6)]
    gradients, metrics = [], []
    for old in ("current", "sampler"):
        model = load_model(model_folder("qwen3"), torch.device("cpu"))
        known = [replace(s, logprobs_T=own) for s, own in zip(samples, score(model, samples, "", 64), strict=True)]
        metrics.append(Trainer(model, {"pg": PgLoss(old=old)}, {}, 64).accumulate(known).metrics())
        gradients.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert metrics[1]["pg_loss"] == pytest.approx(metrics[0]["pg_loss"], abs=1e-4)
    assert metrics[1]["clipped"] == 0
    assert metrics[0]["logprob_diff_max"] < 1e-5


def test_logits_of_scores_exist_for_a_few_rows_at_a_time(model_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scored, "HEAD_ROWS", 40)
    engine = make_engine(model_folder("qwen3"), tokens=10_000)
    with WidestLogits(61) as widest:
        engine.score(PolicyRef("student"), [make_sample(i) for i in range(30)])
    assert widest.rows == 40


def test_replayed_samples_have_a_term_and_metrics_of_their_own(model_folder: Folder) -> None:
    losses: dict[str, Loss] = {"pg": PgLoss(), "replay": PgLoss(old="sampler"), "nll": NllLoss()}
    fresh, replayed = make_sample(0, ("pg",)), make_sample(1, ("replay", "nll"))
    metrics = make_engine(model_folder("qwen3")).train("student", [fresh, replayed], losses)
    assert metrics["pg_loss"] == pytest.approx(-fresh.terms["pg"].sum(), rel=1e-5)
    assert metrics["clipped"] == 0.0
    assert metrics["replay/clipped"] > 0
    assert metrics["nll"] > 0
    parts = metrics["pg_loss"] + metrics["replay/pg_loss"]
    alone = make_engine(model_folder("qwen3")).train(
        "student", [replace(replayed, terms={"nll": replayed.terms["nll"]})], losses
    )
    assert metrics["loss"] == pytest.approx(parts + alone["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("sample", "complaint"),
    [
        (make_sample(0, ("pg", "bonus")), r"sample \('sample', 0\) has unknown loss terms \['bonus'\]"),
        (make_sample(0, ("kl",)), "the loss kl asks the policy 'nobody', which the update lacks"),
        (replace(make_sample(0, ("distill",)), views={}), r"sample \('sample', 0\) has no view 'privileged'"),
        (replace(make_sample(0), prompt_len=20), "model token in its prompt"),
        (replace(make_sample(0), terms={"pg": np.zeros(3, np.float32)}), "different lengths"),
    ],
)
def test_a_malformed_sample_is_refused(sample: Sample, complaint: str, model_folder: Folder) -> None:
    model = load_model(model_folder("qwen3"), torch.device("cpu"))
    trainer = Trainer(model, TEACHER_VIEW | {"kl": KlLoss("nobody")}, {"teacher": model}, 64)
    with pytest.raises(ValueError, match=complaint):
        trainer.accumulate([sample])


def test_a_view_that_is_not_there_is_not_scored(model_folder: Folder) -> None:
    with pytest.raises(ValueError, match="has no view 'rival', only \\['privileged'\\]"):
        make_engine(model_folder("qwen3")).score(PolicyRef("base"), [make_sample(0)], "rival")


def test_a_follower_is_not_trained_and_lost_gradients_stop_the_run(model_folder: Folder) -> None:
    engine = make_engine(model_folder("qwen3"))
    with pytest.raises(ValueError, match="follows student"):
        engine.train("teacher", [], {})
    lost = make_sample(0, ("pg",))
    lost.terms["pg"][:] = np.inf
    before = [parameter.clone() for parameter in engine._policies.model(PolicyRef("student")).parameters()]
    with pytest.raises(FloatingPointError, match="gradient of policy student is not finite"):
        engine.train("student", [lost], TEACHER_VIEW)
    after = engine._policies.model(PolicyRef("student")).parameters()
    assert all(itertools.starmap(torch.equal, zip(before, after, strict=True)))
