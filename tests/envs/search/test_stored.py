"""Large corpora: passages on disk, and what is kept of them in the cache."""

import gzip
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.cache import cache_folder, kept
from piplay.envs.search.corpus import StoredPassages, read_corpus
from piplay.envs.search.question import Passage
from piplay.envs.search.stored import Chosen
from piplay.envs.world.generate import encyclopedia
from piplay.envs.world.render import passages
from piplay.errors import InputError, InputWarning
from piplay.files import files_below

PASSAGES = passages(encyclopedia(0, 100), 0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "piplay"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piplay.envs.search.corpus.LARGE", 0)


def write(path: Path, found: list[Passage]) -> Path:
    lines = [json.dumps({"id": p.id, "contents": f"{p.title}\n{p.text}"}, ensure_ascii=False) for p in found]
    path.write_bytes("\r\n\n".join(["\ufeff", *lines]).encode())
    return path


def entries(cache: Path) -> dict[str, int]:
    return {folder.name: folder.stat().st_ino for folder in cache.iterdir()}


@pytest.mark.usefixtures("large")
def test_passages_on_disk_are_those_in_memory(tmp_path: Path) -> None:
    few = [*PASSAGES[:50], Passage("ÅŁ", "Москва 東京", "café – один")]
    stored = read_corpus(write(tmp_path / "corpus.jsonl", few))
    assert isinstance(stored, StoredPassages)
    assert list(stored) == few
    assert (len(stored), stored[-1], stored[3], stored[45:2:-7]) == (51, few[-1], few[3], few[45:2:-7])
    for outside in (51, -52):
        with pytest.raises(IndexError):
            stored[outside]


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_a_search_on_disk_finds_what_one_in_memory_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The searcher in memory is made to score every passage, so that nothing is chosen beforehand."""
    many = passages(encyclopedia(0, 5000), 0)
    stored = BM25Searcher(read_corpus(write(tmp_path / "corpus.jsonl", many)))
    queries = [p.title for p in many[::20]] + [" ".join(p.text.split()[i % 9 :: 4]) for i, p in enumerate(many[::9])]
    queries += ["the river", "is", "mentor birth year", "no-such word", "", "Belbas Belbas the the"]
    for k in (1, 3, 40):
        found = stored.search(queries, k)
        with monkeypatch.context() as patched:
            patched.setattr("piplay.envs.search.index.DENSE", 10**9)
            assert found == BM25Searcher(many).search(queries, k)


@pytest.mark.usefixtures("large")
def test_the_index_is_made_once_for_one_content(tmp_path: Path, cache: Path) -> None:
    file = write(tmp_path / "corpus.jsonl", PASSAGES[:40])
    BM25Searcher(read_corpus(file))
    before = entries(cache)
    assert len(before) == 2
    file.rename(tmp_path / "moved.jsonl")
    BM25Searcher(read_corpus(tmp_path / "moved.jsonl"))
    assert entries(cache) == before
    changed = read_corpus(write(file, [*PASSAGES[:39], Passage("x", "Quay", "A quay of stone.")]))
    assert BM25Searcher(changed).search(["quay"], 1) == [[changed[39]]]
    assert len(entries(cache)) == 4
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".jsonl"] == ["cache"]


def test_a_small_corpus_writes_nothing(tmp_path: Path, cache: Path) -> None:
    BM25Searcher(read_corpus(write(tmp_path / "corpus.jsonl", PASSAGES[:40]))).search(["river"], 1)
    assert not cache.exists()


@pytest.mark.usefixtures("large")
def test_what_is_skipped_of_a_large_file_is_said_each_time_it_is_opened(tmp_path: Path, cache: Path) -> None:
    file = write(tmp_path / "corpus.jsonl", [*PASSAGES[:40], PASSAGES[7], PASSAGES[41]])
    for _ in range(2):
        with pytest.warns(InputWarning, match=r"1 of 42 passages is skipped: line 83 has the id of an earlier one"):
            assert list(read_corpus(file)) == [*PASSAGES[:40], PASSAGES[41]]
    with pytest.raises(InputError, match="line 83 has the id of an earlier one"):
        read_corpus(file, strict=True)
    shutil.rmtree(cache)
    with pytest.raises(InputError, match="line 83 has the id of an earlier one"):
        read_corpus(file, strict=True)
    assert entries(cache) == {}


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("ending", ["jsonl.gz", "json", "tsv", "parquet", "jsonl"])
def test_a_large_file_that_is_not_read_line_by_line_is_copied(tmp_path: Path, ending: str) -> None:
    """The last has no ids: a line alone does not say its number."""
    file = other_format(tmp_path / f"corpus.{ending}", PASSAGES[:40], ids=ending != "jsonl")
    stored = read_corpus(file)
    file.unlink()
    assert isinstance(stored, StoredPassages)
    assert [(p.title, p.text) for p in stored] == [(p.title, p.text) for p in PASSAGES[:40]]
    assert stored[-1].id == (PASSAGES[39].id if ending != "jsonl" else "40")


def other_format(file: Path, passages: list[Passage], ids: bool) -> Path:
    rows = [({"_id": p.id} if ids else {}) | {"title": p.title, "text": p.text} for p in passages]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    match file.suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), file)
        case ".tsv":
            file.write_text("id\ttext\ttitle\n" + "".join(f"{p.id}\t{p.text}\t{p.title}\n" for p in passages))
        case ".json":
            file.write_text(json.dumps(rows, indent=1))
        case ".gz":
            file.write_bytes(gzip.compress(lines))
        case _:
            file.write_bytes(lines)
    return file


@pytest.mark.usefixtures("large")
def test_a_file_that_is_cut_short_in_use_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "corpus.jsonl", PASSAGES[:40])
    stored = read_corpus(file)
    os.truncate(file, file.stat().st_size // 2)
    assert stored[0] == PASSAGES[0]
    with pytest.raises(InputError, match=r"corpus\.jsonl was cut short"):
        stored[39]


def test_what_a_killed_process_left_is_cleared(cache: Path) -> None:
    (cache / "a.half").mkdir(parents=True)
    (cache / "a.half" / "junk").write_text("half")
    folder = kept("a", lambda half: (half / "whole").touch())
    assert sorted(file.name for file in folder.iterdir()) == ["hashes.json", "whole"]
    assert entries(cache).keys() == {"a"}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flipped", "cut", "emptied", "removed", "added"])
@pytest.mark.parametrize("kind", ["bm25", "passages"])
@pytest.mark.usefixtures("large")
def test_what_is_damaged_is_made_again(tmp_path: Path, cache: Path, kind: str, how: str) -> None:
    """Each file of the cache in turn: what is found stays what a searcher in memory finds."""
    corpus = write(tmp_path / "corpus.jsonl", PASSAGES[:60])
    queries = [passage.text for passage in PASSAGES[:60:9]]

    def found() -> list[list[str]]:
        searcher = BM25Searcher(read_corpus(corpus))
        return [[passage.id for passage in passages] for passages in searcher.search(queries, 3)]

    wanted = found()
    [folder] = [folder for folder in cache.iterdir() if kind in folder.name]
    for file in files_below(folder):
        raw = file.read_bytes()
        if how == "removed":
            file.unlink()
        elif how == "added":
            (folder / "more").touch()
        else:
            middle = len(raw) // 2
            changed = {"flipped": raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :], "cut": raw[:-1]}
            file.write_bytes(changed.get(how, b""))
        with pytest.warns(InputWarning, match=r"was damaged and is made again"):
            assert found() == wanted
        assert found() == wanted


def test_what_fails_leaves_nothing_and_can_be_tried_again(cache: Path) -> None:
    def fail(half: Path) -> None:
        (half / "some").write_text("x")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        kept("a", fail)
    assert entries(cache) == {}
    assert kept("a", lambda half: None).is_dir()


def test_a_cache_that_cannot_be_written_is_said(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file in its place")
    with pytest.raises(InputError, match=r"cannot be written .* set XDG_CACHE_HOME"):
        kept("a", lambda half: None)


def _slowly(log: Path) -> None:
    def make(half: Path) -> None:
        with log.open("a") as file:
            file.write("made\n")
        (half / "first").write_text("1")
        time.sleep(0.3)
        (half / "second").write_text("2")

    assert {file.name for file in kept("a", make).iterdir()} == {"first", "second", "hashes.json"}


def test_of_several_processes_one_makes_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_slowly, args=(tmp_path / "log",)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert (tmp_path / "log").read_text() == "made\n"


def test_the_cache_is_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache" / "piplay"
    for unset in ("", "relative"):  # the specification has relative paths ignored
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_folder() == Path.home() / ".cache" / "piplay"


def test_a_choice_keeps_its_order() -> None:
    chosen = Chosen("abcdef", [4, 0, 2])
    assert (list(chosen), len(chosen), chosen[-1], chosen[1:]) == (["e", "a", "c"], 3, "c", ["a", "c"])
