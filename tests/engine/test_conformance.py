"""The engines that there are, and one in another process, against what every engine has to do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conformance import POLICIES, Conformance, Start, learn, turns
from fake_remote import RemoteEngine, begin
from turns import SEED, contexts, drain, request

from piplay.engine.local import LocalEngine
from piplay.engine.protocol import EngineLost
from piplay.settings import EngineSettings

pytestmark = pytest.mark.slow

SETTINGS = EngineSettings(slots=3, threads=1, micro_batch_tokens=64)


def local(model: Path) -> LocalEngine:
    return LocalEngine.start(model, POLICIES, SETTINGS, seed=SEED)


class TestLocal(Conformance):
    @pytest.fixture
    def start(self, lettered: Path) -> Start:
        return lambda: local(lettered)

    def test_the_same_calls_give_the_same_turns_in_the_same_order_to_the_bit(self, start: Start) -> None:
        engines = start(), start()
        found = []
        for engine in engines:
            assert engine.deterministic
            for one in turns(("bits",)):
                engine.submit(one)
            results = drain(engine)
            found.append([(key, made.ids.tobytes(), made.logprobs.tobytes()) for key, made in results.items()])
        assert found[0] == found[1]


@pytest.fixture(scope="module", autouse=True)
def _ready_to_fork() -> None:
    """What the other process imports takes a while: it begins beside the first tests."""
    begin()


class TestRemote(Conformance):
    @pytest.fixture
    def start(self, lettered: Path) -> Iterator[Callable[[], RemoteEngine]]:
        started: list[RemoteEngine] = []

        def make() -> RemoteEngine:
            started.append(RemoteEngine(local, lettered))
            return started[-1]

        yield make
        for engine in started:
            engine.process.kill()
            engine.process.join()

    def test_answers_come_out_of_order(self, start: Callable[[], RemoteEngine]) -> None:
        """Else the suite would not show what it is to show."""
        engine = start()
        assert not engine.deterministic
        asked = [request(("late", i), ids, max_new=3) for i, ids in enumerate(contexts(20))]
        for one in asked:
            engine.submit(one)
        came = list(drain(engine))
        assert came != [one.key for one in asked]
        assert sorted(came) == sorted(one.key for one in asked)

    def test_turns_that_come_while_it_is_asked_for_something_else_are_kept(self, start: Start) -> None:
        engine, asked = start(), turns(("busy",))
        for one in asked:
            engine.submit(one)
        assert learn(engine, 1, "examiner")["tokens"] > 0
        assert drain(engine).keys() == {one.key for one in asked}

    def test_a_dead_engine_is_lost_whatever_is_asked_of_it(self, start: Callable[[], RemoteEngine]) -> None:
        engine, asked = start(), turns(("lost",))
        engine.submit(asked[0])
        engine.process.kill()
        engine.process.join()
        calls: list[Callable[[], object]] = [
            lambda: engine.submit(asked[1]),
            lambda: engine.usage(),
            lambda: engine.snapshot("student", "lost"),
            lambda: [engine.ready(), engine.ready()],
        ]
        for call in calls:
            with pytest.raises(EngineLost, match="process is gone"):
                call()
