"""Charts of what a teacher's privilege is worth (``pi_play/diagnostics.py``), and of how questions are answered."""

from __future__ import annotations

from collections.abc import Sequence

from piplay.methods.pi_play.diagnostics import SHOWN
from piplay.methods.pi_play.spans import SPANS
from piplay.report.curves import Curve, over_steps
from piplay.report.markup import Html
from piplay.report.read import Record


def privilege(record: Record) -> list[Html]:
    """What the path gives the teacher, and what of it reaches the student."""
    return [
        *_chart(
            record,
            "What the path is worth to the teacher",
            "reward of its rollouts with it, minus without",
            "Healthy: the true path far above another question's (foreign) and an empty slot (none).",
            _of(record, "utility", SHOWN),
        ),
        *_chart(
            record,
            "Distance to the teacher by what it is shown",
            "KL(student ‖ teacher), nats a token",
            "Healthy: the true path above the others; where foreign is as high, that there is a path is the signal.",
            _of(record, "divergence", SHOWN),
        ),
        *_chart(
            record,
            "Does the teacher prefer right rollouts",
            "of questions with right and wrong ones",
            "Healthy: AUROC above .5 and conflict, the share of tokens where teacher and reward disagree, below.",
            record.curves({"AUROC": "privilege/auroc", "conflict": "privilege/conflict"}),
            shares=True,
        ),
        *_chart(
            record,
            "What another path would pull as well",
            "share of the distance",
            "Healthy: near 0; near 1 the content of the path says nothing.",
            record.curves({"context only": "privilege/context_only"}),
            shares=True,
        ),
        *_chart(
            record,
            "Where the teacher pulls",
            "KL(student ‖ teacher), nats a token",
            "Healthy: in queries and answers; in form (tags, ends of turns) it says that the prompts differ otherwise.",
            _of(record, "kl", SPANS),
        ),
        *_chart(
            record,
            "Names before they were seen",
            "share of rollouts",
            "Healthy: the student's near 0; a climb says that it says what only the teacher can know.",
            [
                *record.by_role("illusion"),
                *record.curves({"teacher's": "privilege/illusion", "no search": "student/no_search"}),
            ],
            shares=True,
        ),
        *_chart(
            record,
            "pass@k",
            "chance that k samples hold a right one",
            "Healthy: all rise; pass@1 up and the last down is sureness bought with fewer ways.",
            record.curves({f"k = {k}": f"pass/{k}" for k in _ks(record)}),
            shares=True,
        ),
    ]


def _of(record: Record, name: str, parts: Sequence[str]) -> list[Curve]:
    return record.curves({part: f"privilege/{name}/{part}" for part in parts})


def _ks(record: Record) -> list[int]:
    found = {key for row in record.rows for key in row if key.startswith("pass/")}
    return sorted(int(key.removeprefix("pass/")) for key in found if key.removeprefix("pass/").isdecimal())


def _chart(
    record: Record, title: str, unit: str, caption: str, lines: Sequence[Curve], shares: bool = False
) -> list[Html]:
    """The chart, where there is anything to draw."""
    return [over_steps(title, unit, caption, lines, record.blocks, shares)] if lines else []
