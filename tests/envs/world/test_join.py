"""Worlds of a table and of text: which passages are a row's, which facts count, and what is asked."""

import json

import pytest

from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Passage
from piplay.envs.world.commands import ask, import_
from piplay.envs.world.join import arranged, join
from piplay.envs.world.questions import Solver, Verdict
from piplay.envs.world.records import Entity, Records
from piplay.envs.world.store import read_world
from piplay.errors import InputError

LANDS = [f"Land {chr(65 + i)}" for i in range(26)]


def lands():
    """A ring of lands; each founded in a year, with a balance and two languages."""
    return [
        (name, LANDS[(i + 1) % 26], str(1900 + i), str(-5 - i), "Northish,Southish" if i % 2 else "Sarn")
        for i, name in enumerate(LANDS)
    ]


def told(name, beside, year, balance, tongues):
    return f"It lies beside {beside}. Founded on March 2, {year}, it owes {balance}; {tongues} is spoken."


@pytest.fixture
def files(tmp_path):
    """The table; and a corpus without Land Z, whose passages state all but every fourth balance and the Southish."""
    rows = lands()
    (tmp_path / "lands.csv").write_text(
        "land,neighbour,founded,balance,language\n" + "".join(f'{",".join(row[:4])},"{row[4]}"\n' for row in rows)
    )
    lines = [{"id": f"t{i}", "contents": f"Town {i}\nA town of Land C."} for i in range(5)]
    for i, (name, beside, year, balance, tongues) in enumerate(rows[:25]):
        title = (name, f"{name} (country)", name.upper(), name.replace(" ", "_"))[i % 4]
        text = told(name, beside, year, "nothing" if i % 4 == 3 else balance, tongues.split(",")[0])
        lines.append({"id": f"p{i}", "contents": f"{title}\n{text}"})
    lines.append({"id": "p0b", "contents": "Land A\nAnother text of it."})
    (tmp_path / "text.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_only_what_a_passage_states_is_a_fact(files, capsys):
    world = import_([files / "lands.csv"], files / "w", passages=files / "text.jsonl", per_hop=10)
    said = capsys.readouterr().out
    assert "31 passages: 25 rows have one by their title, 1 rows have none" in said
    assert "1 rows have several" in said
    assert "balance: 19 stated, 6 not" in said
    assert "language: 25 stated, 12 not" in said
    assert "founded: 25 stated, 0 not" in said
    entity = world.records.by_name["Land D"]
    assert entity.facts == {"neighbour": "Land E", "founded": "1903", "language": "Northish"}
    assert (entity.more, entity.unstated) == ({}, {"language": ("Southish",)})
    assert "Land Z" not in world.records.by_name
    texts = {passage.id: f"{passage.title} {passage.text}" for passage in world.passages}
    for question in [*world.train, *world.heldout]:
        for hop in question.path:
            assert hop.value in texts[hop.query] or hop.value.upper() in texts[hop.query]


def test_what_is_true_and_not_stated_is_right_where_it_is_an_alternative(files):
    records = import_([files / "lands.csv"], files / "w", passages=files / "text.jsonl", per_hop=5).records
    solver = Solver(records)
    assert solver.judge("What is the language of Land D?", "Southish") is Verdict.TRUE
    assert solver.judge("What is the balance of Land D?", "-8") is Verdict.ILL_TYPED
    assert solver.judge("What is the balance of Land C?", "-7") is Verdict.TRUE
    assert solver.judge("What is the balance of Land C?", "7") is Verdict.FALSE


def test_the_world_folder_is_searched_whole_and_started_from_in_part(files, capsys):
    made = import_([files / "lands.csv"], files / "w", passages=files / "text.jsonl", per_hop=5)
    read = read_world(files / "w")
    assert (read.train, read.heldout) == (made.train, made.heldout)
    assert tuple(read.records) == tuple(made.records)
    assert [passage.id for passage in read.passages][:25] == list(read.records.by_name)
    corpus = {(passage.title, passage.text) for passage in read_corpus(files / "text.jsonl")}
    assert {(passage.title, passage.text) for passage in read.passages} == corpus
    environment = SearchEnvironment(world=files / "w")
    assert {passage.id for passage in environment.seeds} == read.train_ids
    assert len(environment.searcher.search(["Town"], 5)[0]) == 5
    capsys.readouterr()
    assert ask("What is the founded of the neighbour of Land B?", files / "w") is Verdict.TRUE
    assert "true: 1902" in capsys.readouterr().out


def test_the_passage_that_states_most_is_taken_and_ids_stay_apart():
    facts = {f"r{i}": f"value {i}" for i in range(3)}
    records = Records(tuple(Entity(f"N{i}", "x", facts, (f"Alias{i}",)) for i in range(20)))
    corpus = [Passage(f"c{i}", f"alias{i}", "It has value 1.") for i in range(2, 20)]
    corpus += [Passage("N3", "N0", "It has value 0."), Passage("b", "n0", "It has value 1 and value 2.")]
    corpus += [Passage("c", "N1 (thing)", "value 0"), Passage("d", "alias1", "value 0, value 1, value 2")]
    kept, places, counts = join(records, corpus, "text")
    assert kept.by_name["N0"].facts == {"r1": "value 1", "r2": "value 2"}
    assert kept.by_name["N1"].facts == {"r0": "value 0"}
    assert (counts.rows, counts.without, counts.several, counts.stated, counts.unstated) == (20, 0, 1, 21, 39)
    ids = [passage.id for passage in arranged(kept, corpus, places)]
    assert ids[:20] == list(kept.by_name)
    assert sorted(ids[20:]) == ["d", "text/N3"]


def test_a_short_code_is_no_word_of_the_text():
    records = Records(
        (
            Entity("A", "x", {"beside": "India", "in": "Iran"}),
            Entity("India", "x", {"in": "A"}, ("IN",)),
            Entity("Iran", "x", {}, ("IR",)),
            *(Entity(f"N{i}", "x", {"in": "A"}) for i in range(20)),
        )
    )
    corpus = [Passage("a", "A", "It is in IR."), Passage("i", "India", "Beside A."), Passage("r", "Iran", "Nothing.")]
    corpus += [Passage(f"n{i}", f"N{i}", "It is in A.") for i in range(20)]
    assert join(records, corpus, "text")[0].by_name["A"].facts == {"in": "Iran"}


def test_a_corpus_about_something_else_is_refused(files):
    (files / "other.jsonl").write_text('{"id": 1, "contents": "Moon\\nIt shines."}\n')
    with pytest.raises(InputError, match=r'0 of 26 rows have a passage .*"Land A", a title "Moon"') as caught:
        import_([files / "lands.csv"], files / "w", passages=files / "other.jsonl")
    assert "\n" not in str(caught.value)
    assert not (files / "w").exists()
    with pytest.raises(InputError, match="does not exist"):
        import_([files / "lands.csv"], files / "w", passages=files / "nothing.jsonl")
