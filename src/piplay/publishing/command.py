"""What ``piplay push`` does: makes a folder of a run's policy with its card, and uploads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from piplay.engine.local.adapters import base_of
from piplay.errors import InputError, in_a_line
from piplay.files import from_json, storing, write_folder
from piplay.publishing.card import About, card
from piplay.registry import path_options, resolve
from piplay.training.assemble import model_folder, tiny_base
from piplay.training.run_directory import AGENT, Run

Upload = Callable[[Path, str, bool], str]
"""Puts a folder under a name of the Hub, private or not; where it can be seen."""
OWN_LICENSE = "apache-2.0"
"""The tiny base's."""


def push(
    run_dir: Path,
    name: str,
    merge: bool = False,
    dry_run: bool = False,
    base: str | None = None,
    license: str | None = None,
    private: bool = False,
    out: Path | None = None,
    upload: Upload | None = None,
) -> Path:
    """Make the folder RUN/hub, and upload it.

    Args:
        name: ORG/NAME.
        merge: whether adapters are merged into their base, in fp32, so that the folder is a whole model.
        dry_run: whether nothing is uploaded.
        base, license: the base on the Hub and its licence, where the run does not know.
        upload: by default to the Hub.

    Raises:
        InputError: the run is not complete or was changed, the name cannot be one, adapters have no base that others
            could load, or the Hub refuses.
    """
    _check_name(name)
    run = Run.open(run_dir)
    source = model_folder(str(run_dir))
    if damaged := run.damage(f"final/{run.config.agent}/"):
        raise InputError(f"what was changed since the run is not published as its result: {damaged[0]}")
    adapters = base_of(source) is not None and not merge
    if merge and base_of(source) is None:
        raise InputError(f"{source} is a whole model: leave --merge out")
    if adapters and base is None:
        raise InputError("adapters are of use beside their base alone: give its name as --base ORG/NAME, or --merge")
    about = About(name, base, license or _license(run, source), adapters)
    folder = out or run.folder / "hub"

    def write(new: Path) -> None:
        _copy(source, new, merge, base if adapters else None)
        _hide_places(run, new)
        (new / "README.md").write_text(card(run, about), encoding="utf-8")

    with storing(folder, "make room or name another place with --out"):
        write_folder(folder, write)
    print(f"{name} is made in {folder}")
    if not dry_run:
        print(f"uploaded: {(upload or to_the_hub)(folder, name, private)}")
    return folder


def _check_name(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{name!r} cannot be a name on the Hub ({in_a_line(error)}): give ORG/NAME") from error
    if name.count("/") != 1:
        raise InputError(f"{name!r} cannot be a name on the Hub: give ORG/NAME")


def _license(run: Run, source: Path) -> str | None:
    """The licence that the base's own card names; None where it names none."""
    base = run.config.model or tiny_base()
    if base == tiny_base():
        return OWN_LICENSE
    from huggingface_hub import ModelCard

    for folder in (base, base_of(source) or base):
        if (folder / "README.md").is_file():
            try:
                found = ModelCard.load(folder / "README.md", ignore_metadata_errors=True).data.license
            except (ValueError, OSError):
                continue
            if isinstance(found, str):
                return found
    return None


def _copy(source: Path, new: Path, merge: bool, base: str | None) -> None:
    """The policy's files; adapters merged into their base, or with the base's name on the Hub for its place here."""
    if merge:
        _merge(source, new)
        return
    shutil.copytree(source, new, dirs_exist_ok=True)
    if base is not None:
        file = new / "adapter_config.json"
        tree = from_json(file.read_text(encoding="utf-8")) | {"base_model_name_or_path": base}
        file.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")


def _merge(source: Path, new: Path) -> None:
    """A whole model in fp32: in bf16 most of what an adapter adds to a weight is less than the weight's rounding."""
    import torch
    from transformers import AutoModelForCausalLM

    from piplay.engine.local.folders import LOCAL

    try:
        from peft import PeftModel
    except ModuleNotFoundError as error:
        raise InputError("--merge needs peft: pip install 'piplay[lora]'") from error
    whole = AutoModelForCausalLM.from_pretrained(base_of(source), dtype=torch.float32, **LOCAL)
    PeftModel.from_pretrained(whole, source).merge_and_unload().save_pretrained(new)
    for file in source.iterdir():
        if not file.name.startswith("adapter_") and file.is_file() and not (new / file.name).exists():
            shutil.copy2(file, new / file.name)


def _hide_places(run: Run, new: Path) -> None:
    """Leave of paths in ``agent.json`` their last names: where things lie here is nobody's business elsewhere."""
    file = new / AGENT
    if not file.is_file():
        return
    tree: dict[str, Any] = from_json(file.read_text(encoding="utf-8"))
    for option in path_options(resolve(run.config.environment.kind, "environment", "piplay.envs")):
        if tree["environment"].get(option):
            tree["environment"][option] = Path(tree["environment"][option]).name
    file.write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def to_the_hub(folder: Path, name: str, private: bool) -> str:
    """Upload a folder under the token of ``hf auth login``. Raises ``InputError`` where the Hub refuses or is away."""
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(library_name="piplay")
    try:
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message="Policy of a piplay run"))
    except LocalTokenNotFoundError as error:
        raise InputError("the Hub wants to know who you are: `hf auth login`, then push again") from error
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise InputError(f"the Hub does not take {name} ({in_a_line(error)}): {folder} stays, push again") from error
