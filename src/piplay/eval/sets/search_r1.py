"""Search-R1's protocol (arXiv 2503.09516): what its checkpoints were trained with and are measured by.

Its prompt is the user's only message, or plain text where the tokenizer has no template, and everything behind it is
one stretch that is never closed: reasoning, ``<search>``, what was found in ``<information>``, and at last
``<answer>``. A turn that does neither is told so and goes on. Two things differ: what a model wrote keeps its ids,
where Search-R1 encodes its text once more after each turn; and what grows beyond 4,096 tokens is not cut from the left.
A question that is never answered has no answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from transformers import PreTrainedTokenizerBase

from piplay.chat.base import Chat
from piplay.chat.encoding import Foreign, Place
from piplay.chat.tags import Tags
from piplay.envs.search.question import Passage, Question
from piplay.envs.search.tool import SEARCH, SearchTool
from piplay.errors import InputError
from piplay.eval.sets.protocol import ROLE, Protocol
from piplay.rollout.context import Context
from piplay.rollout.tools import Tool
from piplay.types import Ints, StopReason, ToolCall, ToolResult, ToolSpec, Trajectory, Turn

SEARCHES = 4
RESULT_TOKENS = 500
"""Of what one search shows."""
TURN_TOKENS = 500
PROMPT = (
    "Answer the given question. You must conduct reasoning inside <think> and </think> first every time you get new "
    "information. After reasoning, if you find you lack some knowledge, you can call a search engine by <search> query "
    "</search> and it will return the top searched results between <information> and </information>. You can search as "
    "many times as your want. If you find no further external knowledge needed, you can directly provide the answer "
    "inside <answer> and </answer>, without detailed illustrations. For example, <answer> Beijing </answer>. Question: "
)
"""Word for word what models were trained on: part of the protocol."""
INVALID = (
    "\nMy previous action is invalid. If I want to search, I should put the query between <search> and </search>. If I "
    "want to give the final answer, I should put the answer between <answer> and </answer>. Let me try again.\n"
)
_ANSWERING = "Reason inside <think> and </think>, then give the answer alone inside <answer> and </answer>. "
CLOSED_BOOK = f"Answer the given question. {_ANSWERING}Question: "
READING = f"Answer the given question by the passages below it. {_ANSWERING}Question: "
_ACTION = re.compile(r"<(search|answer)>(.*?)</\1>", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_MARK = "zqQUESTIONqz"


def asked(question: str) -> str:
    """A question as Search-R1 asks it: with a question mark at its end."""
    question = question.strip()
    return question if question.endswith("?") else f"{question}?"


def documents(passages: Sequence[Passage]) -> str:
    """Passages as Search-R1 shows them; titles stand in quotation marks, as its corpus, wiki-18, has them."""
    return "".join(f'Doc {i}(Title: "{passage.title}") {passage.text}\n' for i, passage in enumerate(passages, 1))


class SearchR1Chat(Tags):
    """One stretch of text behind a prompt."""

    kind = "search-r1"

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, tools: Sequence[ToolSpec] = (), end_ids: Sequence[int] = ()
    ) -> None:
        """Raises ``InputError`` for a template that does not take a user's message alone."""
        super().__init__(tokenizer, tools, end_ids)
        try:
            shown = self._message(_MARK).count(_MARK)
        except Exception as error:  # a template raises what it likes
            raise InputError(
                f"the chat template of {tokenizer.name_or_path} does not take a user's message alone "
                f"({str(error).partition(chr(10))[0]}): --protocol search-r1 needs one that does, or none"
            ) from error
        if shown != 1:
            raise InputError(
                f"the chat template of {tokenizer.name_or_path} shows a user's message {shown} times: --protocol "
                "search-r1 needs one that shows it once, or none"
            )

    @property
    def about(self) -> str:
        """See ``Chat.about``."""
        return "Search-R1's prompt " + ("within the template" if self.tokenizer.chat_template else "in plain text")

    def prompt(self, system: str, user: str) -> Ints:
        """The user's message: an instruction as it is, and text from outside behind it."""
        head, _, tail = self._message(f"{system}{_MARK}\n").partition(_MARK)
        return self._joined([head, Foreign(self._shown(user)), tail], Place.START)

    def tool_turn(self, text: str, tool: str, last: int | None = None) -> Ints:
        """See ``Chat.tool_turn``; cut behind so many tokens, the closing tag too, as Search-R1 does."""
        shown = Foreign(self._shown(text.strip()))
        return self._joined(["\n\n<information>", shown, "</information>\n\n"], Place.TEXT)[:RESULT_TOKENS]

    def user_turn(self, text: str, last: int | None = None) -> Ints:
        """What the game says, within the stretch."""
        return self._joined([text], Place.TEXT)

    def parse(self, ids: Sequence[int]) -> Turn:
        """The first action of the text; a turn without one is malformed."""
        text = self._text(ids)
        action = _ACTION.search(text)
        call = self._toolset.call(SEARCH.name, {"query": action[2]}) if action and action[1] == "search" else None
        answered = action is not None and action[1] == "answer"
        content = _ANSWER.findall(text)[-1].strip() if answered else ""
        return Turn(text, "", content, call, malformed=call is None and not answered)

    def shortened(self, text: str) -> str:
        """As much of a text as one search shows."""
        ids = self._encoder.plain(text)
        return text if len(ids) <= RESULT_TOKENS else str(self.tokenizer.decode(ids[:RESULT_TOKENS])).rstrip("\ufffd")

    def _message(self, text: str) -> str:
        if not self.tokenizer.chat_template:
            return text
        message = [{"role": "user", "content": text}]
        return str(self.tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=False))


