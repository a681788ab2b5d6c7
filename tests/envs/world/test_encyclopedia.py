"""What the default world promises."""

from collections import Counter

import numpy as np
import pytest

from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.world.generate import ENCYCLOPEDIA, ONE_WORD, _distinct, encyclopedia
from piplay.envs.world.render import FACTS, passages
from piplay.envs.world.store import default_world
from piplay.streams import pick, stream

RECORDS = encyclopedia(0)
PASSAGES = passages(RECORDS, 0)


def test_types_relations_literals_and_aliases():
    assert len({entity.kind for entity in RECORDS.entities}) >= 8
    assert len({relation for entity in RECORDS.entities for relation in entity.facts}) >= 20
    assert {entity.kind for entity in RECORDS.entities} == set(ENCYCLOPEDIA)
    values = [value for entity in RECORDS.entities for value in entity.facts.values()]
    assert 0.1 < sum(value.isdigit() for value in values) / len(values) < 0.5
    assert 0.15 < sum(bool(entity.aliases) for entity in RECORDS.entities) / len(RECORDS.entities) < 0.35


def test_every_link_names_another_entity_of_the_right_type():
    for entity in RECORDS.entities:
        for relation, value in entity.facts.items():
            target = ENCYCLOPEDIA[entity.kind][relation]
            if target in ENCYCLOPEDIA:
                assert RECORDS.by_name[value].kind == target
                assert value != entity.name
            else:
                assert value.isdigit()


def test_no_two_entities_share_a_name_or_alias():
    names = Counter(name.lower() for entity in RECORDS.entities for name in (entity.name, *entity.aliases))
    assert max(names.values()) == 1


def test_passages_are_as_many_and_as_long_as_promised():
    assert 500 <= len(PASSAGES) <= 1000
    lengths = [len(passage.text.split()) for passage in PASSAGES]
    assert min(lengths) >= 40
    assert max(lengths) <= 60


def test_a_passage_states_every_fact_and_alias_of_its_entity():
    for entity, passage in zip(RECORDS.entities, PASSAGES, strict=True):
        assert passage.id == passage.title == entity.name
        for alias in entity.aliases:
            assert f"{entity.name} is also known as {alias}." in passage.text
        for relation, value in entity.facts.items():
            assert any(phrase in passage.text for phrase in phrasings(entity, relation, value)), (entity, relation)


def test_every_relation_occurs_in_three_phrasings():
    seen = {}
    for entity, passage in zip(RECORDS.entities, PASSAGES, strict=True):
        for relation, value in entity.facts.items():
            for number, phrase in enumerate(phrasings(entity, relation, value)):
                if phrase in passage.text:
                    seen.setdefault(relation, set()).add(number)
    assert min(len(numbers) for numbers in seen.values()) >= 3


def test_several_passages_mention_the_same_name():
    mentions = Counter(
        word for passage in PASSAGES for word in {w.strip(".,") for w in passage.text.split()} & RECORDS.by_name.keys()
    )
    shared = sum(mentions[name] >= 3 for name in RECORDS.by_name)
    assert shared > len(RECORDS.entities) / 3


def test_passages_distract():
    """Beside its own, nearly every passage names an entity that none of its facts is about."""
    distracted = 0
    for entity, passage in zip(RECORDS.entities, PASSAGES, strict=True):
        words = {word.strip(".,") for word in passage.text.split()} & RECORDS.by_name.keys()
        distracted += bool(words - {entity.name, *entity.facts.values()})
    assert distracted > 0.9 * len(PASSAGES)


def test_a_name_finds_its_own_passage_first():
    found = BM25Searcher(PASSAGES).search([entity.name for entity in RECORDS.entities], 1)
    hits = sum(bool(f) and f[0].id == e.name for f, e in zip(found, RECORDS.entities, strict=True))
    share = hits / len(RECORDS.entities)
    print(f"own passage first by name: {share:.4f} of {len(RECORDS.entities)}")
    assert share >= 0.97


@pytest.mark.slow
def test_a_seed_gives_the_same_world_and_another_seed_other_names_and_facts():
    assert default_world(3, per_hop=5) == default_world(3, per_hop=5)
    other = encyclopedia(1)
    # Two syllables of a stock of some 1,300 make two names of three, so seeds meet in about one name of four.
    assert len(RECORDS.by_name.keys() & other.by_name.keys()) < 0.3 * len(RECORDS.entities)
    assert not facts(RECORDS) & facts(other)


def facts(records):
    return {(e.name, relation, value) for e in records.entities for relation, value in e.facts.items()}


@pytest.mark.parametrize("size", [100, 2000])
def test_other_sizes(size):
    assert abs(len(encyclopedia(0, size).entities) - size) < 10


@pytest.mark.slow
@pytest.mark.parametrize("size", [ONE_WORD, ONE_WORD + 1])
def test_names_stay_distinct_where_one_word_no_longer_suffices(size):
    names = [name.lower() for entity in encyclopedia(0, size) for name in (entity.name, *entity.aliases)]
    assert len(set(names)) == len(names) > 1.2 * size
    worded = sum(name.replace(" ", "").isalpha() for name in names) / len(names)
    assert worded == 1 if size > ONE_WORD else 0.99 < worded < 1


def test_a_namer_that_runs_dry_goes_on_without_repetition():
    rng = np.random.default_rng(0)
    make = _distinct(lambda: pick(rng, ("Bor", "Mer")), rng)
    names = [make().lower() for _ in range(3000)]
    assert len(set(names)) == 3000


@pytest.mark.parametrize("size", [1, 2, 7, 20_000])
def test_a_pick_is_numpys_choice(size):
    items = [f"item {i}" for i in range(size)]
    ours, theirs = stream(0, ("pick",)), stream(0, ("pick",))
    for _ in range(20):
        assert pick(ours, items) == theirs.choice(items)
        assert ours.random() == theirs.random()


def phrasings(entity, relation, value):
    its = entity.pronoun
    return [
        form.format(relation=relation, name=entity.name, value=value, its=its, Its=its.capitalize()) for form in FACTS
    ]
