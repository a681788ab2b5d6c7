"""Charts of numbers that the page knows nothing of but their names: of any game's evaluation, and a game's own."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from piplay.report.curves import MARKERS, Curve, over_iterations, over_steps
from piplay.report.markup import Html, number
from piplay.report.read import Record, is_number
from piplay.training.listeners.trackers import numbers

MOST_CHARTS = 12
"""Charts of a game's own numbers."""
TOLD = 4
"""Numbers of the evaluation that the head of the page tells."""
ONE_AXIS = 20.0
"""Numbers share a chart if the largest is at most so many times as large as each; shares of 1 always do."""

COUNTS = re.compile(r"iteration|(questions|examiner/gates)/.+")
"""What of another evaluation counts, and so neither rises nor falls."""
EXACT_MATCH = re.compile(r"iteration|em|(em|n|teacher_em)_by_hops/.+")
"""What of an evaluation with exact match by hops has charts of its own."""
OF_A_STEP = re.compile(
    r"n|iteration|step|of|written|seconds/.+|rollout/.+|gate/.+|format/.+|(tasks|k|accuracy|informative|truth)/\d+"
    r"|true|false|ill_typed|unknown|false_agreement|teacher/em"
    r"|pass/\d+|privilege/(utility|divergence|kl)/.+|privilege/(auroc|conflict|context_only|illusion)"
)
"""Metrics that say where a step stands, how it was played, or what other charts show."""
OF_A_ROLE = re.compile(
    r"reward|length|length_max|tokens_written|turns|tool_calls|stop/.+|searches|repeated_queries"
    r"|weight/.+|loss|pg_loss|tokens|entropy|clipped|logprob_diff_(mean|max)|grad_norm"
    r"|distill_kl|teacher_entropy|teacher_nll|nll|illusion|no_search"
)
"""The same of ``ROLE/name``, without the role."""
SUMS_UP = {"accuracy": r"accuracy/\d+", "solved": r"k/\d+", "wasted": r"truth/\d+"}
"""Metrics that sum up what other charts show, where those metrics are there."""


@dataclass(frozen=True, slots=True)
class Group:
    """Numbers that one chart shows."""

    name: str
    """Such as ``win_rate/…``."""
    keys: Mapping[str, str]
    """Metrics by the names of their curves."""

    @property
    def title(self) -> str:
        words = re.sub(r"[_/]+", " ", self.name.removeprefix("ROLE/").removesuffix("/…")).strip()
        return words[:1].upper() + words[1:] or self.name

    def lines(self, curves: Mapping[str, Curve]) -> list[Curve]:
        """Its curves, under their names in the chart."""
        return [replace(curves[key], name=name) for name, key in self.keys.items()]


def evaluation(record: Record) -> list[Html]:
    """Every number of the evaluations but exact match by hops, by iteration."""
    curves = _evaluated(record)
    return [
        over_iterations(
            group.title,
            f"{group.name} in summary.json",
            f"First and last evaluation: {_moves(lines)}.",
            lines,
        )
        for group in _groups(curves, record.roles)
        for lines in [group.lines(curves)]
    ]


def outcome(record: Record) -> str:
    """How the first of those numbers moved, in a sentence; empty without one."""
    curves = _evaluated(record)
    if not curves:
        return ""
    more = f", and {len(curves) - TOLD} more numbers below" if len(curves) > TOLD else ""
    when = "Before training" if len(record.evals) == 1 else "Evaluation before training and now"
    return f"{when}: {_moves(list(curves.values())[:TOLD], named=True)}{more}."


def own_numbers(record: Record) -> tuple[list[Html], str]:
    """Charts of the metrics that no other chart shows, and a sentence on those for which there are too many."""
    keys = dict.fromkeys(key for row in record.rows for key, value in row.items() if is_number(value))
    curves = {key: record.curves({key: key})[0] for key in keys if not _shown(key, keys, record.roles)}
    groups = _groups(curves, record.roles)
    charts = [
        over_steps(
            group.title,
            f"{group.name} in metrics.jsonl",
            f"Means of the first and the last tenth of its steps: {_moves(lines, tenth=True)}.",
            lines,
            record.blocks,
        )
        for group in groups[:MOST_CHARTS]
        for lines in [group.lines(curves)]
    ]
    left = [key for group in groups[MOST_CHARTS:] for key in group.keys.values()]
    return charts, f"In metrics.jsonl there are also {', '.join(left)}." if left else ""


def _evaluated(record: Record) -> dict[str, Curve]:
    """The numbers of the evaluations over the iterations, by name."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in record.evals:
        for key, value in numbers(row).items():
            if is_number(value) and not (EXACT_MATCH if record.exact_match else COUNTS).fullmatch(key):
                points.setdefault(key, []).append((float(row["iteration"]), float(value)))
    return {key: Curve(key, [found]) for key, found in points.items()}


def _shown(key: str, keys: Collection[str], roles: Collection[str]) -> bool:
    """Whether another chart shows it, or what it says."""
    role, _, name = key.partition("/")
    if role in roles and OF_A_ROLE.fullmatch(name):
        return True
    if key in SUMS_UP:
        return any(re.fullmatch(SUMS_UP[key], other) for other in keys)
    return OF_A_STEP.fullmatch(key) is not None


def _groups(curves: Mapping[str, Curve], roles: Collection[str]) -> list[Group]:
    """Who shares a chart: the roles' numbers of one name, and numbers of one prefix, as far as one axis suits them."""
    named: dict[str, dict[str, str]] = {}
    for key in curves:
        (role, _, name), (prefix, _, last) = key.partition("/"), key.rpartition("/")
        if name and role in roles:
            named.setdefault(f"ROLE/{name}", {})[role] = key
        elif prefix:
            named.setdefault(f"{prefix}/…", {})[last] = key
        else:
            named[key] = {key: key}
    groups = []
    for name, keys in named.items():
        if len(keys) > 1 and _one_axis([curves[key] for key in keys.values()]):
            pairs = list(keys.items())
            parts = [pairs[i : i + len(MARKERS)] for i in range(0, len(pairs), len(MARKERS))]
            groups += [Group(name, dict(part)) for part in parts]
        else:
            groups += [Group(key, {key: key}) for key in keys.values()]
    return groups


def _one_axis(lines: Sequence[Curve]) -> bool:
    peaks = [max(abs(y) for stretch in line.stretches for _, y in stretch) for line in lines]
    return max(peaks) <= max(1.0, ONE_AXIS * min([peak for peak in peaks if peak], default=1.0))


def _moves(lines: Sequence[Curve], named: bool = False, tenth: bool = False) -> str:
    """Where each curve begins and ends; ``tenth``: by means over a tenth of its points."""
    told = []
    for line in lines:
        values = [y for stretch in line.stretches for _, y in stretch]
        count = max(1, len(values) // 10) if tenth else 1
        ends = [number(sum(some) / count) for some in (values[:count], values[-count:])]
        name = f"{line.name} " if named or len(lines) > 1 else ""
        told.append(name + (ends[0] if len(values) == 1 else " → ".join(ends)))
    return ", ".join(told)
