"""Made-up names in several styles, and the word lists that worlds are built from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from piplay.streams import pick


def _words(text: str) -> list[str]:
    return text.split()


STARTS = _words(
    "Bel Bor Cal Cor Dal Dor El Fen Gal Gor Hal Ilm Jar Kel Kor Lan Lor Mar Mer Nor Ol Or Pel Quen Ral Ros Sal Ser "
    "Tal Tor Ul Val Ver Wen Yor Zan"
)
MIDDLES = _words("a an ar e en er i il in o on or u um ur")
ENDS = _words(
    "bas bran dek den dor fen gar gos han kar kis lan len lis mar mek mon nar nes nis pol ras ren rik ros sa sen tan "
    "teth tis tor va ven vik wyn zar"
)
CONSONANTS = _words("b c d f g h j k l m n p r s t v w x z ch sh th st tr br")
VOWELS = _words("a e i o u ai ea oo")
AFFIXES = _words("lib py core x base dev utils data tools common fonts")

JOINTS = _words("- - . / _")
ACCENTED = _words("á à â ä ã å ç é è ê ë í ï ñ ó ö ø õ ô ú ü ý š ž ł")

Namer = Callable[[], str]

NOUNS = _words(
    "accent address adviser agent airline album ally anchor anthem apprentice area aunt award ballad banner bank "
    "baker basin battle beacon bishop border boss branch brand bridge brother butler canal captor castle cave cellar "
    "chapel chief choir cleric clerk coach coast colour column commander companion composer cook cousin craft creator "
    "crest critic crop crown cuisine dance daughter dean debut degree delta deputy designer destination dialect diet "
    "director district doctor donor drink driver duke editor elder emblem engine engineer envoy epoch era estate "
    "examiner exit export father ferry field flag fleet flower forest fort fuel garden gate gear general genre gift "
    "goal grade grandfather guard guest guide guild gulf habitat hall harbour heir hero hill hobby holder hometown "
    "honour host hotel hub inn inspector island item journal judge jury keeper king kingdom lake landlord launch "
    "lawyer leader league legend lender level library lighthouse lodge logo manager manor market mascot master mate "
    "material meadow medal melody member merchant metal method mill mine minister mission model monarch mother motto "
    "museum neighbour nephew nickname niece nurse office opera opponent orbit order organ origin outlet owner painter "
    "palace parent parish park partner pasture patron peak pilot pioneer plant player poem poet port prize producer "
    "product province pupil quarry quarter queen rank recipe record reef rider rival road rule sailor saint sauce "
    "scholar school scout sculptor seal season servant shape shore singer sister site size song speaker sponsor "
    "square stadium staff star state station statue steward stone store street student style suburb summit supplier "
    "surgeon symbol table tailor tax teacher team temple tenant territory theatre theme title tool tower town trade "
    "trainer treasure treaty tribe tunnel tutor type uncle uniform union valley vault vehicle vendor venue victor "
    "village vine visitor vocalist voyage warden watchman weapon wheel widow wife wing winner wood yard zone"
)
QUALIFIERS = _words("first second main former former old new great chief local royal northern southern upper home")
LITERALS = _words(
    "age angle balance breadth budget capacity code count date decade degree depth distance duration height index "
    "label length limit mass mileage month number output page population price quota rainfall range rate rating "
    "reading reign score speed span tally temperature tonnage total turnout value volume wage weight width year"
)
KINDS = _words(
    "actor airport animal artist asteroid band bird board book bridge camp canal cathedral chemical church city club "
    "college comet company country dancer desert device dish district document dragon engine fabric farm festival "
    "file film fish flower forest fort game garden gem group harbour hero horse hospital hotel house instrument "
    "island lake language law library machine magazine map market mineral mountain museum novel office park part "
    "person place planet plant play poem port product program project region river road robot saint school script "
    "server ship shop site song spice sport star station stone street team temple tool town train tree tribe tunnel "
    "valley vehicle village volcano wine writer"
)


def encyclopedia_namer(rng: np.random.Generator, words: int = 1) -> Namer:
    """Pronounceable names of so many words of two or three syllables, from one fixed stock of syllables.

    There are 20,736 words, of which 1,296 have two syllables; these are two thirds of what is drawn.
    """

    def word() -> str:
        middle = pick(rng, MIDDLES) if rng.random() < 0.35 else ""
        return f"{pick(rng, STARTS)}{middle}{pick(rng, ENDS)}"

    return lambda: " ".join([word() for _ in range(words)])


def free_namer(rng: np.random.Generator) -> Namer:
    """Names in a style drawn once: letters in any order, hyphens, digits, lower case, several words."""

    def syllables(count: int) -> str:
        return "".join(f"{rng.choice(CONSONANTS)}{rng.choice(VOWELS)}" for _ in range(count)) + str(
            rng.choice(["", "n", "r", "s", "l"])
        )

    def plain() -> str:
        return syllables(int(rng.integers(1, 4))).capitalize()

    def package() -> str:
        head = str(rng.choice(AFFIXES)) if rng.random() < 0.4 else ""
        body = head + syllables(int(rng.integers(1, 3)))
        tail = rng.random()
        if tail < 0.3:
            body += f"-{syllables(1)}"
        elif tail < 0.45:
            body += f"-{rng.choice(AFFIXES)}"
        elif tail < 0.7:
            body += f"{rng.integers(1, 30)}"
        return body

    def letters() -> str:
        return "".join(str(c) for c in rng.choice(list("abcdefghijklmnopqrstuvwxyz"), int(rng.integers(3, 8))))

    def code() -> str:
        return letters()[: int(rng.integers(2, 4))].upper() + f"{rng.integers(1, 999)}"

    def path() -> str:
        return f"{plain()}/{plain()}"

    def two_words() -> str:
        return f"{plain()} {plain()}"

    house = encyclopedia_namer(rng)

    def house_pair() -> str:
        return f"{house()} {house()}"

    styles: list[Namer] = [plain, package, package, letters, code, path, two_words, house, house_pair]
    picks = [styles[i] for i in rng.choice(len(styles), 2)]
    return lambda: picks[int(rng.random() < 0.3)]()


def soup_namer(rng: np.random.Generator, pieces: Sequence[str]) -> Namer:
    """Words of one to three pieces of other words, in any order: nothing about them can be known beforehand."""

    def word() -> str:
        text = "".join(str(piece) for piece in rng.choice(list(pieces), int(rng.choice([1, 1, 2, 2, 2, 3]))))
        if rng.random() < 0.05:
            at = int(rng.integers(len(text) + 1))
            text = f"{text[:at]}{rng.choice(ACCENTED)}{text[at:]}"
        return text

    def joined() -> str:
        return f"{word()}{rng.choice(JOINTS)}{word()}"

    def phrase() -> str:
        return " ".join(word().capitalize() for _ in range(int(rng.integers(2, 5))))

    styles: list[Namer] = [word, joined, lambda: f"{joined()}{rng.integers(0, 99)}", phrase, family_namer(rng, word)]
    picks = [styles[i] for i in rng.choice(len(styles), 2)]
    return lambda: picks[int(rng.random() < 0.3)]()


def family_namer(rng: np.random.Generator, word: Namer) -> Namer:
    """Names that are easily mistaken for each other: a few stems, heads and tails in all combinations."""
    stems, heads, tails = ([word() for _ in range(count)] for count in (8, 2, 3))
    joint = str(rng.choice(JOINTS))

    def name() -> str:
        head = str(rng.choice(heads)) if rng.random() < 0.6 else ""
        if head and rng.random() < 0.5:
            head += joint
        stem = str(rng.choice(stems)) + (str(rng.integers(0, 20)) if rng.random() < 0.5 else "")
        tail = rng.random()
        if tail < 0.4:
            return f"{head}{stem}{joint}{rng.choice(tails)}"
        return f"{head}{stem}.{rng.integers(0, 20)}" if tail < 0.55 else f"{head}{stem}"

    return name


def coded_literal(rng: np.random.Generator, word: Namer) -> Namer:
    """Values like versions, offsets and coordinates: digits, a few words and marks, in one pattern drawn once."""
    words = [word() for _ in range(3)]
    parts = [str(rng.choice(["digits", "digits", "word"])) for _ in range(int(rng.integers(2, 7)))]
    joints = [str(rng.choice(["", ".", ".", "-", "+", ":", "~", "/", " "])) for _ in parts]

    def literal() -> str:
        count = int(rng.integers(max(1, len(parts) - 2), len(parts) + 1))
        text = ""
        for part, joint in zip(parts[:count], joints, strict=False):
            filled = str(rng.integers(0, 10 ** int(rng.integers(1, 4)))) if part == "digits" else str(rng.choice(words))
            text += (joint if text else "") + filled
        return text

    return literal


def free_literal(rng: np.random.Generator) -> Namer:
    """Values that are no names: numbers, versions, dates, codes, a small closed set of words."""
    closed = [f"{rng.choice(NOUNS)}s" if rng.random() < 0.5 else str(rng.choice(NOUNS)) for _ in range(6)]
    names = free_namer(rng)
    styles: list[Namer] = [
        lambda: str(rng.integers(1, 10 ** int(rng.integers(2, 6)))),
        lambda: str(rng.integers(1000, 2000)),
        lambda: f"{rng.integers(0, 20)}.{rng.integers(0, 100)}.{rng.integers(0, 20)}-{rng.integers(1, 9)}",
        lambda: f"{rng.integers(0, 10)}.{rng.integers(0, 100)}",
        lambda: f"{'+-'[int(rng.random() < 0.5)]}{rng.integers(0, 90):02d}{rng.integers(0, 90):02d}",
        lambda: str(rng.choice(closed)),
        lambda: str(rng.choice(closed)),
        names,
    ]
    return styles[int(rng.integers(len(styles)))]
