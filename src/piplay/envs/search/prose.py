"""What English prose under a title says of its subject, sentence by sentence, as predicates that patterns can read."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import regex

_SHORT = (
    r"Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Gen|Col|Lt|Sgt|Capt|Rev|Hon|Mt|Ft|No|Nos|vs|etc|approx|ca|c|b|d|r|fl|e\.g|i\.e|cf|"
    r"Inc|Ltd|Co|Corp|Bros|vol|pp|Art|U\.S|U\.K|U\.N|D\.C|Ph\.D|a\.k\.a"
)
_END = regex.compile(
    rf"""(?<!\b(?:{_SHORT}|\p{{Lu}}))[.!?]["'”’)\]]*\s+(?=["'“‘(\[]?[\p{{Lu}}\p{{N}}])|\n(?!\p{{Ll}})\s*""",
)
_MARKS = regex.compile(r"\*\*|`|\[(?=[^\[\]]+\]\()|(?<=\w)\](?=\()")
"""Of Markdown: bold, code, and what stands around the words of a link."""
_BRACKETS = regex.compile(r"\s*\([^()]*\)")
_BE = r"(?:is|was|are|were)"
_COPULA = regex.compile(rf"\s{_BE}\s")
_VERB = (
    rf"(?:{_BE}|has|have|had|can|may|became|lies|covers?|contains?|consists?|comprises?|includes?|borders?|serves?|"
    r"flows?|occurs?|[\p{Ll}-]{2,}(?:ed|es|s)|won|wrote|led|fought|ran|rose|began|took|grew|held|gave|sits|stands|spans)"
)
_ADVERBIAL = regex.compile(r"(?:In|On|Since|By|From|After|During|Today|Currently|Originally)\b[^,.;]{0,40}, (?=\p{L})")
_INTRODUCTION = regex.compile(r"^In [^,.]{3,60}(?:, [^,.]{3,30})?, (?=(?:an?|the) )")
_OPENER = regex.compile(r"(\p{Lu}\p{Ll}+ed|Born|Built|Led|Known|Written|Made|Set|Made up)( [^;:]{3,120}?), (?=\p{L})")
_WITH = regex.compile(r"With ([^;:]{3,120}?), (?=\p{L})")
_ASIDE = regex.compile(rf", [^;]{{2,160}}?, (?={_VERB}\b)")
_BEGINS = regex.compile(rf"(?:(?:also|now|still) )?{_VERB}\b")
_OWN = regex.compile(r"(?:Its|His|Her|Their) |The (?=(?:name|word|term)\b)")
_THE = regex.compile(r"The (\p{Ll}+)(?=[ ,'’])")
_NOUN = regex.compile(r"\b[\p{Ll}-]{4,}\b")
_PRONOUNS = ("It", "He", "She", "They")
_PERSON = regex.compile(r"(?:^|[.!?] )(?:He|She|His|Her) |^[^.!?,]{2,60}? (?:was|is) born\b")
_WHO = regex.compile(
    r"\bwas an? (?:\p{Ll}+ )?\p{Lu}\p{L}+(?:an|ish|ese|ch|sh|ic|i) (?:[\p{Ll}-]+,? ){0,3}?"
    r"(?:[\p{Ll}-]+(?:ist|ian|eer|ect|or)|poet|poetess|writer|painter|singer|ruler|king|queen|officer|leader|lawyer|"
    r"player|dancer|philosopher|explorer|engineer|monk|saint|artist|actress|statesman|general|dictator|composer)\b"
)
_DAY = r"(?:\d{1,2} \p{Lu}\p{Ll}+ |\p{Lu}\p{Ll}+ \d{1,2}, )?\d{3,4}(?: ?(?:BC|BCE|AD|CE))?"
_LIFE = regex.compile(rf"\([^()]*?\b(?:born |b\. )?(?:c\. )?({_DAY}) ?[–-] ?(?:c\. )?({_DAY})\)")
_BORN = regex.compile(rf"\([^()]*?\bborn (?:on |in )?({_DAY})[^()]*\)")
_RELATIVE = regex.compile(
    r",? (?:who|whom|whose|which|that|where|when|while|whereas|but|because|although|though|if|so|as well as|than)\b"
    r"|[;:—]| – | where"
)
_AGAIN = regex.compile(
    rf",? (?:and|but) (?:(?:it|he|she|they) )?(?:also |then |later |now )?"
    rf"(?={_BE}\b|has\b|had\b|became\b|\p{{Ll}}{{2,}}s (?:on|to|in|by|from|into|at|for)\b)"
)
_PRONOUN_AGAIN = regex.compile(r",? (?:and|but) (?:it|he|she|they) ")
_WHO_TOO = regex.compile(r" who (?:also |later |then )?")
_ANOTHER = regex.compile(r"\b(?:by|of|with|under|to|for) (?:the )?\p{Lu}")
_WHAT = regex.compile(r"(?:is|was|are|were) (?:an?|the|one of) ")
_DONE = r"(?:\p{Ll}+ed|built|written|made|led|held|set|found)"
_PASSIVE = regex.compile(rf"{_BE} (?:\p{{Ll}}+ly |first )?{_DONE}\b")
_DONE_TOO = regex.compile(rf" and (?:\p{{Ll}}+ly |first )?(?={_DONE} (?:in|by|on|at|from|after|for|under|to)\b)")


