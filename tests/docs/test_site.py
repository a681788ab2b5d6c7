"""The site of the documentation: built strictly, every page in it, and nothing asked of another host."""

import re
import runpy
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

pytest.importorskip("mkdocs", reason="needs piplay[docs]")
pytest.importorskip("material", reason="needs piplay[docs]")
from mkdocs.config import load_config

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "docs_site.py"))
REPOSITORY = "https://github.com/piplay/piplay"
PAGES = sorted(path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, takes_seconds: None) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [name for part in (nav.values() if isinstance(nav, dict) else nav) for name in named(part)]


def test_every_page_is_in_the_nav_once() -> None:
    nav = TOOL["on_config"](load_config(str(ROOT / "mkdocs.yml"))).nav
    assert sorted(named(nav)) == sorted(["index.md", *(page.as_posix() for page in PAGES)])


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_is_built(site: Path, page: Path) -> None:
    folder = page.parent if page.name == "README.md" else page.with_suffix("")
    assert (site / folder / "index.html").is_file()


@pytest.mark.slow
def test_the_readme_is_the_first_page_and_its_links_stay_on_the_site(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") in page
    assert f"{REPOSITORY}/blob/main/docs/" not in page
    assert "raw.githubusercontent.com" not in page


def test_pages_ask_nothing_of_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|link)\b[^>]*\b(?:src|href)="?https?://(?!piplay)[^>]*', text) == [], page


def test_every_code_block_is_one(site: Path) -> None:
    assert [page for page in site.rglob("*.html") if "```" in page.read_text(encoding="utf-8")] == []


def test_what_a_fence_names_is_its_title() -> None:
    text = "```python mine/thrifty.py\nx\n```\n```sh track\n```\n```sh\n```\n"
    assert TOOL["titled"](text) == '```python title="mine/thrifty.py"\nx\n```\n```sh\n```\n```sh\n```\n'


def test_links_of_the_readme() -> None:
    text = (
        f"[a]({REPOSITORY}/blob/main/docs/method.md#lambda) [b]({REPOSITORY}/blob/main/LICENSE) [c](#here)"
        " ![d](https://raw.githubusercontent.com/piplay/piplay/main/docs/d.svg)"
    )
    assert TOOL["within_site"](text, REPOSITORY) == (
        f"[a](method.md#lambda) [b]({REPOSITORY}/blob/main/LICENSE) [c](#here) ![d](d.svg)"
    )


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        ("../api.md#game", "../api.md#game"),
        ("first-run.md", "first-run.md"),
        ("#here", "#here"),
        ("https://arxiv.org", "https://arxiv.org"),
        ("../../LICENSE", f"{REPOSITORY}/blob/main/LICENSE"),
        ("../../src/piplay/", f"{REPOSITORY}/tree/main/src/piplay"),
        ("../../CONTRIBUTING.md#set-up", f"{REPOSITORY}/blob/main/CONTRIBUTING.md#set-up"),
        ("../guides/", "README.md"),
    ],
)
def test_a_link_of_a_guide(link: str, wanted: str) -> None:
    page = PurePosixPath("docs/guides/first-run.md")
    assert TOOL["out_of_site"](f"[x]({link})", page, REPOSITORY) == f"[x]({wanted})"


def test_code_blocks_are_left_as_they_are() -> None:
    block = "```python\nx = call[0](../../y)\n```"
    assert TOOL["out_of_site"](block, PurePosixPath("docs/method.md"), REPOSITORY) == block
