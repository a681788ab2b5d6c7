"""Reading a corpus: nothing lost, nothing silent."""

import gzip
import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.documents import _cut
from piplay.envs.search.question import Passage
from piplay.errors import InputError, InputWarning


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def line(id: object, contents: object) -> str:
    return json.dumps({"id": id, "contents": contents}) + "\n"


# JSONL


def test_jsonl(tmp_path: Path) -> None:
    file = write(
        tmp_path / "corpus.jsonl",
        "\ufeff"
        + line("a", '"Amber Coast"\nIt is long.\nAnd "flat".')
        + "\n"
        + line("b", '""Sunrise" (song)"\nBy a band.')
        + line(7, "Dune\r\nSand.\u2028More.\n")
        + '{"id": "c", "contents": "\\"Sunset\\" (album)\\nBy a band.", "extra": 1}',
    )
    assert read_corpus(file) == [
        Passage("a", "Amber Coast", 'It is long.\nAnd "flat".'),
        Passage("b", '"Sunrise" (song)', "By a band."),
        Passage("7", "Dune", "Sand.\u2028More."),
        Passage("c", '"Sunset" (album)', "By a band."),
    ]


def test_a_folder_with_passages_jsonl_is_read_from_there(tmp_path: Path) -> None:
    write(tmp_path / "passages.jsonl", line("a", "T\nx"))
    write(tmp_path / "notes.md", "Not this one.")
    assert read_corpus(tmp_path) == [Passage("a", "T", "x")]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("nonsense\n", "line 2 is not JSON"),
        ('{"id": "b", \n', "line 2 is not JSON"),
        ("[" * 100_000 + "\n", "line 2 is not JSON"),
        ('{"id": ' + "1" * 5000 + "}\n", "line 2 is not JSON"),
        ("[1]\n", "line 2 is no JSON object"),
        ('{"id": "b", "rating": 3}\n', "line 2 has no field for a text, but id, rating"),
        (line("b", None), "line 2 has no text"),
        (line("b", 3), "line 2 has no text"),
        (line("b", " \n "), "line 2 has no text"),
        (line("b", "only a title\n"), "line 2 has no text"),
        (line("b", "T\n\ud800"), "line 2 has half of a surrogate pair"),
        ("\n" + line("a", "T\ny"), "line 3 has the id of an earlier one"),
        (b'{"id": "b", "contents": "T\\n\xff"}\n', "line 2 is not UTF-8"),
    ],
)
def test_a_bad_line_is_skipped_and_counted_or_refused(tmp_path: Path, bad: str | bytes, said: str) -> None:
    raw = bad if isinstance(bad, bytes) else bad.encode()
    file = write(tmp_path / "corpus.jsonl", line("a", "T\nx").encode() + raw + line("c", "U\ny").encode())
    with pytest.warns(InputWarning, match=f"1 of 3 passages is skipped: {said}") as warned:
        assert [passage.id for passage in read_corpus(file)] == ["a", "c"]
    assert len(warned) == 1
    with pytest.raises(InputError, match=rf"corpus\.jsonl, {said}") as error:
        read_corpus(file, strict=True)
    assert_one_sentence(error.value)


def test_what_is_skipped_is_counted_by_reason(tmp_path: Path) -> None:
    lines = [line("a", "T\nx"), "x\n", line("b", "T\n"), line("c", ""), "y\n", line("d", "")]
    with pytest.warns(InputWarning) as warned:
        read_corpus(write(tmp_path / "c.jsonl", "".join(lines)))
    [said] = warned
    assert str(said.message) == (
        f"{tmp_path}/c.jsonl: 5 of 6 passages are skipped: line 2 is not JSON, and 1 more like it; "
        "line 3 has no text, and 2 more like it"
    )


def test_the_number_and_the_string_are_one_id(tmp_path: Path) -> None:
    file = write(tmp_path / "corpus.jsonl", line(0, "S\nw") + line(1, "T\nx") + line("1", "U\ny"))
    with pytest.warns(InputWarning, match="line 3 has the id of an earlier one"):
        assert [passage.id for passage in read_corpus(file)] == ["0", "1"]


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_jsonl_without_passages(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match=r"corpus\.jsonl holds no passages") as error:
        read_corpus(write(tmp_path / "corpus.jsonl", content))
    assert_one_sentence(error.value)


