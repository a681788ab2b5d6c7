"""What tests of the systems share: a small world of three passages, and a game played by a script."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from toys.scripted import DictSearcher, ScriptedEngine, context, says, searching, tools

from piplay.chat.base import Chat
from piplay.engine.protocol import Generate
from piplay.envs.search.question import Passage, Question
from piplay.protocols import Game
from piplay.rollout.driver import drive
from piplay.settings import Limits
from piplay.types import Episode, PolicyRef

BOR = Passage("p1", "Bor", "Bor lies on the Tamsin.")
TAMSIN = Passage("p2", "Tamsin", "The Tamsin rises in Oum.")
QUIL = Passage("p3", "Quil", "Quil rises in Oum, too.")
SEED = Question("m1/examine/0/0", 2, source=BOR)
ASKED = "Where does the river of Bor rise?"
GOOD = f"Question: {ASKED} Answer: Oum"
Script = Callable[[Generate], str]


def proposal(final: str = GOOD, query: str = "Tamsin") -> Callable[[int], str]:
    """An examiner that searches once, and then says ``final``."""
    return lambda turn: searching(query, "lies on: Tamsin.") if turn == 0 else says(final, "rises in: Oum.")


def script(students: Sequence[str], final: str = GOOD, query: str = "Tamsin", reader: str = "Oum") -> Script:
    """A proposal, what each student answers, and what the reader does."""
    examiner = proposal(final, query)

    def write(request: Generate) -> str:
        if "student" in request.key:
            return says(students[int(request.key[request.key.index("student") + 1])])
        return says(reader) if "reader" in request.key else examiner(int(request.key[-1]))

    return write


def play(
    chat: Chat, game: Game, write: Script, task: Question = SEED, number: int = 0, down: tuple[str, ...] = ()
) -> tuple[Episode, ScriptedEngine]:
    """One episode of a game."""
    engine = ScriptedEngine(chat, write)
    there = context(chat, ("m1", "test", 0, number), Limits(turns=4, turn_tokens=1200, tokens=6000))
    there = replace(there, seats=dict.fromkeys(("examiner", "student", "reader"), PolicyRef("player")))
    [episode] = drive([game.play(task, there)], engine, tools(DictSearcher([BOR, TAMSIN, QUIL], down)))
    return episode, engine


def prompt(chat: Chat, engine: ScriptedEngine, role: str) -> str:
    """What a role saw first."""
    first = next(request for request in engine.seen if role in request.key)
    return str(chat.tokenizer.decode(first.ids_T))
