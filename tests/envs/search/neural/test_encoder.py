"""Encoders and rerankers of sentence-transformers against transformers alone, on random models of E5's shape."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

from piplay.cli.main import main
from piplay.envs.search.build import Dense, build
from piplay.envs.search.folder import open_index
from piplay.envs.search.neural.encoder import SentenceEncoder, prefixes
from piplay.envs.search.neural.rerank import CrossEncoderReranker
from piplay.envs.search.question import Passage
from piplay.errors import InputError

WORDS = [
    "query",
    "passage",
    ":",
    "town",
    "river",
    "lies",
    "on",
    "the",
    "in",
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "r",
    "bor",
    "elren",
    "?",
    ".",
    '"',
    "capital",
    "of",
    "what",
    "is",
]
PASSAGES = [
    Passage("1", "Bor", "Bor is the capital of Elren."),
    Passage("2", "", "The river lies in Elren."),
    Passage("3", "Town 7", "Town 7 lies on the river R7. " * 60),
]
QUERIES = ["what is the capital of Elren?", "river", "Town 7"]


def tiny(folder: Path, kind: Any, **options: Any) -> Path:
    torch.manual_seed(len(folder.name))
    folder.mkdir()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*specials, *WORDS, *(f"##{word}" for word in WORDS)]))
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=5 + 2 * len(WORDS), initializer_range=0.5, **shape, **options)
    kind(config).eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def e5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sentence_transformers")
    return tiny(tmp_path_factory.mktemp("models") / "e5-base-v2", BertModel)


def search_r1(folder: Path, texts: list[str]) -> np.ndarray[Any, Any]:
    """As Search-R1 encodes with E5: the mean over a batch's tokens, padding aside, and its length made 1."""
    tokens = AutoTokenizer.from_pretrained(folder)(
        texts, max_length=256, padding=True, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder)(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    return torch.nn.functional.normalize(mean, dim=-1).numpy()


def test_vectors_are_those_of_search_r1s_way(e5: Path) -> None:
    encoder = SentenceEncoder(e5)
    contents = ['passage: "Bor"\nBor is the capital of Elren.', "passage: The river lies in Elren."]
    contents.append(f'passage: "Town 7"\n{PASSAGES[2].text}')
    assert np.abs(encoder.passages(PASSAGES) - search_r1(e5, contents)).max() < 1e-5
    asked = encoder.queries(QUERIES)
    assert np.abs(asked - search_r1(e5, [f"query: {query}" for query in QUERIES])).max() < 1e-5
    assert np.array_equal(asked, np.concatenate([encoder.queries([query]) for query in QUERIES]))
    about = encoder.about
    assert (about["dimension"], about["pooling"], about["tokens"]) == (32, "mean", 256)
    assert (about["query_prefix"], about["passage_prefix"]) == ("query: ", "passage: ")
    plain = SentenceEncoder(e5, "", "")
    assert np.abs(plain.queries(QUERIES) - search_r1(e5, QUERIES)).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "prompts", "expected"),
    [
        ("e5-base-v2", {"query": "", "document": ""}, ("query: ", "passage: ")),
        ("intfloat_multilingual-e5-large", {}, ("query: ", "passage: ")),
        ("multilingual-e5-large-instruct", {}, ("", "")),
        ("bge-small-en-v1.5", {}, ("Represent this sentence for searching relevant passages: ", "")),
        ("bge-m3", {}, ("", "")),
        ("all-MiniLM-L6-v2", {"query": "", "document": ""}, ("", "")),
        ("e5-base-v2", {"query": "q ", "document": "d "}, ("q ", "d ")),
        ("mine", {"query": "Ask: "}, ("Ask: ", "")),
    ],
)
def test_prefixes_are_the_folders_own_or_its_familys(
    name: str, prompts: dict[str, str], expected: tuple[str, str]
) -> None:
    assert prefixes(name, prompts) == expected


def test_a_folders_own_modules_and_prompts_are_used(e5: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(e5))
    pooling = Pooling(32, pooling_mode="cls")
    own = SentenceTransformer(modules=[transformer, pooling], prompts={"query": "what ", "document": "the "})
    own.save_pretrained(str(tmp_path / "own"))
    encoder = SentenceEncoder(tmp_path / "own")
    assert (encoder.about["query_prefix"], encoder.about["pooling"]) == ("what ", "cls")
    expected = own.encode(["what river"], prompt="", normalize_embeddings=True)
    assert np.abs(encoder.queries(["river"]) - expected).max() < 1e-6
    assert encoder.about["hash"] != SentenceEncoder(e5).about["hash"]


def test_an_index_by_it_is_opened_with_it_alone(e5: Path, towns: Path, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    built = build(towns, tmp_path / "index", kind="dense", dense=Dense(e5))
    again = open_index(tmp_path / "index").searcher
    assert again.ranked(QUERIES, 5) == built.searcher.ranked(QUERIES, 5)
    with pytest.raises(InputError, match=r"is not the one .*other: hash"):
        open_index(tmp_path / "index", encoder=tiny(tmp_path / "e5-small", BertModel))


def test_a_reranker_scores_as_its_model_does(e5: Path, tmp_path: Path) -> None:
    folder = tiny(tmp_path / "cross", BertForSequenceClassification, num_labels=1)
    texts = ['"Bor"\nBor is the capital of Elren.', "The river lies in Elren."]
    tokens = AutoTokenizer.from_pretrained(folder)([QUERIES[0]] * 2, texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = torch.sigmoid(BertForSequenceClassification.from_pretrained(folder)(**tokens).logits[:, 0])
    scores = CrossEncoderReranker(folder).scores(QUERIES[0], PASSAGES[:2])
    assert scores == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_folder_that_is_no_model_is_one_sentence(
    e5: Path, towns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    build_it = ["search", "build", str(towns), "--out", str(tmp_path / "index"), "--kind", "dense", "--encoder"]
    ask = ["search", "ask", str(towns), "river", "--rerank"]
    for command, what in ((build_it, "encoder"), (ask, "reranker")):
        for name, said in (("none", "is no model folder"), ("broken", "cannot be loaded")):
            assert main([*command, str(tmp_path / name)]) == 2
            *_, line = capsys.readouterr().err.splitlines()
            assert f"the {what} {tmp_path / name} {said}" in line
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("missing", ["faiss", "sentence_transformers"])
def test_a_missing_library_is_one_sentence_with_the_command(
    towns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    for name in ("faiss", "sentence_transformers"):
        monkeypatch.setitem(sys.modules, name, None if name == missing else ModuleType(name))
    (tmp_path / "config.json").write_text("{}")
    words = ["--out", str(tmp_path / "index"), "--kind", "dense", "--encoder", str(tmp_path)]
    assert main(["search", "build", str(towns), *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"needs {missing}: pip install 'piplay[dense]'" in line
