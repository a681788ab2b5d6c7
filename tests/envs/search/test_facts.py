"""Facts found in prose of several kinds: an encyclopedia, a company's wiki, software packages."""

import time
from collections import Counter

import numpy as np
import pytest

from piplay.envs.search.facts import LONGEST, Fact, balanced, chains, facts, facts_of
from piplay.envs.search.question import Passage
from piplay.envs.search.relations import RELATIONS
from piplay.errors import InputError

ENCYCLOPEDIA = {
    "Elren": "Elren, officially the Republic of Elren, is a country in northern Marland. Its capital is Bor, and it "
    "has a population of about 1.2 million. It is bordered by Tessia to the east, Oland and Ard to the south, and the "
    "White Sea to the west.",
    "Bor": "Bor is the capital and largest city of Elren. The city lies on the River Tam and was founded in 1204 by "
    "Duke Ermin. Its mayor was born in Tessia.",
    "Anna Fendor": "Anna Maria Fendor (12 May 1901 – 3 June 1970) was an Irish composer and pianist who was born in "
    "Bor. She studied at the Royal Academy of Music and was married to Karl Sund. Karl Sund died in Oland in 1950.",
    "The Glass Road": "The Glass Road is a 1931 novel by the Danish author Ida Holm, first published in 1931.",
    "Red fox": "Red foxes are mammals in the family Canidae. The red fox is native to Europe.",
    "Sarnium": "Sarnium is a chemical element; it has symbol Sn and atomic number 121. It was discovered in 1902 by "
    "Mary Ross and John Reed.",
    "War of the Bells": "The War of the Bells was fought from 1701 to 1704. It ended in 1704.",
}
WIKI = {
    "Billing service": "The billing service is maintained by the Payments team. It is written in Go and depends on "
    "Postgres. It was introduced in 2019, and it runs in Frankfurt.",
    "Payments team": "The Payments team is led by Priya Nair and is located in Building 4. It is part of the Finance "
    "department.",
    "Priya Nair": "Priya Nair leads the Payments team and reports to Tom Ash. She is based in Berlin.",
    "Autumn offsite": "The autumn offsite took place on 12 March 2024 in Oslo. It was organised by Lena Moe.",
    "Vance Corp": "Founded in 2011 by Mira Vance, Vance Corp is a software company headquartered in Tartu. It has "
    "about 240 employees. Its parent company is Olm Group.",
}
SOFTWARE = {
    "libquill": "libquill is a parser for markup, originally developed by Dana Wells. It is written in C and released "
    "under the MIT License. It requires zlib.",
    "tablet": "tablet is a tool for tables. It is licensed under the Apache License and was first released in 2014.",
}


def told(corpus: dict[str, str]) -> dict[str, dict[str, Fact]]:
    """By title and relation."""
    found = facts_of([Passage(title, title, text) for title, text in corpus.items()])
    return {title: {fact.relation: fact for fact in part} for title, part in zip(corpus, found, strict=True)}


def values(part: dict[str, Fact]) -> dict[str, str]:
    return {relation: fact.value for relation, fact in part.items()}


@pytest.mark.slow
def test_facts_of_an_encyclopedia() -> None:
    found = {title: values(part) for title, part in told(ENCYCLOPEDIA).items()}
    assert found["Elren"] == {
        "location": "Marland",
        "kind": "country",
        "capital": "Bor",
        "population": "1.2 million",
        "neighbour to the east": "Tessia",
        "neighbour to the west": "the White Sea",
    }
    assert found["Bor"] == {
        "place whose capital it is": "Elren",
        "location": "the River Tam",
        "founder": "Duke Ermin",
        "date of founding": "1204",
    }
    assert found["Anna Fendor"] == {
        "date of birth": "12 May 1901",
        "date of death": "3 June 1970",
        "nationality": "Irish",
        "occupation": "composer",
        "birthplace": "Bor",
        "place of study": "the Royal Academy of Music",
        "spouse": "Karl Sund",
    }
    assert found["The Glass Road"] == {"author": "Ida Holm", "date of publication": "1931"}
    assert found["Red fox"] == {"family": "Canidae", "native range": "Europe"}
    assert found["Sarnium"].items() >= {"chemical symbol": "Sn", "atomic number": "121"}.items()
    assert found["War of the Bells"] == {"beginning": "1701", "ending": "1704"}


