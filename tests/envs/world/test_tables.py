"""Importing tables: what becomes a fact, a link, an entity, and what is refused."""

import csv
import json
import sqlite3

import pytest

from piplay.envs.world.questions import Solver
from piplay.envs.world.readers import words
from piplay.envs.world.records import singular
from piplay.envs.world.store import read_world, write_world
from piplay.envs.world.tables import read_tables
from piplay.errors import InputError

COLUMNS = ("Name", "Home_Town", "Boss-Name", "size")


def rows(count=25):
    """Row i's boss is row i+1, written in capitals; every fifth has no town."""
    return [
        (f"Ann {i}", "" if i % 5 == 0 else f"Town {i % 7}", f"ANN {(i + 1) % count}", str(i / 2)) for i in range(count)
    ]


def write_csv(path, lines, columns=COLUMNS, delimiter=","):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([columns, *lines])
    return path


def write_sqlite(path, **tables):
    base = sqlite3.connect(path)
    for name, (schema, lines) in tables.items():
        base.execute(f'CREATE TABLE "{name}" ({schema})')
        base.executemany(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(lines[0]))})', lines)
    base.commit()
    base.close()
    return path


def test_rows_become_entities_columns_relations_and_names_links(tmp_path):
    records, summary = read_tables([write_csv(tmp_path / "office_workers.csv", rows())])
    first = records.by_name["Ann 1"]
    assert (first.kind, first.pronoun, first.aliases) == ("office worker", "its", ())
    assert list(first.facts.items()) == [("home town", "Town 1"), ("boss name", "Ann 2"), ("size", "0.5")]
    assert "home town" not in records.by_name["Ann 0"].facts
    assert records.follow("Ann 2", ("boss name", "boss name", "home town")) == ("Town 4",)
    assert (summary.rows, summary.kinds) == (25, {"office worker": 25})
    assert summary.facts == {"home town": 20, "boss name": 25, "size": 25}
    assert summary.links == {"boss name": 25}
    assert (summary.skipped_cells, summary.duplicates, summary.unnamed, summary.renamed, summary.bare) == (0,) * 5


