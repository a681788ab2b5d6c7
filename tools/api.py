"""Writes docs/api.md from the docstrings of the public names: ``make docs``, or ``python tools/api.py``.

It reads the source and imports nothing of it, so that fields come with the docstrings under them. What is public is
listed in ``PUBLIC``: what a class of one's own has to fit, what it can use, and what a recipe can say.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
PUBLIC = {
    "From Python": {"api": "train resume", "agent": "load_agent Agent Reply", "training.run_directory": "Run"},
    "What can be added": {
        "protocols": "Environment Audit TaskSource Game Evaluation Place Prepared",
        "rollout.tools": "Tool ToolError",
        "algo.advantages.base": "Advantage",
        "algo.losses.base": "Loss Batch Scoring Rows Mean over_tokens",
        "engine.protocol": "Engine Sampler Trainer Generate Generated Usage EngineLost",
        "training.loop": "Listener",
        "envs.search.searcher": "Searcher",
        "envs.search.http": "HTTPSearcher",
        "envs.search.mcp": "MCPSearcher",
        "envs.search.web": "WebSearcher Serper Tavily Brave SearXNG",
        "envs.table.base": "Table",
    },
    "What a game can use": {
        "rollout.context": "Context Dialogue",
        "rollout.stage": "Stage",
        "chat.base": "Chat",
        "streams": "stream pick",
    },
    "π-Play": {
        "methods.pi_play.game": "Examine Study PrivilegedStudy",
        "methods.pi_play.privilege": "Privilege",
        "methods.pi_play.seed_passages": "SeedPassages",
        "methods.pi_play.world_questions": "WorldQuestions",
        "methods.pi_play.evaluation": "PiPlayEvaluation",
        "methods.pi_play.rewards": "difficulty_reward format_score",
        "methods.pi_play.hooks": "Gate Reward",
        "envs.search.environment": "SearchEnvironment",
        "envs.search.build": "build Dense",
        "envs.search.folder": "open_index SearchIndex FolderSearcher",
        "envs.search.question": "Question Step Passage show",
        "envs.search.match": "exact_match contains normalise",
        "envs.search.facts": "Fact Chain facts facts_of chains balanced",
    },
    "Settings": {
        "config": "Config",
        "settings": "Component Phase Learn LossSettings ReplaySettings Until Opponents Policy Limits EngineSettings "
        "Lora ReportSettings",
        "recipes": "load_config recipes",
        "algo.schedules": "Schedule Number value",
        "registry": "resolve names make",
    },
    "Advantages": {
        "algo.advantages.group": "GroupAdvantage advantages",
        "algo.advantages.leave_one_out": "LeaveOneOutAdvantage",
        "algo.advantages.batch": "BatchAdvantage",
        "algo.advantages.role_ema": "RoleEmaAdvantage",
        "algo.advantages.percentile": "PercentileAdvantage",
        "algo.advantages.none": "NoneAdvantage",
    },
    "Losses": {
        "algo.losses.pg": "PgLoss",
        "algo.losses.distill": "DistillLoss topk_kl",
        "algo.losses.kl": "KlLoss k3_kl",
        "algo.losses.nll": "NllLoss",
        "algo.losses.nft": "NftLoss",
        "algo.pairs": "sequence_scores dpo sppo weighted",
        "algo.losses.formulas": "log_probs chosen entropy",
    },
    "Samples": {"algo.samples": "samples_of", "algo.updates": "splits", "algo.replay": "Replay"},
    "Leagues": {"algo.win_matrix": "WinMatrix", "algo.nash": "Equilibrium symmetric_mixture equilibrium nash_conv"},
    "The machinery": {
        "training.loop": "Loop",
        "training.state": "RunState",
        "training.listeners.group": "ListenerGroup",
        "training.listeners.trackers": "Tracker",
    },
    "Nouns": {
        "types": "Task ToolSpec ToolCall ToolResult ToolUse Turn Stop Trajectory ScoredTrajectory Episode Sample "
        "PolicyRef Owner StopReason Key State Json",
        "errors": "InputError",
    },
}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def page() -> str:
    """The whole page, as Markdown."""
    parts = [
        "# API reference",
        "Made from the docstrings by `make docs`: change them there. How the parts fit: [architecture.md]"
        "(architecture.md); formulas: [method.md](method.md); how to add one of your own: [guides](guides/).",
    ]
    for title, modules in PUBLIC.items():
        parts.append(f"## {title}")
        for module, names in modules.items():
            room = ROOT / "src" / "piplay" / module.replace(".", "/")
            found = dict(_public(room / "__init__.py" if room.is_dir() else room.with_suffix(".py")))
            for name in names.split():
                if name not in found:
                    raise SystemExit(f"tools/api.py: piplay.{module} has no {name}")
                parts += [f"### {name}", f"`piplay.{module.removesuffix('.__init__')}`", *found[name]]
    return "\n\n".join(part for part in parts if part) + "\n"


def _public(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each name of a module with its paragraphs."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for node, text in _documented(body):
        if isinstance(node, ast.ClassDef):
            yield node.name, _class(node)
        elif isinstance(node, Definition):
            yield node.name, [_signature(node), _prose(node)]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            yield ast.unparse(target), [f"```python\n{ast.unparse(node)}\n```", text]


def _class(node: ast.ClassDef) -> list[str]:
    bases = ", ".join(map(ast.unparse, node.bases))
    methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)]
    made = [ast.unparse(method.args).removeprefix("self, ") for method in methods if method.name == "__init__"]
    head = f"{node.name}({made[0]})" if made else f"class {node.name}({bases})" if bases else ""
    parts = [f"```python\n{head}\n```" if head else "", _prose(node)]
    fields = []
    for inner, text in _documented(node.body):
        if isinstance(inner, ast.AnnAssign) and not ast.unparse(inner.target).startswith("_"):
            fields.append(_field(inner, text))
        elif isinstance(inner, ast.Assign) and text:
            fields.append(f"- `{ast.unparse(inner)}`: {text}")
    parts.append("\n".join(fields))
    for method in methods:
        # One without a docstring does what the protocol that it fits says.
        if ast.get_docstring(method) and (method.name == "__call__" or not method.name.startswith("_")):
            parts += [_signature(method), _prose(method)]
    return parts


def _field(node: ast.AnnAssign, text: str) -> str:
    """``name: type = default`` with the bounds that a ``Field`` sets, and what it is."""
    line, value, bounds = f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}", node.value, []
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "Field":
        bounds = [f"{BOUNDS[k.arg]} {ast.unparse(k.value)}" for k in value.keywords if k.arg in BOUNDS]
        value = value.args[0] if value.args else None
    default = "" if value is None or ast.unparse(value).startswith("field(") else f" = {ast.unparse(value)}"
    return f"- `{line}{default}`" + (f" ({', '.join(bounds)})" if bounds else "") + (f": {text}" if text else "")


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    marks = "".join(f"@{ast.unparse(mark)}\n" for mark in node.decorator_list)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"```python\n{marks}{word} {node.name}({ast.unparse(node.args)}){returns}\n```"


def _documented(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Each statement with the bare string under it, in one line."""
    for node, after in zip(body, [*body[1:], None], strict=True):
        bare = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        text = after.value.value if bare and isinstance(after.value.value, str) else ""
        yield node, _code(" ".join(text.split()))


def _prose(node: Definition) -> str:
    """A docstring as Markdown: its sections as lists, what is indented as it stands."""
    lines, section = [], ""
    for line in _code(inspect.cleandoc(ast.get_docstring(node) or "")).split("\n"):
        if re.fullmatch(r"(Args|Returns|Raises):", line):
            section = line
            lines.append(f"{line}\n")
        elif section and line.startswith(" "):
            name, colon, rest = line.strip().partition(": ")
            item = colon and re.match(r" {4}\S", line) and section != "Returns:"
            lines.append(f"- `{name}`: {rest}" if item else f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines)


def _code(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
