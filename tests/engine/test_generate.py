import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, CohereConfig, GraniteConfig, PreTrainedModel
from turns import END, LIVE, SEED, STOP, assert_same, contexts, drain, reference, request, says

from piplay.engine.local import engine as local_engine
from piplay.engine.local.cache import _Decode, _scores
from piplay.engine.local.engine import LocalEngine
from piplay.engine.local.generate import draw
from piplay.engine.protocol import Generate, Generated, Usage
from piplay.errors import InputError
from piplay.settings import Policy
from piplay.streams import stream
from piplay.types import Key, PolicyRef, Stop

pytestmark = pytest.mark.slow

Folder = Callable[[str], Path]
Plain = Callable[[str | Path], PreTrainedModel]


def make_engine(path: Path, slots: int = 8, tokens: int = 64, **rest: Any) -> LocalEngine:
    specs = {
        "student": Policy(lr=0.1),
        "teacher": Policy(follows="student", tau=0.5),
        "base": Policy(follows="student", tau=0.0),
    }
    return LocalEngine(path, specs, seed=SEED, slots=slots, threads=1, micro_batch_tokens=tokens, **rest)


@pytest.mark.parametrize("temperature", [0.0, 0.02, 0.7, 1.0, 1.5])
@pytest.mark.parametrize("kind", ["qwen3", "llama", "qwen2"])
def test_equals_the_plain_model(kind: str, temperature: float, model_folder: Folder, plain: Plain) -> None:
    engine, model = make_engine(model_folder(kind)), plain(kind)
    asked = [request(("r", i), ids, max_new=5 + 3 * i, temperature=temperature) for i, ids in enumerate(contexts(6))]
    for one in asked:
        engine.submit(one)
    results = drain(engine)
    for one in asked:
        assert_same(results[one.key], reference(model, one))