@dataclass(frozen=True, slots=True)
class Statement:
    """Something that a sentence says of its subject."""

    said: str
    """A predicate, from its verb on ("was founded in 1903"), or what it has, behind "'s " ("'s capital is Paris")."""
    sentence: str

    @property
    def head(self) -> str:
        """What the subject is, up to the first subordinate clause; empty where something else is said."""
        if not _WHAT.match(self.said):
            return ""
        end = _RELATIVE.search(self.said)
        return self.said[: end.start()] if end else self.said


def sentences(text: str) -> list[str]:
    """The sentences of a text, each on one line; abbreviations, initials and lines that are only wrapped end none."""
    ends = [0, *(end.end() for end in _END.finditer(text)), len(text)]
    found = (" ".join(text[start:end].split()) for start, end in pairwise(ends))
    return [sentence for sentence in found if sentence]


def bare(title: str) -> str:
    """A title without the remark in brackets that tells it from others of the name."""
    return _BRACKETS.sub("", title).strip() or title


def name_of(title: str, text: str, common: Container[str] = ()) -> str:
    """What a title is called within a sentence: without brackets, with "the" or in lower case where texts do so.

    Args:
        common: words in lower case which texts mostly write so.
    """
    name = bare(title)
    lower = name[0].lower() + name[1:]
    text = _INTRODUCTION.sub("", text)
    text = text[:1].upper() + text[1:]
    if text.startswith((f"The {name} ", f"The {name},")):
        return f"the {name}"
    if name.lower() != name and regex.search(rf"(?:^|[.!?\n]\s*)The {regex.escape(name.lower())}[ ,]", text):
        return f"the {name.lower()}"
    proper = not name[:1].isupper() or any(not word[:1].islower() for word in name.split()[1:]) or not lower.islower()
    if proper or name.startswith(("The ", "A ", "An ")):
        return name
    for article in ("A", "An"):
        if text.startswith((f"{article} {lower} ", f"{article} {lower},")):
            return f"{article.lower()} {lower}"
    if text.startswith((f"{name}s ", f"{name}es ")):
        return f"the {lower}"
    return lower if regex.search(rf"(?<=[\p{{L}},] ){regex.escape(lower)}\b", text) or lower in common else name


def is_plural(title: str, said: Sequence[Statement]) -> bool:
    """Whether a text speaks of what its title names as several: "The Beatles were"."""
    return bool(said) and bare(title).endswith("s") and said[0].said.startswith(("are ", "were "))


def is_person(text: str) -> bool:
    """Whether a text speaks of somebody, by its pronouns and by births."""
    return any(pattern.search(place) for pattern, place in ((_PERSON, text), (_BORN, text[:200]), (_WHO, text[:300])))


