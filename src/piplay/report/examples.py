"""Rollouts on the page: each token that the model wrote, shaded by how far the teacher would have it otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from piplay.report.markup import Html, join, number, tag
from piplay.report.read import hops_name

LEVELS = (0.01, 0.1, 0.5, 2.0)
"""Nats of KL at which the shade grows darker."""
MOST_TOKENS, MOST_LETTERS = 500, 1500
"""Of one rollout and of one tool result; what goes beyond is counted, not shown."""
HEARD = {"tool": "search result", "user": "told"}
"""What stands between the model's turns, by its owner."""
VERDICTS = {
    "true": "the world agrees",
    "false": "the world says otherwise",
    "ill_typed": "ill-typed in this world",
    "unknown": "the world cannot tell",
}

Tree = Mapping[str, Any]


def examples(found: Tree) -> list[Html]:
    """All examples, the key to their marks first."""
    shown = found["examples"]
    most = max((one["rollouts"]["after"]["kl"] or 0.0 for one in shown), default=0.0)
    return [_key(found), *(_example(one, most, bool(found["view"])) for one in shown)]


def _key(found: Tree) -> Html:
    text = (
        f"Questions of the last task set ({found['set']}), which the student has studied, played again, greedily, by "
        "the student before training and after. "
    )
    if not found["teacher"]:
        return tag("p", text + "No teacher scored them.")
    sees = ", who sees the path too" if found["view"] else ""
    shades = [tag("span", f" {word} ", class_=f"k{i}") for i, word in enumerate(_levels())]
    return join(
        tag(
            "p",
            f"{text}Each token is scored by the teacher as it was at the end{sees}: the darker, the larger "
            "KL(student ‖ teacher) at that token; ",
            tag("span", "dotted", class_="o"),
            " where the teacher would have written another. Hover over a token, or tap it, for what both hold likely.",
        ),
        tag("p", "KL in nats: ", *(join(shade, " ") for shade in shades), class_="key"),
    )


def _levels() -> list[str]:
    marks = [number(level) for level in LEVELS]
    between = [f"{low}–{high}" for low, high in pairwise(marks)]
    return [f"< {marks[0]}", *between, f"> {marks[-1]}"]


def _example(one: Tree, most: float, path_seen: bool) -> Html:
    """A question as it was played; ``path_seen``: by the teacher."""
    verdict = f" ({VERDICTS[one['verdict']]})" if one["verdict"] else None
    answer = " or ".join(one["answers"])
    steps = [
        tag("li", tag("b", step["query"]), " → " + step["evidence"] if step["evidence"] else None)
        for step in one["path"]
    ]
    told = one["rollouts"]
    marks = [f"{'right' if rollout['correct'] else 'wrong'} {when}" for when, rollout in told.items()]
    marks += ["what the teacher corrects most"] if most and told["after"]["kl"] == most else []
    return tag(
        "article",
        tag("h3", f"{hops_name(one['hops'])} ", tag("small", ", ".join(marks))),
        tag("p", one["question"], class_="question"),
        tag("p", "The examiner's answer: ", tag("b", answer), verdict),
        tag("p", "Its path, which the teacher sees:" if path_seen else "Its path:", class_="lead") if steps else None,
        tag("ol", *steps) if steps else None,
        tag("div", *(_rollout(when, rollout) for when, rollout in told.items()), class_="pair"),
    )


def _rollout(when: str, rollout: Tree) -> Html:
    said = f"“{rollout['answer']}”" if rollout["answer"] else f"no answer ({rollout['stop'].replace('_', ' ')})"
    mark = "✓" if rollout["correct"] else "✗"
    kl = "" if rollout["kl"] is None else f" · KL {number(rollout['kl'])} a token"
    parts, left = [], MOST_TOKENS
    for part in rollout["parts"]:
        if part["owner"] == "prompt":
            summary = tag("summary", f"prompt, {part['count']} tokens")
            parts.append(tag("details", summary, tag("div", _cut(part["text"]), class_="prompt")))
        elif part["owner"] in HEARD:
            label = tag("span", HEARD[part["owner"]], class_="who")
            parts.append(tag("div", label, _cut(part["text"].strip()), class_=part["owner"]))
        else:
            shown = part["tokens"][: max(left, 0)]
            more = len(part["tokens"]) - len(shown)
            left -= len(shown)
            label = tag("span", "student", class_="who")
            tail = f" … {more} more tokens" if more else None
            parts.append(tag("div", label, *map(_token, shown), tail, class_="model"))
    head = tag("h4", f"{when.capitalize()} training: {mark} {said}", tag("small", kl))
    return tag("section", head, *parts)


def _token(token: Tree) -> Html:
    if "kl" not in token:
        return join(token["text"])
    level = sum(token["kl"] >= mark for mark in LEVELS)
    odds = f"student  {_odds(token['student'])}\nteacher  {_odds(token['teacher'])}"
    told = f"{_quoted(token['text'])}  KL {number(token['kl'])}\n{odds}"
    style = f"k{level}" if token["agree"] else f"k{level} o"
    return tag("span", token["text"], class_=style, title=told, tabindex="-1")


def _odds(choices: Sequence[tuple[str, float]]) -> str:
    return "  ".join(f"{_quoted(text)} {p:.2f}" for text, p in choices)


def _quoted(text: str) -> str:
    shown = text.replace("\n", "⏎")
    return f"“{shown}”"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]} … {len(text) - MOST_LETTERS} more letters"
