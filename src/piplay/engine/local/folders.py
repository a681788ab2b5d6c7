"""Model folders as people bring them: what is meant by one, and what is checked before it is loaded."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from piplay.engine.local.adapters import base_of
from piplay.errors import InputError
from piplay.files import from_json, storing, write_folder

LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""How transformers is to read a folder: nothing is fetched, and no code that it brings along is run."""
_ORIGIN = "gguf.json"
"""In a folder made of a GGUF file: the file's size and time, by which a changed one is told."""


def usable(model: Path) -> Path:
    """The folder with a language model that a path means; of a GGUF file one that is made beside it, once.

    Raises:
        InputError: there is no such folder, it is a run's, or it holds adapters whose base is not there.
    """
    file = _gguf(model)
    if file is not None:
        return _dequantised(file)
    if not model.is_dir():
        raise InputError(
            f"there is no model folder {model}: {_download(str(model))}give a Hugging Face folder with config, weights "
            "and tokenizer, or a GGUF file"
        )
    if (model / "piplay.json").is_file():
        final = model / "final" / _agent(model)
        finish = "" if final.is_dir() else f", which `piplay resume {model}` makes"
        raise InputError(f"{model} is the directory of a run, not a model: give {final}{finish}")
    base = base_of(model)
    if base is not None and not base.is_dir():
        raise InputError(
            f"{model} holds adapters of {base}, which is not there: put it back, or write where it is now into "
            f"base_model_name_or_path of {model / 'adapter_config.json'}"
        )
    return model


def _download(name: str) -> str:
    """What fetches a model that is named as on the Hugging Face Hub; empty for other names."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name):
        return ""
    folder = f"models/{name.partition('/')[2]}"
    return f"if the Hub's is meant, `hf download {name} --local-dir {folder}` and give {folder}; else "


def _agent(run: Path) -> str:
    """The policy that a run measures, as its settings name it."""
    try:
        return str(from_json((run / "config.json").read_text(encoding="utf-8"))["agent"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def write_merged(adapters: Path, folder: Path) -> None:
    """Write the whole model that a folder's adapters and their base are together, with the other files that lie there.

    In fp32: in bf16 most of what an adapter adds to a weight is less than the weight's rounding.

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import PeftModel
    except ModuleNotFoundError as error:
        raise InputError("to merge adapters needs peft: install piplay[lora]") from error
    base = AutoModelForCausalLM.from_pretrained(base_of(adapters), dtype=torch.float32, **LOCAL)
    PeftModel.from_pretrained(base, adapters).merge_and_unload().save_pretrained(folder)
    for file in adapters.iterdir():
        if not file.name.startswith("adapter_") and file.is_file() and not (folder / file.name).exists():
            shutil.copy2(file, folder / file.name)


def check_fit(model: Path, tokenizer: PreTrainedTokenizerBase, tokens: int | None = None) -> None:
    """Compare a folder's tokenizer, its model's configuration and the longest trajectory that is wanted.

    Raises:
        InputError: the model has no row for some id, or was made for fewer positions.
    """
    try:
        config = AutoConfig.from_pretrained(base_of(model) or model, **LOCAL).get_text_config()
    except Exception as error:  # a damaged file raises whatever its reader stumbles over
        raise InputError(f"{model} has no config.json that can be read: {repr(error).splitlines()[0]}") from error
    ids, rows = max(tokenizer.get_vocab().values(), default=0) + 1, getattr(config, "vocab_size", None)
    if rows is not None and ids > rows:
        raise InputError(
            f"the tokenizer of {model} has ids up to {ids - 1} and its model rows for {rows}: copy the tokenizer that "
            f"the model was made with, or resize the model (resize_token_embeddings({ids})) and save it"
        )
    positions = _positions(config)
    if tokens is not None and tokens > positions:
        raise InputError(
            f"{model} was made for {positions:.0f} tokens and limits.tokens is {tokens}: set --limits.tokens "
            f"{positions:.0f} or less"
        )


def _positions(config: Any) -> float:
    """The longest sequence that a model was made for."""
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or most <= 0:
        return math.inf
    scaling = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    original, factor = scaling.get("original_max_position_embeddings"), scaling.get("factor")
    return max(most, int(original * factor)) if original and factor else most


def _gguf(model: Path) -> Path | None:
    """The GGUF file that a path means: itself, or the only one of a folder without a model of its own."""
    if model.suffix == ".gguf" and model.is_file():
        return model
    if not model.is_dir() or (model / "config.json").is_file():
        return None
    files = sorted(model.glob("*.gguf"))
    if len(files) > 1:
        raise InputError(f"{model} has {len(files)} GGUF files: name one of them, such as {files[0]}")
    return files[0] if files else None


def _dequantised(file: Path) -> Path:
    """An ordinary folder of a GGUF file's model in bf16, beside the file under its name."""
    folder, stat = file.with_suffix(""), file.stat()
    origin = {"file": file.name, "bytes": stat.st_size, "time": stat.st_mtime_ns}
    if folder.is_dir():
        made = folder / _ORIGIN
        if made.is_file() and from_json(made.read_text(encoding="utf-8")) == origin:
            return folder
        raise InputError(f"{folder} is in the place of what {file} would be unpacked to: move or remove that folder")
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise InputError(f"{file} is a GGUF file, which needs the package gguf: install piplay[gguf]") from error

    def unpack(new: Path) -> None:
        _unpack(file, new)
        (new / _ORIGIN).write_text(json.dumps(origin) + "\n", encoding="utf-8")

    with storing(folder, f"{file} is unpacked beside itself: make room there, or copy it to a folder that has it"):
        write_folder(folder, unpack)
    return folder


def _unpack(file: Path, folder: Path) -> None:
    # From some version on, transformers leaves the weights packed unless it is told otherwise.
    how = getattr(transformers, "GgufConfig", None)
    unpacked = {"quantization_config": how(dequantize=True)} if how else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, **LOCAL)
        packed = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.bfloat16, **LOCAL, **unpacked
        )
    except Exception as error:  # its readers raise whatever they stumble over
        raise InputError(f"{file} cannot be read as a GGUF model: {repr(error).splitlines()[0]}") from error
    config = packed.config
    # What says that the weights are quantised, which they no longer are, and a name that is a title.
    for name in ("quantization_config", "_name_or_path"):
        if hasattr(config, name):
            delattr(config, name)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(packed.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = packed.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
