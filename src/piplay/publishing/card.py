"""A model's card, made of its run alone: every number in it stands in the run's own files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from piplay.eval.statistics import wilson
from piplay.files import from_json
from piplay.training.run_directory import Run
from piplay.version import current_version

UNVERIFIED = "self-made, unverified"
"""What every number is called that nobody else has measured."""


@dataclass(frozen=True, slots=True)
class About:
    """What a run does not know of what is published."""

    name: str
    """ORG/NAME."""
    base: str | None
    """The base on the Hub, where that is known."""
    license: str | None
    """The base's, as the Hub calls it; None where it is not known."""
    adapters: bool
    """Whether the folder holds adapters of the base alone."""


def card(run: Run, about: About) -> str:
    """The text of ``README.md``: metadata for the Hub, and what a reader has to know."""
    data = ModelCardData(
        model_name=about.name.rpartition("/")[2],
        base_model=about.base,
        license=about.license,
        library_name="peft" if about.adapters else "transformers",
        pipeline_tag="text-generation",
        tags=["piplay", "self-play", "search-agent", "question-answering"],
        eval_results=_results(run) or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_text(run, about)}\n"


def _measured(run: Run) -> list[Mapping[str, Any]]:
    """The evaluations before training and at the end, of those with exact match by hops; none where there are not."""
    evals = [row for row in (run.summary or {}).get("eval", ()) if {"em", "n_by_hops", "em_by_hops"} <= row.keys()]
    return [evals[0], evals[-1]] if len(evals) > 1 else []


def _questions(row: Mapping[str, Any]) -> str:
    """What an evaluation asked."""
    if "questions" in row:
        return "questions that the base model wrote about passages kept from self-play, with its own answers"
    return "held-out questions of the world that it was trained in, with known answers"


def _results(run: Run) -> list[EvalResult]:
    measured = _measured(run)
    if not measured:
        return []
    after = measured[-1]
    return [
        EvalResult(
            task_type="question-answering",
            task_name="Question answering with search",
            dataset_type="piplay",
            dataset_name=f"{_questions(after)} ({UNVERIFIED})",
            metric_type="exact_match",
            metric_name="exact match",
            metric_value=round(float(after["em"]), 4),
            verified=False,
        )
    ]


def _text(run: Run, about: About) -> str:
    config, name = run.config, about.name
    base = about.base or ("the tiny base of piplay" if config.model is None else config.model.name)
    parts = [
        f"# {name.rpartition('/')[2]}",
        f"A search agent: {base}, trained by self-play without data by [piplay](https://github.com/piplay/piplay), an "
        "open implementation of π-Play ([arXiv 2604.14054](https://arxiv.org/abs/2604.14054)). It searches for one "
        "fact at a time, and answers.",
        "## Before and after",
        _table(run),
        "## How it was made",
        origin(
            run,
            base=f"{base}, licence {about.license or 'unknown: ask whoever made it'}",
            time=f"{(run.summary or {}).get('wall_seconds', 0) / 60:.1f} minutes",
            alarms=len((run.summary or {}).get("alarms", ())),
        ),
        "## Use",
        f"```sh\nhf download {name} --local-dir {name.rpartition('/')[2]}\npiplay ask {name.rpartition('/')[2]} "
        '"..." --corpus notes/\n```',
        "`agent.json` holds the prompts, the tool, the limits and the search that it was trained with: outside piplay "
        "it answers so only with the same.",
    ]
    if about.adapters:
        parts.append("The weights are LoRA adapters of the base, and load beside it.")
    return "\n\n".join(parts)


def _table(run: Run) -> str:
    measured = _measured(run)
    if not measured:
        return f"Nothing was evaluated before and after training. Whatever is said of it is {UNVERIFIED}."
    before, after = measured
    lines = [
        f"Exact match on {_questions(after)}, greedy, with 95 % intervals (Wilson): {UNVERIFIED}.",
        "",
        "| hops | questions | before | after |",
        "|---|---|---|---|",
    ]
    for hops, count in after["n_by_hops"].items():
        lines.append(f"| {hops} | {count} | {_share(before, hops)} | {_share(after, hops)} |")
    total = sum(after["n_by_hops"].values())
    lines.append(f"| all | {total} | {_share(before)} | {_share(after)} |")
    return "\n".join(lines)


def _share(row: Mapping[str, Any], hops: str | None = None) -> str:
    """Exact match with its interval."""
    counts, shares = row["n_by_hops"], row["em_by_hops"]
    chosen = [hops] if hops is not None else list(counts)
    trials = sum(counts[one] for one in chosen)
    if not trials:
        return "–"
    right = sum(round(shares[one] * counts[one]) for one in chosen)
    interval = wilson(right, trials)
    return f"{right / trials:.3f} ({interval.low:.3f}–{interval.high:.3f})"


def origin(run: Run, **more: object) -> str:
    """A table of what a run was; ``more``: other rows."""
    config = run.config
    machine = from_json((run.folder / "machine.json").read_text(encoding="utf-8"))
    phases = ", ".join(phase.name for phase in config.phases)
    rows = {
        "recipe": f"{config.name}: {config.iterations} × ({phases})",
        "seed": config.seed,
        "machine": f"{machine.get('device')}, {machine.get('processor')}, {machine.get('system')}, torch "
        f"{machine.get('torch')}, {config.engine.dtype}",
        "piplay": f"{machine.get('piplay', current_version())}, commit {machine.get('commit') or 'unknown'}",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in (rows | more).items())])


def _cell(value: Any) -> str:
    """A value that ends no cell of a table."""
    return " ".join(str(value).split()).replace("|", "\\|")