@pytest.mark.slow
def test_facts_of_a_company_and_of_software() -> None:
    wiki = {title: values(part) for title, part in told(WIKI).items()}
    assert wiki["Billing service"] == {
        "maintainer": "Payments team",
        "programming language": "Go",
        "dependency": "Postgres",
        "date of introduction": "2019",
        "location": "Frankfurt",
    }
    assert wiki["Payments team"] == {
        "leader": "Priya Nair",
        "location": "Building 4",
        "larger whole": "the Finance department",
    }
    assert wiki["Priya Nair"] == {"responsibility": "the Payments team", "superior": "Tom Ash", "home base": "Berlin"}
    assert wiki["Autumn offsite"] == {"date": "12 March 2024", "place": "Oslo", "organiser": "Lena Moe"}
    assert (
        wiki["Vance Corp"].items()
        >= {
            "founder": "Mira Vance",
            "date of founding": "2011",
            "headquarters": "Tartu",
            "number of employees": "240",
            "parent company": "Olm Group",
        }.items()
    )
    software = {title: values(part) for title, part in told(SOFTWARE).items()}
    assert (
        software["libquill"].items()
        >= {
            "developer": "Dana Wells",
            "programming language": "C",
            "licence": "MIT",
            "dependency": "zlib",
        }.items()
    )
    assert software["tablet"]["date of release"] == "2014"


@pytest.mark.slow
def test_what_is_said_of_others_or_of_several_is_no_fact() -> None:
    found = {title: values(part) for title, part in told(ENCYCLOPEDIA).items()}
    assert "birthplace" not in found["Bor"]  # the mayor's
    assert "place of death" not in found["Anna Fendor"]  # her husband's
    assert "neighbour to the south" not in found["Elren"]  # one of two
    assert "discoverer" not in found["Sarnium"]  # one of two
    assert facts("Paris", "", "Paris ist die Hauptstadt von Frankreich und wurde von den Parisii gegründet.") == []
    assert facts("Empty", "", "") == []


@pytest.mark.slow
def test_questions_are_put_as_people_put_them() -> None:
    found = told(ENCYCLOPEDIA | WIKI)
    asked = {(title, relation): fact.question for title, part in found.items() for relation, fact in part.items()}
    assert asked["Elren", "capital"] == "What is the capital of Elren?"
    assert asked["Anna Fendor", "date of birth"] == "When was Anna Fendor born?"
    assert asked["The Glass Road", "author"] == "Who wrote The Glass Road?"
    assert asked["Red fox", "family"] == "Which family does the red fox belong to?"
    assert asked["War of the Bells", "ending"] == "When did the War of the Bells end?"
    assert asked["Billing service", "maintainer"] == "Who maintains the billing service?"
    lake = facts("Vane", "", "Vane is the second-largest lake in Elren.")
    assert [fact.question for fact in lake] == ["Where is Vane the second-largest lake?"]
    band = facts("The Owls", "", "The Owls were a rock band formed in Bor in 1960.")
    assert "When were The Owls formed?" in [fact.question for fact in band]


def test_every_value_stands_in_its_sentence_and_tells_nothing_of_the_title() -> None:
    for title, part in told(ENCYCLOPEDIA | WIKI | SOFTWARE).items():
        text = (ENCYCLOPEDIA | WIKI | SOFTWARE)[title]
        for fact in part.values():
            assert fact.value in fact.sentence
            assert fact.sentence in text
            assert 1 <= len(fact.value.split()) <= LONGEST
            assert fact.value.lower() not in title.lower()
            assert title.lower() not in fact.value.lower()
            assert fact.name in fact.question
    assert facts("Bor", "", "Bor was founded by Bor the Great.") == []


