"""The arrows between rooms that carry the design, read off the imports themselves, those inside functions included.

What stands under ``if TYPE_CHECKING`` is for readers and mypy: it is no import.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import piplay

pytestmark = pytest.mark.slow
ROOT = Path(piplay.__file__).parent
CORE = [
    "types",
    "registry",
    "config",
    "recipes",
    "streams",
    "errors",
    "files",
    "protocols",
    "border",
    "chat",
    "rollout",
    "algo",
    "engine",
    "training",
]
ABOVE = [
    "methods",
    "envs",
    "report",
    "eval",
    "cli",
    "agent",
    "agent_file",
    "api",
    "reproduce",
    "warm_up",
    "tiny_base",
    "search_service",
    "serving",
    "publishing",
    "http_server",
]
LINES = 60
REASON = re.compile(r"long because", re.IGNORECASE)
"""What the docstring of a longer function says, and goes on with why."""

Node = ast.Import | ast.ImportFrom
Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_of(file: Path) -> str:
    parts = ("piplay", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for file in sorted(ROOT.rglob("*.py"))}


@cache
def trees() -> dict[str, ast.Module]:
    return {module: ast.parse(file.read_text(encoding="utf-8")) for module, file in FILES.items()}


def imports(tree: ast.AST) -> Iterator[Node]:
    """Every import that runs, sooner or later."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, Node):
            yield node
        yield from imports(node)


@cache
def arrows() -> dict[str, dict[str, str]]:
    """By module the modules that it imports, each with the place, as file:line."""
    found: dict[str, dict[str, str]] = {module: {} for module in FILES}
    for module, tree in trees().items():
        for node in imports(tree):
            assert not isinstance(node, ast.ImportFrom) or node.level == 0, f"{FILES[module]} imports by dots"
            for alias in node.names:
                names = [alias.name] if isinstance(node, ast.Import) else [f"{node.module}.{alias.name}", node.module]
                target = next((name for name in names if name in FILES or not name.startswith("piplay")), names[-1])
                found[module][str(target)] = f"{FILES[module].relative_to(ROOT)}:{node.lineno}"
    return found


def within(module: str, *rooms: str) -> bool:
    """Whether a module is one of these rooms, or in one."""
    return any(f"{module}.".startswith(f"piplay.{room}.") for room in rooms)


def crossings(rooms: list[str], forbidden: list[str]) -> list[str]:
    """The places where one of these rooms imports a forbidden one."""
    return [
        f"{place} imports {target}"
        for module, targets in arrows().items()
        if within(module, *rooms)
        for target, place in targets.items()
        if within(target, *forbidden)
    ]


def strings(module: str) -> Iterator[tuple[str, str]]:
    """The texts of a module but for its docstrings, each with its place."""
    prose = {id(node.value) for node in ast.walk(trees()[module]) if isinstance(node, ast.Expr)}
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value, f"{FILES[module].relative_to(ROOT)}:{node.lineno}"


def test_the_core_imports_no_method_no_environment_and_nothing_built_on_it() -> None:
    assert crossings(CORE, ABOVE) == []


def test_the_core_names_nothing_above_it_that_the_registry_could_load() -> None:
    found = []
    for module in FILES:
        if not within(module, *CORE):
            continue
        for text, place in strings(module):
            # The rooms alone: what is looked up in them, a recipe's settings name.
            above = within(text, *ABOVE) and text not in ("piplay.methods", "piplay.envs", "piplay.warm_up")
            reference = re.fullmatch(r"([\w.]+):[A-Za-z_]\w*", text)
            if above or (reference and f"piplay.training.{reference[1]}" not in FILES):
                found.append(f"{place} names {text}")
    assert found == []


def test_the_core_knows_no_role_and_no_hop() -> None:
    roles = {"examiner", "student", "teacher", "checker", "proposer", "solver", "challenger"}
    found = []
    for module in FILES:
        if within(module, *CORE):
            found += [f"{place} names {text}" for text, place in strings(module) if text in roles or "hop" in text]
    assert found == []


def test_the_core_loads_modules_by_name_in_the_registry_alone() -> None:
    loading = {module for module in FILES if within(module, *CORE) and "import_module" in ast.unparse(trees()[module])}
    # The trackers load their libraries so: mypy knows no types of theirs.
    assert loading == {"piplay.registry", "piplay.training.listeners.trackers"}


def test_nothing_but_the_trackers_knows_their_libraries() -> None:
    libraries = ("tensorboard", "torch.utils.tensorboard", "wandb", "trackio")
    found = {
        module
        for module, targets in arrows().items()
        if any(target == name or target.startswith(f"{name}.") for target in targets for name in libraries)
    }
    assert found == {"piplay.training.listeners.trackers"}


