"""What ``piplay ask`` and ``piplay play`` print: colours on a terminal, plain words elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

from rich.console import Console
from rich.text import Text

from piplay.agent import Reply, searched, written_call
from piplay.chat.base import Chat
from piplay.cli.preview import Preview
from piplay.envs.search.question import Passage, Question
from piplay.envs.search.tool import SEARCH, passages_of
from piplay.methods.pi_play.gates import written_question
from piplay.protocols import Audit
from piplay.types import Episode, Owner, ScoredTrajectory, StopReason, Task, ToolUse, Trajectory, Turn

STYLES = {Owner.PROMPT: "dim", Owner.MODEL: "bold green", Owner.TOOL: "cyan", Owner.USER: "yellow"}
LINE = 100
"""Characters of a passage that are shown."""


def show_steps(steps: Iterator[Turn | ToolUse | Reply], console: Console) -> None:
    """An agent's steps as they come: thoughts, tool calls with what they found, the answer with its sources."""
    for step in steps:
        match step:
            case Turn():
                if step.think:
                    console.print(_field("thinks", step.think))
                if step.call is not None:
                    query = searched(step.call)
                    did, what = ("calls", written_call(step.call)) if query is None else ("searches", query)
                    console.print(Text.assemble((f"{did:8} ", "dim"), (what, "bold")))
            case ToolUse():
                _show_found(step, console)
            case Reply():
                _show_answer(step, console)


def _show_found(use: ToolUse, console: Console) -> None:
    if searched(use.call) is None:
        console.print(_field("  found", use.result.text))
        return
    passages = passages_of(use)
    for passage in passages:
        console.print(_passage("  found", passage))
    if not passages:
        console.print(_field("  found", "nothing"))


def _show_answer(reply: Reply, console: Console) -> None:
    if not reply.answer:
        if reply.trajectory.turns:
            console.print(_field("wrote", textwrap.shorten(reply.trajectory.turns[-1].text, LINE, placeholder=" …")))
        failure = reply.trajectory.failure
        why = f" ({failure.reason})" if failure else ""
        console.print(Text.assemble(("no answer: ", "bold red"), ENDS[reply.stop], why))
        return
    console.print(Text.assemble(("answer   ", "dim"), (reply.answer, "bold green")))
    for passage in reply.sources:
        console.print(_passage("  source", passage, reply.answer))
    if not reply.sources:
        console.print("  source none: the answer stands in no passage that the agent saw", style="yellow")


ENDS = {
    StopReason.ANSWERED: "the agent said nothing",
    StopReason.MALFORMED: "the agent's last tool call cannot be read",
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
        console.print(f"\n{number}/{len(preview.episodes)}  {_named(episode.task)}", style="bold")
        _show_episode(episode, preview, console)


def _named(task: Task) -> str:
    return f"{task.id}, {task.hops} hop{'s' * (task.hops != 1)}" if isinstance(task, Question) else task.id


def _show_episode(episode: Episode, preview: Preview, console: Console) -> None:
    told = [one for one in episode.trajectories if one.trajectory.role == preview.role]
    others = [one for one in episode.trajectories if one.trajectory.role != preview.role]
    _show_task(episode.task, console)
    prompt: list[int] = []
    for number, scored in enumerate(told, 1):
        trajectory = scored.trajectory
        if len(told) > 1:
            console.print(f"rollout {number} of {len(told)}", style="dim")
        # Rollouts of one question share their prompt: it is shown once.
        known, prompt = prompt, trajectory.ids_T[: trajectory.prompt_len].tolist()
        _show_tokens(trajectory, preview.chat, console, after=trajectory.prompt_len if prompt == known else 0)
        console.print(_field("ended", _ending(scored, preview.chat)))
    _show_outcome(episode, preview, console)
    for scored in others:
        trajectory = scored.trajectory
        console.print(_field(trajectory.role, f"{trajectory.answer or '(no answer)'}: {_ending(scored, preview.chat)}"))


def _show_task(task: Task, console: Console) -> None:
    """A question with its answers; of another task what it has on disk."""
    if not isinstance(task, Question):
        for name, value in task.row().items():
            console.print(_field(name, str(value)))
    elif task.question:
        console.print(_field("question", task.question))
        console.print(_field("gold", " | ".join(task.answers)))


def _show_outcome(episode: Episode, preview: Preview, console: Console) -> None:
    """What an episode leaves, and what its game noted of it; of questions only beside the one who wrote them."""
    task = episode.task
    if isinstance(task, Question):
        writer = episode.trajectories[0].trajectory
        if task.question or task.source is None or writer.role != preview.role:
            return
        for draft in episode.written or (written_question(task, writer),):
            assert isinstance(draft, Question)
            _show_written(draft, preview.audit, str(episode.facts.get("gate", "")), console)
    else:
        for made in episode.written:
            _show_task(made, console)
    noted = [f"{name} {_number(value)}" for name, value in episode.facts.items() if name != "gate" and value != ""]
    if noted:
        console.print(_field("facts", ", ".join(noted)))


def _show_written(draft: Question, audit: Audit | None, gate: str, console: Console) -> None:
    """What an examiner wrote, whether it stands, and whether it is true."""
    console.print(_field("question", draft.question or "none: the last turn does not say Question: … Answer: …"))
    console.print(_field("answer", " | ".join(draft.answers)))
    for number, step in enumerate(draft.path, 1):
        console.print(_field("path" if number == 1 else "", f"{number}. {step.query} > {step.evidence}"))
    console.print(_field("gates", f"refused by {gate}" if gate else "passed"))
    if audit is not None and draft.question:
        console.print(_field("truth", audit(draft)))


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _show_tokens(trajectory: Trajectory, chat: Chat, console: Console, after: int) -> None:
    """The tokens after the first so many, a line for each stretch of one owner."""
    tokens = zip(trajectory.owner_T[after:].tolist(), trajectory.ids_T[after:].tolist(), strict=True)
    for owned, stretch in groupby(tokens, key=lambda token: token[0]):
        owner = Owner(owned)
        text = str(chat.tokenizer.decode([token for _, token in stretch], skip_special_tokens=False)).strip("\n")
        if console.is_terminal:
            console.print(Text(text, STYLES[owner]))
        else:
            console.print(_field(f"[{owner.name.lower()}]", textwrap.indent(text, " " * 9)[9:]))


def _ending(scored: ScoredTrajectory, chat: Chat) -> str:
    trajectory = scored.trajectory
    written = int((trajectory.owner_T == Owner.MODEL).sum())
    called = [_called(tool.name, sum(use.call.name == tool.name for use in trajectory.uses)) for tool in chat.tools]
    parts = [str(trajectory.stop), f"reward {scored.reward:.2f}", *called]
    return f"{', '.join(parts)}, {written} of {len(trajectory.ids_T)} tokens written"


def _called(tool: str, count: int) -> str:
    return f"{count} search{'es' * (count != 1)}" if tool == SEARCH.name else f"{tool} {count}×"


def _field(name: str, value: str) -> Text:
    return Text.assemble((f"{name:8} ", "dim"), value)


def _passage(label: str, passage: Passage, around: str = "") -> Text:
    """A passage in a line: its title, and its text from the start or from the sentence that ``around`` stands in."""
    text = " ".join(passage.text.split())
    at = max(text.lower().find(around.lower()), 0)
    start = text.rfind(". ", 0, at) + 2 if ". " in text[:at] else 0
    cut = "… " * (start > 0) + textwrap.shorten(text[start:], LINE, placeholder=" …")
    return Text.assemble((f"{label:8} ", "dim"), (passage.title, "bold"), ": " if passage.title else "", cut)
