"""What a run reads besides its settings, by its content: the model, the world, the corpus.

A run keeps their paths and not copies of them. So it keeps hashes too: resumed on another corpus it would come to
other results without a word.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from piplay.config import Config
from piplay.errors import InputError, InputWarning
from piplay.files import digest, digest_of_files, files_below, storing
from piplay.protocols import Environment
from piplay.registry import outside, path_options, resolve
from piplay.training.run_directory import Run

MODEL_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.txt", "*.model")
"""What of a model's folder is read, notes and pictures aside."""
UNREAD = ("gguf.json",)
"""What is beside a model that was unpacked, with a time of its own."""


def fingerprints(config: Config, model: Path, environment: Environment) -> dict[str, str]:
    """The hash of each thing that a run reads: ``model``, and the options of its environment that are paths."""
    files = {path for pattern in MODEL_FILES for path in model.glob(pattern) if path.name not in UNREAD}
    with storing(model, "make it readable"):
        found = {"model": digest_of_files([path for path in files if path.is_file()], model)}
    return found | fingerprints_of_environment(config, environment)


def fingerprints_of_environment(config: Config, environment: Environment) -> dict[str, str]:
    """Those of the environment's options that are paths, by their names.

    An environment that reads only some of the files there has them in ``files``, by option.
    """
    options = config.environment.options
    places = {name: Path(options[name]) for name in _paths(config) if options.get(name)}
    read: Mapping[str, Sequence[Path]] = getattr(environment, "files", {})
    found = {}
    for name, place in places.items():
        with storing(place, "make it readable"):
            files = read.get(name, _visible(place))
            found[name] = digest_of_files(files, place if place.is_dir() else place.parent)
    return found


def own_code(config: Config) -> dict[str, str]:
    """``own_code``, a hash of the files that hold what the settings name beside the package's; nothing without any."""
    named = config.model_dump_json()
    files = {file.resolve() for reference, file in outside().items() if file and reference in named}
    digests = "".join(sorted(map(digest, files)))
    return {"own_code": hashlib.sha256(digests.encode()).hexdigest()[:12]} if files else {}


def check_unchanged(run: Run, found: Mapping[str, str]) -> None:
    """Raises ``InputError`` where a run would go on with other things than it began with."""
    for name, place in _places(run).items():
        if run.sources.get(name) != found.get(name):
            raise InputError(
                f"the {name} {place} is not what the run {run.folder} began with: it would come to other results; put "
                "it back as it was, or train again"
            )


def warn_of_changes(
    model: str, began: Config, sources: Mapping[str, str], config: Config, environment: Environment
) -> None:
    """Warn where a model of a run is asked on other things than the run was played on, under the same names.

    Args:
        model: what the model is called.
        began: the run's settings; ``sources``: the hashes of what it read.
        config: the settings that it is asked with.
    """
    found = fingerprints_of_environment(config, environment)
    mine, theirs = config.environment.options, began.environment.options
    for name, value in found.items():
        if mine.get(name) == theirs.get(name) and sources.get(name) != value:
            warnings.warn(
                f"the {name} {mine[name]} has changed since the run of {model} was played on it: what was measured "
                "then need not hold now",
                InputWarning,
                stacklevel=2,
            )


def warn_of_damage(run: Run) -> None:
    """Warn where the final policy that answers for a run is not what the run left."""
    for sentence in run.damage(f"final/{run.config.agent}/"):
        warnings.warn(sentence, InputWarning, stacklevel=2)


def _places(run: Run) -> dict[str, str]:
    options = run.config.environment.options
    model = str(run.config.model) if run.config.model else "that comes with piplay"
    return {"model": model} | {name: str(options[name]) for name in _paths(run.config) if options.get(name)}


def _paths(config: Config) -> list[str]:
    return path_options(resolve(config.environment.kind, "environment", "piplay.envs"))


def _visible(place: Path) -> list[Path]:
    """A file itself, or those below a folder that are not hidden."""
    if not place.is_dir():
        return [place]
    return [file for file in files_below(place) if not any(p.startswith(".") for p in file.relative_to(place).parts)]
