"""Lessons in every chat: what is taught is, token for token, what a rollout plays."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from toys.models import toy_model
from toys.scripted import DictSearcher, context, tools
from transformers import AutoModelForCausalLM

from piplay.chat.base import Chat
from piplay.config import Policy
from piplay.engine.local.engine import LocalEngine
from piplay.envs.search.tool import SEARCH, query_of, searches
from piplay.envs.world.generate import varied
from piplay.envs.world.questions import Solver
from piplay.envs.world.render import passage
from piplay.methods.pi_play.views import EXAMINER, examiner_view
from piplay.rollout.driver import drive
from piplay.tiny_base.lessons import Classroom, Lesson
from piplay.tiny_base.train import loss_of
from piplay.training.assemble import load_chat, tiny_base
from piplay.types import Owner, StopReason


def classroom(chat: Chat) -> Classroom:
    records = varied(5, simple=True)
    texts = {entity.name: passage(records, entity, 5, plain=True) for entity in records.entities}
    return Classroom(chat, records, texts, np.random.default_rng(0))


def learnt_by_heart(model: Path, lesson: Lesson) -> None:
    torch.set_num_threads(1)
    network = AutoModelForCausalLM.from_pretrained(model)
    optimiser = torch.optim.AdamW(network.parameters(), 0.01)
    for _ in range(50):
        optimiser.zero_grad()
        loss, _ = loss_of(network, [lesson])
        loss.backward()
        optimiser.step()
    network.save_pretrained(model)


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [("qwen3", "native"), ("qwen2", "native"), ("llama", "native"), ("base", "tags"), ("qwen3", "tags")],
)
def test_a_lesson_learnt_by_heart_is_played_token_for_token(tmp_path: Path, kind: str, protocol: str) -> None:
    """In every family's shape and in both chats: the tool is called, answers, and a question is written."""
    model = toy_model(kind, tmp_path / "model")
    chat = load_chat(model, protocol, (SEARCH,))
    room = classroom(chat)
    records, texts = room.records, room.passages
    start, relations = next(chain for chain in iter(lambda: room.chain(2), 0) if chain)
    lesson = room.examine(start, relations)
    learnt_by_heart(model, lesson)
    engine = LocalEngine(model, {"examiner": Policy()}, seed=0, slots=2, threads=1, micro_batch_tokens=4096)
    story = context(chat, temperature=0.0).converse("examiner", EXAMINER, examiner_view(texts[start], 2))
    [played] = drive([story], engine, tools(DictSearcher(list(texts.values()))))
    assert played.stop is StopReason.ANSWERED
    assert [query_of(use.call) for use in searches(played)] == [records.by_name[start].facts[relations[0]]]
    assert played.answer.startswith("Question: ")
    np.testing.assert_array_equal(played.ids_T, lesson.ids_T)
    np.testing.assert_array_equal(played.owner_T == Owner.MODEL, lesson.model_T)


def test_before_each_search_a_student_says_what_is_still_asked() -> None:
    chat = load_chat(tiny_base(), tools=(SEARCH,))
    room = classroom(chat)
    solver = Solver(room.records)
    chains = [found for _ in range(60) if (found := room.chain(3))]
    assert len(chains) > 20
    for start, relations in chains:
        ids_T = room.study(start, relations, path=True).ids_T
        text = chat.tokenizer.decode(ids_T)
        thoughts = re.findall(r"<think>(.*?)</think>", text)
        values = room.values(start, relations)
        assert len(thoughts) == len(relations) + 1
        for hop, thought in enumerate(thoughts[:-1]):
            read = solver.solve(f"What is the {thought.split('. ')[-1].strip()}?")
            assert (read.start, read.relations) == (values[hop], relations[hop:])
        assert thoughts[-1].strip() == f"{relations[-1]}: {values[-1]}."


def test_a_chain_in_order_prefers_what_a_passage_says_first() -> None:
    room = classroom(load_chat(tiny_base(), tools=(SEARCH,)))
    places: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for in_order, counts in places.items():
        for start, (relation,) in (room.chain(1, in_order) for _ in range(3000)):
            text, facts = room.passages[start].text, list(room.records.by_name[start].facts)
            if len(facts) == 6:
                counts[sorted(facts, key=text.find).index(relation)] += 1
    total = places[True].total()
    assert [round(places[True][i] / total, 1) for i in range(3)] == [0.5, 0.3, 0.1]
    assert max(places[False].values()) < 0.3 * places[False].total()