def test_the_same_rows_in_every_format_are_the_same_records(tmp_path):
    expected = read_tables([write_csv(tmp_path / "people.csv", rows())])
    for delimiter in ";\t":
        assert read_tables([write_csv(tmp_path / "people.tsv", rows(), delimiter=delimiter)]) == expected
    (tmp_path / "people.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "people.csv").read_bytes())
    assert read_tables([tmp_path / "people.csv"]) == expected
    objects = [dict(zip(COLUMNS, (a, b or None, [c], float(d)), strict=True)) for a, b, c, d in rows()]
    (tmp_path / "people.jsonl").write_text("\n\n".join(map(json.dumps, objects)), encoding="utf-8")
    assert read_tables([tmp_path / "people.jsonl"]) == expected
    schema = '"Name" TEXT, "Home_Town" TEXT, "Boss-Name" TEXT, size REAL'
    lines = [(a, b or None, c, float(d)) for a, b, c, d in rows()]
    base = write_sqlite(tmp_path / "x.sqlite", people=(schema, lines), other=("a TEXT", [("b",)]))
    assert read_tables([f"{base}:people"]) == expected
    assert len(expected[0].entities) == 25


def test_json_numbers_stay_as_they_are_written(tmp_path):
    lines = [f'{{"name": "p{i}", "next": "p{i + 1}", "size": 1.50, "big": 1e9, "new": true}}' for i in range(20)]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    records, _ = read_tables([tmp_path / "p.jsonl"])
    assert records.by_name["p3"].facts == {"next": "p4", "size": "1.50", "big": "1e9", "new": "true"}


def test_key_kind_and_columns(tmp_path):
    table = write_csv(tmp_path / "people.csv", [(str(i), f"P{i}", f"P{i + 1}", "x") for i in range(30)])
    records, _ = read_tables([table], key="home-town", kind="actor", columns=["Boss Name"])
    assert records.entities[0].name == "P0"
    assert {entity.kind for entity in records.entities} == {"actor"}
    assert {relation for entity in records.entities for relation in entity.facts} == {"boss name"}


def test_cells_are_cleaned(tmp_path):
    lines = rows()
    lines[1] = ("  Ann\n 1\x07 ", "Town\t\x00 1", "e\u0301t\u00e9", "-")
    lines[2] = ("Ann 2", "one two three four five six seven eight nine", "x" * 61, "?")
    lines[3] = ("Ann 3", "one two three four five six seven eight", "x" * 60, "1")
    lines[4] = ("Ann 4", "", "Ann  2", "")
    records, summary = read_tables([write_csv(tmp_path / "p.csv", lines)])
    assert records.by_name["Ann 1"].facts == {"home town": "Town 1", "boss name": "\u00e9t\u00e9"}
    assert records.by_name["Ann 2"].facts == {}
    assert list(records.by_name["Ann 3"].facts.values()) == ["one two three four five six seven eight", "x" * 60, "1"]
    assert (summary.skipped_cells, summary.missing) == (2, {"-": 1, "?": 1})


def test_rows_without_name_or_facts_and_rows_twice(tmp_path):
    lines = [*rows(), ("", "a", "b", "c"), ("ann  3", "Elsewhere", "b", "c"), ("Alone", "", "", ""), ("!", "", "", "1")]
    lines[5] = ("Ann 5", "", "", "")
    records, summary = read_tables([write_csv(tmp_path / "p.csv", lines)])
    assert (summary.unnamed, summary.duplicates, summary.bare) == (2, 1, 1)
    assert "Alone" not in records.by_name
    assert records.by_name["Ann 5"].facts == {}
    assert records.by_name["Ann 3"].facts["home town"] == "Town 3"
    assert len(records.entities) == 25


def test_several_tables_link_both_ways_and_clashes_are_renamed(tmp_path):
    towns = [(f"Town {i}", f"Ann {i}") for i in range(7)] + [("ann 9", "Ann 8")]
    people = write_csv(tmp_path / "people.csv", rows())
    records, summary = read_tables([people, write_csv(tmp_path / "cities.csv", towns, ("town", "mayor"))])
    assert records.follow("Ann 1", ("home town", "mayor", "boss name")) == ("Ann 2",)
    assert summary.links == {"home town": 20, "boss name": 25, "mayor": 8}
    assert summary.renamed == 1
    assert records.by_name["ann 9 (city)"].facts == {"mayor": "Ann 8"}
    assert records.by_name["Ann 8"].facts["boss name"] == "Ann 9"
    with pytest.raises(InputError, match="name that an earlier table has"):
        read_tables([people, write_csv(tmp_path / "twice.csv", rows())])
    with pytest.raises(InputError, match="--kind"):
        read_tables([people, people], kind="x")


def test_a_self_link_is_a_fact_and_no_link(tmp_path):
    lines = [(f"p{i}", f"p{i}", "x", "p1" if i == 0 else "y") for i in range(20)]
    records, summary = read_tables([write_csv(tmp_path / "p.csv", lines)])
    assert records.by_name["p3"].facts["home town"] == "p3"
    assert summary.links == {"size": 1}


def test_a_foreign_key_is_the_name_of_its_row(tmp_path):
    base = write_sqlite(
        tmp_path / "geo.db",
        countries=("id INTEGER PRIMARY KEY, name TEXT", [(i, f"Land {i}") for i in range(5)]),
        cities=(
            "id INTEGER PRIMARY KEY, name TEXT, country_id INTEGER REFERENCES countries, twin REFERENCES cities(id)",
            [(i, f"City {i}", i % 5, (i + 1) % 20) for i in range(20)],
        ),
    )
    records, summary = read_tables([base], key="name")
    assert records.by_name["City 7"].facts == {"id": "7", "country": "Land 2", "twin": "City 8"}
    assert summary.links == {"country": 20, "twin": 20}
    with pytest.raises(InputError, match="a number for a name"):
        read_tables([base])


def test_an_imported_world_is_examined_like_any_other(tmp_path):
    records, _ = read_tables([write_csv(tmp_path / "people.csv", rows(60))])
    world = write_world(tmp_path / "world", records, 0, "people.csv", per_hop=10)
    read = read_world(tmp_path / "world")
    assert read.records == records
    assert read.passages == tuple(world.passages)
    assert (read.train_ids, read.train, read.heldout) == (world.train_ids, world.train, world.heldout)
    assert {q.hops for q in world.heldout} == {1, 2, 3, 4}
    assert Solver(records).solve("What is the size of ann 3's boss name?").answers == ("2.0",)


@pytest.mark.parametrize(
    ("name", "word"), [("countries", "country"), ("Time_Zones", "time zone"), ("glass", "glass"), ("p", "p")]
)
def test_singular(name, word):
    assert singular(words(name)) == word


TABLE = "name,boss\n" + "".join(f"p{i},p{i + 1}\n" for i in range(30))
OBJECTS = "".join(json.dumps({"name": f"p{i}", "boss": f"p{i + 1}"}) + "\n" for i in range(30))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("t.csv", None, "is no file"),
        ("t.csv", TABLE.encode() + b"\xff,x", f"not UTF-8 at byte {len(TABLE)} "),
        ("t.csv", b" \n", "is empty"),
        ("t.csv", TABLE.removeprefix("name,boss\n").replace("p1,", "7,", 1).replace("p0", "12"), "no header"),
        ("t.csv", TABLE.replace("boss", "", 1), "no header: column 2"),
        ("t.csv", TABLE.replace("boss", "NAME", 1), 'two columns "name"'),
        ("t.csv", TABLE.replace("p4,p5", 'p4,"p\n5"').replace("p6,", "p6,x,"), "line 9 has 3 cells"),
        ("t.csv", TABLE.replace("p6,p7", "p6"), "line 8 has 1 cells where the header has 2"),
        ("t.csv", TABLE.replace("p6,p7", 'p6,"p7'), "line 8 is not CSV"),
        ("t.csv", "name,boss\n" + "p1,p2\n" * 40, "Only 1 rows are usable"),
        ("t.csv", TABLE.replace(",p", ",q"), "multi-hop questions need links"),
        ("t.csv", "name\n" + "".join(f"p{i}\n" for i in range(30)), "Only 0 rows"),
        (
            "t.csv",
            TABLE.replace("p", ""),
            "number for a name",
        ),
        ("t.jsonl", OBJECTS + "{oops", "line 31 is not JSON"),
        ("t.jsonl", OBJECTS + "[1]", "line 31 is not a JSON object"),
        ("t.jsonl", OBJECTS + '{"name": {"x": 1}}', 'line 31: "name" is nested'),
        ("t.jsonl", OBJECTS + '{"name": [[1]]}', 'line 31: "name" is nested'),
        ("t.jsonl", "{}\n", "has no column"),
        ("t.sqlite", "no database", "is not a SQLite file"),
        ("t.sqlite", b"SQLite format 3\x00" + b"\x01" * 200, "cannot be read as SQLite"),
        ("t.xlsx", "x", "none of .csv"),
    ],
)
def test_bad_tables(tmp_path, file, content, message):
    path = tmp_path / file
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=message) as caught:
        read_tables([path])
    assert "\n" not in str(caught.value)


