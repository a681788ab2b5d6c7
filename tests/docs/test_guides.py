"""Every command of the guides works as it stands; every link of the docs leads somewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toys.session import selected

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GUIDES = sorted(path for path in (ROOT / "docs" / "guides").glob("*.md") if path.name != "README.md")
PLAYED = [guide.stem for guide in GUIDES if "```sh\n" in guide.read_text(encoding="utf-8")]
"""Those with commands. Those of vLLM's need an environment of its own: `make test-scale`."""
SAMPLE = ("dense-search",)
"""Those whose commands `make test` plays."""
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """How each command of the guides that are asked for ended."""
    guides = [ROOT / "docs" / "guides" / f"{guide}.md" for guide in selected(request.session, "played_guide")]
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "WANDB_SILENT": "true"}
    command = [sys.executable, str(Path(__file__).with_name("play_guide.py")), str(tmp_path_factory.mktemp("guides"))]
    done = subprocess.run([*command, *map(str, guides)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "played_guide",
    [pytest.param(one, marks=[] if one in SAMPLE else pytest.mark.long) for one in PLAYED],
)
def test_the_commands_of_a_guide_work(played: list[dict[str, Any]], played_guide: str) -> None:
    commands = [command for command in played if command["guide"] == played_guide]
    for command in commands:
        assert command["code"] == 0, f"{command['command']}\n{command['said']}"
    assert commands


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_is_short(guide: Path) -> None:
    assert len(guide.read_text(encoding="utf-8").splitlines()) <= 80


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target