# Documents


def test_documents(tmp_path: Path) -> None:
    write(tmp_path / "b.md", "Before it.\n\n# The  Guide #\n\nOne two.\n\n## Setup\nThree\nfour.\n")
    write(tmp_path / "a" / "Plain Notes.TXT", b"\xef\xbb\xbfJust text.\r\nMore text.\r\n")
    write(tmp_path / "blank.txt", "\n")
    write(tmp_path / "picture.png", b"\xff")
    (tmp_path / "folder.md").mkdir()
    assert read_corpus(tmp_path) == [
        Passage("a/Plain Notes.TXT#1", "Plain Notes", "Just text. More text."),
        Passage("b.md#1", "The Guide", "Before it."),
        Passage("b.md#2", "The Guide", "One two."),
        Passage("b.md#3", "Setup", "Three four."),
    ]


def test_files_stand_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("z.txt", "b/z.txt", "b.txt", "a/b/c.md", "B.txt"):
        write(tmp_path / name, "text")
    names = [passage.id.removesuffix("#1") for passage in read_corpus(tmp_path)]
    assert names == ["B.txt", "a/b/c.md", "b.txt", "b/z.txt", "z.txt"]


def cut(document: str, words: int) -> list[tuple[str, str]]:
    return list(_cut(document, "stem", words))


def test_paragraphs_stay_whole_where_they_fit() -> None:
    document = "One two.\n\nThree four. Five\nsix.\n\n\nSeven."
    assert cut(document, 7) == [("stem", "One two.\nThree four. Five six.\nSeven.")]
    assert cut(document, 5) == [("stem", "One two."), ("stem", "Three four. Five six.\nSeven.")]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    document = 'One two three. He said "four five!" Six seven? Eight.'
    assert [text for _, text in cut(document, 5)] == ["One two three.", 'He said "four five!"', "Six seven? Eight."]


def test_a_long_sentence_is_cut_between_words() -> None:
    assert [text for _, text in cut("one two three four five. Six", 2)] == ["one two", "three four", "five. Six"]


def test_a_heading_without_text_of_its_own_is_kept_as_text() -> None:
    assert cut("# Guide\n## Setup\nRun it.\n# End", 50) == [("Setup", "Guide\nRun it."), ("End", "End")]


def test_what_looks_like_a_heading() -> None:
    document = "# One\n```sh\n# a comment\n```\n#hashtag\n    # indented code\n####### seven\n### C# ##\ntext"
    assert cut(document, 50) == [
        ("One", "```sh # a comment ``` #hashtag # indented code ####### seven"),
        ("C#", "text"),
    ]


SENTENCES = st.lists(st.sampled_from(["p", "p.", 'p!"', "p?", "p;"]), min_size=1, max_size=30)
BLOCKS = st.lists(st.tuples(st.sampled_from(["# ", "### ", ""]), SENTENCES, st.sampled_from(["\n", "\n\n"])))


@pytest.mark.slow
@given(BLOCKS, st.integers(1, 12))
def test_no_word_is_lost_or_moved(blocks: list[tuple[str, list[str], str]], words: int) -> None:
    # Every word is told apart by a number; words of headings begin with h, others with p.
    document, count = "", 0
    for marks, block, end in blocks:
        numbered = [f"{'h' if marks else 'p'}{(count := count + 1)}{word[1:]}" for word in block]
        document += marks + " ".join(numbered) + end
    passages = cut(document, words)
    said = [word for _, text in passages for word in text.split()]
    written = [word for word in document.split() if word[0] != "#"]
    assert [word for word in said if word[0] == "p"] == [word for word in written if word[0] == "p"]
    titles = {word for title, _ in passages for word in title.split()} - {"stem"}
    assert titles | set(said) == set(written)
    assert max(Counter(said).values(), default=1) == 1
    assert all(1 <= len(text.split()) <= words for _, text in passages)


