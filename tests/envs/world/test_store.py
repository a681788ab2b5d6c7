"""World folders: what is written is read back, and what cannot be read is said."""

import hashlib
import json

import pytest

from piplay.envs.search.corpus import read_corpus
from piplay.envs.world.benchmark import questions
from piplay.envs.world.generate import encyclopedia
from piplay.envs.world.store import build, read_questions, read_world, write_world
from piplay.errors import InputError

RECORDS = encyclopedia(0, 150)


@pytest.fixture
def folder(tmp_path):
    write_world(tmp_path / "world", RECORDS, 0, "test", per_hop=5)
    return tmp_path / "world"


def test_round_trip(folder):
    world = read_world(folder)
    assert world == build(RECORDS, 0, 5)
    assert tuple(read_corpus(folder)) == world.passages
    assert [p.name for p in folder.parent.iterdir()] == ["world"]


def test_a_large_world_reads_as_a_small_one(folder, tmp_path, monkeypatch):
    small = read_world(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("piplay.envs.world.store.LARGE", 0)
    monkeypatch.setattr("piplay.envs.search.corpus.LARGE", 0)
    large = read_world(folder)
    assert not isinstance(large.records.entities, tuple)
    assert not isinstance(large.passages, tuple)
    assert tuple(large.records) == small.records.entities
    assert {name: large.records.by_name[name] for name in large.records.by_name} == dict(small.records.by_name)
    assert tuple(large.passages) == small.passages
    assert (large.train_ids, large.train, large.heldout) == (small.train_ids, small.train, small.heldout)
    assert questions(large.records, sorted(large.train_ids), 7, 3) == questions(
        small.records, sorted(small.train_ids), 7, 3
    )


@pytest.mark.slow
def test_the_default_world_is_the_one_that_results_were_measured_on(tmp_path):
    write_world(tmp_path / "world", encyclopedia(0), 0, "encyclopedia of 700 entities")
    digests = {
        file.stem: hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
        for file in (tmp_path / "world").iterdir()
        if file.suffix == ".jsonl"
    }
    assert digests == {
        "records": "0bc7f32d5899986c",
        "passages": "8383b96febf62f1d",
        "train": "2dab8b62457be232",
        "heldout": "5aa833888fef7256",
    }


def test_the_files_are_flashrags(folder):
    passage = json.loads((folder / "passages.jsonl").read_text().splitlines()[0])
    assert passage.keys() == {"id", "contents"}
    title, text = passage["contents"].split("\n")
    assert title == passage["id"] == RECORDS.entities[0].name
    assert title in text
    question = json.loads((folder / "heldout.jsonl").read_text().splitlines()[-1])
    assert question.keys() == {"id", "question", "golden_answers", "metadata"}
    assert question["metadata"]["hops"] == 4
    assert [step.keys() for step in question["metadata"]["path"]] == [{"query", "relation", "value"}] * 4
    assert question["metadata"]["path"][-1]["value"] == question["golden_answers"][0]
    about = json.loads((folder / "world.json").read_text())
    assert about.keys() == {"seed", "source", "entities", "relations", "train"}
    assert (about["seed"], about["source"], about["entities"]) == (0, "test", len(RECORDS.entities))
    starts = {json.loads(line)["metadata"]["path"][0]["query"] for line in (folder / "heldout.jsonl").open()}
    assert starts
    assert not starts & set(about["train"])


def test_same_seed_same_bytes(folder, tmp_path):
    write_world(tmp_path / "again", encyclopedia(0, 150), 0, "test", per_hop=5)
    write_world(tmp_path / "other", encyclopedia(1, 150), 1, "test", per_hop=5)
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
        assert (tmp_path / "other" / file.name).read_bytes() != file.read_bytes()


def test_an_existing_folder_is_left_alone(folder, tmp_path):
    before = (folder / "world.json").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        write_world(folder, RECORDS, 1, "test")
    assert (folder / "world.json").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        write_world(tmp_path / "file", RECORDS, 1, "test")
    with pytest.raises(InputError, match="cannot be written"):
        write_world(tmp_path / "file" / "below", RECORDS, 1, "test")
    (tmp_path / "empty").mkdir()
    write_world(tmp_path / "empty", RECORDS, 1, "test", per_hop=1)
    assert (tmp_path / "empty" / "world.json").exists()


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("piplay.envs.world.store.os.replace", fail)
    with pytest.raises(InputError, match="No space left"):
        write_world(tmp_path / "world", RECORDS, 0, "test", per_hop=1)
    assert not list(tmp_path.iterdir())


def test_no_world(tmp_path):
    with pytest.raises(InputError, match=r"no world\.json"):
        read_world(tmp_path / "nowhere")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["records.jsonl", "passages.jsonl", "train.jsonl", "heldout.jsonl"])
def test_a_missing_or_broken_file_is_named(folder, name):
    file = folder / name
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], "{broken", *lines[3:]]))
    with pytest.raises(InputError, match=f"{name}, line 3 "):
        read_world(folder)
    file.write_bytes(b'{"id": "\xff"}')
    with pytest.raises(InputError, match=f"{name}.* is not UTF-8"):
        read_world(folder)
    file.unlink()
    with pytest.raises(InputError, match=name):
        read_world(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facts": ["a"]}, 'line 2 cannot be read: "facts"'),
        ({"facts": {"a": 1}}, 'line 2 cannot be read: "facts"'),
        ({"name": ""}, 'line 2 cannot be read: "name"'),
        ({"name": RECORDS.entities[0].name}, "lines 1 and 2 both name"),
        ({"name": "Somebody Else"}, "one passage a record"),
    ],
)
def test_bad_records(folder, change, message):
    lines = (folder / "records.jsonl").read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    (folder / "records.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match=message):
        read_world(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [("[]", 'no list "train"'), ("{", 'no list "train"'), ("{}", 'no list "train"'), ('{"train": ["X Y"]}', '"X Y"')],
)
def test_bad_world_json(folder, text, message):
    (folder / "world.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_world(folder)


def test_questions_of_another_benchmark(tmp_path):
    file = tmp_path / "dev.jsonl"
    lines = [
        {"id": "dev_0", "question": "Who?", "golden_answers": ["A", "B"]},
        {"id": 7, "question": "When?", "golden_answers": ["1"], "metadata": {"hops": "two", "path": ["x"]}},
    ]
    file.write_text("\n\n".join(map(json.dumps, lines)))
    first, second = read_questions(file)
    assert (first.id, first.question, first.answers, first.hops, first.path) == ("dev_0", "Who?", ("A", "B"), None, ())
    assert (second.id, second.hops, second.path) == ("7", None, ())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"id": 1, "question": "Who?"}, '"golden_answers" is missing'),
        ({"id": 1, "question": "Who?", "golden_answers": []}, "empty"),
        ({"id": 1, "question": "Who?", "golden_answers": "A"}, "list"),
        ({"id": 1, "question": "Who?", "golden_answers": [3]}, "text"),
        ({"id": 1, "question": " ", "golden_answers": ["A"]}, "question"),
        ([1], "line 1"),
    ],
)
def test_bad_questions(tmp_path, line, message):
    file = tmp_path / "dev.jsonl"
    file.write_text(json.dumps(line))
    with pytest.raises(InputError, match=message):
        read_questions(file)
    file.write_text("\n")
    with pytest.raises(InputError, match="holds no questions"):
        read_questions(file)
