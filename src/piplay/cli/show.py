"""What ``piplay ask`` and ``piplay play`` print: colours on a terminal, plain words elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

from rich.console import Console
from rich.text import Text

from piplay.agent import Reply
from piplay.chat.base import Chat
from piplay.cli.preview import Preview
from piplay.methods.pi_play.game import written_task
from piplay.methods.pi_play.metrics import Audit
from piplay.types import Call, Episode, Owner, Passage, Seat, StopReason, Trajectory, Turn

STYLES = {Owner.PROMPT: "dim", Owner.MODEL: "bold green", Owner.TOOL: "cyan"}
LINE = 100
"""Characters of a passage that are shown."""


def plain_console() -> Console:
    """A console that reads nothing into what it prints, and leaves the breaking of lines to the terminal."""
    return Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


def show_steps(steps: Iterator[Turn | Call | Reply], console: Console) -> None:
    """An agent's steps as they come: thoughts, searches with what they found, the answer with its sources."""
    for step in steps:
        match step:
            case Turn():
                if step.think:
                    console.print(_field("thinks", step.think))
                if step.query is not None:
                    console.print(Text.assemble(("searches ", "dim"), (step.query, "bold")))
            case Call():
                for passage in step.passages:
                    console.print(_passage("  found", passage))
                if not step.passages:
                    console.print(_field("  found", "nothing"))
            case Reply():
                _show_answer(step, console)


def _show_answer(reply: Reply, console: Console) -> None:
    if not reply.answer:
        if reply.trajectory.turns:
            console.print(_field("wrote", textwrap.shorten(reply.trajectory.turns[-1].text, LINE, placeholder=" …")))
        console.print(Text.assemble(("no answer: ", "bold red"), ENDS[reply.stop]))
        return
    console.print(Text.assemble(("answer   ", "dim"), (reply.answer, "bold green")))
    for passage in reply.sources:
        console.print(_passage("  source", passage, reply.answer))
    if not reply.sources:
        console.print("  source none: the answer stands in no passage that the agent saw", style="yellow")


ENDS = {
    StopReason.ANSWERED: "the agent said nothing",
    StopReason.MALFORMED: "the agent's last call of the search tool cannot be read",
    StopReason.TURNS: "the agent was still searching in its last turn (limits.turns)",
    StopReason.TURN_TOKENS: "the agent's last turn was too long (limits.turn_tokens)",
    StopReason.TOTAL_TOKENS: "the agent's search was too long (limits.tokens)",
    StopReason.TOOL_FAILED: "the search tool failed",
}
"""Why there is no answer."""


def show_preview(preview: Preview, console: Console) -> None:
    """Whole episodes, every token in its owner's colour, or behind its owner's name."""
    console.print(preview.about)
    if console.is_terminal:
        console.print(Text.assemble("tokens of ", *((f" {owner.name.lower()} ", STYLES[owner]) for owner in Owner)))
    for number, episode in enumerate(preview.episodes, 1):
        hops = f"{episode.task.hops} hop" + "s" * (episode.task.hops != 1)
        console.print(f"\n{number}/{len(preview.episodes)}  {episode.task.id}, {hops}", style="bold")
        _show_episode(episode, preview, console)


def _show_episode(episode: Episode, preview: Preview, console: Console) -> None:
    told = [seat for seat in episode.seats if seat.trajectory.role == preview.role]
    others = [seat for seat in episode.seats if seat.trajectory.role != preview.role]
    if episode.task.question:
        console.print(_field("question", episode.task.question))
        console.print(_field("gold", " | ".join(episode.task.answers)))
    prompt: list[int] = []
    for number, seat in enumerate(told, 1):
        story = seat.trajectory
        if len(told) > 1:
            console.print(f"rollout {number} of {len(told)}", style="dim")
        # Rollouts of one question share their prompt: it is shown once.
        known, prompt = prompt, story.ids_T[: story.prompt_len].tolist()
        _show_tokens(story, preview.chat, console, after=story.prompt_len if prompt == known else 0)
        console.print(_field("ended", _ending(seat)))
        if preview.role == "examiner" and episode.task.source is not None:
            _show_written(episode, story, preview.audit, console)
    for seat in others:
        console.print(_field(seat.trajectory.role, f"{seat.trajectory.answer or '(no answer)'}: {_ending(seat)}"))


def _show_written(episode: Episode, story: Trajectory, audit: Audit | None, console: Console) -> None:
    """What an examiner wrote, whether it stands, and whether it is true."""
    draft = episode.written or written_task(episode.task, story)
    console.print(_field("question", draft.question or "none: the last turn does not say Question: … Answer: …"))
    console.print(_field("answer", " | ".join(draft.answers)))
    for number, step in enumerate(draft.path, 1):
        console.print(_field("path" if number == 1 else "", f"{number}. {step.query} > {step.evidence}"))
    console.print(_field("gates", f"refused by {episode.gate}" if episode.gate else "passed"))
    if audit is not None and draft.question:
        console.print(_field("truth", audit(draft)))
    if episode.facts:
        console.print(_field("facts", ", ".join(f"{name} {value:g}" for name, value in episode.facts.items())))


def _show_tokens(story: Trajectory, chat: Chat, console: Console, after: int) -> None:
    """The tokens after the first so many, a line for each stretch of one owner."""
    tokens = zip(story.owner_T[after:].tolist(), story.ids_T[after:].tolist(), strict=True)
    for owned, stretch in groupby(tokens, key=lambda token: token[0]):
        owner = Owner(owned)
        text = str(chat.tokenizer.decode([token for _, token in stretch], skip_special_tokens=False)).strip("\n")
        if console.is_terminal:
            console.print(Text(text, STYLES[owner]))
        else:
            console.print(_field(f"[{owner.name.lower()}]", textwrap.indent(text, " " * 9)[9:]))


def _ending(seat: Seat) -> str:
    story = seat.trajectory
    written, searches = int((story.owner_T == Owner.MODEL).sum()), len(story.calls)
    return (
        f"{story.stop}, reward {seat.reward:.2f}, {searches} search{'es' * (searches != 1)}, "
        f"{written} of {len(story.ids_T)} tokens written"
    )


def _field(name: str, value: str) -> Text:
    return Text.assemble((f"{name:8} ", "dim"), value)


def _passage(label: str, passage: Passage, around: str = "") -> Text:
    """A passage in a line: its title, and its text from the start or from the sentence that ``around`` stands in."""
    text = " ".join(passage.text.split())
    at = max(text.lower().find(around.lower()), 0)
    start = text.rfind(". ", 0, at) + 2 if ". " in text[:at] else 0
    cut = "… " * (start > 0) + textwrap.shorten(text[start:], LINE, placeholder=" …")
    return Text.assemble((f"{label:8} ", "dim"), (passage.title, "bold"), ": ", cut)
