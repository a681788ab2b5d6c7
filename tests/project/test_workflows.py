"""Workflows, issue forms and hooks: readable, and in step with the Makefile and with constraints.txt."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
HOOKS = ROOT / ".pre-commit-config.yaml"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(path)["jobs"]
    return found


def commands(path: Path) -> list[str]:
    return [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]


def test_every_yaml_file_is_readable() -> None:
    files = [*GITHUB.rglob("*.yml"), HOOKS]
    assert len(files) >= 8
    assert all(isinstance(read(file), dict) for file in files)


# Workflows


def test_there_are_workflows_for_tests_the_wheel_and_a_release() -> None:
    assert [path.stem for path in WORKFLOWS] == ["release", "tests", "wheel"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_whole(path: Path) -> None:
    workflow = read(path)
    # YAML 1.1 reads the key `on` as true.
    assert {"name", True, "permissions", "jobs"} <= set(workflow)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert job["timeout-minutes"] > 0
        assert set(job.get("needs", "").split()) <= set(workflow["jobs"])
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"[\w-]+/[\w.-]+@(v\d+|release/v\d+)", step.get("uses", "a/b@v1"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_run_targets_that_the_makefile_has(path: Path) -> None:
    made = [word for line in commands(path) if line.startswith("make ") for word in line.split()[1:] if "=" not in word]
    assert made
    assert set(made) <= TARGETS


def test_every_python_that_the_package_claims_is_tested() -> None:
    claimed = re.findall(r":: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert jobs(GITHUB / "workflows" / "tests.yml")["test"]["strategy"]["matrix"]["python"] == claimed
    assert PROJECT["requires-python"] == f">={claimed[0]}"


def test_a_release_is_tested_tried_and_published_without_a_password() -> None:
    path = GITHUB / "workflows" / "release.yml"
    build, publish = jobs(path)["build"], jobs(path)["publish"]
    order = "\n".join(step.get("run", step.get("uses", "")) for step in build["steps"])
    assert re.search(r"make test .*--version.*make wheel-check.*upload-artifact", order, re.DOTALL)
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in path.read_text(encoding="utf-8")


def test_no_workflow_names_a_package_registry() -> None:
    files = [*WORKFLOWS, HOOKS, ROOT / "Makefile", ROOT / "constraints.txt"]
    assert not [file for file in files if re.search(r"index-url|find-links", file.read_text(encoding="utf-8"))]


def test_every_target_is_phony_and_the_help_names_what_people_call() -> None:
    phony = set(re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)[0].split())
    assert phony == TARGETS
    shown = set(re.findall(r"make ([a-z-]+)", MAKEFILE.split("# One marker")[0]))
    assert shown >= {"train", "smoke", "test", "test-fast", "docs", "site", "bench", "hooks", "wheel-check"}
    assert shown <= TARGETS


# Forms


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_whole(path: Path) -> None:
    form = read(path)
    assert form["name"]
    assert form["description"]
    fields = form["body"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert {field["type"] for field in fields} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_there_are_forms_for_a_bug_a_feature_and_a_question() -> None:
    assert [path.stem for path in FORMS] == ["bug", "feature", "question"]
    for link in read(GITHUB / "ISSUE_TEMPLATE" / "config.yml")["contact_links"]:
        start = f"{PROJECT['urls']['Source']}/blob/main/"
        assert (ROOT / link["url"].removeprefix(start)).is_file()
    assert "make test" in (GITHUB / "pull_request_template.md").read_text(encoding="utf-8")


# Hooks


def hooks() -> dict[str, dict[str, Any]]:
    return {hook["id"]: hook for repository in read(HOOKS)["repos"] for hook in repository["hooks"]}


def test_hooks_run_the_tools_of_the_projects_environment() -> None:
    """So their versions are those of constraints.txt, which the environment is made from, and are written once."""
    assert {repository["repo"] for repository in read(HOOKS)["repos"]} == {"local"}
    dev = " ".join(PROJECT["optional-dependencies"]["dev"])
    for hook in hooks().values():
        tool = hook["entry"].split()[0]
        assert tool.startswith(".venv/bin/")
        assert hook["language"] == "system"
        name = Path(tool).name
        assert name == "python" or (name in CONSTRAINTS and f"{name}>=" in dev)
    assert f"VENV := {Path(tool).parts[0]}" in MAKEFILE


def test_hooks_and_make_lint_are_the_same_checks() -> None:
    entries = [hook["entry"].removeprefix(".venv/bin/") for hook in hooks().values()]
    assert [entry.split(" --force")[0] for entry in entries[:3]] == ["ruff check", "ruff format", "mypy"]


def test_every_tool_for_developers_has_its_tested_version() -> None:
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in CONSTRAINTS}
    extras = PROJECT["optional-dependencies"]
    wanted = {re.split(r"[>=\[]", need)[0] for needs in extras.values() for need in needs} - {"piplay"}
    # Those have an environment of their own.
    scale = (ROOT / "constraints-vllm.txt").read_text(encoding="utf-8")
    assert {name for name in wanted if re.search(rf"^{name}(-cpu)?==", scale, re.MULTILINE)} == {"vllm", "ray"}
    assert {name.lower() for name in wanted} - {"vllm", "ray"} <= names


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("a" * 72, 0),
        ("π" * 72 + "\n\n" + "b" * 200, 0),
        ("\n# a comment of git that is longer than seventy-two characters, as they are now and then\nShort\n", 0),
        ("a" * 73, 1),
        ("\n" + "a" * 73 + "\n", 1),
    ],
)
def test_a_commit_subject(tmp_path: Path, message: str, code: int) -> None:
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text(message, encoding="utf-8")
    command = [sys.executable, str(ROOT / "tools" / "commit_subject.py"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr == ("the first line has 73 characters, 72 at most: move details to the body\n" if code else "")


def test_the_longest_subject_is_the_one_of_contributing() -> None:
    longest = runpy.run_path(str(ROOT / "tools" / "commit_subject.py"))["LONGEST"]
    assert f"at most {longest} characters" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


# The package


def test_the_package_has_its_types_and_its_urls() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    for pattern in table["piplay"]:
        assert list((ROOT / "src" / "piplay").glob(pattern)), pattern
    assert "py.typed" in table["piplay"]
    assert {"Source", "Documentation", "Issues", "Changelog"} <= set(PROJECT["urls"])
    for url in PROJECT["urls"].values():
        name = re.sub(r"^.*?/(blob|tree)/main/", "", url)
        assert name == url or (ROOT / name).exists()
