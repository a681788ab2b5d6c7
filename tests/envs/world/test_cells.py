"""Cells: what is a mark for nothing, what is a list, what number a program meant."""

import csv
import json

import pytest

from piplay.envs.world.cells import clean, find_separator, parts_of, read_column
from piplay.envs.world.records import Records
from piplay.envs.world.tables import Summary, read_tables
from piplay.errors import InputError

NAMES = [f"Row {i}" for i in range(24)]


def table(path, delimiter=",", **columns):
    """A ring of rows, each linked to the next, with columns besides: a value a row, over and over."""
    header = ["name", "next", *columns]
    rows = [
        [name, NAMES[(i + 1) % 24], *(values[i % len(values)] for values in columns.values())]
        for i, name in enumerate(NAMES)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def imported(path, **options) -> tuple[Records, Summary]:
    return read_tables([path], **options)


@pytest.mark.parametrize("mark", ["NaN", "N/A", "null", "None", "-", "unknown", "NA", "<NA>", "#N/A", "—", "?", "nil"])
def test_marks_for_nothing_are_no_values(tmp_path, mark):
    path = table(tmp_path / "t.csv", city=[mark, "Ulm", mark.lower()])
    records, summary = imported(path)
    assert {entity.facts.get("city") for entity in records} == {None, "Ulm"}
    assert summary.missing.total() == 16
    kept, plain = imported(path, keep_missing=True)
    assert plain.missing == {}
    if any(c.isalnum() for c in mark):
        assert kept.by_name["Row 0"].facts["city"] == mark


def test_a_column_of_marks_is_said(tmp_path):
    records, summary = imported(table(tmp_path / "t.csv", city=["NaN", ""]))
    assert all("city" not in entity.facts for entity in records)
    assert any('"city"' in note for note in summary.notes)


def test_namibia_is_no_mark(tmp_path):
    records, summary = imported(
        table(tmp_path / "t.csv", code=["NA", "ZA", "BW", "AO"], word=["NA", "one", "two", "six"])
    )
    assert (records.by_name["Row 0"].facts["code"], summary.missing) == ("NA", {"NA": 6})
    assert "word" not in records.by_name["Row 0"].facts


def test_a_row_named_by_a_mark_has_no_name(tmp_path):
    (tmp_path / "t.csv").write_text("name,next\n" + "".join(f"p{i},p{i + 1}\n" for i in range(25)) + "NaN,p1\n")
    assert imported(tmp_path / "t.csv")[1].unnamed == 1


def test_whole_numbers_lose_the_point_that_programs_gave_them(tmp_path):
    path = table(
        tmp_path / "t.csv", year=["1994.0", "2001", "NaN"], size=["1.0", "2.5", "3.0"], owed=["(1,200)", "7.0", "-3"]
    )
    records, summary = imported(path)
    assert [records.by_name[name].facts.get("year") for name in NAMES[:3]] == ["1994", "2001", None]
    assert [records.by_name[name].facts["size"] for name in NAMES[:3]] == ["1.0", "2.5", "3.0"]
    assert [records.by_name[name].facts["owed"] for name in NAMES[:3]] == ["-1,200", "7", "-3"]
    assert summary.rewritten == {"year": 8, "owed": 16}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_and_said(tmp_path, delimiter):
    path = table(tmp_path / "t.csv", delimiter, size=["3,14", "2;7", "a|b"])
    records, summary = imported(path, lists=[])
    assert records.by_name["Row 0"].facts == {"next": "Row 1", "size": "3,14"}
    assert any("cells are separated by" in note for note in summary.notes)


def test_a_delimiter_in_the_header_alone_is_none(tmp_path):
    rows = "".join(f"p{i};p{i + 1};{i},5\n" for i in range(24))
    (tmp_path / "t.csv").write_text(f"name;next, if any;size, in m\n{rows}")
    assert imported(tmp_path / "t.csv")[0].by_name["p3"].facts == {"next, if any": "p4", "size, in m": "3,5"}
    (tmp_path / "t.csv").write_text(f"sep=;\nname;next;size\n{rows}p99;p1\n")
    with pytest.raises(InputError, match="line 27 has 2 cells where the header has 3"):
        imported(tmp_path / "t.csv")


@pytest.mark.parametrize("header", ["", "Unnamed: 0", "index", "#", "level_0"])
@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_numbers_the_rows_is_dropped_and_said(tmp_path, header, start):
    rows = "".join(f"{i + start},p{i},p{i + 1}\n" for i in range(24))
    (tmp_path / "t.csv").write_text(f"{header},name,next\n{rows}")
    records, summary = imported(tmp_path / "t.csv")
    assert records.by_name["p3"].facts == {"next": "p4"}
    assert any("is left out: it numbers its rows" in note for note in summary.notes)


def test_a_nameless_first_column_of_names_names_its_rows(tmp_path):
    (tmp_path / "t.csv").write_text(",next,\n" + "".join(f"p{i},p{i + 1},\n" for i in range(24)))
    records, summary = imported(tmp_path / "t.csv")
    assert records.by_name["p3"].facts == {"next": "p4"}
    assert any('taken as "name"' in note for note in summary.notes)
    assert any("it is empty" in note for note in summary.notes)


@pytest.mark.parametrize(
    ("cells", "sign"),
    [
        (["Dutch,Papiamento", "Dutch", "English,French"], ","),
        (["Drama, Comedy", "Comedy, Crime", "Crime", "Drama, Crime"], ","),
        (["a; b", "c", "b; d"], ";"),
        (["Smith, John; Doe, Ann", "Poe, Eve; Smith, John"], ";"),
        (["x|y", "y|z"], "|"),
        (["Row 1, Row 2", "Row 3, Row 4"], ","),
        (["Portland, Maine", "Austin, Texas", "Dallas, Texas", "Salem, Oregon"], ""),
        (["1,000", "3,500", "12,000,000"], ""),
        (["12.5,-69.9", "33,65", "-1,-2.5", "7,-3"], ""),
        (["1,000 km", "2,500 km", "about 3,500 m"], ""),
        (["$1,000", "(2,500)", "€3,500.50"], ""),
        (["March 2, 1994", "May 5, 1990"], ""),
        (["Row, the first", "Row, the first"], ""),
        (["It rose; nobody saw it before the end of that very long winter", "It fell; so it did"], ""),
        (["Dutch,Papiamento", "Dutch"], ""),
        (["plain", "words"], ""),
    ],
)
def test_lists_are_found(cells, sign):
    names = {name.lower() for name in NAMES} | {"row, the first"}
    assert find_separator(cells, names) == sign


@pytest.mark.parametrize(
    "cell", ['["Dutch", "Low Saxon"]', "['Dutch', 'Low Saxon']", '{Dutch,"Low Saxon"}', ("Dutch", "Low Saxon")]
)
def test_lists_as_programs_write_them(cell):
    assert list(parts_of(cell, brackets=True)) == ["Dutch", "Low Saxon"]
    assert read_column([cell], brackets=True).values == [("Dutch", "Low Saxon")]


def test_lists_by_option_and_none(tmp_path):
    path = table(tmp_path / "t.csv", tongue=["Dutch/Low Saxon", "Dutch"], place=["Bonn,Ulm", "Ulm,Bonn,bonn,NaN"])
    assert imported(path)[0].by_name["Row 0"].values("place") == ("Bonn", "Ulm")
    named = imported(path, lists=["tongue"])[0].by_name["Row 0"]
    assert (named.values("tongue"), named.values("place")) == (("Dutch", "Low Saxon"), ("Bonn,Ulm",))
    assert imported(path, lists=[])[0].by_name["Row 0"].more == {}
    second, summary = imported(path)[0].by_name["Row 1"], imported(path)[1]
    assert (second.values("place"), summary.missing, summary.lists) == (("Ulm", "Bonn"), {"NaN": 12}, {"place": 24})
    with pytest.raises(InputError, match='did you mean "tongue"'):
        imported(path, lists=["tongues"])


def test_json_lists_are_values(tmp_path):
    rows = [{"name": f"p{i}", "next": [f"p{i + 1}", f"P{i + 2}"], "tags": [1, None, "x"]} for i in range(24)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    entity = imported(tmp_path / "t.jsonl")[0].by_name["p3"]
    assert (entity.values("next"), entity.values("tags")) == (("p4", "p5"), ("1", "x"))


def test_codes_link_through_a_column_of_aliases(tmp_path):
    codes = [f"R{chr(65 + i)}X" for i in range(24)]
    path = table(
        tmp_path / "t.csv", code=codes, borders=[f"{codes[(i + 1) % 24]},{codes[(i + 2) % 24]}" for i in range(24)]
    )
    plain, summary = imported(path)
    assert summary.links["borders"] == 0
    assert any('--aliases "code"' in note for note in summary.notes)
    records, summary = imported(path, aliases=["code"], columns=["borders"])
    entity = records.by_name["Row 0"]
    assert (entity.aliases, entity.values("borders"), set(entity.facts)) == (("RAX",), ("Row 1", "Row 2"), {"borders"})
    assert (summary.aliases, summary.links) == (24, {"borders": 48})
    assert plain.by_name["Row 0"].facts["code"] == "RAX"


def test_an_alias_that_another_row_has_is_none(tmp_path):
    path = table(tmp_path / "t.csv", code=["X", "Row 3", *[f"C{i}" for i in range(2, 24)]], other=["x"])
    path.write_text(path.read_text().replace("C5", "X"))
    records, summary = imported(path, aliases=["code"])
    assert (records.by_name["Row 0"].aliases, records.by_name["Row 1"].aliases) == (("X",), ())
    assert (summary.taken_aliases, records.by_name["Row 7"].facts["other"]) == (2, "Row 0")


def test_clean():
    assert clean(" a\u0301 \x07\n b ") == "á b"
