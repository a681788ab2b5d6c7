"""What every engine has to do: a suite to inherit, with one fixture to give.

Each engine writes what the plain model of transformers writes, one sequence and one token at a time; learns; keeps what
it has learnt. Nothing here looks into an engine.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_helpers import TEACHER_VIEW, M, make_sample
from transformers import PreTrainedModel
from turns import END, LIVE, STOP, assert_same, contexts, drain, reference, request

from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.nll import NllLoss
from piplay.engine.protocol import Engine, Generate, Generated, Usage
from piplay.settings import Policy
from piplay.types import Key, PolicyRef, Sample, Stop

POLICIES = {
    "student": Policy(lr=0.01),
    "examiner": Policy(lr=0.02),
    "teacher": Policy(follows="student", tau=0.25),
    "mirror": Policy(follows="student", tau=1.0),
    "base": Policy(follows="student", tau=0.0),
}
Start = Callable[[], Engine]
"""Starts an engine of ``POLICIES`` over the model ``lettered`` with the seed of ``turns``, its sessions cached four at
once, and other engines of the test beside it."""
Plain = Callable[[str | Path], PreTrainedModel]


def play(engine: Engine, asked: Sequence[Generate]) -> list[Generated]:
    """What was written, in the order of asking."""
    for one in asked:
        engine.submit(one)
    results = drain(engine)
    assert results.keys() == {one.key for one in asked}
    return [results[one.key] for one in asked]


def turns(name: Key, policy: PolicyRef = LIVE, count: int = 4, stop: Stop = STOP) -> list[Generate]:
    """Turns of sessions of their own, one of them greedy."""
    prompts = enumerate(contexts(count, seed=len(name)))
    return [
        request((*name, i), ids, max_new=2 + 3 * i, temperature=float(i != 2), policy=policy, stop=stop)
        for i, ids in prompts
    ]


def sample_of(asked: Generate, made: Generated) -> Sample:
    """A turn as a sample to be scored."""
    ids_T = np.concatenate([asked.ids_T, made.ids])
    owner_T = np.where(np.arange(len(ids_T)) < len(asked.ids_T), 0, M).astype(np.int8)
    return replace(
        make_sample(0), ids_T=ids_T, owner_T=owner_T, logprobs_T=np.zeros(len(ids_T), np.float32), terms={},
        prompt_len=len(asked.ids_T), views={},
    )  # fmt: skip


def learn(engine: Engine, number: int, policy: str = "student") -> dict[str, float]:
    return engine.train(policy, [make_sample(10 * number + i) for i in range(4)], TEACHER_VIEW)


def logprobs(engine: Engine, policy: PolicyRef) -> np.ndarray:
    """Of the same tokens, whoever wrote them."""
    samples = [make_sample(i) for i in range(3)]
    return np.concatenate(engine.score(policy, samples))


class Conformance:
    """Inherit it as ``TestMine``, and give it the fixture ``start``."""

    @pytest.fixture
    def start(self) -> Start:
        raise NotImplementedError

    def test_it_writes_what_the_plain_model_does(self, start: Start, plain: Plain, lettered: Path) -> None:
        asked = turns(("plain",), count=6)
        model = plain(lettered)
        for one, made in zip(asked, play(start(), asked), strict=True):
            assert_same(made, reference(model, one))

    def test_a_turn_depends_on_its_key_alone(self, start: Start) -> None:
        """Not on what is asked beside it, nor when, nor on what its session has cached."""
        together, apart, asked = start(), start(), turns(("alone",), count=5)
        crowd = play(together, [*turns(("others",)), *asked, *turns(("base",), PolicyRef("base"))])[4:9]
        for one, expected in reversed(list(zip(asked, crowd, strict=True))):
            [made] = play(apart, [replace(one, session=("one", "for", "all"))])
            assert_same(made, expected)
        other = play(apart, [replace(one, key=("another", *one.key)) for one in asked])
        assert [made.ids.tolist() for made in other] != [made.ids.tolist() for made in crowd]

    def test_sessions_of_several_policies_go_on_turn_by_turn(self, start: Start, plain: Plain, lettered: Path) -> None:
        """Each as soon as its last turn has come, more of them than are cached; one that was closed goes on, too."""
        engine, model, rng = start(), plain(lettered), np.random.default_rng(1)
        policies = [PolicyRef("student"), PolicyRef("base")]
        asked: dict[Key, Generate] = {}

        def ask(session: Key, turn: int, policy: PolicyRef, ids: np.ndarray) -> None:
            key = (*session, turn)
            asked[key] = request(key, ids, max_new=6, policy=policy, session=session)
            engine.submit(asked[key])

        for i, ids in enumerate(contexts(8, seed=2)):
            ask(("session", i), 0, policies[i % 2], ids)
        checked = 0
        while ready := engine.ready():
            for made in ready:
                one = asked[made.key]
                assert_same(made, reference(model, one))
                checked += 1
                session, turn = made.key[:2], int(made.key[2])
                if turn == 1:
                    engine.close(session)
                if turn < 2:
                    heard = rng.integers(0, END, rng.integers(0, 20))
                    ask(session, turn + 1, one.policy, np.concatenate([one.ids_T, made.ids, heard]))
        assert checked == 8 * 3
        assert engine.ready() == []

    def test_each_turn_ends_by_its_own_tokens_and_texts(self, start: Start, plain: Plain, lettered: Path) -> None:
        stops = [Stop((END,)), Stop((END,), (">aa>a", "aaaaa")), Stop((3, 9)), Stop(())]
        asked = [
            request(("stop", i), ids, max_new=12, stop=stops[i % 4], session=("stops", i % 3))
            for i, ids in enumerate(contexts(8, seed=5))
        ]
        model, ended = plain(lettered), []
        for one, made in zip(asked, play(start(), asked), strict=True):
            assert_same(made, reference(model, one))
            ended.append((one.stop.texts != (), made.closed and made.ids[-1] != END))
        assert (True, True) in ended
        assert (False, True) in ended

    def test_versions_count_updates(self, start: Start) -> None:
        engine = start()
        taken = engine.snapshot("teacher", "begun")
        learn(engine, 1)
        learn(engine, 2)
        learn(engine, 3, "examiner")
        later = engine.snapshot("student", "later")
        engine.train("student", [], TEACHER_VIEW)
        expected = {"student": 3, "teacher": 3, "mirror": 3, "base": 0, "examiner": 1}
        refs = {**{PolicyRef(name): version for name, version in expected.items()}, taken: 0, later: 2}
        asked = [request(("version", str(ref)), [1, 2, 3], policy=ref) for ref in refs]
        assert [made.version for made in play(engine, asked)] == list(refs.values())

    def test_a_snapshot_stays_what_it_was(self, start: Start) -> None:
        engine = start()
        learn(engine, 1)
        first = engine.snapshot("student", "first")
        assert first == PolicyRef("student", "first")
        asked = turns(("turn",))
        before, scored = play(engine, asked), logprobs(engine, LIVE)
        learn(engine, 2)
        second = engine.snapshot("student", "second")
        learn(engine, 3)
        then = play(engine, [replace(one, policy=first) for one in asked])
        for made, expected in zip(then, before, strict=True):
            assert_same(made, expected)
        np.testing.assert_allclose(logprobs(engine, first), scored, atol=1e-5)
        for other in (second, LIVE):
            assert np.abs(logprobs(engine, other) - scored).max() > 1e-2
        engine.forget(first)
        assert np.abs(logprobs(engine, second) - scored).max() > 1e-2
        again = engine.snapshot("student", "first")
        assert again == first
        np.testing.assert_allclose(logprobs(engine, again), logprobs(engine, LIVE), atol=1e-5)

    def test_what_there_is_not_is_refused(self, start: Start) -> None:
        engine = start()
        taken = engine.snapshot("student", "taken")
        for policy, name, complaint in (
            ("studnet", "x", "no policy 'studnet' .did you mean 'student'"),
            (str(taken), "x", "no policy 'student@taken'"),
            ("student", "taken", "already"),
            ("student", "../x", "names a file"),
        ):
            with pytest.raises(ValueError, match=complaint):
                engine.snapshot(policy, name)
        with pytest.raises(ValueError, match=r"no snapshot 'student@tkaen' .did you mean 'student@taken'"):
            engine.forget(PolicyRef("student", "tkaen"))
        with pytest.raises(ValueError, match="only snapshots can be forgotten"):
            engine.forget(LIVE)
        engine.forget(taken)
        with pytest.raises(ValueError, match="no snapshot"):
            engine.score(taken, [])
        with pytest.raises(ValueError, match="no snapshot 'student@taken'"):
            play(engine, [request(("forgotten",), [1], policy=taken)])

    def test_scores_are_what_the_sampler_said(self, start: Start) -> None:
        """Under every policy, after each has learnt; and behind another prompt, as the turn would be written there."""
        engine = start()
        learn(engine, 1)
        learn(engine, 2, "examiner")
        kept = engine.snapshot("student", "kept")
        learn(engine, 3)
        for ref in (*map(PolicyRef, POLICIES), kept):
            asked = turns((str(ref),), ref, count=3)
            made = play(engine, asked)
            scored = engine.score(ref, [sample_of(*pair) for pair in zip(asked, made, strict=True)])
            for one, turn, score_T in zip(asked, made, scored, strict=True):
                np.testing.assert_allclose(score_T[len(one.ids_T) :], turn.logprobs, atol=1e-5)
                assert not score_T[: len(one.ids_T)].any()
            short = [
                replace(sample_of(replace(one, ids_T=np.array([1])), turn), views={"whole": one.ids_T})
                for one, turn in zip(asked, made, strict=True)
            ]
            for turn, score_T in zip(made, engine.score(ref, short, "whole"), strict=True):
                np.testing.assert_allclose(score_T[1:], turn.logprobs, atol=1e-5)

    def test_it_reads_what_losses_report_and_learns_nothing(self, start: Start) -> None:
        """A token's NLL and KL to itself behind the same view, of samples whose own terms do not matter."""
        engine = start()
        learn(engine, 1)
        samples = [make_sample(i, ("pg",)) for i in range(4)]
        before = logprobs(engine, LIVE)
        losses = {"nll": NllLoss(), "same": DistillLoss("student", view=""), "far": DistillLoss("base", top_k=3)}
        read = engine.read(LIVE, samples, losses)
        scored = engine.score(LIVE, samples)
        for sample, found, score_T in zip(samples, read, scored, strict=True):
            assert set(found) == {f"{term}/{name}" for term, loss in losses.items() for name in loss.metrics}
            np.testing.assert_allclose(found["nll/nll"], -score_T, atol=1e-5)
            assert not found["same/distill_kl"].any()
            assert (found["far/distill_kl"][sample.owner_T == M] > 0).all()
            assert all(value_T.shape == sample.ids_T.shape for value_T in found.values())
            assert not any(value_T[sample.owner_T != M].any() for value_T in found.values())
        np.testing.assert_array_equal(logprobs(engine, LIVE), before)
        assert engine.read(LIVE, [], losses) == []

    def test_followers_move(self, start: Start, plain: Plain, tmp_path: Path) -> None:
        engine = start()
        learn(engine, 1)
        for name in POLICIES:
            engine.export(name, tmp_path / name)
        weights = {name: dict(plain(tmp_path / name).named_parameters()) for name in POLICIES}
        moved = 0.0
        for key, base in weights["base"].items():
            student, average = weights["student"][key], 0.75 * base + 0.25 * weights["student"][key]
            np.testing.assert_allclose(weights["teacher"][key].detach(), average.detach(), atol=1e-6)
            np.testing.assert_allclose(weights["mirror"][key].detach(), student.detach(), atol=1e-6)
            assert bool((weights["examiner"][key] == base).all()), "another trained policy stays where it was"
            moved = max(moved, float((student - base).detach().abs().max()))
        assert 0.005 < moved < 0.02, "a step of AdamW is about as large as lr"

    def test_saved_and_loaded_it_goes_on_as_it_would_have(self, start: Start, tmp_path: Path) -> None:
        straight, resumed = start(), start()
        learn(straight, 1)
        kept = straight.snapshot("student", "kept")
        learn(straight, 2)
        straight.save(tmp_path)
        learn(resumed, 7)
        late = resumed.snapshot("examiner", "late")
        learn(resumed, 8)
        resumed.load(tmp_path)
        with pytest.raises(ValueError, match="no snapshot"):
            resumed.score(late, [])
        metrics = []
        for engine in (straight, resumed):
            metrics.append(learn(engine, 3))
        assert metrics[1] == pytest.approx(metrics[0], rel=1e-5, abs=1e-6)
        for ref in (*map(PolicyRef, POLICIES), kept):
            np.testing.assert_allclose(logprobs(resumed, ref), logprobs(straight, ref), atol=1e-5)
            asked = turns(("resumed", str(ref)), ref, count=2)
            for made, expected in zip(play(resumed, asked), play(straight, asked), strict=True):
                assert_same(made, expected)

    def test_an_export_is_a_folder_that_writes_the_same(self, start: Start, plain: Plain, tmp_path: Path) -> None:
        engine, asked = start(), turns(("export",))
        learn(engine, 1)
        engine.export("student", tmp_path)
        for one, made in zip(asked, play(engine, asked), strict=True):
            assert_same(made, reference(plain(tmp_path), one, version=1))
        assert (tmp_path / "tokenizer.json").is_file()

    def test_usage_counts_what_was_written(self, start: Start) -> None:
        engine = start()
        assert engine.usage() == Usage()
        asked = turns(("usage",))
        drawn = sum(len(made.ids) for made in play(engine, asked))
        once = engine.usage()
        assert once.drawn == drawn
        assert once.drawn <= once.capacity
        assert 0 < once.steps <= drawn + sum(len(one.ids_T) for one in asked)
        assert once.prefilled > 0
        [more] = play(engine, [request(("usage", "more"), [4, 5])])
        assert engine.usage().drawn == drawn + len(more.ids)
        assert once.drawn == drawn, "what was counted before is a copy"