def statements(title: str, text: str) -> Iterator[Statement]:
    """What the text says of its title. Sentences about anything else are left out."""
    all_sentences = sentences(text)
    subject = _Subject(title, all_sentences[0] if all_sentences else "", text)
    for number, sentence in enumerate(all_sentences):
        plain = _BRACKETS.sub("", _MARKS.sub("", sentence))
        if number == 0:
            yield from (Statement(said, sentence) for said in _life(sentence))
        for said in _said(plain, subject, title, number == 0):
            yield Statement(said.rstrip(), sentence)


def _life(first: str) -> Iterator[str]:
    """The dates in brackets behind a person's name, as predicates; a span of bare years may be of anything."""
    dates = _LIFE.search(first[:200])
    if dates and len(dates[1]) > len("1000 BC"):
        yield f"was born on {dates[1]}"
        yield f"died on {dates[2]}"
    elif born := _BORN.search(first[:200]):
        yield f"was born on {born[1]}"


class _Subject:
    """How a sentence begins that speaks of a title."""

    def __init__(self, title: str, first: str, text: str) -> None:
        name = bare(title)
        words = name.split()
        called = dict.fromkeys((name, name[0].lower() + name[1:], name.lower()))
        self.forms = [name, *(f"{article} {form}" for form in called for article in ("The", "A", "An")), *_PRONOUNS]
        if len(words) > 1 and is_person(text) and all(word[:1].isupper() for word in words):
            self.forms.append(words[-1])
        self.kinds = set(_NOUN.findall(first[:160]))

    def end(self, sentence: str) -> int:
        """Where the subject of a sentence ends; 0 where it is something else."""
        for form in self.forms:
            if sentence.startswith(form) and sentence[len(form) : len(form) + 1] in (" ", ",", "'", "’"):
                return len(form)
        the = _THE.match(sentence)
        return the.end() if the and the[1] in self.kinds else 0


def _said(sentence: str, subject: _Subject, title: str, first: bool) -> Iterator[str]:
    """Each predicate of one sentence."""
    opener = _OPENER.match(sentence)
    with_what = _WITH.match(sentence)
    start = opener or with_what or _ADVERBIAL.match(sentence)
    rest = sentence[start.end() :] if start else sentence
    rest = rest[:1].upper() + rest[1:]
    if own := _OWN.match(rest):
        if not own[0].startswith("The") or bare(title).lower() in rest[:80].lower():
            yield from _with_more("'s " + rest[own.end() :])
        return
    end = subject.end(rest)
    found = rest[end:].lstrip(" ") if end else ""
    if found.startswith(("'s ", "’s ")):
        yield from _with_more("'s " + found[3:])
        return
    if aside := _ASIDE.match(found):
        yield "is " + aside[0].strip(", ")
        found = found[aside.end() :]
    if not _BEGINS.match(found):
        copula = _COPULA.search(rest) if first else None
        if not copula or not _names(rest[: copula.start()], title):
            return
        found = rest[copula.start() :].lstrip()
        for part in rest[: copula.start()].split(", ")[1:]:
            yield "is " + part
    if opener:
        yield "was " + opener[1].lower() + opener[2]
    if with_what:
        yield "has " + with_what[1]
    yield found
    for more in _AGAIN.finditer(found):
        yield found[more.end() :]
    who = _WHO_TOO.search(found)
    if who and _BEGINS.match(found[who.end() :]) and not _ANOTHER.search(found[: who.start()]):
        yield found[who.end() :]
    if _PASSIVE.match(found):
        for more in _DONE_TOO.finditer(found):
            yield "was " + found[more.end() :]


def _with_more(said: str) -> Iterator[str]:
    """What the subject has, and what is said of it behind "and it"."""
    yield said
    for more in _PRONOUN_AGAIN.finditer(said):
        yield said[more.end() :]


def _names(subject: str, title: str) -> bool:
    """Whether a first sentence's subject names the title: most of its words."""
    words = [word for word in regex.findall(r"\w+", bare(title).lower()) if word not in ("the", "of", "and", "a", "in")]
    said = " ".join(regex.findall(r"\w+", subject.lower()))
    return sum(word in said for word in words) * 2 >= len(words) > 0