@dataclass(frozen=True, slots=True)
class Documents:
    """The search tool with passages as Search-R1 shows them."""

    tool: SearchTool
    spec: ToolSpec = SEARCH

    def answer(self, calls: Sequence[ToolCall]) -> list[ToolResult]:
        """See ``Tool.answer``."""
        return [ToolResult(documents(found.data), found.data) for found in self.tool.answer(calls)]


class SearchR1(Protocol):
    """Search-R1's evaluation; its baselines' prompts are piplay's own."""

    name = "search-r1"
    chat_kind = "tags"
    defaults: ClassVar = {"turns": SEARCHES + 1, "turn_tokens": TURN_TOKENS, "tokens": 6144, "top_k": 3}

    def chat(self, arm: str, given: Chat) -> Chat:
        """The same for every arm."""
        return SearchR1Chat(given.tokenizer, (SEARCH,), given.stop.ids)

    def tool(self, tool: SearchTool) -> Tool:
        """See ``Documents``."""
        return Documents(tool)

    async def agent(self, task: Question, context: Context) -> Trajectory:
        """Turns until one answers; what is neither an answer nor a search, however long, is told so."""
        line = context.open(ROLE, PROMPT, asked(task.question))
        while True:
            turn = await line.say()
            if turn is None:
                if line.stop is not StopReason.TURN_TOKENS:
                    return await line.close()
                line.stop, turn = None, line.turns[-1]  # a turn that has no end is only one that cannot be read
            if turn.call is not None:
                if await line.use(turn.call) is None:
                    return await line.close()
            elif not turn.malformed or not line.hear(INVALID):
                return await line.close()

    async def closed_book(self, task: Question, context: Context) -> Trajectory:
        """See ``Protocol.closed_book``."""
        return await _one_turn(context, CLOSED_BOOK, asked(task.question))

    async def read(self, task: Question, passages: str, context: Context) -> Trajectory:
        """See ``Protocol.read``."""
        chat = context.chat
        assert isinstance(chat, SearchR1Chat)
        return await _one_turn(context, READING, f"{asked(task.question)}\n\n{chat.shortened(passages).strip()}")


async def _one_turn(context: Context, instruction: str, user: str) -> Trajectory:
    """One turn, which answers or does not."""
    line = context.open(ROLE, instruction, user)
    turn = await line.say()
    unread = turn is not None and (turn.malformed or turn.call is not None)
    return await line.close(StopReason.MALFORMED if unread else StopReason.ANSWERED)
