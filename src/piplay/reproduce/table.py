"""The results of an experiment in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from piplay.eval.statistics import Interval
from piplay.reproduce.results import FAILS, HOLDS, LAST, OPEN, ArmResult, Compared, Results


def markdown(found: Results) -> str:
    """Tables by start, the verdicts first, and what is missing."""
    experiment = found.experiment
    lines = [f"# {experiment.title}", "", _about(found), ""]
    lines += [f"**{len(found.missing)} runs are missing**: {', '.join(found.missing)}.", ""] if found.missing else []
    for start, arms in found.arms.items():
        lines += [f"## Start: {start}", ""]
        lines += [*(f"- {sentence}" for sentence in verdicts(found.compared[start])), ""]
        lines += [*_comparisons(found.compared[start]), "", *_arms(found, arms), ""]
    return "\n".join(lines)


def verdicts(compared: Sequence[Compared]) -> list[str]:
    """Which claims hold, fail and cannot be told, a sentence each; none where nothing was compared."""
    told = {HOLDS: "Holds", FAILS: "Fails", OPEN: "Cannot be told"}
    sentences = []
    for verdict, words in told.items():
        named = [f"{claim(one)} ({one.reason})" for one in compared if one.verdict == verdict]
        sentences += [f"{words}: {'; '.join(named)}."] if named else []
    return sentences


def claim(one: Compared) -> str:
    """A claim in short: ``true > foreign``."""
    return f"{one.claim.first} {'>' if one.claim.claim == 'above' else '≈'} {one.claim.second}"


def _about(found: Results) -> str:
    hops = " and ".join(map(str, found.experiment.hops))
    return (
        f"Exact match, greedy, at the last step, on held-out questions of {hops} hops. Intervals are 95 %, over "
        "questions with all their seeds; p is two-sided, corrected by Holm within a family."
    )


def _comparisons(compared: Sequence[Compared]) -> Iterator[str]:
    yield "| claim | family | seeds | difference | 95 % | p | p, Holm | by seed | | why |"
    yield "|---|---|---:|---:|---|---:|---:|---|---|---|"
    for one in compared:
        seeds = ", ".join(f"{value:+.2f}" for value in one.by_seed.values())
        difference = one.difference
        cells = [claim(one), one.claim.family, str(len(one.seeds)), f"{difference.mean:+.3f}"]
        cells += [_interval(difference.interval, "+.3f"), f"{difference.p:.4f}", f"{one.holm:.4f}"]
        yield f"| {' | '.join([*cells, seeds, f'**{one.verdict}**', one.claim.why])} |"


def _arms(found: Results, arms: dict[str, ArmResult]) -> Iterator[str]:
    hops = list(dict.fromkeys(h for one in arms.values() for h in one.after))
    last = [name for name in LAST if any(name in one.last for one in arms.values())]
    heads = ["arm", "seeds", "EM compared", "95 %", "by seed", *(f"{h} hop{'s' * (h != '1')}" for h in hops)]
    heads += [*(LAST[name] for name in last), "rollouts", "tokens computed", "minutes"]
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for name, one in arms.items():
        cells = [found.experiment.arms[name].title, str(len(one.seeds)), f"{one.score:.3f}", _interval(one.interval)]
        cells += [", ".join(f"{value:.2f}" for value in one.by_seed.values())]
        cells += [f"{one.before[h]:.2f} → {one.after[h]:.2f}" for h in hops]
        cells += [f"{one.last[key]:.3f}" if key in one.last else "–" for key in last]
        cells += [f"{one.rollouts:,.0f}", f"{one.tokens / 1e6:.2f} M", f"{one.minutes:.1f}"]
        yield f"| {' | '.join(cells)} |"


def _interval(interval: Interval, form: str = ".3f") -> str:
    return f"{interval.low:{form}} to {interval.high:{form}}"
