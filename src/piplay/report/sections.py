"""The charts of a run, each with a sentence that says what a healthy one looks like; without data there is no chart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from piplay.methods.pi_play.evaluation import measured, titled
from piplay.methods.pi_play.gates import GATES
from piplay.report.bars import before_after, funnel, heat_map, stacked_over_steps, times
from piplay.report.curves import Curve, over_iterations, over_steps
from piplay.report.markup import Html, share, tag
from piplay.report.read import Record, hops_name


def outcome(record: Record) -> list[Html]:
    """Exact match before and after, by hop and by iteration."""
    evals = record.exact_match
    if not evals:
        return []
    first, last = evals[0], evals[-1]
    title = titled(first)
    groups = [
        (hops_name(h), n, first["em_by_hops"][h], None if last is first else last["em_by_hops"][h])
        for h, n in first["n_by_hops"].items()
    ]
    before = before_after(
        title,
        "share of questions, greedy; pale: before, full: after",
        record.outside(["eval/em"])
        or "Healthy: the full bars stand above the pale ones by more than the whiskers (95 % intervals), most of all "
        "where the base failed.",
        groups,
    )
    by_iteration = over_iterations(
        f"{title} by iteration",
        "share of questions, greedy",
        record.outside(["eval/em", "eval/em_by_hops/*"])
        or "Healthy: every iteration adds something, first at few hops and then at more, and none takes away.",
        _of_evals(evals, "em_by_hops"),
        shares=True,
    )
    return [before, by_iteration, _table(evals)] if last is not first else [before, _table(evals)]


def learning(record: Record) -> list[Html]:
    """What rises and falls from step to step."""
    examined, imitated = record.has_examiner, record.by_role("nll")
    return [
        *_over_steps(
            record,
            "Loss of what is imitated",
            "−log of its tokens' probability, nats a token",
            "Healthy: it falls and then levels off; a climb says that the learning rate is too high.",
            imitated,
        ),
        *_over_steps(
            record,
            "Reward",
            "mean over a role's rollouts",
            f"Healthy: it rises within a phase{_opposition(record)}.",
            _rewards(record, {curve.name for curve in imitated}),
        ),
        *_over_steps(
            record,
            "Student accuracy",
            "share of rollouts that are right, T = 1",
            "Healthy: it rises while the student studies"
            + (" and falls when the examiner asks again" if examined else "")
            + "; where it stays at 0 or at 1 there is nothing to learn.",
            record.by_hops("accuracy"),
            shares=True,
        ),
        *_over_steps(
            record,
            "Distance to the teacher",
            "KL(student ‖ teacher), nats a token",
            "Healthy: it falls within each phase of study; 0 from the start would say that "
            f"{'the path' if examined else 'its view'} tells the teacher nothing.",
            record.by_role("distill_kl"),
        ),
    ]


def _rewards(record: Record, imitating: Collection[str]) -> list[Curve]:
    """Without those of roles that imitate and get none."""
    curves = record.by_role("reward")
    return [c for c in curves if c.name not in imitating or any(reward for part in c.stretches for _, reward in part)]


def _opposition(record: Record) -> str:
    """What keeps a reward from rising."""
    if record.has_examiner:
        return "; the examiner's falls back when a better student faces it"
    return "; between players one's gain is another's loss" if len(record.roles) > 1 else ""


def behaviour(record: Record) -> list[Html]:
    """How the roles play."""
    return [
        *_over_steps(
            record,
            "Entropy",
            "nats a token that the model wrote",
            "Healthy: it falls slowly; a plunge while the reward stands still is a collapse.",
            record.by_role("entropy"),
        ),
        *_length(record),
        *_over_steps(
            record,
            "Rollouts without an answer",
            "share that a limit or a malformed call ended",
            "Healthy: close to 0; a rise says that the limits are too tight or that the form is being forgotten.",
            _unanswered(record),
            shares=True,
        ),
        *_over_steps(
            record,
            "Gradient norm",
            "before clipping",
            "Healthy: of one order of magnitude; single spikes are clipped, a climb asks for a lower learning rate.",
            record.by_role("grad_norm"),
        ),
    ]


def _length(record: Record) -> list[Html]:
    """How much a rollout does: searches, or else calls of other tools and turns; and tokens."""
    searches = record.by_role("searches")
    calls, turns = ([], []) if searches else (_above(record, "tool_calls", 0), _above(record, "turns", 1))
    return [
        *_over_steps(
            record,
            "Searches",
            "mean of a rollout",
            "Healthy: the student's rise towards the hops that are asked for, and no further.",
            searches,
        ),
        *_over_steps(
            record,
            "Tool calls",
            "mean of a rollout",
            "Healthy: as many as a task takes, and no more.",
            calls,
        ),
        *_over_steps(
            record,
            "Turns",
            "mean of a rollout",
            "Healthy: as many as a task takes; at the limit, raise limits.turns.",
            turns,
        ),
        *_over_steps(
            record,
            "Tokens written",
            "mean of a rollout",
            "Healthy: they follow the searches; more tokens without more searches are only talk."
            if searches
            else "Healthy: steady, or a rise that comes with the reward; near 0 is a collapse.",
            record.by_role("tokens_written"),
        ),
    ]


def _above(record: Record, name: str, least: float) -> list[Curve]:
    """The curves of ``ROLE/name`` where one of them ever rises above what says nothing."""
    lines = record.by_role(name)
    return lines if any(y > least for line in lines for stretch in line.stretches for _, y in stretch) else []


def _unanswered(record: Record) -> list[Curve]:
    return [
        Curve(curve.name, [[(x, 1 - y) for x, y in stretch] for stretch in curve.stretches], f"{curve.name}/stop/*")
        for curve in record.by_role("stop/answered")
    ]


def tasks(record: Record) -> list[Html]:
    """What the examiner's questions were worth."""
    options = [phase.options.get("gates") for phase in record.config.phases]
    asked = {gate for gates in options if isinstance(gates, list | tuple) for gate in map(str, gates)}
    charts = []
    for iteration in sorted({row["iteration"] for row in record.rows}):
        counts = record.gates(iteration)
        steps = {row["n"] for row in record.rows if row["iteration"] == iteration}
        names: list[str] = [gate for gate in GATES if gate in asked or gate in counts]
        names += sorted(counts.keys() - {*names, "passed"})
        if counts:
            charts.append(
                funnel(
                    f"Gates, iteration {iteration}",
                    "questions left after each, and refused",
                    record.outside(["gate/*"], steps)
                    or "Healthy: most questions pass, and no one gate refuses most of the others.",
                    {gate: counts[gate] for gate in names},
                    counts["passed"],
                )
            )
    solved = record.solved()
    if solved:
        charts.append(
            stacked_over_steps(
                "Solved by k samples",
                "share of a step's tasks",
                "Healthy: the shades between are wide; by its reward alone a question that no sample solves (grey) or "
                "that all do (full colour) teaches nothing.",
                solved,
                record.blocks,
            )
        )
    return charts + _over_steps(
        record,
        "Informative tasks",
        "share that some samples solve and some do not",
        "Healthy: as one hop count is mastered and its share falls, that of the next one rises.",
        record.by_hops("informative"),
        shares=True,
    )


