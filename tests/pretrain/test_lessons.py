"""Lessons in every chat: what is taught is, token for token, what a rollout plays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toys.models import toy_model
from toys.scripted import DictSearcher, context
from transformers import AutoModelForCausalLM

from piplay.assemble import load_chat
from piplay.config import Policy
from piplay.engine.local import LocalEngine
from piplay.games.pi_play import EXAMINER, examiner_view
from piplay.pretrain.lessons import Classroom, Lesson
from piplay.pretrain.train import loss_of
from piplay.rollout.drive import drive
from piplay.types import Owner, StopReason
from piplay.world.generate import varied
from piplay.world.render import Style, passage


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
    chat = load_chat(model, protocol)
    records = varied(5, simple=True)
    texts = {entity.name: passage(records, entity, 5, Style.PLAIN) for entity in records.entities}
    room = Classroom(chat, records, texts, np.random.default_rng(0))
    start, relations = next(chain for chain in iter(lambda: room.chain(2), 0) if chain)
    lesson = room.examine(start, relations)
    learnt_by_heart(model, lesson)
    engine = LocalEngine(
        model, {"examiner": Policy()}, seed=0, slots=2, threads=1, micro_batch_tokens=4096,
        end_ids=chat.end_ids, closes=chat.closes,
    )  # fmt: skip
    story = context(chat, temperature=0.0).converse("examiner", EXAMINER, examiner_view(texts[start], 2))
    [played] = drive([story], engine, DictSearcher(list(texts.values())), 1)
    assert played.stop is StopReason.ANSWERED
    assert [call.query for call in played.calls] == [records.by_name[start].facts[relations[0]]]
    assert played.answer.startswith("Question: ")
    np.testing.assert_array_equal(played.ids_T, lesson.ids_T)
    np.testing.assert_array_equal(played.owner_T == Owner.MODEL, lesson.model_T)
