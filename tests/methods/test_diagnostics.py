"""The diagnostics of privilege: each formula in plain loops, and a whole measurement against scores of the engine."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from piplay.methods.pi_play import diagnostics
from piplay.methods.pi_play.diagnostics import CAP, SHOWN, Read, diagnose, numbers
from piplay.methods.pi_play.spans import SPANS
from piplay.recipes import load_config
from piplay.rollout.stage import Stage
from piplay.training.assemble import load_chat, load_engine, load_environment, make_sources, tiny_base, tool_specs
from piplay.types import Owner, PolicyRef, Sample

NAMES = ("kl", "g", "student_mass", "teacher_mass", "overlap", "tail")


def reads(seed: int = 0) -> list[Read]:
    """Four questions with four rollouts each; of one all are right, of another all wrong."""
    rng = np.random.default_rng(seed)
    rewards = [[1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]]
    found = []
    for question, group in enumerate(rewards):
        for reward in group:
            count = int(rng.integers(1, 9))
            by_view = {z: {name: rng.random(count) * (1 + i) for i, name in enumerate(NAMES)} for z in SHOWN}
            for z in SHOWN:
                by_view[z]["g"] = rng.normal(size=count) * (rng.random(count) > 0.2)
            found.append(Read(("q", question), float(reward), rng.integers(0, 4, count).astype(np.int8), by_view))
    return found


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_those_of_their_formulas(seed: int) -> None:
    batch = reads(seed)
    row = numbers(batch)
    for z in SHOWN:
        assert row[f"divergence/{z}"] == pytest.approx(mean([mean(list(one.of(z, "kl"))) for one in batch]))
    e = [mean([a - b for a, b in zip(one.of("true", "g"), one.of("foreign", "g"), strict=True)]) for one in batch]
    assert row["contrast"] == pytest.approx(mean(e))
    tokens = [
        {name: float(one.of("true", name)[t]) for name in NAMES}
        | {"foreign": float(one.of("foreign", "kl")[t]), "span": SPANS[one.span_R[t]]}
        for one in batch
        for t in range(len(one.span_R))
    ]
    total = sum(token["kl"] for token in tokens)
    assert row["context_only"] == pytest.approx(sum(min(token["kl"], token["foreign"]) for token in tokens) / total)
    assert row["tail"] == pytest.approx(sum(token["tail"] for token in tokens) / total)
    for name in ("student_mass", "teacher_mass", "overlap"):
        assert row[name] == pytest.approx(mean([token[name] for token in tokens]))
    assert row["overtaken"] == pytest.approx(mean([token["g"] < 0 for token in tokens]))
    assert row["capped"] == pytest.approx(mean([token["kl"] > CAP for token in tokens]))
    for span in SPANS:
        own = [token for token in tokens if token["span"] == span]
        assert row[f"kl/{span}"] == pytest.approx(mean([token["kl"] for token in own]))
        assert row[f"g/{span}"] == pytest.approx(mean([token["g"] for token in own]))


def area(right: Sequence[bool], scores: Sequence[float]) -> float:
    """Under the receiver's operating curve, by trapezoids over all thresholds."""
    rates = [
        tuple(
            mean([score >= cut for yes, score in zip(right, scores, strict=True) if yes == wanted]) for wanted in (0, 1)
        )
        for cut in [np.inf, *sorted(scores, reverse=True)]
    ]
    return sum((x - w) * (y + v) / 2 for (w, v), (x, y) in itertools.pairwise(rates))


@pytest.mark.parametrize("seed", range(3))
def test_alignment_is_over_questions_with_right_and_wrong_rollouts(seed: int) -> None:
    batch = reads(seed)
    row = numbers(batch)
    differences, aucs, conflicts = [], [], []
    for question in (0, 3):
        group = [one for one in batch if one.group == ("q", question)]
        means = [mean(list(one.of("true", "g"))) for one in group]
        right = [one.reward == 1 for one in group]
        differences.append(
            mean([m for m, yes in zip(means, right, strict=True) if yes])
            - mean([m for m, yes in zip(means, right, strict=True) if not yes])
        )
        aucs.append(area(right, means))
        for one, yes in zip(group, right, strict=True):
            conflicts += [(g > 0) != yes for g in one.of("true", "g") if g != 0]
    assert row["alignment"] == pytest.approx(mean(differences))
    assert row["auroc"] == pytest.approx(mean(aucs))
    assert row["conflict"] == pytest.approx(mean(conflicts))
    alike = [one for one in batch if one.group in (("q", 1), ("q", 2))]
    assert not {"alignment", "auroc", "conflict"} & numbers(alike).keys()
    assert numbers([]) == {}


def test_equal_views_share_all_of_the_divergence_and_have_no_contrast() -> None:
    same = [Read(one.group, one.reward, one.span_R, dict.fromkeys(SHOWN, one.by_view["true"])) for one in reads()]
    row = numbers(same)
    assert (row["context_only"], row["contrast"]) == (1.0, 0.0)


@pytest.mark.slow
def test_a_measurement_reads_what_the_student_wrote(small_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tiny base: what is read is the difference of two scores, and rewards and searches tell a path's use."""
    config = load_config(
        "smoke",
        {
            "world": small_world,
            "engine.threads": 1,
            "sources.questions": '{ kind = "pi_play:WorldQuestions", hop_odds = [0, 1] }',
            "phases.study.tasks": "questions",
            "phases.study.options.rollouts": 2,
        },
    )
    environment = load_environment(config)
    chat = load_chat(tiny_base(), tools=tool_specs(environment))
    engine = load_engine(config)
    stage = Stage.of(config, engine, chat, {tool.spec.name: tool for tool in environment.tools})
    tasks = make_sources(config, environment, {})["questions"].tasks[:6]  # type: ignore[attr-defined]
    seen: list[tuple[PolicyRef, Sequence[Sample], list[Mapping[str, Any]]]] = []
    original = engine.read

    def spy(policy: PolicyRef, samples: Sequence[Sample], losses: Any) -> Any:
        seen.append((policy, samples, original(policy, samples, losses)))
        return seen[-1][-1]

    monkeypatch.setattr(engine, "read", spy)
    row = diagnose(stage, config.phases[-1], "teacher", tasks, ("m1", "study", 0, "diagnose"))
    [(policy, samples, found)] = seen
    assert (str(policy), len(samples)) == ("student", 12)
    own = engine.score(policy, samples)
    for z in SHOWN:
        behind = engine.score(PolicyRef("teacher"), samples, z)
        for sample, mine_T, theirs_T, read in zip(samples, own, behind, found, strict=True):
            np.testing.assert_allclose(read[f"{z}/g"], theirs_T - mine_T, atol=1e-4)
            text = chat.tokenizer.decode(sample.views[z])
            [task] = [task for task in tasks if task.question in text]
            names = [step.evidence for step in task.path]
            assert all(name in text for name in names) == (z == "true")
            assert sample.owner_T[sample.prompt_len] == Owner.MODEL
    assert row["privilege/utility/true"] > 0.5, "the base follows a path, and alone it stops after one hop"
    assert row["privilege/divergence/true"] > row["privilege/divergence/none"]
    assert set(diagnostics.SHOWN) == {"true", "foreign", "none"}