def truth(record: Record) -> list[Html]:
    """What a world says of the questions, where there is one."""
    names = {"true": "true", "false": "false", "ill_typed": "ill-typed", "unknown": "unknown"}
    return [
        *_over_steps(
            record,
            "True questions",
            "share of those that pass the gates",
            "Healthy: high at few hops and steady at many; a fall while the rewards rise is examiner and student "
            "agreeing on something wrong.",
            record.by_hops("truth"),
            shares=True,
        ),
        *_over_steps(
            record,
            "Verdicts",
            "share of the questions that pass the gates",
            "Healthy: false and ill-typed questions stay rare; an unknown one has a form that the world cannot read.",
            record.curves({name: key for key, name in names.items()}),
            shares=True,
        ),
        *_over_steps(
            record,
            "False agreement",
            "share of the students' rollouts",
            "Healthy: close to 0 and not rising; these agree with the examiner on an answer that is not true.",
            record.curves({"false agreement": "false_agreement"}),
        ),
    ]


def grid(record: Record) -> list[Html]:
    """Every iteration's student on every iteration's tasks."""
    if record.grid is None or not record.grid["sets"]:
        return []
    sizes = sorted({found["tasks"] for found in record.grid["sets"]})
    noise = 1.96 * 0.5 / sizes[0] ** 0.5
    return [
        heat_map(
            "Exact match by examiner and student",
            f"greedy, {' or '.join(map(str, sizes))} tasks a row (95 % within ±{share(noise)})",
            "Healthy: numbers rise to the right, as the student gets better, and fall downwards, as the examiner gets "
            "harder.",
            ["base" if m == 0 else f"student {m}" for m in record.grid["students"]],
            {_set_name(found["name"], record): found["rates"] for found in record.grid["sets"]},
            "the student before training and after each iteration",
        )
    ]


