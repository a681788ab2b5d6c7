"""What ``piplay push`` does: makes a folder of a run's policy, or of its tasks, with its card, and uploads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from piplay.engine.local.adapters import base_of
from piplay.engine.local.folders import write_merged
from piplay.errors import InputError
from piplay.files import from_json
from piplay.publishing.card import About, card
from piplay.publishing.hub import Upload, check_name, make_folder, to_the_hub
from piplay.publishing.tasks import write_tasks
from piplay.registry import path_options, resolve
from piplay.training.assemble import model_folder, tiny_base
from piplay.training.run_directory import AGENT, Run

OWN_LICENSE = "apache-2.0"
"""The tiny base's."""


def push(
    run_dir: Path,
    name: str,
    tasks: bool = False,
    merge: bool = False,
    dry_run: bool = False,
    base: str | None = None,
    license: str | None = None,
    private: bool = False,
    out: Path | None = None,
    upload: Upload | None = None,
) -> Path:
    """Make the folder RUN/hub, or RUN/hub-tasks, and upload it.

    Args:
        name: ORG/NAME.
        tasks: whether the run's tasks and rollouts are published, as a dataset, in place of its policy.
        merge: whether adapters are merged into their base, in fp32, so that the folder is a whole model.
        dry_run: whether nothing is uploaded.
        base: the base on the Hub, where the run does not know.
        license: the base's licence, or the tasks', where the run does not know.
        upload: by default to the Hub.

    Raises:
        InputError: the run is not complete or was changed, the name cannot be one, adapters have no base that others
            could load, there are no tasks, or the Hub refuses.
    """
    check_name(name)
    run = Run.open(run_dir)
    folder = out or run.folder / ("hub-tasks" if tasks else "hub")
    if tasks:
        if merge or base:
            raise InputError("--merge and --base are a policy's: leave them out with --tasks")
        write_tasks(run, name, license, folder)
    else:
        _write_policy(run, name, merge, base, license, folder)
    print(f"{name} is made in {folder}")
    if not dry_run:
        print(f"uploaded: {(upload or to_the_hub)(folder, name, private, 'dataset' if tasks else 'model')}")
    return folder


def _write_policy(run: Run, name: str, merge: bool, base: str | None, license: str | None, folder: Path) -> None:
    source = model_folder(str(run.folder))
    if damaged := run.damage(f"final/{run.config.agent}/"):
        raise InputError(f"what was changed since the run is not published as its result: {damaged[0]}")
    adapters = base_of(source) is not None and not merge
    if merge and base_of(source) is None:
        raise InputError(f"{source} is a whole model: leave --merge out")
    if adapters and base is None:
        raise InputError("adapters are of use beside their base alone: give its name as --base ORG/NAME, or --merge")
    about = About(name, base, license or _license(run, source), adapters)

    def write(new: Path) -> None:
        _copy(source, new, merge, base if adapters else None)
        _hide_places(run, new)
        (new / "README.md").write_text(card(run, about), encoding="utf-8")

    make_folder(folder, write)


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
        write_merged(source, new)
        return
    shutil.copytree(source, new, dirs_exist_ok=True)
    if base is not None:
        file = new / "adapter_config.json"
        tree = from_json(file.read_text(encoding="utf-8")) | {"base_model_name_or_path": base}
        file.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")


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
