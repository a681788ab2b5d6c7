"""What `piplay settings` says can be given back."""

import pytest

from piplay.cli.main import main
from piplay.cli.settings import settings
from piplay.recipes import load_config, recipes


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["smoke", "kuhn", "search-r1", "sqlm"])
def test_every_setting_that_is_told_can_be_given(recipe: str) -> None:
    config = load_config(recipe, {})
    told = {name: value for name, value, _ in settings(config) if value is not None}
    given = load_config(recipe, {name: value for name, value in told.items() if not name.startswith("phases.")})
    assert given.policies == config.policies
    # The word true is read as a boolean; where text is wanted it is taken for it.
    again = {name: value for name, value, _ in settings(given) if value is not None}
    assert {name: "true" if told[name] == "true" else value for name, value in again.items()} == told
    assert {"seed", "engine.threads", "limits.tokens"} <= told.keys()
    assert any(name.startswith("phases.") and ".options." in name for name in told)


@pytest.mark.slow
def test_they_are_printed_with_what_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "smoke", "--seed", "3"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert "--seed 3" in lines
    at = lines.index("--policies.student.lr 0.001") if "--policies.student.lr 0.001" in lines else -1
    assert at < 0 or "learning rate" in lines[at + 1]
    assert "The optimiser's learning rate" in "\n".join(lines)


def test_a_recipe_that_is_not_there_lists_those_that_are(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "nosuch"]) == 2
    said = capfd.readouterr().err
    assert all(name in said for name in recipes())
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capfd.readouterr().out.replace("│", " ").split())
    assert all(name in shown for name in recipes())
    assert "piplay settings" in shown


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", ".hidden", "", "a\nb", "x" * 101, ".."])
def test_a_name_stays_inside_runs(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "smoke", "--name", name]) == 2
    assert "names a folder" in capfd.readouterr().err


def test_a_model_of_the_hub_gets_its_download(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "pi-play-hf", "--model", "Qwen/Qwen3-0.6B", "--chat", "tags"]) == 2
    assert "hf download Qwen/Qwen3-0.6B --local-dir models/Qwen3-0.6B" in capfd.readouterr().err
