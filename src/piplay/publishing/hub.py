"""The Hugging Face Hub: which names it takes, and what is put there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from piplay.errors import InputError, in_a_line
from piplay.files import storing, write_folder

Kind = Literal["model", "dataset"]
Upload = Callable[[Path, str, bool, Kind], str]
"""Puts a folder under a name of the Hub, private or not; where it can be seen."""


def check_name(name: str) -> None:
    """Raises ``InputError`` where a name is not ORG/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{name!r} cannot be a name on the Hub ({in_a_line(error)}): give ORG/NAME") from error
    if name.count("/") != 1:
        raise InputError(f"{name!r} cannot be a name on the Hub: give ORG/NAME")


def make_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a folder. Raises ``InputError`` where storage fails."""
    with storing(folder, "make room or name another place with --out"):
        write_folder(folder, write)


def to_the_hub(folder: Path, name: str, private: bool, kind: Kind) -> str:
    """Upload a folder under the token of ``hf auth login``. Raises ``InputError`` where the Hub refuses or is away."""
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api, told = HfApi(library_name="piplay"), "Made by piplay push"
    try:
        api.create_repo(name, private=private, exist_ok=True, repo_type=kind)
        return str(api.upload_folder(repo_id=name, folder_path=folder, repo_type=kind, commit_message=told))
    except LocalTokenNotFoundError as error:
        raise InputError("the Hub wants to know who you are: `hf auth login`, then push again") from error
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise InputError(f"the Hub does not take {name} ({in_a_line(error)}): {folder} stays, push again") from error
