"""The parts of a run put together: a searcher of one's own in the place of BM25."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.question import Passage
from piplay.errors import InputError
from piplay.recipes import load_config
from piplay.training.assemble import load_environment, playing, tiny_base


class Backwards:
    """Finds the last passages, whatever is asked for."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        return [list(self.passages)[: -k - 1 : -1] for _ in queries]


@pytest.mark.parametrize("kind", ["world", "corpus"])
def test_a_searcher_of_ones_own_is_made_with_the_passages(small_world: Path, kind: str) -> None:
    place = small_world if kind == "world" else small_world / "passages.jsonl"
    ground = load_environment(
        load_config("smoke", {kind: str(place), "environment.searcher": "test_assemble:Backwards"})
    )
    assert isinstance(ground.searcher, Backwards)
    assert len(ground.searcher.passages) == len(small_world.joinpath("passages.jsonl").read_text().splitlines())
    usual = load_environment(load_config("smoke", {kind: str(place)}))
    assert isinstance(usual.searcher, BM25Searcher)
    assert list(usual.seeds) == list(ground.seeds)


def test_a_searcher_that_is_none_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"no searcher 'test_assemble:Backward'.*did you mean 'Backwards'"):
        load_environment(load_config("smoke", {"environment.searcher": "test_assemble:Backward"}))


@pytest.mark.parametrize("kind", ["local", "vllm", "ray"])
def test_an_agent_plays_in_this_process_whoever_wrote_in_training(kind: str) -> None:
    engine = {"engine.kind": kind, "engine.lora.rank": 4, "engine.checkpointing": True, "engine.slots": 5}
    engine |= {"engine.trainers": 2, "engine.samplers": 3} if kind != "local" else {"engine.cuda_graphs": True}
    found = playing(load_config("smoke", engine), tiny_base())
    assert found.engine == load_config("smoke", {"engine.slots": 5}).engine
    assert found.model == tiny_base()
