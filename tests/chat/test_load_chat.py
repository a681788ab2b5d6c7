"""The chat of a model folder: what of the folder it takes, and folders that have none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from piplay.errors import InputError
from piplay.training.assemble import load_chat


def test_a_model_folder_names_its_end_tokens(toy: Callable[[str], Path]) -> None:
    chat = load_chat(toy("llama"))
    assert set(chat.tokenizer.convert_ids_to_tokens(chat.stop.ids)) == {"<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"}
    ids = chat.tokenizer.encode("Bor<|eom_id|>", add_special_tokens=False)
    assert chat.parse(ids).text == "Bor"


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    with pytest.raises(InputError, match="tokenizer"):
        load_chat(tmp_path)


def test_a_folder_with_an_empty_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(InputError, match="no tokenizer"):
        load_chat(tmp_path, "tags")