@pytest.mark.parametrize("room", [{}, {"slots": 2}, {"cache_tokens": 128}], ids=["all", "slots", "pages"])
def test_each_turn_ends_by_its_own_texts_and_tokens(lettered: Path, plain: Plain, room: dict[str, int]) -> None:
    """In company and with little room, over several turns, and never by what the prompt says."""
    engine, model = make_engine(lettered, **room), plain(lettered)
    stops = [STOP, Stop((END,), (">aa>a",)), Stop((3, 9, 27), ("aaaaa", "a>a>a>")), Stop(())]
    begins = [token for token in range(END) if says([token]).endswith("a")]
    asked = [
        request(("r", i), [*ids, 9, begins[i]], max_new=16, stop=stops[i % 4])
        for i, ids in enumerate(contexts(8, seed=4))
    ]
    for one in asked:
        engine.submit(one)
    results = drain(engine)
    again = [
        request(("again", *one.key), [*one.ids_T, *results[one.key].ids, 5], 16, session=one.key, stop=stops[i // 2])
        for i, one in enumerate(asked)
    ]
    for one in again:
        engine.submit(one)
    results |= drain(engine)
    for one in (*asked, *again):
        assert_same(results[one.key], reference(model, one))
    ended = [results[one.key] for one in (*asked, *again) if one.stop.texts and results[one.key].closed]
    assert sum(result.ids[-1] not in (END, 3, 9, 27) for result in ended) > 2
    assert all(len(results[one.key].ids) == 16 for one in asked if not one.stop.ids)


def test_texts_need_a_tokenizer_and_nothing_else_does(model_folder: Folder) -> None:
    engine = make_engine(model_folder("qwen3"))
    engine.submit(request(("ids",), [1, 2]))
    assert len(drain(engine)) == 1
    engine.submit(request(("texts",), [1, 2], stop=Stop((END,), ("</search>",))))
    with pytest.raises(InputError, match=r"turns end by text, and the tokenizer of .* cannot be loaded"):
        engine.ready()


@pytest.mark.parametrize("room", [{"slots": 3}, {"slots": 7, "cache_tokens": 400}], ids=["slots", "pages"])
def test_turns_of_a_session_with_tool_tokens_between(model_folder: Folder, plain: Plain, room: dict[str, int]) -> None:
    """Sessions go on at different times, more of them than there is room for; caches are reused, cut or lost."""
    engine, model = make_engine(model_folder("qwen3"), **room), plain("qwen3")
    rng = np.random.default_rng(1)
    history = {("session", i): ids for i, ids in enumerate(contexts(7, seed=2))}
    turn = dict.fromkeys(history, 0)
    asked: dict[Key, Generate] = {}

    def ask(session: Key) -> None:
        one = request((*session, "turn", turn[session]), history[session], max_new=9, session=session)
        asked[one.key] = one
        engine.submit(one)

    for session in history:
        ask(session)
    checked = closed = 0
    most = 0
    while ready := engine.ready():
        most = max(most, *(sampler._cache.layers[0].shape[1] for sampler in engine._samplers.values()))
        for result in ready:
            assert_same(result, reference(model, asked[result.key]))
            checked, closed = checked + 1, closed + result.closed
            session = result.key[:2]
            tool = rng.integers(0, END, rng.integers(0, 70))
            history[session] = np.concatenate([asked[result.key].ids_T, result.ids, tool])
            if turn[session] == 2:
                # A context that is not an extension: only the common prefix may be kept.
                history[session][len(history[session]) // 2] += 1
                history[session] %= END
            turn[session] += 1
            if turn[session] < 4:
                ask(session)
            else:
                engine.close(session)
    assert checked == 28
    assert 0 < closed < 28
    assert most == (13 if "cache_tokens" in room else 256), "pages of 32 tokens"
    assert not engine._samplers, "the last session closed gives the cache back"


def test_a_cached_prefix_is_not_computed_again(model_folder: Folder) -> None:
    engine = make_engine(model_folder("qwen3"))
    ids = contexts(1)[0]
    engine.submit(request(("a", 1), ids, session=("a",)))
    (first,) = engine.ready()
    before = engine.usage()
    engine.submit(request(("a", 2), np.concatenate([ids, first.ids, [5, 6, 7]]), session=("a",)))
    engine.ready()
    fed = engine.usage().prefilled - before.prefilled
    assert fed == 4, "the last token drawn, which was never fed, and three of the tool's"
    before = engine.usage()
    engine.submit(request(("a", 3), ids, session=("a",), max_new=5))
    (again,) = engine.ready()
    usage = engine.usage()
    assert usage.prefilled == before.prefilled, "the last token is fed again for its logits, as a token drawn is"
    assert usage.steps - before.steps == len(again.ids)


def test_rollouts_of_one_prompt_are_computed_once(model_folder: Folder, plain: Plain) -> None:
    """Those that begin together, those that find a slot later, and what prompts have in common at their head."""
    engine, model = make_engine(model_folder("qwen3"), slots=4, tokens=32), plain("qwen3")
    rng = np.random.default_rng(12)
    head = rng.integers(0, END, 40)
    prompts = [np.concatenate([head, rng.integers(0, END, 10)]) for _ in range(3)]
    asked = [request((q, g), ids, max_new=6 + 2 * g) for q, ids in enumerate(prompts) for g in range(3)]
    for one in asked:
        engine.submit(one)
    for one, result in drain(engine).items():
        assert_same(result, reference(model, next(o for o in asked if o.key == one)))
        engine.close(one)
    usage = engine.usage()
    total = sum(len(one.ids_T) for one in asked)
    # A copy leaves the last token, which is then fed as drawn ones are, one a rollout at most.
    assert total - len(asked) <= usage.prefilled + usage.shared <= total
    assert usage.prefilled < len(head) + 10 + 2 * 50, "each prompt once, and the head less often than that"


def test_a_long_prompt_is_fed_in_chunks_while_others_write(model_folder: Folder, plain: Plain) -> None:
    engine, model = make_engine(model_folder("qwen3"), tokens=16), plain("qwen3")
    rng = np.random.default_rng(5)
    asked = [request(("short", i), rng.integers(0, END, 3), max_new=30) for i in range(3)]
    asked.append(request(("long",), rng.integers(0, END, 200), max_new=2))
    for one in asked:
        engine.submit(one)
    results = drain(engine)
    for one in asked:
        assert_same(results[one.key], reference(model, one))
    assert 200 / 16 <= engine.usage().steps < 200 / 16 + 30


def test_draws_of_mixed_episodes_equal_the_plain_models(model_folder: Folder, plain: Plain) -> None:
    """Same draws, log-probabilities within 1e-4; tokens differ only where a draw lies so near to an edge.

    Episodes of one turn and of four in few slots, which they fill.
    """
    engine, model = make_engine(model_folder("qwen3"), slots=8, tokens=48), plain("qwen3")
    rng = np.random.default_rng(3)
    history = {("e", i): ids for i, ids in enumerate(contexts(60, seed=11))}
    turn = dict.fromkeys(history, 0)
    asked: dict[Key, Generate] = {}

    def ask(session: Key) -> None:
        one = request((*session, turn[session]), history[session], int(rng.integers(4, 16)), session=session)
        asked[one.key] = one
        engine.submit(one)

    for session in history:
        ask(session)
    tokens = differing = 0
    while ready := engine.ready():
        for result in ready:
            same, other = compare(model, asked[result.key], result)
            tokens, differing = tokens + same, differing + other
            session = result.key[:2]
            turn[session] += 1
            if turn[session] < (4 if session[1] % 2 else 1):
                tool = rng.integers(0, END, rng.integers(1, 40))
                history[session] = np.concatenate([asked[result.key].ids_T, result.ids, tool])
                ask(session)
            else:
                engine.close(session)
    assert len(asked) == 150
    assert tokens > 1000
    assert differing <= 1, "an edge is 1e-4 wide at most, and one draw in thousands falls on it"
    assert engine.usage().since(Usage())["occupancy"] >= 0.85


@torch.no_grad()
def compare(model: PreTrainedModel, asked: Generate, result: Generated) -> tuple[int, int]:
    """How many tokens are those that the plain model draws behind the same context, and how many are not."""
    ids = np.concatenate([asked.ids_T, result.ids])
    logits = model(torch.tensor([ids.tolist()])).logits[0, len(asked.ids_T) - 1 : -1].double()
    probabilities = logits.softmax(-1).numpy()
    at = np.arange(len(result.ids))
    np.testing.assert_allclose(result.logprobs, np.log(probabilities[at, result.ids]), atol=1e-4)
    edges = np.cumsum(probabilities, axis=-1)
    uniforms = stream(SEED, asked.key).random(asked.max_new)[: len(at), None]
    drawn = (edges <= uniforms).sum(-1)
    for row in np.flatnonzero(drawn != result.ids):
        between = edges[row, min(drawn[row], result.ids[row]) : max(drawn[row], result.ids[row])]
        assert np.abs(between - uniforms[row]).max() < 1e-4
    return int((drawn == result.ids).sum()), int((drawn != result.ids).sum())


def test_memory_is_that_of_the_slots_whatever_the_episodes(model_folder: Folder) -> None:
    engine = make_engine(model_folder("qwen3"), slots=4)
    pages = []
    for count in (8, 80):
        for i in range(count):
            engine.submit(request((count, i), np.arange(i % 50 + 1), max_new=10))
        for key in drain(engine):
            engine.close(key)
            sampler = engine._samplers.get(LIVE)
            if sampler is not None:
                pages.append(sum(sampler._cache.held_S))
    assert max(pages) <= 4 * 2, "60 tokens are two pages of 32"
    assert not engine._samplers


def test_turns_that_outgrow_the_cache_take_turns(model_folder: Folder, plain: Plain) -> None:
    """More begin than can end: as they grow the youngest make room, and write the same as ever when they go on."""
    engine, model = make_engine(model_folder("qwen3"), slots=20, cache_tokens=10 * 32), plain("qwen3")
    rng = np.random.default_rng(17)
    asked = [request(("r", i), rng.integers(0, END, 31), max_new=200, temperature=1.5) for i in range(20)]
    for one in asked:
        engine.submit(one)
    results: dict[Key, Generated] = {}
    most = 0
    while ready := engine.ready():
        for one in ready:
            results[one.key] = one
            engine.close(one.key)
        for sampler in engine._samplers.values():
            most = max(most, sampler._cache.layers[0].shape[1])
    assert most == 10
    assert engine.usage().evicted > 3 * 64, "they had filled two pages each"
    for one in asked:
        assert_same(results[one.key], reference(model, one))


def test_a_full_cache_is_left_to_those_who_came_first(model_folder: Folder) -> None:
    """Thirty episodes of four turns where about six fit: those begun go on, and little is read twice.

    First come, first served, turn by turn, all would begin, lose what was read, and read three times as much.
    """
    engine = make_engine(model_folder("qwen3"), slots=30, cache_tokens=20 * 32)
    rng = np.random.default_rng(18)
    history = {("e", i): rng.integers(0, END, 20) for i in range(30)}
    turn = dict.fromkeys(history, 0)
    given = sum(map(len, history.values()))
    for session, ids in history.items():
        engine.submit(request((*session, 0), ids, max_new=6, session=session))
    while ready := engine.ready():
        for result in ready:
            session = result.key[:2]
            turn[session] += 1
            if turn[session] == 4:
                engine.close(session)
                continue
            tool = rng.integers(0, END, 15)
            given += len(tool)
            history[session] = np.concatenate([history[session], result.ids, tool])
            engine.submit(request((*session, turn[session]), history[session], max_new=6, session=session))
    assert set(turn.values()) == {4}
    usage = engine.usage()
    # A turn begins with the last token of the one before, which was drawn and not fed.
    once = given + 30 * 3
    assert once - 30 <= usage.prefilled + usage.shared - usage.evicted <= once
    assert usage.prefilled + usage.shared < 1.6 * given


def test_a_turn_that_could_never_be_cached_is_refused(model_folder: Folder) -> None:
    engine = make_engine(model_folder("qwen3"), cache_tokens=64)
    engine.submit(request(("fits",), range(60), max_new=4))
    with pytest.raises(ValueError, match="may take 65 tokens, and 64 can be cached"):
        engine.submit(request(("too long",), range(60), max_new=5))
    assert len(drain(engine)) == 1


def test_company_does_not_change_a_result(model_folder: Folder) -> None:
    alone, crowded = make_engine(model_folder("llama")), make_engine(model_folder("llama"), slots=40, tokens=256)
    ids = contexts(1, seed=3)[0]
    alone.submit(request(("me",), ids, max_new=60))
    for i, other in enumerate(contexts(30, seed=4)):
        crowded.submit(request(("other", i), other, max_new=1 + 2 * i))
        if i == 15:
            crowded.submit(request(("me",), ids, max_new=60))
    assert_same(drain(crowded)[("me",)], drain(alone)[("me",)])


def test_a_straggler_is_read_alone(model_folder: Folder, plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where few of many sessions still write, attention gathers their pages instead of reading all in place."""
    engine, model = make_engine(model_folder("qwen3"), slots=16, tokens=512), plain("qwen3")
    read: list[int] = []
    make = _Decode.__init__

    def counted(self: _Decode, *rest: Any) -> None:
        make(self, *rest)
        read.append(len(self._owner_P))

    monkeypatch.setattr(_Decode, "__init__", counted)
    asked = [request(("r", i), ids, max_new=2 if i < 14 else 30) for i, ids in enumerate(contexts(16, seed=10))]
    for one in asked:
        engine.submit(one)
    results = drain(engine)
    assert all(len(results[one.key].ids) > 10 for one in asked[14:])
    assert max(read) >= 16
    assert read[-1] <= 6, "two sessions of up to 70 tokens"
    again = [
        request((*one.key, "again"), np.concatenate([one.ids_T, results[one.key].ids, [3]]), session=one.session)
        for one in asked
    ]
    for one in again:
        engine.submit(one)
    results |= drain(engine)
    for one in asked + again:
        assert_same(results[one.key], reference(model, one))


def test_several_policies_at_once_and_caches_die_with_the_weights(model_folder: Folder, plain: Plain) -> None:
    engine, model = make_engine(model_folder("qwen3")), plain("qwen3")
    still = PolicyRef("base")
    ids = contexts(1, seed=6)[0]

    def play(step: int) -> dict[Key, Generated]:
        for policy in (LIVE, PolicyRef("teacher"), still):
            engine.submit(request((step, policy.name), ids, policy=policy, session=("s",)))
        return drain(engine)

    before = play(0)
    assert list(before) == [(0, "student"), (0, "teacher"), (0, "base")]
    for key, result in before.items():
        assert_same(result, reference(model, request(key, ids)))
    with torch.no_grad():
        engine._policies.model(LIVE).lm_head.weight.mul_(-1)
    engine.train("student", [], {})
    with torch.no_grad():
        model.lm_head.weight.mul_(-1)
    after = play(1)
    assert_same(after[(1, "student")], reference(model, request((1, "student"), ids), version=1))
    with torch.no_grad():
        model.lm_head.weight.mul_(-1)
    assert_same(after[(1, "base")], reference(model, request((1, "base"), ids)))


def test_same_submissions_same_bits(model_folder: Folder) -> None:
    runs = []
    for _ in range(2):
        engine = make_engine(model_folder("qwen3"), slots=5)
        for i, ids in enumerate(contexts(12, seed=8)):
            engine.submit(request(("r", i), ids))
        runs.append(drain(engine))
    assert list(runs[0]) == list(runs[1])
    for key, result in runs[0].items():
        assert result.ids.tobytes() == runs[1][key].ids.tobytes()
        assert result.logprobs.tobytes() == runs[1][key].logprobs.tobytes()


def test_turns_of_one_session_wait_in_line(model_folder: Folder, plain: Plain) -> None:
    engine = make_engine(model_folder("qwen3"))
    asked = [request(("s", i), ids, session=("s",)) for i, ids in enumerate(contexts(3, seed=9))]
    for one in asked:
        engine.submit(one)
    results = drain(engine)
    assert list(results) == [one.key for one in asked]
    for one in asked:
        assert_same(results[one.key], reference(plain("qwen3"), one))


def test_a_policy_that_is_writing_cannot_be_trained(model_folder: Folder) -> None:
    engine = make_engine(model_folder("qwen3"))
    engine.submit(request(("a",), [1, 2]))
    with pytest.raises(ValueError, match="writing"):
        engine.train("student", [], {})
    assert len(drain(engine)) == 1
    engine.close(("a",))
    engine.close(("never opened",))


@pytest.mark.parametrize("slots", [1, 2])
def test_a_session_that_is_closed_gives_up_its_turn_and_the_others_go_on(
    slots: int, model_folder: Folder, plain: Plain
) -> None:
    """Closed between two tokens, in its slot or still in the queue."""
    engine = make_engine(model_folder("qwen3"), slots=slots)
    asked = [request(("s", i), ids) for i, ids in enumerate(contexts(3, seed=9))]
    for one in asked:
        engine.submit(one)
    assert engine.ready(pause=lambda: True) == []
    engine.close(asked[0].session)
    engine.close(asked[2].session)
    results = drain(engine)
    assert list(results) == [asked[1].key]
    assert_same(results[asked[1].key], reference(plain("qwen3"), asked[1]))
    assert engine.ready() == []


@pytest.mark.parametrize("wrong", [{"ids": []}, {"max_new": 0}, {"temperature": -0.5}, {"temperature": float("inf")}])
def test_a_request_that_cannot_be_served_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="needs a context"):
        request(("a",), **({"ids": [1]} | wrong))  # type: ignore[arg-type]


def test_draws_are_the_inverse_cdf_at_its_edges() -> None:
    logits = torch.tensor([[0.25, 0.0, 0.5, 0.25, 0.0]]).log().expand(6, -1)
    uniform = torch.tensor([0.0, 0.2499, 0.2501, 0.7499, 0.7501, 1 - 2**-53], dtype=torch.float64)
    token, logprob = draw(logits, uniform, torch.ones(6))
    assert token.tolist() == [0, 0, 2, 2, 3, 3]
    torch.testing.assert_close(logprob.exp(), torch.tensor([0.25, 0.25, 0.5, 0.5, 0.25, 0.25]))
    greedy = torch.tensor([0.0, 1, 1, 1, 1, 0])
    assert draw(logits, uniform, greedy)[0].tolist() == [2, 0, 2, 2, 3, 2]


@pytest.mark.parametrize("vocabulary", [50, 64, 2048, 5001])
def test_draws_are_the_inverse_cdf_of_a_plain_running_sum(vocabulary: int) -> None:
    """Over the whole vocabulary, with tokens that cannot be drawn among them; off by one only within rounding."""
    torch.manual_seed(vocabulary)
    logits = 3 * torch.randn(500, vocabulary)
    logits[:, ::3] = -torch.inf
    uniform = torch.rand(500, dtype=torch.float64)
    uniform[:2] = torch.tensor([0.0, 1 - 2**-53])
    token, logprob = draw(logits, uniform, torch.ones(500))
    assert logprob.isfinite().all()
    cumulative = np.cumsum(logits.softmax(-1).double().numpy(), axis=-1)
    target = uniform.numpy() * cumulative[:, -1]
    row = np.arange(500)
    assert (cumulative[row, token] > target - 1e-6).all()
    before = np.where(token.numpy() > 0, cumulative[row, token - 1], 0)
    assert (before <= target + 1e-6).all()
    assert (token.numpy() == (cumulative <= target[:, None]).sum(-1)).mean() > 0.995
    alone = [draw(logits[i : i + 1], uniform[i : i + 1], torch.ones(1)) for i in range(0, 500, 50)]
    assert torch.equal(torch.cat([one for one, _ in alone]), token[::50]), "of what stands beside it nothing"
    assert torch.equal(torch.cat([one for _, one in alone]), logprob[::50])


def test_a_rows_temperature_is_its_own() -> None:
    """At T = 1/2 the probabilities 1, 2, 1 of 4 become 1, 4, 1 of 6; what is likely stays so where it is cold."""
    logits = torch.tensor([[0.25, 0.0, 0.5, 0.25, 0.0]]).log().expand(6, -1)
    uniform = torch.tensor([1 / 6 - 1e-6, 1 / 6 + 1e-6, 5 / 6 - 1e-6, 5 / 6 + 1e-6, 0.2499, 0.99], dtype=torch.float64)
    token, logprob = draw(logits, uniform, torch.tensor([0.5, 0.5, 0.5, 0.5, 1, 1e-4]))
    assert token.tolist() == [0, 2, 2, 3, 0, 2]
    torch.testing.assert_close(logprob.exp(), torch.tensor([0.25, 0.5, 0.5, 0.25, 0.25, 0.5]))


def test_a_folder_without_a_model_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder with a Hugging Face language model"):
        make_engine(tmp_path)


def test_a_model_that_changes_its_logits_behind_the_head_is_refused(tmp_path: Path) -> None:
    """The engine takes body and head apart, and would sample and train another distribution."""
    shape = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }  # fmt: skip
    made = {
        "granite as it is": GraniteConfig(**shape, logits_scaling=1.0),
        "granite": GraniteConfig(**shape, logits_scaling=8.0),
        "cohere": CohereConfig(**shape, logit_scale=0.0625),
    }
    for name, config in made.items():
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / name)
    make_engine(tmp_path / "granite as it is")
    for name in ("granite", "cohere"):
        with pytest.raises(InputError, match="changes its logits behind the head"):
            make_engine(tmp_path / name)


def test_scores_of_bf16_keys_are_exact() -> None:
    """Real models have scores in the hundreds, where bf16 has steps of one half and more."""
    rng = torch.Generator().manual_seed(0)
    query, key = (10 * torch.randn(shape, generator=rng).bfloat16() for shape in ((3, 2, 64), (3, 64, 32)))
    bias = torch.zeros(3, 1, 32).index_fill_(2, torch.tensor([31]), -torch.inf)
    exact = 0.125 * (query.double() @ key.double()) + bias
    assert exact[..., :31].abs().max() > 100
    torch.testing.assert_close(_scores(query, key, bias, 0.125).double(), exact, rtol=1e-5, atol=1e-4)
    single = _scores(query.float(), key.float(), bias, 0.125)
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-4)


def test_a_cache_goes_with_its_last_session_and_its_memory_after_it(
    model_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(model_folder("llama"))
    asked = [request(("r", i), ids, max_new=4) for i, ids in enumerate(contexts(2))]
    for one in asked:
        engine.submit(one)
    drain(engine)
    (sampler,) = engine._samplers.values()
    cache = weakref.ref(sampler._cache)
    del sampler
    given: list[bool] = []
    monkeypatch.setattr(local_engine, "give_back", lambda: given.append(cache() is None))
    engine.close(asked[0].session)
    assert given == []
    engine.close(asked[1].session)
    assert given == [True]
