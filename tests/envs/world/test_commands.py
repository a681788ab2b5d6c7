"""What the commands print and refuse."""

import pytest

from piplay.envs.world.commands import ask, import_, make
from piplay.envs.world.questions import Verdict
from piplay.errors import InputError


def test_make_and_ask(tmp_path, capsys):
    world = make(tmp_path / "w", seed=2, size=150, per_hop=4)
    assert "held-out questions of 1-4 hops: 4, 4, 4, 4" in capsys.readouterr().out
    question = next(q for q in world.heldout if q.hops == 3)
    assert ask(question.question, tmp_path / "w") is Verdict.TRUE
    out = capsys.readouterr().out
    assert out.startswith(f"true: {', '.join(question.answers)}\n")
    shown = {passage.id: passage.text for passage in world.passages}
    for number, hop in enumerate(question.path, 1):
        assert f"{number}. {hop.relation} of {hop.query}: {hop.value}\n     {hop.query}: {shown[hop.query]}\n" in out


def test_ask_says_where_a_chain_breaks(tmp_path, capsys):
    world = make(tmp_path / "w", size=150, per_hop=4)
    person = next(e for e in world.records.entities if e.kind == "person")
    mentor = person.facts["mentor"]
    capsys.readouterr()
    assert ask(f"What is the river of the mentor of {person.name}?", tmp_path / "w") is Verdict.ILL_TYPED
    assert f'2. {mentor} has no "river"' in capsys.readouterr().out
    assert ask("What is the river of Nowhere at all?", tmp_path / "w") is Verdict.ILL_TYPED
    assert 'Nothing here is called "' in capsys.readouterr().out
    assert ask("Hello", tmp_path / "w") is Verdict.UNKNOWN


def test_import_says_what_it_took_and_left(tmp_path, capsys):
    lines = ["name,boss,note", *(f"p{i},P{(i + 1) % 40},n{i}" for i in range(40)), "P3,x,y", ",x,y", "z,,!"]
    (tmp_path / "people.csv").write_text("\n".join(lines))
    world = import_([tmp_path / "people.csv"], tmp_path / "w", per_hop=3)
    out = capsys.readouterr().out
    assert "43 rows read, kept as entities: 40 people" in out
    assert "boss: 40 facts, 40 links" in out
    for left in ("1 cells that", "1 rows without a usable name", "1 rows with the name", "1 rows without facts"):
        assert f"left out: {left}" in out
    assert len(world.train) == 12


def test_bad_numbers(tmp_path):
    with pytest.raises(InputError, match="--size is 20"):
        make(tmp_path / "w", size=20)
    with pytest.raises(InputError, match="at most 1000000"):
        make(tmp_path / "w", size=1_000_001)
    with pytest.raises(InputError, match="--per-hop is 0"):
        make(tmp_path / "w", per_hop=0)
    assert not (tmp_path / "w").exists()
