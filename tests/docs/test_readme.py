"""The README is read on a package index too, where a relative link leads nowhere."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCE = PROJECT["urls"]["Source"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FORMS = r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"|^\[[^\]]+\]:\s*(\S+)"
LINKS = sorted({"".join(parts) for parts in re.findall(FORMS, README, re.MULTILINE)})
RAW = SOURCE.replace("github.com", "raw.githubusercontent.com")


def headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("link", LINKS)
def test_a_link_works_on_a_package_index(link: str) -> None:
    if link.startswith("#"):
        assert link[1:] in headings(ROOT / "README.md")
        return
    hint = f"write {SOURCE}/blob/main/{link}"
    assert link.startswith("https://"), hint
    for start in (f"{SOURCE}/blob/main/", f"{SOURCE}/tree/main/", f"{RAW}/main/"):
        if link.startswith(start):
            name, _, anchor = link.removeprefix(start).partition("#")
            assert (ROOT / name).exists()
            assert (ROOT / name).is_dir() == ("/tree/" in start)
            assert not anchor or anchor in headings(ROOT / name)
            return
    assert not link.startswith(SOURCE + "/") or link in PROJECT["urls"].values()


def test_images_are_files_and_not_pages() -> None:
    images = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", README)
    assert images
    assert all(image.startswith(f"{RAW}/main/") for image in images)
