"""Tags inside the model's own chat template: for models that follow instructions and know no calls of tools.

The protocol is that of ``tagged.py``. What is told of it stands with the role's text in the system message. What a tool
finds stands in one of two forms:

- A, the default: a user's message of the template.
- B, Search-R1's, where A would rewrite, mostly because a template drops the reasoning of past turns: text within one
  assistant turn that is never closed, so append-only by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from piplay.chat.encoding import Foreign, Place
from piplay.chat.exchange import Compiler, End, Reply
from piplay.chat.opening import opening_of
from piplay.chat.tagged import Tagged, instruction
from piplay.chat.template import Template, TemplateError
from piplay.chat.trial import calls_of, failure
from piplay.errors import InputError
from piplay.types import Ints, Stop, ToolCall, ToolSpec

_WRITTEN = "<think>zqTHOUGHTqz</think>\n<search>zqQUERYqz</search>"
"""A turn that a template has to keep as it is."""


class Templated(Tagged):
    """Tags within a chat template. Raises ``InputError`` where there is none, or it cannot be played in either form."""

    kind = "chat"

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, tools: Sequence[ToolSpec] = (), end_ids: Sequence[int] = ()
    ) -> None:
        """``end_ids``: what else the model ends its turns with, beside the template's token and the end of text."""
        super().__init__(tokenizer, tools)
        if not tokenizer.chat_template:
            raise self._refusal("no chat template")
        known = [int(end) for end in (tokenizer.eos_token_id, *end_ids) if end is not None]
        self._compiler = Compiler(Template(tokenizer, ()), self._encoder, known)
        try:
            self._opening = opening_of(self._compiler.template)
            self.style = self._opening.style
            self._end = self._ends(tokenizer)
        except TemplateError as error:
            raise self._refusal(f"a chat template {error}") from error
        self._place = self._encoder.behind(self._opening.pieces[2])
        self.stop = Stop(tuple(dict.fromkeys([self._end.id, *known])), self._stop_texts)
        self._around = "", ""
        self._reply, self._why = self._appended()
        problem = failure(self, calls_of(self._toolset))
        if problem:
            raise self._refusal(f"a chat template {problem}")

    @property
    def form(self) -> str:
        """A or B."""
        return "A" if self._reply else "B"

    @property
    def about(self) -> str:
        """See ``Chat.about``."""
        told = f"results within one assistant turn: {self._why}" if self._why else "results as a user's messages"
        return f"tags within the template, form {self.form} ({told})"

    def prompt(self, system: str, user: str) -> Ints:
        told = [instruction(self.tools), *([Foreign(f"\n\n{system}")] if system else [])]
        return self._joined(self._opening.parts(told, self._shown(user)), Place.START)

    def tool_turn(self, text: str, tool: str, last: int | None = None) -> Ints:
        """See ``Chat.tool_turn``. In form A a turn that its closing tag ended gets its end first."""
        information = self._information(text)
        if self._reply is None:
            return self._joined([f"\n\n{information[0]}", *information[1:-1], f"{information[-1]}\n\n"], Place.TEXT)
        return self._replied(self._reply, information, last)

    def user_turn(self, text: str, last: int | None = None) -> Ints:
        """See ``Chat.user_turn``. In form B turns stay as they were written, where the template would rewrite them."""
        return self._replied(self._user, [Foreign(self._shown(text))], last)

    def phrase(self, think: str = "", content: str = "", call: ToolCall | None = None) -> str:
        return self._around[0] + super().phrase(think, content, call)

    def written(self, text: str) -> list[int]:
        """See ``Chat.written``. What stands between the tags that count is plain text."""
        return self._encoder.join(self._closed(text) or [text + self._end.token], self._place)

    def _ends(self, tokenizer: PreTrainedTokenizerBase) -> End:
        """What closes a turn: of a template that closes none by a control token, the tokenizer's end of text."""
        try:
            return self._compiler.end_of_answer(self.style)
        except TemplateError:
            if tokenizer.eos_token_id is None:
                raise
            return End(str(tokenizer.eos_token), int(tokenizer.eos_token_id), opens=False)

    def _replied(self, reply: Reply, told: Sequence[str], last: int | None) -> Ints:
        closed = last in self.stop.ids
        parts = reply.parts(told, last if closed else -1, self.stop.ids)
        return self._joined(parts if closed else [self._around[1], *parts], Place.TOKEN if closed else Place.TEXT)

    def _appended(self) -> tuple[Reply | None, str]:
        """Form A's reply, or why there is none."""
        try:
            exchange = self._compiler.said(self.style, _WRITTEN)
        except TemplateError as error:
            return None, f"it has a template {error}"
        if not exchange.kept:
            return None, "the template drops or moves what a model wrote when more is said"
        before, _, after = exchange.turn.partition(_WRITTEN)
        self._around = before, after
        return exchange.reply, ""

    @cached_property
    def _user(self) -> Reply:
        if self._reply is not None:
            return self._reply
        try:
            return self._compiler.answer(self.style).reply
        except TemplateError as error:
            raise self._refusal(f"a chat template {error}") from error

    def _refusal(self, problem: str) -> InputError:
        return InputError(
            f"the tokenizer of {self.tokenizer.name_or_path} has {problem}: use another chat model, or --chat tags, "
            "which needs no template"
        )
