"""Relations with several values: every right answer is known, against a walk over all of them."""

import itertools

from piplay.envs.search.values import same_value
from piplay.envs.world.benchmark import MOST_RIGHT, questions
from piplay.envs.world.questions import Solver, Verdict
from piplay.envs.world.records import Entity, Records
from piplay.envs.world.render import passages
from piplay.envs.world.store import read_world, write_world

LANDS = Records(
    tuple(
        Entity(
            f"Land{i}",
            "land",
            {"languages": f"Tongue{i % 5}", "borders": f"Land{(i + 1) % 30}", "size": str(i)},
            (f"L{i:02}",),
            more={"languages": (f"Tongue{(i + 1) % 5}",), "borders": (f"Land{(i + 7) % 30}",)} if i % 3 else {},
        )
        for i in range(30)
    )
)


def ends(start, relations):
    """The ends of a chain, by scanning all entities for each step."""
    values = {start}
    for relation in relations:
        values = {
            target
            for entity in LANDS.entities
            if entity.name in values and relation in entity.facts
            for target in (entity.facts[relation], *entity.more.get(relation, ()))
        }
    return values


def test_follow_knows_every_end():
    for entity, hops in itertools.product(LANDS.entities[:9], (1, 2, 3)):
        for relations in itertools.islice(LANDS.chains(entity.name, hops), 20):
            assert set(LANDS.follow(entity.name, relations)) == ends(entity.name, relations)
            assert len(LANDS.follow(entity.name, relations)) == len(ends(entity.name, relations))


def test_a_question_knows_all_its_answers():
    solver, several = Solver(LANDS), 0
    for question in questions(LANDS, list(LANDS.by_name), 0, 40, (1, 2, 3)):
        right = ends(question.path[0].query, [hop.relation for hop in question.path])
        assert set(question.answers) - {entity.aliases[0] for entity in LANDS} == right
        assert question.answers[0] == question.path[-1].value
        assert len(right) <= MOST_RIGHT
        several += len(right) > 1
        for answer in right:
            assert solver.judge(question.question, answer) is Verdict.TRUE
            assert same_value(answer, question.answers)
        assert solver.judge(question.question, " and ".join(sorted(right))) is Verdict.TRUE
        assert solver.judge(question.question, f"{min(right)}, Nowhere") is Verdict.FALSE
    assert several > 30


def test_a_question_for_all_wants_all():
    solver = Solver(LANDS)
    for question in (
        "What are the languages of Land1?",
        "Name all languages of Land1.",
        "List all of the languages of L01.",
    ):
        assert solver.judge(question, "Tongue2, Tongue1") is Verdict.TRUE, question
        assert solver.judge(question, "Tongue1") is Verdict.FALSE, question
    for question in ("What is the languages of Land1?", "What is the language of Land1?"):
        assert solver.judge(question, "Tongue2") is Verdict.TRUE, question
    assert solver.judge("What are the borders of Land1?", "L02 and Land8") is Verdict.TRUE


def test_passages_state_every_value():
    for entity, passage in zip(LANDS.entities, passages(LANDS, 0), strict=True):
        for relation in entity.facts:
            assert all(value in passage.text for value in entity.values(relation))
        if entity.more:
            assert " and ".join(entity.values("languages")) in passage.text


def test_lists_are_written_and_read(tmp_path):
    write_world(tmp_path / "w", LANDS, 0, "test", per_hop=3)
    assert read_world(tmp_path / "w").records == LANDS
