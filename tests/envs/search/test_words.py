"""Words and sentences of many scripts, against what each language writes and against plain splitting in English."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piplay.envs.search.documents import _cut
from piplay.envs.search.match import contains, exact_match, folded, normalise
from piplay.envs.search.words import beginning, length, pieces, sentences, size, tokenize
from piplay.eval.metrics import cover_em, f1

ASCII = st.text(st.characters(max_codepoint=127))
ANY = st.text(
    st.sampled_from("ab .,!?-'\"“”’–—。！？、「」白塔城町のビルー가나ทองใต้नदी।की١٢۔؟ßİıé２Ａ\u0301\u200b\u200d\n")
    | st.characters()
)
SAME = [
    ("１９９４年", "1994年"),
    ("ｶﾀｶﾅ", "カタカナ"),
    ("“Don’t”", '"Don\'t"'),
    ("1914–1918", "1914-1918"),
    ("İSTANBUL", "istanbul"),
    ("IŞIK", "ışık"),
    ("STRASSE", "straße"),
    ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
    ("cafe\u0301", "caf\u00e9"),
    ("सन् १९४७", "सन् 1947"),
    ("الْقَاهِرَةُ", "القاهرة"),
    ("أحمد", "احمد"),
    ("العـــربية", "العربية"),
    ("שָׁלוֹם", "שלום"),
    ("می\u200cخواهم", "میخواهم"),
    ("so\u00adfort", "sofort"),
    ("ﬁnal", "final"),
    ("ภาษา\u200bไทย", "ภาษาไทย"),
]
WITHIN = [
    ("城中有一座白塔，高三十三米。", "白塔"),
    ("「白塔」はどこですか", "白塔"),
    ("กรุงเทพเป็นเมืองหลวง", "เมืองหลวง"),
    ("យើងរស់នៅភ្នំពេញ", "ភ្នំពេញ"),
    ("서울은 수도이다", "서울"),
    ("वह दिल्ली में रहता है।", "दिल्ली"),
    ("عاصمتها دُبَيّ اليوم", "دبي"),
    ("It was “Bor”—a town", "Bor"),
    ("from 1914–1918 on", "1914-1918"),
    ("高さは３３メートル", "33"),
]


@given(ASCII)
def test_of_ascii_text_the_words_are_squads(text: str) -> None:
    assert folded(text) == normalise(text)
    assert length(text) == len(text.split())


@pytest.mark.parametrize(("one", "other"), SAME)
def test_forms_of_one_word_are_one(one: str, other: str) -> None:
    assert tokenize(one) == tokenize(other) != []
    assert folded(one) == folded(other)
    assert f1(one, [other]) == 1


@pytest.mark.parametrize(("text", "phrase"), WITHIN)
def test_an_answer_is_found_in_its_sentence(text: str, phrase: str) -> None:
    assert contains(text, phrase)
    assert cover_em(text, [phrase])
    assert set(tokenize(phrase)) <= set(tokenize(text))
    assert not contains(phrase, text)


@pytest.mark.parametrize(
    ("text", "phrase"), [("वह दिल्लीवाला है", "दिल्ली"), ("Москвич", "Москва"), ("白い塔", "白塔"), ("ตากลม", "ตาก ลม ๆ")]
)
def test_what_is_not_there_is_not_found(text: str, phrase: str) -> None:
    assert not contains(text, phrase)


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("青石城。", "青石城", True),
        ("「青石城」", "青石城", True),
        ("青石", "青石城", False),
        ("１９９４", "1994", True),
        ("दिल्ली।", "दिल्ली", True),
        ("दिल्ला", "दिल्ली", False),
        ("“Bor”", "Bor", False),  # as published for English
        ("Bor", "“Bor”", False),
    ],
)
def test_exact_match_beyond_latin(answer: str, gold: str, same: bool) -> None:
    assert exact_match(answer, [gold]) == same


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("白い塔", ["白", "い", "塔", "白い", "い塔"]),
        ("塔", ["塔"]),
        ("高33米。", ["高", "33", "米"]),
        ("iPhone手机", ["iphone", "手", "机", "手机"]),
        ("서울은", ["서", "울", "은", "서울", "울은"]),
        ("น้ำ", ["น้ํา"]),
        ("दुनिया की", ["दुनिया", "की"]),
        ("Zürich’s Café-Bar", ["zürich's", "zürich", "s", "café-bar", "café", "bar"]),
        ("x—y z™ 2½", ["x", "y", "z", "2", "1", "2"]),
        ("、。！「」・…", []),
    ],
)
def test_tokens_of_other_scripts(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


@given(ANY)
def test_every_letter_and_digit_is_in_a_token(text: str) -> None:
    text = unicodedata.normalize("NFKC", text)
    letters = [c for c in text if unicodedata.category(c)[0] in "LN" and tokenize(c)]
    said = "".join(tokenize(text))
    assert all(set("".join(tokenize(letter))) <= set(said) for letter in letters)


@given(ANY)
def test_pieces_are_the_text(text: str) -> None:
    words = text.split()
    assert "".join(pieces(words)) == " ".join(words)
    assert all(piece.strip() for piece in pieces(words))


@given(ANY, st.integers(1, 9))
def test_sentences_are_the_text_and_none_is_too_long(text: str, words: int) -> None:
    paragraph = pieces(text.split())
    found = list(sentences(paragraph, words))
    assert [piece for sentence in found for piece in sentence] == paragraph
    assert all(sum(map(size, sentence)) <= words for sentence in found)


@given(ANY, st.integers(1, 9))
@example("0{0㐀", 2)
def test_a_beginning_is_as_long_as_it_can_be(text: str, words: int) -> None:
    cut = beginning(text, words)
    assert length(cut) <= max(words, 0)
    if cut != text:
        assert " ".join(text.split()).startswith(cut)
        assert length(cut) > words - 1


@pytest.mark.parametrize(
    "text",
    [
        "青石城在北。城中有塔！塔高吗？高。",
        "यह नगर है। यहाँ नदी है। मीनार ऊँची है?",
        "أين البرج؟ هنا. هل هو عالٍ؟ نعم.",
        "یہ شہر ہے۔ یہاں دریا ہے۔",
        "យើងរស់នៅ។ ភ្នំពេញ។",
        "One is here. “Two is.” Three?",
    ],
)
def test_sentences_end_as_their_script_says(text: str) -> None:
    ends = "。！？।؟.۔។?"
    found = ["".join(sentence).strip() for sentence in sentences(pieces(text.split()), 100)]
    assert len(found) > 1
    assert all(sentence.rstrip("”")[-1] in ends for sentence in found)
    assert all(not set(sentence.rstrip("”")[:-1]) & set(ends) for sentence in found)


def test_a_long_section_of_chinese_is_cut_between_sentences() -> None:
    sentence = "青石城位于大河北岸，始建于一千二百年前。"
    passages = [text for _, text in _cut(f"# 青石城\n{sentence * 20}", "stem", 50)]
    assert "".join(passages) == sentence * 20
    assert all(text.endswith("。") and length(text) <= 50 for text in passages)
    assert all(length(one) + length(sentence) > 50 for one, _ in pairwise(passages))


def test_a_long_stretch_without_a_sentence_is_cut_at_a_pause() -> None:
    phrase = "เมืองนี้ตั้งอยู่ริมแม่น้ำ"
    passages = [text for _, text in _cut(" ".join([phrase] * 30), "stem", 50)]
    assert len(passages) > 1
    assert all(text.endswith(phrase) and text.startswith(phrase) for text in passages)
