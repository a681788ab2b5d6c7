"""The model's own chat template, with its own tool calls, compiled once into pieces.

Nothing about a family of models is known here: marks are rendered in the place of what is said, and what stands
between them is what a conversation is made of. So Qwen's ``<tool_call>``, Llama's bare JSON and its role ``ipython``,
and what Mistral, GLM, Gemma or DeepSeek write, come out of their templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from piplay.chat.base import Chat
from piplay.chat.compiled import RewritesError, Spoken, answered, spoken
from piplay.chat.encoding import Foreign, Place
from piplay.chat.exchange import Compiler, Reply
from piplay.chat.frames import frames_of
from piplay.chat.opening import opening_of
from piplay.chat.reasoning import Said, cut
from piplay.chat.template import KEY, Style, Template, TemplateError
from piplay.chat.trial import calls_of, failure
from piplay.errors import InputError
from piplay.types import Ints, Stop, ToolCall, ToolSpec, Turn


class Native(Chat):
    """A tokenizer's chat template.

    Raises ``InputError`` where the template is missing, does not take the tools, writes calls that cannot be read back,
    or rewrites what stood before: an append-only trajectory could not be what such a model was trained on. With
    ``rewrites`` the last is allowed: turns stay as they were written where the template would, for one, drop their
    reasoning.
    """

    kind = "native"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        tools: Sequence[ToolSpec] = (),
        end_ids: Sequence[int] = (),
        *,
        rewrites: bool = False,
    ) -> None:
        """``end_ids``: what else the model ends its turns with, beside the template's tokens and the end of text."""
        super().__init__(tokenizer, tools)
        if not tokenizer.chat_template:
            raise self._refusal("no chat template")
        self._rewrites = rewrites
        known = [int(end) for end in (tokenizer.eos_token_id, *end_ids) if end is not None]
        self._compiler = Compiler(Template(tokenizer, self.tools), self._encoder, known)
        try:
            self._opening = opening_of(self._compiler.template)
            self._way = self._spoken()
            self._end = self._compiler.end_of_answer(self._way.style)
            self._frames = frames_of(self._compiler, self._way, self._end, self.tools[0].name if self.tools else None)
            self._results = {tool.name: self._result(tool) for tool in self.tools}
        except TemplateError as error:
            raise self._refused(error) from error
        ends = [self._end, *(reply.end for reply in self._results.values())]
        self._call_end, self._place = ends[-1], self._encoder.behind(self._opening.pieces[2])
        self.stop = Stop(tuple(dict.fromkeys([*(end.id for end in ends), *known])))
        problem = failure(self, calls_of(self._toolset))
        if problem:
            raise self._refusal(f"a chat template {problem}")

    @property
    def about(self) -> str:
        """See ``Chat.about``."""
        style, exchange = self._way.style, self._way.exchange
        rewrites = "its template is not append-only: turns are kept as written, which the model was not made with"
        told = [rewrites if self.tools and not exchange.kept else "append-only"]
        told += ["the system text stands in the user's message"] if style.folded else []
        told += ["calls as its prompt describes them, which its template never writes"] if style.written else []
        return ", ".join(told)

    @property
    def style(self) -> Style:
        """How messages are given to the template: what ``apply_chat_template`` would take for the same ids."""
        return self._way.style

    @property
    def keeps_reasoning(self) -> bool:
        """Whether the template shows the reasoning of past turns."""
        return self._way.exchange.kept and self._way.exchange.reasons

    @property
    def opens_reasoning(self) -> bool:
        """Whether the prompt opens the reasoning."""
        return bool(self._frames.opened)

    def prompt(self, system: str, user: str) -> Ints:
        return self._joined(self._opening.parts([Foreign(system)], user), Place.START)

    def tool_turn(self, text: str, tool: str, last: int | None = None) -> Ints:
        return self._replied(self._results[tool], text, last)

    def user_turn(self, text: str, last: int | None = None) -> Ints:
        """See ``Chat.user_turn``. Raises ``InputError`` where the template cannot put one behind a model's turn."""
        return self._replied(self._user, text, last)

    def phrase(self, think: str = "", content: str = "", call: ToolCall | None = None) -> str:
        """See ``Chat.phrase``. Reasoning and content cannot hold what ends reasoning or begins a call."""
        if call is None:
            return self._frames.turn(think, content, calls=False)
        if self._way.syntax is None:
            raise ValueError(f"a chat without tools cannot call {call.name!r}")
        unspoken = [*(part for one in self._frames.known for part in (one.opening, one.closing)), *self._encoder.added]
        return self._frames.turn(think, content + self._way.syntax.write(call, unspoken), calls=True)

    def written(self, text: str) -> list[int]:
        """See ``Chat.written``. An argument that stands as it is, in no syntax that escapes it, is plain text."""
        call, shift = self._cut(text).call, len(self._frames.opened)
        end = self._call_end if call else self._end
        parts, done = list[str](), 0
        for start, stop in call.raw if call else ():
            parts += [text[done : start - shift], Foreign(text[start - shift : stop - shift])]
            done = stop - shift
        return self._encoder.join([*parts, text[done:] + end.token], self._place)

    def parse(self, ids: Sequence[int]) -> Turn:
        """See ``Chat.parse``. Of several calls the first counts, and none within the reasoning does.

        Reasoning that is open at the end, a call that cannot be read, and a piece of one, make a turn malformed.
        """
        text = self._text(ids)
        said = self._cut(text)
        call = None if said.call is None else self._toolset.call(said.call.name, said.call.arguments)
        malformed = said.malformed or (said.call is not None and call is None)
        return Turn(text, said.think, self._frames.content(said.content), call, malformed)

    def _cut(self, text: str) -> Said:
        return cut(self._frames.opened + text, self._frames.known, self._way.syntax)

    def _replied(self, reply: Reply, text: str, last: int | None) -> Ints:
        parts = reply.parts([Foreign(text)], last, self.stop.ids)
        return self._joined(parts, Place.TOKEN if last is None or last in self.stop.ids else Place.TEXT)

    def _spoken(self) -> Spoken:
        if self.tools:
            return spoken(self._compiler, self._opening.style, self._rewrites)
        return answered(self._compiler, self._opening.style)

    def _result(self, tool: ToolSpec) -> Reply:
        exchange = self._compiler.call(self._way.style, tool.name, KEY)
        if self._way.exchange.kept and not exchange.kept:
            raise RewritesError("tool")
        return exchange.reply

    @cached_property
    def _user(self) -> Reply:
        try:
            way = answered(self._compiler, self._opening.style)
            if not way.exchange.kept and not self._rewrites:
                raise RewritesError("user")
        except TemplateError as error:
            raise self._refused(error) from error
        if way.exchange.reply.end.id not in self.stop.ids:
            raise self._refusal(
                f"a chat template that closes a turn before a user's with {way.exchange.reply.end.token}, which ends "
                "no turn"
            )
        return way.exchange.reply

    def _refused(self, error: TemplateError) -> InputError:
        keeps = "use --chat native, which keeps turns as they were written all the same"
        return self._refusal(f"a chat template {error}", keeps if isinstance(error, RewritesError) else "")

    def _refusal(self, problem: str, instead: str = "") -> InputError:
        instead = instead or f"use {'a chat model whose template takes tools' if self.tools else 'another chat model'}"
        return InputError(
            f"the tokenizer of {self.tokenizer.name_or_path} has {problem}: {instead}, or --chat chat, which puts tags "
            "into the template, or --chat tags, which needs none"
        )