@pytest.mark.slow
@given(st.lists(SENTENCES.map(" ".join), max_size=6), st.integers(1, 12))
def test_no_two_neighbours_would_fit_whole(paragraphs: list[str], words: int) -> None:
    # Greedy packing: what opens a passage, a paragraph or at least one sentence of it, had no room in the one before.
    texts = [text for _, text in cut("\n\n".join(paragraphs), words)]
    for before, after in itertools.pairwise(texts):
        assert len(before.split()) + len(after.split()) > words


def test_words_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="words must be at least 1"):
        read_corpus(tmp_path, words=0)


def test_words_sets_the_length_of_passages(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "word " * 120)
    assert [len(passage.text.split()) for passage in read_corpus(tmp_path)] == [50, 50, 20]
    assert [len(passage.text.split()) for passage in read_corpus(tmp_path, words=100)] == [100, 20]


# Whatever cannot be read


def assert_one_sentence(error: InputError) -> None:
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("files", "target", "said"),
    [
        ({}, "nowhere", "nowhere does not exist"),
        ({}, "x" * 300, r"x cannot be read \(File name too long\)"),
        ({}, ".", "holds no document and no file of rows"),
        ({"picture.png": b"\xff"}, ".", "holds no document and no file of rows"),
        ({"picture.png": b"\xff"}, "picture.png", "is no file of a kind that is known: give a file"),
        ({"a.txt": b" \n", "b.md": b""}, ".", r"not one of its documents \(2\) has a word"),
        ({"table.csv": b"a,b"}, "table.csv", r"table\.csv has no column that is known, but a, b"),
        ({"d/b.md": b"caf\xe9 au lait"}, ".", r"holds no passages that can be read: d/b\.md is not UTF-8"),
        (
            {"c.jsonl": b'{"id": "\xff"}'},
            "c.jsonl",
            r"c\.jsonl holds no passages that can be read: line 1 is not UTF-8",
        ),
        (
            {"c.jsonl": b'{"id": 1, "q": "x"}'},
            "c.jsonl",
            r'line 1 has no field for a text, but id, q; a passage has "text"',
        ),
        ({"c.json": b'{"id": 1, '}, "c.json", r"c\.json is not JSON"),
        ({"c.jsonl.gz": gzip.compress(b"x" * 999)[:20]}, "c.jsonl.gz", r"c\.jsonl\.gz is cut short or damaged"),
        ({"c.parquet": b"PAR1 but not really"}, "c.parquet", r"c\.parquet cannot be read as parquet"),
        ({"c.parquet": b"something else"}, "c.parquet", r"c\.parquet cannot be read as parquet"),
        ({"passages.jsonl": b""}, ".", "holds no passages"),
        ({"passages.jsonl/a.txt": b"x"}, ".", r"passages\.jsonl cannot be read \(Is a directory\)"),
    ],
)
def test_bad_input_is_one_clear_sentence(tmp_path: Path, files: dict[str, bytes], target: str, said: str) -> None:
    for name, content in files.items():
        write(tmp_path / name, content)
    with pytest.raises(InputError, match=said) as error:
        read_corpus(tmp_path / target)
    assert_one_sentence(error.value)


def test_a_document_in_another_encoding(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "Wide words.".encode("utf-16"))
    write(tmp_path / "b.md", b"caf\xe9 au lait")
    with pytest.warns(InputWarning, match=r"1 of 2 passages is skipped: b\.md is not UTF-8"):
        assert [passage.text for passage in read_corpus(tmp_path)] == ["Wide words."]
    with pytest.raises(InputError, match=r"b\.md is not UTF-8"):
        read_corpus(tmp_path, strict=True)


def test_a_single_document(tmp_path: Path) -> None:
    write(tmp_path / "other.md", "Not this.")
    assert read_corpus(write(tmp_path / "notes.md", "# A\nB.")) == [Passage("notes.md#1", "A", "B.")]


def test_a_document_that_cannot_be_opened_is_not_skipped(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "text")
    (tmp_path / "b.txt").symlink_to(tmp_path / "gone.txt")
    with pytest.raises(InputError, match=r"b\.txt cannot be read \(No such file or directory\)"):
        read_corpus(tmp_path)
