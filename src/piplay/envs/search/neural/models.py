"""Model folders as sentence-transformers reads them, and the hash of what of them decides a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from piplay.errors import InputError, in_a_line
from piplay.files import digest_of_files, storing

FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.txt", "*.model")
"""What of a model's folder is read, notes and pictures aside."""
INSTALL = "pip install 'piplay[dense]'"


def loaded(kind: str, folder: Path, what: str) -> Any:
    """A model of sentence-transformers, on a GPU where there is one.

    Args:
        kind: ``SentenceTransformer`` or ``CrossEncoder``.
        folder: where it is; nothing is fetched.
        what: "encoder" or "reranker", for messages.

    Raises InputError where there is no such model, or sentence-transformers is not installed.
    """
    if not (folder / "config.json").is_file():
        raise InputError(f"the {what} {folder} is no model folder (it has no config.json): give one that is there")
    try:
        import sentence_transformers
        from transformers.utils import logging
    except ModuleNotFoundError as error:
        raise InputError(f"the {what} needs {error.name}: {INSTALL}") from error
    logging.disable_progress_bar()
    try:
        return getattr(sentence_transformers, kind)(str(folder), local_files_only=True)
    except Exception as error:  # of many kinds, by what of the folder is wrong
        raise InputError(
            f"the {what} {folder} cannot be loaded ({in_a_line(error)[:300]}): give a folder of sentence-transformers"
        ) from error


def folder_hash(folder: Path) -> str:
    """The hash of a model folder's files, those of sentence-transformers' numbered modules included."""
    files = {file for pattern in FILES for deep in ("", "[0-9]_*/") for file in folder.glob(deep + pattern)}
    with storing(folder, "make it readable"):
        return digest_of_files([file for file in files if file.is_file()], folder)