def _set_name(name: str, record: Record) -> str:
    """Of a task set such as ``m2-write``; with its phase where several write."""
    iteration, _, phase = name[1:].partition("-")
    return f"examiner {iteration}" + (f", {phase}" if sum(p.writes > 0 for p in record.config.phases) > 1 else "")


def teacher(record: Record) -> list[Html]:
    """Whether the teacher still is one."""
    evals = [row for row in record.exact_match if row.get("teacher_em_by_hops")]
    charts = [
        *_over_steps(
            record,
            "The teacher with the examiner's path",
            "exact match on the tasks in study, greedy",
            "Healthy: as high at the end as at the start; a teacher that forgets how to use a path shows here first.",
            record.curves({"teacher": "teacher/em"}),
            shares=True,
        ),
        *_over_steps(
            record,
            "The teacher's entropy",
            "nats a token that the student wrote",
            "Healthy: low and steady; near the logarithm of the vocabulary's size the teacher is dead.",
            record.by_role("teacher_entropy"),
        ),
        *_over_steps(
            record,
            "The teacher's surprise",
            "NLL of the student's tokens, nats",
            "Healthy: it falls, as the student comes to write what the teacher would have written.",
            record.by_role("teacher_nll"),
        ),
    ]
    if evals:
        charts.append(
            over_iterations(
                "The teacher with the path" if "questions" in evals[0] else "The teacher with the true path",
                f"{measured(evals[0])}, greedy",
                record.outside(["eval/teacher_em_by_hops/*"])
                or "Healthy: flat and high at every hop count, and above the student alone.",
                _of_evals(evals, "teacher_em_by_hops"),
                shares=True,
            )
        )
    return charts


def time(record: Record) -> list[Html]:
    """Where the seconds went."""
    rows: dict[str, dict[str, float]] = {}
    for row in record.rows:
        parts = rows.setdefault(row["phase"], {})
        for part, seconds in row.get("seconds", {}).items():
            parts[part] = parts.get(part, 0.0) + seconds
    rest = record.seconds - sum(sum(parts.values()) for parts in rows.values())
    if not rows:
        return []
    # What was played after the last checkpoint is in the rows of an unfinished run and not yet on its clock.
    if record.finished and rest > 0:
        rows["the rest"] = {"evaluations": rest}
    return [
        times(
            "Time by part",
            "seconds, over all iterations",
            "Healthy: playing, training and evaluations take nearly all of it; measuring and saving hardly show.",
            rows,
        )
    ]


def _over_steps(
    record: Record, title: str, unit: str, caption: str, lines: Sequence[Curve], shares: bool = False
) -> list[Html]:
    """The chart, where there is anything to draw."""
    said = record.outside(line.metric for line in lines) or caption
    return [over_steps(title, unit, said, lines, record.blocks, shares)] if lines else []


def _of_evals(evals: Sequence[Mapping[str, Any]], key: str) -> list[Curve]:
    hops = evals[0][key] if evals else ()
    return [
        Curve(hops_name(h), [[(float(row["iteration"]), float(row[key][h])) for row in evals]], f"eval/{key}/{h}")
        for h in hops
    ]


def _table(evals: Sequence[Mapping[str, Any]]) -> Html:
    counts = evals[0]["n_by_hops"]
    head = tag("tr", tag("th", "iterations"), *(tag("th", hops_name(h)) for h in counts), tag("th", "all"))
    rows = [
        tag(
            "tr",
            tag("th", str(row["iteration"]) if row["iteration"] else "base"),
            *(tag("td", share(row["em_by_hops"][h])) for h in counts),
            tag("td", share(row["em"])),
        )
        for row in evals
    ]
    caption = f"Questions: {', '.join(f'{n} of {hops_name(h)}' for h, n in counts.items())}."
    return tag(
        "figure",
        tag("h3", "The same in numbers ", tag("small", "share of questions, greedy")),
        tag("table", tag("thead", head), tag("tbody", *rows)),
        tag("figcaption", caption),
    )
