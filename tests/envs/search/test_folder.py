"""Index folders: what they say of themselves, that they find what the corpus finds, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from piplay.cli.main import main
from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.build import build
from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.folder import open_index
from piplay.errors import InputError

QUERIES = ["town river R7", "Town 3", "", "R1 R2 R3 lies", "unheard"]


def test_a_folder_finds_what_its_corpus_finds(towns: Path, tmp_path: Path) -> None:
    built = build(towns, tmp_path / "index")
    local = BM25Searcher(read_corpus(towns))
    moved = shutil.move(tmp_path / "index", tmp_path / "moved")
    for index in (built, open_index(Path(moved)), open_index(towns)):
        assert index.searcher.search(QUERIES, 4) == local.search(QUERIES, 4)
        assert index.about["index"] == built.about["index"]
    about = json.loads((tmp_path / "moved" / "index.json").read_text())
    assert (about["passages"], about["kind"], about["title_weight"]) == (40, "bm25", 5.0)
    assert set(about["versions"]) == {"piplay", "python", "numpy"}


def test_scores_are_those_of_the_ranking(towns: Path) -> None:
    searcher = open_index(towns).searcher
    for query, hits in zip(QUERIES, searcher.ranked(QUERIES, 5), strict=True):
        assert [searcher.passages[i] for i, _ in hits] == searcher.search([query], 5)[0]
        scores = [score for _, score in hits]
        assert scores == sorted(scores, reverse=True)
        assert all(score > 0 for score in scores)


def test_a_world_is_searched_as_runs_search_it(small_world: Path, tmp_path: Path) -> None:
    local = SearchEnvironment(world=small_world, truth=False).searcher
    queries = [f"{passage.title} river" for passage in read_corpus(small_world)[:50]]
    assert build(small_world, tmp_path / "index").searcher.search(queries, 3) == local.search(queries, 3)


def test_the_fingerprint_is_of_what_decides_what_is_found(towns: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in towns.read_text().splitlines()]
    same, other = tmp_path / "same.json", tmp_path / "other.jsonl"
    same.write_text(json.dumps(rows))
    other.write_text("".join(json.dumps(row) + "\n" for row in [*rows[1:], rows[0]]))
    marks = [open_index(path).about["index"] for path in (towns, same, other)]
    assert marks[0] == marks[1] != marks[2]
    assert build(towns, tmp_path / "weighed", 2.0).about["index"] != marks[0]


def test_what_is_wrong_is_one_sentence(towns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wordless = tmp_path / "wordless.jsonl"
    wordless.write_text('{"id": 1, "text": "..."}\n')
    with pytest.raises(InputError, match="has not one word"):
        build(wordless, tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wordless.jsonl"]
    index = tmp_path / "index"
    assert main(["search", "build", str(towns), "--out", str(index)]) == 0
    assert main(["search", "ask", str(index), "river R7", "--topk", "1"]) == 0
    assert "lies on the river R7." in capsys.readouterr().out
    for words, said in [
        (["build", str(towns), "--out", str(index)], "exists already"),
        (["build", str(tmp_path / "no"), "--out", str(tmp_path / "new")], "does not exist"),
        (["build", str(towns), "--out", str(tmp_path / "new"), "--title-weight", "0"], "--title-weight is 0.0"),
        (["build", str(towns), "--out", str(towns / "new")], "cannot be read or written"),
        (["ask", str(index), "river", "--topk", "0"], "--topk is 0"),
        (["ask", str(tmp_path / "no"), "river"], "does not exist"),
        (["serve", str(index), "--port", "70000"], "--port is 70000"),
        (["serve", str(index), "--host", "no.such.host.invalid", "--port", "0"], "cannot be listened on"),
    ]:
        assert main(["search", *words]) == 2, words
        [line] = capsys.readouterr().err.splitlines()
        assert said in line


@pytest.mark.parametrize("harm", ["cut", "gone", "edited", "older", "no JSON"])
def test_a_damaged_folder_is_refused(towns: Path, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "index"
    build(towns, folder)
    about = folder / "index.json"
    match harm:
        case "cut":
            (folder / "bm25" / "0" / "rows.npy").write_bytes(b"")
        case "gone":
            (folder / "passages.jsonl").unlink()
        case "edited":
            about.write_text(about.read_text().replace('"k1": 1.5', '"k1": 1.2'))
        case "older":
            about.write_text(about.read_text().replace('"schema": 2', '"schema": 0'))
        case "no JSON":
            about.write_text("{")
    with pytest.raises(InputError, match="build it again"):
        open_index(folder)
