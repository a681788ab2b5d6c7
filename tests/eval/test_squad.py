"""SQuAD's rule against a second implementation, character by character and without a regular expression."""

import random
from itertools import product

import pytest

from piplay.eval.metrics import squad_em, squad_f1

MARKS = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
PIECES = [
    "the", "The", "a", "A", "an", "AN", "theory", "Athens", "Ana", "paris", "Paris", "New York", "U.S.", "U. S.",
    "1,000", "1000", "-5", "5", "é", "É", "ß", "İstanbul", "naïve", "“quoted”", "’s", "—", "東京", "Москва", "x_y",
    "\u00a0", "\t", "\n", "  ", "", ".", "?!", "a-b", "the-a", "a\u0301", "١٢", "ﬁ", "O'Neil", "yes", "no", "\u200b",
    "an.", "(the)",
]  # fmt: skip


def words(text: str) -> list[str]:
    """Lower case, punctuation of ASCII gone, articles that stand alone gone, then what white space parts."""
    kept = [character for character in text.lower() if character not in MARKS]
    without, run = list[str](), ""
    for character in [*kept, " "]:
        if character.isalnum():
            run += character
            continue
        without += [" " if run in {"a", "an", "the"} else run, character]
        run = ""
    return "".join(without).split()


def f1(said: list[str], gold: list[str]) -> float:
    left = list(gold)
    common = 0
    for word in said:
        if word in left:
            left.remove(word)
            common += 1
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def pairs() -> list[tuple[str, list[str]]]:
    rng = random.Random(0)
    made = [(one, [other]) for one, other in product(PIECES, PIECES)]

    def text() -> str:
        return rng.choice(["", " "]).join(rng.choices(PIECES, k=rng.randrange(1, 5)))

    while len(made) < 24_000:
        golds = [text() for _ in range(rng.randrange(1, 4))]
        near = "".join(c for c in rng.choice(golds) if rng.random() > 0.1)
        said = rng.choice([text(), near, rng.choice(golds).upper(), f"the {rng.choice(golds)}."])
        made.append((said, golds))
    return made


@pytest.mark.slow
def test_squads_rule_to_the_letter_on_random_and_adversarial_pairs() -> None:
    tried = pairs()
    assert len(tried) >= 20_000
    right = 0
    for said, golds in tried:
        expected = float(words(said) in [words(gold) for gold in golds])
        right += int(expected)
        assert squad_em(said, golds) == expected, (said, golds)
        best = max(f1(words(said), words(gold)) for gold in golds)
        assert abs(squad_f1(said, golds) - best) < 1e-12, (said, golds)
    assert len(tried) * 0.1 < right < len(tried) * 0.9


def test_no_answer_is_wrong_even_where_the_rule_leaves_nothing_of_a_gold() -> None:
    assert squad_em(None, ["The"]) == squad_f1(None, ["The"]) == 0
    assert squad_em("a", ["The"]) == 1