def test_vllm_is_imported_by_what_a_samplers_process_alone_loads() -> None:
    found = {module for module, targets in arrows().items() if any(f"{t}.".startswith("vllm.") for t in targets)}
    assert found == {f"piplay.engine.vllm.{name}" for name in ("draws", "transfer", "sampler")}
    readers = {m for m, targets in arrows().items() if found & targets.keys()}
    assert readers - found == {"piplay.engine.vllm.serve"}


def test_ray_is_imported_by_its_engine_alone() -> None:
    found = {module for module, targets in arrows().items() if any(f"{t}.".startswith("ray.") for t in targets)}
    assert found == {"piplay.engine.ray.engine", "piplay.engine.ray.host"}


def test_nothing_that_trains_knows_who_listens() -> None:
    training = [module.removeprefix("piplay.") for module in FILES if within(module, "training")]
    starts = ["training.start", "training.listeners"]  # start makes the listeners of a run
    trains = [room for room in training if not within(f"piplay.{room}", *starts) and room != "training"]
    rooms = ["types", "config", "protocols", "chat", "rollout", "algo", "engine", "methods", "envs", *trains]
    assert crossings(rooms, ["training.listeners", "training.start"]) == []


def test_games_algorithms_rollout_and_loop_know_no_engine_but_the_protocol() -> None:
    engines = [module.removeprefix("piplay.") for module in FILES if within(module, "engine")]
    named = [engine for engine in engines if engine not in ("engine", "engine.protocol")]
    found = crossings(["methods", "envs", "protocols", "algo", "rollout", "training"], named)
    # Whoever puts a run together refuses a folder of adapters before anything is loaded.
    assert [crossing for crossing in found if not crossing.startswith("training/assemble.py:")] == []


def test_algorithms_know_no_engine_and_no_rollout() -> None:
    assert crossings(["algo"], ["engine", "rollout", "chat", "training", "config", "protocols"]) == []


def test_the_truth_is_out_of_reach_of_what_trains() -> None:
    readers = {
        module
        for module, targets in arrows().items()
        if any(within(target, "envs.world") for target in targets) and not within(module, "envs.world")
    }
    # The environment hands out questions and verdicts; benchmarks reads and converts questions for evaluation; lessons
    # are taught from other worlds; the command line makes worlds.
    assert readers <= {
        "piplay.envs.search.environment",
        "piplay.envs.search.benchmarks",
        "piplay.warm_up.classroom",
        "piplay.warm_up.source",
        "piplay.warm_up.text",
        "piplay.tiny_base.fresh",
        "piplay.cli.commands",
    }
    assert crossings(["methods", *CORE], ["envs.world"]) == []


def test_what_trains_is_given_no_truth() -> None:
    """No game's ``play`` or ``finalize_batch``, no advantage, no loss and no learner reads ``audit`` or ``heldout``."""
    found = []
    for module, tree in trees().items():
        for node in ast.walk(tree):
            told = isinstance(node, Function) and node.name in ("play", "finalize_batch", "draw", "note")
            learns = isinstance(node, ast.Module) and within(module, "algo", "engine", "rollout", "training.learner")
            if told or learns:
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                names |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
                found += [f"{FILES[module].relative_to(ROOT)} reads {name}" for name in names & {"audit", "heldout"}]
    assert found == []


def test_true_answers_are_learnt_from_by_the_upper_reference_and_a_source_of_its_own_alone() -> None:
    readers = {
        module
        for module, tree in trees().items()
        if any(isinstance(node, ast.Attribute) and node.attr == "labelled" for node in ast.walk(tree))
    }
    assert readers == {
        "piplay.envs.search.environment",
        "piplay.methods.search_r1",
        "piplay.methods.pi_play.world_questions",
    }


def test_nothing_imports_the_command_line_or_the_report_but_what_starts_them() -> None:
    rooms = [module.removeprefix("piplay.") for module in FILES if module != "piplay"]
    others = [room for room in rooms if not within(f"piplay.{room}", "cli", "report", "api", "reproduce", "__main__")]
    assert crossings(others, ["cli", "report"]) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert [
        " -> ".join(circle) for circle in circles({m: [t for t in ts if t in FILES] for m, ts in arrows().items()})
    ] == []


def circles(graph: dict[str, list[str]]) -> list[list[str]]:
    """A circle through each arrow that closes one, found depth first."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            found.append([*path[path.index(module) :], module])
            return
        if module not in done:
            for target in graph[module]:
                visit(target, [*path, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    return found


def test_circles_are_found() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": []}) == []
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"]}) == [["b", "c", "b"]]


@pytest.mark.parametrize("module", FILES)
def test_a_function_is_short_or_says_why_not(module: str) -> None:
    for node in ast.walk(trees()[module]):
        if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno + 1 > LINES:
            assert REASON.search(ast.get_docstring(node) or ""), f"{FILES[module]}:{node.lineno} {node.name}"
