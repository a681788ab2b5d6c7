"""Corpora under the names that other projects give their parts."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.question import Passage, show
from piplay.errors import InputWarning

TEXT = "Sintra lies west of Lisbon."


def lines(file: Path, *rows: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("row", "passage"),
    [
        ({"_id": "x", "title": "Sintra", "text": TEXT, "metadata": {}}, ("x", "Sintra", TEXT)),  # BEIR
        ({"_id": "x", "title": "", "text": TEXT}, ("x", "", TEXT)),
        ({"id": "x", "contents": TEXT}, ("x", "", TEXT)),  # pyserini
        ({"id": "x", "contents": f'"Sintra"\n{TEXT}'}, ("x", "Sintra", TEXT)),  # FlashRAG, Search-R1
        ({"id": "x", "contents": f'""\n{TEXT}'}, ("x", "", TEXT)),
        ({"id": "x", "contents": f"\n{TEXT}"}, ("x", "", TEXT)),
        ({"id": "x", "contents": f"{TEXT * 9}\n{TEXT}"}, ("x", "", f"{TEXT * 9}\n{TEXT}")),
        ({"id": "x", "title": "Sintra", "contents": f'"Sintra"\n{TEXT}'}, ("x", "Sintra", TEXT)),
        ({"id": "x", "title": "Sintra", "contents": TEXT}, ("x", "Sintra", TEXT)),
        ({"id": "x", "title": "Sintra", "text": TEXT, "contents": f"Sintra\n{TEXT}"}, ("x", "Sintra", TEXT)),
        ({"title": "Sintra", "text": TEXT}, ("1", "Sintra", TEXT)),
        ({"ID": 7.0, "Title": "Sintra", "Text": TEXT}, ("7", "Sintra", TEXT)),
        ({"docid": "x", "url": "u", "title": "Sintra", "body": TEXT}, ("x", "Sintra", TEXT)),  # MS MARCO
        ({"pid": "x", "passage": TEXT, "docid": "d"}, ("d", "", TEXT)),
        ({"wikipedia_id": "x", "wikipedia_title": "Sintra", "text": [TEXT, TEXT]}, ("x", "Sintra", f"{TEXT}\n{TEXT}")),
        ({"id": "x", "title": "Sintra", "text": [["Sintra lies", " west of Lisbon."]]}, None),  # HotpotQA
        ({"page_content": TEXT, "metadata": {"title": "Sintra", "source": "s"}}, ("1", "Sintra", TEXT)),
        ({"id": None, "title": None, "content": TEXT, "emb": [0.1, 0.2]}, ("1", "", TEXT)),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "json", "parquet"])
def test_a_row_by_whatever_names(tmp_path: Path, row: dict[str, Any], passage: Any, ending: str) -> None:
    file = tmp_path / f"c.{ending}"
    match ending:
        case "jsonl":
            lines(file, row)
        case "jsonl.gz":
            file.write_bytes(gzip.compress(json.dumps(row).encode()))
        case "json":
            file.write_text(json.dumps([row], indent=1))
        case "parquet":
            rows = [{name: value for name, value in row.items() if value != {}}]
            pq.write_table(pa.Table.from_pylist(rows), file)
    [read] = read_corpus(file)
    if passage is None:
        assert read.text.replace(" ", "") == TEXT.replace(" ", "")
    else:
        assert (read.id, read.title, read.text) == passage


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("psgs.tsv", f'id\ttext\ttitle\n1\t"{TEXT}"\tSintra\n2\t"He said ""so""."\tPorto\n'),  # DPR
        ("c.csv", f'title;text\nSintra;{TEXT}\nPorto;He said "so".\n'),
        ("collection.tsv", f'1\t{TEXT}\tSintra\n2\tHe said "so".\tPorto\n'),  # MS MARCO, with a title
    ],
)
def test_tables(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_corpus(tmp_path / name) == [Passage("1", "Sintra", TEXT), Passage("2", "Porto", 'He said "so".')]


def test_folders_of_others(tmp_path: Path) -> None:
    beir = tmp_path / "beir"
    lines(beir / "corpus.jsonl", {"_id": "a", "title": "", "text": TEXT})
    lines(beir / "queries.jsonl", {"_id": "q", "text": "Where?"})
    assert [passage.id for passage in read_corpus(beir)] == ["a"]
    shards = tmp_path / "shards"
    (shards / "data").mkdir(parents=True)
    (shards / "README.md").write_text("# A data set")
    (shards / ".cache").mkdir()
    lines(shards / ".cache" / "old.jsonl", {"id": "z", "text": TEXT})
    for number in range(2):
        table = pa.Table.from_pylist([{"id": f"{number}", "text": TEXT}, {"id": "same", "text": TEXT}])
        pq.write_table(table, shards / "data" / f"train-{number}.parquet")
    with pytest.warns(InputWarning, match=r"1 of 4 passages is skipped: data/train-1\.parquet, row 2 has the id"):
        assert [passage.id for passage in read_corpus(shards)] == ["0", "same", "1"]


def test_documents_beside_other_files_are_read_and_the_others_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# A\nB.")
    (tmp_path / "package.json").write_text("{}")
    with pytest.warns(InputWarning, match=r"1 other files \(package\.json\) are left out"):
        assert read_corpus(tmp_path) == [Passage("notes.md#1", "A", "B.")]


def test_a_passage_without_a_title_is_shown_and_found_by_its_text() -> None:
    bare, named = Passage("1", "", TEXT), Passage("2", "Porto", "It lies on the Douro.")
    assert show([bare]) == TEXT
    assert show([bare, named]) == f"(1) {TEXT} (2) Porto: It lies on the Douro."
    assert bare.name == "Sintra lies west of Lisbon."
    assert Passage("1", "", "one two three four five six seven eight").name == "one two three four five six"
    assert BM25Searcher([bare, named]).search(["where is sintra", "porto"], 1) == [[bare], [named]]
