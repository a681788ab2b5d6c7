"""What mkdocs.yml cannot say: a hook of mkdocs, which calls the functions named ``on_...``.

The README is the first page. Its links name files of the repository by whole URLs, so that they work on a package
index; here those to docs/ become links within the site. The other pages link by paths, so that they work in a checkout;
here those that leave docs/ become URLs. A fence may name a file (``python look.py``), which becomes the block's title.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put pages in the place of the nav's patterns."""
    pages = sorted(str(path.relative_to(ROOT / "docs").as_posix()) for path in (ROOT / "docs").rglob("*.md"))
    named = set(_leaves(config.nav))
    config.nav = _expanded(config.nav, [page for page in pages if page not in named])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as the first page."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=within_site(text, str(config.repo_url))))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Turn the links of a page that leave docs/ into URLs, and what its fences name into titles."""
    return titled(out_of_site(markdown, PurePosixPath("docs", page.file.src_uri), str(config.repo_url)))


def titled(text: str) -> str:
    """A page whose fences have a language and at most a title. A word that names no file is left out."""

    def changed(match: re.Match[str]) -> str:
        return f'```{match[1]} title="{match[2]}"' if "." in match[2] else f"```{match[1]}"

    return re.sub(r"^```(\w+) +(\S+)$", changed, text, flags=re.MULTILINE)


def within_site(text: str, repository: str) -> str:
    """The README with its URLs of docs/ as paths from docs/."""
    raw = repository.rstrip("/").replace("github.com", "raw.githubusercontent.com")
    places = "|".join(map(re.escape, (f"{repository.rstrip('/')}/blob/main/docs/", f"{raw}/main/docs/")))
    return _relinked(text, lambda target: re.sub(f"^(?:{places})", "", target))


def out_of_site(text: str, page: PurePosixPath, repository: str) -> str:
    """A page with each path that leaves docs/ as a URL, and each folder of docs/ as its README."""

    def changed(target: str) -> str:
        name, mark, anchor = target.partition("#")
        if not name or re.match(r"\w+:", name):
            return target
        path = normpath(page.parent / name)
        if (ROOT / path / "README.md").is_file() and path.startswith("docs/"):
            return relpath(f"{path}/README.md", page.parent) + mark + anchor
        if path.startswith("docs/"):
            return target
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{repository.rstrip('/')}/{kind}/main/{path}{mark}{anchor}"

    return _relinked(text, changed)


def _relinked(text: str, changed: Callable[[str], str]) -> str:
    """The text with every link outside its code blocks changed."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [LINK.sub(lambda match: changed(match[0]), part) for part in parts[::2]]
    return "".join(parts)


def _leaves(nav: Any) -> Iterator[str]:
    """The pages and patterns of a nav."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _leaves(part)


def _expanded(nav: Any, pages: list[str]) -> Any:
    """A nav with the pages that its patterns match. ``*`` does not match a folder."""
    if isinstance(nav, dict):
        return {name: _expanded(part, pages) for name, part in nav.items()}
    if isinstance(nav, str):
        return nav
    found: list[Any] = []
    for part in nav:
        if isinstance(part, str) and "*" in part:
            depth = part.count("/")
            found += [page for page in pages if fnmatch(page, part) and page.count("/") == depth]
        else:
            found.append(_expanded(part, pages))
    return found
