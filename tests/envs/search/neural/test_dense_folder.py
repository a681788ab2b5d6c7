"""Dense and hybrid index folders: what they find, what they say of themselves, runs over them, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import encoders
from toys.searching_runs import SMALL, bits, timeless
from toys.services import serving

from piplay.cli.main import main
from piplay.envs.search.build import Dense, build
from piplay.envs.search.folder import FolderSearcher, SearchIndex, open_index
from piplay.envs.search.neural.hybrid import HybridSearcher
from piplay.envs.search.question import Passage
from piplay.envs.search.searcher import Hit, RankedSearcher
from piplay.errors import InputError
from piplay.search_service.app import make_app
from piplay.training.run_directory import Run

QUERIES = ["town river R7", "Town 3", "", "?!", "R1 R2 R3 lies", "unheard"]


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    encoders.install(monkeypatch)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return encoders.encoder(tmp_path / "encoder")


def made(towns: Path, out: Path, encoder: Path, kind: str = "dense", **options: Any) -> SearchIndex:
    return build(towns, out, kind=kind, dense=Dense(encoder, **options))


def test_a_dense_index_finds_the_nearest_passages(towns: Path, tmp_path: Path, encoder: Path) -> None:
    index = made(towns, tmp_path / "index", encoder)
    toy, passages = encoders.WordEncoder(encoder), index.searcher.passages
    scores = toy.queries(QUERIES).astype(float) @ toy.passages(passages).astype(float).T
    for query, of_query, hits in zip(QUERIES, scores, index.searcher.ranked(QUERIES, 7), strict=True):
        expected = np.lexsort((np.arange(40), -of_query.round(12)))[:7].tolist() if any(map(str.isalpha, query)) else []
        assert [number for number, _ in hits] == expected
    about = json.loads((tmp_path / "index" / "index.json").read_text())
    assert about["dense"]["encoder"] == toy.about
    assert (about["dense"]["vectors"], about["dense"]["recall"]) == ("flat", {"3": 1.0, "10": 1.0})
    assert {"faiss", "torch", "transformers"} < set(about["versions"])
    assert not (tmp_path / "index" / "bm25").exists()
    assert not (tmp_path / "index" / "raw.npy").exists()


class Fixed(RankedSearcher):
    def __init__(self, passages: list[Passage], hits: list[Hit]) -> None:
        super().__init__(passages)
        self.hits = hits

    def ranked(self, queries: Any, k: int) -> list[list[Hit]]:
        return [self.hits[:k] for _ in queries]


def test_fusion_is_by_weighted_ranks() -> None:
    passages = [Passage(str(i), "", "x") for i in range(5)]
    words, vectors = Fixed(passages, [(3, 9.0), (1, 8.0), (0, 1.0)]), Fixed(passages, [(1, 0.9), (4, 0.8)])
    [found] = HybridSearcher(passages, words, vectors, 0.7).ranked(["a"], 9)
    expected = {1: 0.3 / 62 + 0.7 / 61, 4: 0.7 / 62, 3: 0.3 / 61, 0: 0.3 / 63}
    assert [number for number, _ in found] == list(expected)
    assert [score for _, score in found] == pytest.approx(list(expected.values()))
    assert [n for n, _ in HybridSearcher(passages, words, vectors, 0.0).ranked(["a"], 3)[0]] == [3, 1, 0]
    tied = HybridSearcher(passages, Fixed(passages, [(3, 1.0)]), Fixed(passages, [(2, 1.0)]), 0.5)
    assert [number for number, _ in tied.ranked(["a"], 2)[0]] == [2, 3]


def test_a_hybrid_index_fuses_its_parts(towns: Path, tmp_path: Path, encoder: Path) -> None:
    hybrid = made(towns, tmp_path / "hybrid", encoder, "hybrid")
    parts = open_index(towns).searcher, made(towns, tmp_path / "dense", encoder).searcher
    expected = HybridSearcher(hybrid.searcher.passages, *parts, 0.7)
    assert hybrid.searcher.ranked(QUERIES, 5) == expected.ranked(QUERIES, 5)
    assert open_index(tmp_path / "hybrid").about == hybrid.about
    weighed = build(towns, tmp_path / "weighed", kind="hybrid", dense=Dense(encoder), dense_weight=0.2)
    assert weighed.about["index"] != hybrid.about["index"]


def test_a_reranker_orders_the_best_ten(towns: Path, tmp_path: Path) -> None:
    plain, reranked = open_index(towns), open_index(towns, rerank=tmp_path / "short")
    assert reranked.about["index"] != plain.about["index"]
    [hits], [best] = reranked.searcher.ranked(["town"], 3), plain.searcher.ranked(["town"], 10)
    length = {number: len(plain.searcher.passages[number].text) for number, _ in best}
    assert [number for number, _ in hits] == sorted(length, key=lambda number: length[number])[:3]
    assert reranked.searcher.ranked([""], 3) == [[]]


@pytest.mark.parametrize("name", ["Flat", "HNSW32"])
def test_vectors_of_faiss_are_imported(towns: Path, tmp_path: Path, encoder: Path, name: str) -> None:
    import faiss

    own = made(towns, tmp_path / "own", encoder)
    index = faiss.index_factory(encoders.DIMENSION, name, faiss.METRIC_INNER_PRODUCT)
    index.add(encoders.WordEncoder(encoder).passages(list(own.searcher.passages)))
    faiss.write_index(index, str(tmp_path / "theirs.faiss"))
    theirs = made(towns, tmp_path / "imported", encoder, imported=tmp_path / "theirs.faiss")
    assert theirs.searcher.ranked(QUERIES, 5) == own.searcher.ranked(QUERIES, 5)
    assert theirs.about["dense"]["recall"] == {"3": 1.0, "10": 1.0}


def test_a_low_recall_is_said(
    towns: Path, tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("piplay.envs.search.neural.vectors.recall", lambda *_: {"3": 0.99, "10": 0.94})
    words = ["search", "build", str(towns), "--kind", "dense", "--encoder", str(encoder)]
    assert main([*words, "--out", str(tmp_path / "index"), "--index", "ivf-sq8"]) == 0
    assert "recall@10 0.940" in (said := capsys.readouterr().err)
    assert "below 0.95: --index hnsw finds more" in said


@pytest.mark.slow
def test_what_does_not_fit_is_one_sentence(
    towns: Path, tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import faiss

    rng = np.random.default_rng(0)
    for name, size, dimension in (("few", 39, 24), ("wide", 40, 25), ("foreign", 40, 24)):
        index = faiss.IndexFlatIP(dimension)
        index.add(rng.standard_normal((size, dimension)).astype(np.float32))
        faiss.write_index(index, str(tmp_path / name))
    made(towns, tmp_path / "index", encoder)
    shutil.move(encoder, tmp_path / "moved")
    other = encoders.encoder(tmp_path / "other", seed=1)
    wordless = tmp_path / "wordless.jsonl"
    wordless.write_text('{"id": 1, "text": "..."}\n')
    (tmp_path / "empty.jsonl").write_text("")
    moved, index = str(tmp_path / "moved"), str(tmp_path / "index")
    dense = ["--kind", "dense", "--encoder", moved]
    new = ["build", str(towns), "--out", str(tmp_path / "new")]
    for words, said in [
        ([*new, "--kind", "dense"], "needs an encoder"),
        ([*new, "--encoder", moved], "--encoder is for --kind dense or hybrid"),
        ([*new, "--index", "flat"], "--index is for vectors"),
        ([*new, "--import", "x"], "--import is for vectors"),
        ([*new, *dense, "--import", str(tmp_path / "none")], "does not exist"),
        ([*new, *dense, "--import", str(towns)], "no index of faiss"),
        ([*new, *dense, "--import", str(tmp_path / "few")], "has 39 vectors, and the corpus 40 passages"),
        ([*new, *dense, "--import", str(tmp_path / "wide")], "vectors of 25 numbers, and the encoder makes 24"),
        ([*new, *dense, "--import", str(tmp_path / "foreign")], "are not those of the corpus's passages"),
        ([*new, *dense, "--import", str(tmp_path / "few"), "--index", "hnsw"], "give one of them"),
        ([*new, *dense, "--shards", "0"], "--shards is 0"),
        ([*new, "--kind", "hybrid", "--encoder", moved, "--dense-weight", "1.5"], "--dense-weight is 1.5"),
        (["build", str(wordless), "--out", str(tmp_path / "new"), "--kind", "hybrid", "--encoder", moved], "one word"),
        (["build", str(tmp_path / "empty.jsonl"), "--out", str(tmp_path / "new"), *dense], "holds no passages"),
        (["ask", index, "river"], "the encoder of"),
        (["ask", index, "river", "--encoder", str(other)], "is not the one that"),
        (["ask", str(towns), "river", "--encoder", moved], "searched by BM25 alone"),
        (["ask", "http://127.0.0.1:1", "river", "--encoder", moved], "is a service"),
        (["serve", index, "--port", "0"], "the encoder of"),
    ]:
        assert main(["search", *words]) == 2, words
        [line] = capsys.readouterr().err.splitlines()
        assert said in line, words
    assert not (tmp_path / "new").exists()
    assert main(["search", "ask", index, "river R7", "--encoder", moved, "--topk", "1"]) == 0


@pytest.mark.parametrize("harm", ["cut", "gone", "edited"])
def test_a_damaged_folder_is_refused(towns: Path, tmp_path: Path, encoder: Path, harm: str) -> None:
    made(towns, tmp_path / "index", encoder)
    file, about = tmp_path / "index" / "vectors.faiss", tmp_path / "index" / "index.json"
    match harm:
        case "cut":
            file.write_bytes(file.read_bytes()[:-1])
        case "gone":
            file.unlink()
        case "edited":
            about.write_text(about.read_text().replace('"dimension": 24', '"dimension": 23'))
    with pytest.raises(InputError, match=r"build (or import )?it again"):
        open_index(tmp_path / "index")


def test_an_index_of_another_corpus_is_refused(towns: Path, tmp_path: Path, encoder: Path) -> None:
    made(towns, tmp_path / "index", encoder)
    passages = list(open_index(towns).searcher.passages)
    path = str(tmp_path / "index")
    searcher = FolderSearcher(passages, path=path)
    assert searcher.search(["Town 3"], 2) == open_index(tmp_path / "index").searcher.search(["Town 3"], 2)
    for other, said in [(passages[1:], "of 40 passages, and the run has 39"), (passages[::-1], "number 1 differs")]:
        with pytest.raises(InputError, match=said):
            FolderSearcher(other, path=path)
    with pytest.raises(InputError, match="the run began with 123"):
        FolderSearcher(passages, path=path, index="123")
    with pytest.raises(InputError, match="is no index folder"):
        FolderSearcher(passages, path=str(towns))


@pytest.mark.slow
def test_a_run_searches_an_index_and_resumes_to_the_bit(
    small_world: Path,
    tmp_path: Path,
    encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Over the folder, over a service of it, and once it was cut."""
    index = build(small_world, tmp_path / "index", kind="hybrid", dense=Dense(encoder))
    monkeypatch.chdir(tmp_path)
    command = ["train", "smoke", "--world", str(small_world), *SMALL.split()]
    over = ["--environment.searcher", "folder:FolderSearcher", "--environment.searcher_options.path", "index"]
    local, remote = Path("local"), Path("remote")
    assert main([*command, *over, "--run-dir", "local"]) == 0
    options = Run.open(local).config.environment.options["searcher_options"]
    assert options == {"path": str(tmp_path / "index"), "index": index.about["index"]}
    with serving(make_app(index, topk=3)) as url:
        over = ["--environment.searcher", "http:HTTPSearcher", "--environment.searcher_options.url", url]
        assert main([*command, *over, "--run-dir", "remote"]) == 0
    assert bits(remote) == bits(local)
    assert timeless(remote) == timeless(local)

    (local / "summary.json").unlink()
    shutil.rmtree(max((local / "checkpoints").iterdir(), key=lambda path: int(path.name)))
    shutil.move("index", "away")
    build(small_world, tmp_path / "index", kind="dense", dense=Dense(encoder))
    capsys.readouterr()
    assert main(["resume", "local"]) == 2
    assert f"the run began with {index.about['index']}" in capsys.readouterr().err
    shutil.rmtree("index")
    shutil.move("away", "index")
    assert main(["resume", "local"]) == 0
    assert bits(local) == bits(remote)
    assert timeless(local) == timeless(remote)
