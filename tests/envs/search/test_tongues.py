"""Search in languages other than English: questions find their passages."""

import pytest
from tongues import TONGUES, encyclopedia

from piplay.envs.search.bm25 import BM25Searcher


@pytest.mark.slow
@pytest.mark.parametrize("tongue", TONGUES)
def test_questions_find_their_passages(tongue: str) -> None:
    passages, questions = encyclopedia(tongue)
    assert len({passage.title for passage in passages}) == 56
    assert not {question for question, _ in questions} & {passage.title for passage in passages}
    found = BM25Searcher(passages).search([question for question, _ in questions], 3)
    hits = [gold in [passage.id for passage in hit] for hit, (_, gold) in zip(found, questions, strict=True)]
    assert sum(hits) / len(hits) >= 0.8