def test_the_nearest_column_is_named(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    with pytest.raises(InputError, match='did you mean "boss"'):
        read_tables([tmp_path / "t.csv"], key="bos")
    with pytest.raises(InputError, match='did you mean "boss"'):
        read_tables([tmp_path / "t.csv"], columns=["name", "Bosses"])
    with pytest.raises(InputError, match="No table was given"):
        read_tables([])


def test_sqlite_tables_that_are_not_there_or_not_text(tmp_path):
    base = write_sqlite(tmp_path / "t.sqlite", people=("name, boss", [(f"p{i}", f"p{i + 1}") for i in range(30)]))
    with pytest.raises(InputError, match='no table "x": it has people'):
        read_tables([f"{base}:x"])
    with pytest.raises(InputError, match="is no file"):
        read_tables([f"{tmp_path / 'other.sqlite'}:people"])
    connection = sqlite3.connect(base)
    connection.execute("UPDATE people SET boss = x'00ff' WHERE name = 'p3'")
    connection.commit()
    records, summary = read_tables([base])
    assert records.by_name["p3"].facts == {}
    assert summary.skipped_cells == 1
    connection.execute("UPDATE people SET boss = CAST(x'41ff' AS TEXT) WHERE name = 'p3'")
    connection.commit()
    with pytest.raises(InputError, match="not UTF-8 at its byte 1"):
        read_tables([base])
    connection.execute("DROP TABLE people")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match="has no table"):
        read_tables([base])


def test_a_table_may_have_a_name_that_no_file_could(tmp_path):
    long = "people" * 60
    base = write_sqlite(tmp_path / "t.sqlite", **{long: ("name, boss", [(f"p{i}", f"p{i + 1}") for i in range(30)])})
    records, _ = read_tables([f"{base}:{long}"])
    assert "p7" in records.by_name
    with pytest.raises(InputError, match="has no table"):
        read_tables([f"{base}:{long}s"])


@pytest.mark.parametrize("cell", ["i", "zeroblob(90000)", "printf('%090000d', i)"])
def test_a_view_without_end_is_given_up(tmp_path, cell):
    base = write_sqlite(tmp_path / "t.sqlite", people=("name, boss", [("p", "q")]))
    connection = sqlite3.connect(base)
    connection.execute(
        "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) "
        f"SELECT i AS name, {cell} AS boss FROM n"
    )
    connection.commit()
    with pytest.raises(InputError, match=r"far more than its file|no end"):
        read_tables([f"{base}:v"])
