"""What a relation is, and the kinds of value that its patterns name.

A pattern is a regular expression with ``<KIND>`` for the value (``<NAME>``, ``<DATE>`` and so on, see ``_KINDS``) and
``<kind>`` for such a thing that is passed over; ``<is>``, ``<about>`` and ``<end>`` stand for what they say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import regex

_WORD = r"(?:\p{Lu}\.)+(?!\p{L})|\p{Lu}[\p{L}\p{M}\p{N}'’&/-]*(?<!['’]s)(?<!['’/-])"
_JOINT = (
    r"of the|of|de la|de los|de|da|do|dos|del|della|di|du|des|la|le|el|al|von|van der|van den|van|der|den|ibn|bin|y|"
    r"zu|und|on the|the"
)
_UNIT_OF_PEOPLE = (
    r"team|department|group|company|committee|council|project|division|squad|office|agency|band|party|community|"
    r"dynasty|"
    r"foundation|family|tribe|library|framework|database|server|service|cluster|building"
)
_RUN = rf"(?:{_WORD})(?: (?:{_WORD})| (?:{_JOINT}) (?:{_WORD})){{0,4}}(?: \d{{1,3}}| (?:{_UNIT_OF_PEOPLE}))?"
_END = (
    r"(?=[,;:)\]!?\"”]|(?<!\b\p{Lu})\.(?!\p{L})|$| \p{Ll}+ed\b| (?:for|as)\b(?! \p{Lu})| (?:and|or|in|on|at|from|to|"
    r"with|by|who|whom|"
    r"whose|which|that|where|when|while|during|between|until|till|after|before|near|along|through|throughout|under|"
    r"over|since|into|about|via|if|but|is|was|are|were|has|had|within|around|against|made|known|written|born|because|"
    r"without|like|across|including|such|rather|than|using|used|also|sometime|being|having|holding|–|—)\b)"
)
"""Behind a value: a mark, or a word that begins something else. So no value is half a phrase."""
_ALONE = (
    r"(?!(?:, (?:the )?\p{Lu}[\p{L}'’.-]*(?: (?:of )?\p{Lu}[\p{L}'’.-]*)*)*,? (?:and|or|&) (?:(?:the|his|her|its) "
    r")?\p{Lu})"
    r"(?!(?:, (?:the )?\p{Lu}[\p{L}'’.-]*(?: (?:of )?\p{Lu}[\p{L}'’.-]*)*)+,? (?:and|or|&) )"
)
"""Not the first of a list of names."""
_ROLE = (
    r"(?:(?:the |an |a |its |his |her |then |fellow )?"
    r"(?:(?!(?:of|at|in|and|or|for|from|to|with|by|group|team|number|members)\b)"
    r"(?:\p{Lu}[\p{L}-]+(?:an|ish|ese|ch|sh|ic|reek|wiss|ss|ew) )?[\p{Ll}][\p{L}-]*,? ){0,4}(?:(?:and|&) [\p{Ll}-]+ "
    r")?|(?:the |an? )?"
    r"(?:[\p{L}-]+ ){1,4}(?:author|writer|artist|painter|poet|novelist|composer|physicist|sculptor|director|"
    r"architect) )"
)
"""What somebody is, before the name: "the German physicist"."""
_TYPE = r"(?:state|province|region|city|island|department|prefecture|county|district|borough|republic|kingdom)"
_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_ERA = r"(?: ?(?:BC|BCE|AD|CE)\b)?"
_UNIT = (
    r"(?:km2|km²|kilometres|kilometers|km|metres|meters|miles|mi|feet|ft|m|cm|mm|acres|hectares|ha|tonnes|tons|kg|"
    r"kilograms)\b(?:2|²)?"
)
_DAY_OR_YEAR = (
    rf"(?:(?:\d{{1,2}} {_MONTH} |{_MONTH}(?: \d{{1,2}},)? )?\d{{3,4}}"
    rf"(?![\d,.]*\d| ?[%°]|[-–]|s\b| (?:{_UNIT}|people|years|million)){_ERA}"
    rf"|\d{{1,3}} ?(?:BC|BCE|AD|CE)\b|(?:early |late |mid-)?\d{{1,2}}(?:st|nd|rd|th) century{_ERA})"
)
_NOT_IN_THING = r"(?!(?:and|or|in|on|at|from|to|for|with|by|as|that|which|of)\b)"
_KINDS = {
    "NAME": rf"(?:the )?(?P<value>{_RUN}){_END}{_ALONE}",
    "PERSON": rf"{_ROLE}(?P<value>{_RUN}){_END}{_ALONE}",
    "THE": rf"(?P<value>(?:the )?{_RUN}){_END}{_ALONE}",
    "PLACE": r"(?:(?:the )?(?:(?:\p{Ll}+)?(?:north|south|east|west|central|inland|mid)[\p{Ll}-]*)"
    r"(?: (?:part|coast|shore|region|side|corner|tip|end|edge|bank)s?)?(?: of)? )?"
    rf"(?:(?:what is now|present-day|modern-day|modern) )?(?:the (?:\p{{Ll}}+ )?(?:\p{{Lu}}[\p{{L}}.]+ "
    rf"){{0,2}}{_TYPE} of )?(?P<value>(?:the )?{_RUN}){_END}{_ALONE}",
    "DATE": rf"(?P<value>{_DAY_OR_YEAR}(?! (?:and|or|to) (?:\d|early|late|mid|{_MONTH})))",
    "FROM": rf"(?P<value>{_DAY_OR_YEAR})",
    "NUMBER": r"(?P<value>\d[\d,]*(?:\.\d+)?(?: (?:thousand|million|billion|trillion))?)(?![\d%°]|[.,]\d|[-–]\d)",
    "MEASURE": rf"(?P<value>\d[\d,]*(?:\.\d+)? ?(?:million )?(?:square )?{_UNIT})",
    "THING": rf"(?:(?:the|an?) )?(?!(?:more|other|others|several|many|various|two|three|four|some|any|all|both|it|"
    rf"how)\b)(?P<value>\p{{Ll}}[\p{{L}}'’-]*(?: {_NOT_IN_THING}[\p{{L}}'’-]+){{0,3}}?){_END}"
    r"(?! (?:and|or)\b)(?!, [\p{L}' -]+,)",
}
_IS = (
    r"^(?:also |now |still )?(?:is|was|are|were|has been|have been|had been|being) "
    r"(?:\p{Ll}+ly |also |first |now |still |then |once |\p{Ll}+ed and |\p{Ll}+, \p{Ll}+,? and )?"
)
_ABOUT = (
    r"(?:(?:about|around|approximately|roughly|over|nearly|almost|more than|some|just over|just under|estimated(?: "
    r"at)?|"
    r"c\.|circa|an estimated) )?"
)
_WORDS = {
    **{f"<{kind}>": pattern for kind, pattern in _KINDS.items()},
    **{f"<{kind.lower()}>": pattern.replace("?P<value>", "?:") for kind, pattern in _KINDS.items()},
    "<about>": _ABOUT,
    "<is>": _IS,
    "<end>": _END,
}


@dataclass(frozen=True, slots=True)
class Relation:
    """One thing that prose says of its subjects."""

    name: str
    """As in "the NAME of X"."""
    question: str
    """With ``{}`` for the subject, and with the other groups of the pattern by their names."""
    cue: str
    """Words of which one stands in whatever says it, split by "|": what is quickly looked for first."""
    does: tuple[str, ...] = ()
    """Participles: they stand behind "is" or "was", or behind what the subject is ("is a film directed by …")."""
    says: tuple[str, ...] = ()
    """Predicates, from their verb on."""
    has: tuple[str, ...] = ()
    """What stands behind "its"."""
    person: bool | None = None
    """Whether the subject has to be a person, or must not be one."""
    phrase: str | None = ""
    """What names the value by the subject, with ``{}`` for it; by default "the NAME of {}", None where nothing does."""

    def values(self, said: str, head: str) -> Iterator[regex.Match[str]]:
        """The matches of a statement: of the whole predicate, and of the participles in its head."""
        if any(cue in said for cue in self.cue.split("|")):
            whole, inside = _patterns(self)
            yield from filter(None, (pattern.search(said) for pattern in whole))
            yield from filter(None, (pattern.search(head) for pattern in inside))


@cache
def _patterns(relation: Relation) -> tuple[list[regex.Pattern[str]], list[regex.Pattern[str]]]:
    """The patterns for a whole predicate and for a place within one; they are compiled when they are first needed."""
    whole = [
        *("<is>" + p for p in relation.does),
        *("^" + p for p in relation.says),
        *("^'s " + p for p in relation.has),
    ]
    return [_compiled(p) for p in whole], [_compiled(r"(?<=[\p{L}\p{N}),] )" + p) for p in relation.does]


def _compiled(pattern: str) -> regex.Pattern[str]:
    for word, meaning in _WORDS.items():
        pattern = pattern.replace(word, meaning)
    return regex.compile(pattern)


def by(verbs: str, noun: str, question: str) -> Relation:
    """Who did something to the subject, of participles split by "|"."""
    then = r"(?:(?:in|on|around|about|since|between)\b[^,;]{3,25}? )?"
    return Relation(noun, question, verbs, does=(rf"(?:{verbs}) {then}(?:\p{{Ll}}+ly )?by <PERSON>",))


def when(verbs: str, noun: str, question: str, first: str = "") -> Relation:
    """When something was done to the subject."""
    at = r"(?:in|on|around|about|circa|c\.)(?: (?:the|early|late|about|around|\w+ of))? "
    return Relation(
        noun,
        question,
        verbs,
        does=(rf"{first}(?:{verbs})(?: by [^,;.\d]{{3,50}}?)?(?: (?:in|at) <name>,?)? {at}<DATE>",),
    )