def test_marks_of_markdown_and_wrapped_lines_are_read_through() -> None:
    text = "**Billing Service**\n\nThe billing service is maintained by the [Payments team](teams/payments.md)\nand is "
    text += "written in `Go`."
    found = {fact.relation: fact for fact in facts("Billing Service", "", text)}
    assert values(found) == {"maintainer": "Payments team", "programming language": "Go"}
    assert found["maintainer"].question == "Who maintains the billing service?"


@pytest.mark.parametrize(
    "text", ["is the " * 20000, "Bor is a city, and " * 5000, "Bor was in A, " * 5000, "(" * 30000]
)
def test_a_text_without_an_end_takes_no_time(text: str) -> None:
    start = time.process_time()
    facts("Bor", "", text)
    assert time.process_time() - start < 20


def test_a_title_in_brackets_is_told_from_others_of_its_name() -> None:
    corpus = {
        "Mercury (planet)": "Mercury was discovered in 1631.",
        "Mercury (element)": "Mercury is an element discovered in 1500 BC.",
        "Queen (band)": "Queen was founded in 1970.",
    }
    found = told(corpus)
    assert found["Mercury (planet)"]["date of discovery"].question == "When was Mercury (planet) discovered?"
    assert found["Queen (band)"]["date of founding"].question == "When was Queen founded?"


def test_chains_go_from_a_value_to_the_title_that_it_names() -> None:
    found = facts_of([Passage(title, title, text) for title, text in (ENCYCLOPEDIA | WIKI).items()])
    asked = {chain.question: chain.second.value for chain in chains(found)}
    assert asked["Who founded the capital of Elren?"] == "Duke Ermin"
    assert asked["When was the birthplace of Anna Fendor founded?"] == "1204"
    assert asked["Who leads the maintainer of the billing service?"] == "Priya Nair"
    assert asked["Where is the leader of the Payments team based?"] == "Berlin"
    assert "What is the capital of the place whose capital is Bor?" not in asked  # its answer is the title


def test_chains_need_a_title_that_only_one_article_has() -> None:
    twice = [Passage(str(i), f"Bor ({kind})", "Bor was founded in 1204.") for i, kind in enumerate(("city", "village"))]
    assert not list(chains(facts_of([Passage("x", "Elren", ENCYCLOPEDIA["Elren"]), *twice])))


def test_a_corpus_without_titles_is_refused() -> None:
    with pytest.raises(InputError, match="none of the 2 passages has a title"):
        facts_of([Passage("1", "", "Bor is a city in Elren."), Passage("2", "", "It was founded in 1204.")])
    assert facts_of([Passage("1", "", "Elren is a country."), Passage("2", "Bor", "Bor was founded in 1204.")])[0] == []


@pytest.mark.parametrize(
    "sizes", [[5000, 1000, 300, 200, 100, 60, 50, 40, 30, 20], [50, 50], [7], [100, 3, 2, 1] * 5, []]
)
@pytest.mark.parametrize("share", [0.15, 0.4])
def test_balanced_facts_are_the_most_with_no_relation_above_the_share(sizes: list[int], share: float) -> None:
    found = [Fact(str(i), "x", f"relation {r}", "{}?", "", str(i), "") for r, n in enumerate(sizes) for i in range(n)]
    chosen = balanced(found, np.random.default_rng(0), share)
    assert len(set(map(id, chosen))) == len(chosen)
    counts = Counter(fact.relation for fact in chosen)
    allowed = max(share, 1 / max(len(sizes), 1)) + 1e-9
    assert all(count <= allowed * len(chosen) for count in counts.values())
    totals = {cap: sum(min(size, cap) for size in sizes) for cap in range(1, max(sizes, default=0) + 1)}
    assert len(chosen) == max((total for cap, total in totals.items() if cap <= allowed * total), default=0)
    assert balanced(found, np.random.default_rng(0), share) == chosen


def test_relations_have_a_name_and_a_question_each() -> None:
    names = [relation.name for relation in RELATIONS]
    assert len(names) == len(set(names))
    for relation in RELATIONS:
        assert relation.question.count("{}") == 1
        assert relation.question.endswith("?")
        assert relation.phrase in ("", None) or relation.phrase.count("{}") == 1
