"""The judge: checked in both orders, kept on disk, beside exact match and never in its place."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from toys.judges import Endpoint, sensible

from piplay.cli.main import main
from piplay.errors import InputError, Unavailable
from piplay.eval import judge as room
from piplay.eval.judge import PAIRS, Judge
from piplay.eval.statistics import wilson


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Endpoint]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ExitStack() as started:
        yield lambda say=sensible: started.enter_context(Endpoint(say))


ROWS: list[dict[str, Any]] = [
    {"question": "Where?", "golds": ["Bor"], "answer": "Bor", "em": 1.0},
    {"question": "Where?", "golds": ["Quil", "Bor"], "answer": "in Bor", "em": 0.0},
    {"question": "Where?", "golds": ["Bor"], "answer": "Quil", "em": 0.0},
    {"question": "Where?", "golds": ["Bor"], "answer": "", "em": 0.0},
]


def test_numbers_stand_beside_exact_match(serve: Callable[..., Endpoint]) -> None:
    numbers = Judge(serve().url, "wise").measure(ROWS)
    assert (numbers["n"], numbers["right"], numbers["agreement_with_em"]) == (4, 0.5, 0.75)
    assert (numbers["only_em"], numbers["only_judge"]) == (0, 1)
    assert numbers["interval"] == list(wilson(2, 4))


def test_what_it_said_is_not_asked_again(serve: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPLAY_JUDGE_KEY", "s3cret")
    endpoint = serve()
    first = Judge(endpoint.url, "wise").measure(ROWS)
    asked = endpoint.asked
    assert asked == 2 * len(PAIRS) + 4
    assert endpoint.keys == {"Bearer s3cret"}
    [file] = room.cache_folder().glob("judges/*.jsonl")
    file.write_text(file.read_text() + '{"asked": "cut o')
    assert Judge(endpoint.url, "wise").measure(ROWS) == first
    assert endpoint.asked == asked
    assert "s3cret" not in file.read_text()
    monkeypatch.setattr(room, "PROMPT", room.PROMPT + " Think.")
    assert Judge(endpoint.url, "wise").prompt != room.sha256(b"").hexdigest()
    assert endpoint.asked == asked + 2 * len(PAIRS)  # another prompt, another judge


@pytest.mark.parametrize(
    "say",
    [
        lambda question, first, second: "yes",
        lambda question, first, second: "",
        # By its place: the first answer has to be the gold.
        lambda question, first, second: sensible(question, first, second) if first in {p[1] for p in PAIRS} else "no",
    ],
)
def test_a_judge_that_goes_by_the_place_is_refused(serve: Callable[..., Endpoint], say: Any) -> None:
    with pytest.raises(InputError, match=r"is wrong on \d+ of 16 fixed pairs"):
        Judge(serve(say).url, "wise")


def test_a_judge_that_does_not_answer(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve()
    endpoint.status = 500
    with pytest.raises(Unavailable, match=r"does not answer \(status 500\)"):
        Judge(endpoint.url, "wise")
    for url, model in (("here", "wise"), (endpoint.url, "")):
        with pytest.raises(InputError, match="--judge"):
            Judge(url, model)


@pytest.mark.slow
def test_eval_prints_and_keeps_its_agreement(
    serve: Callable[..., Endpoint], small_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint, out = serve(), tmp_path / "out"
    command = ["eval", "--world", small_world, "--limit", "1", "--engine.threads", "1", "--judge", endpoint.url]
    assert main([*map(str, command), "--judge-model", "wise", "--out", str(out)]) == 0
    found = json.loads((out / "eval.json").read_text())["judge"]
    assert (found["model"], len(found["prompt_sha256"])) == ("wise", 64)
    assert found["base"]["n"] == 4
    told = " ".join(capsys.readouterr().out.split())
    assert f"agrees with exact match on {found['base']['agreement_with_em']:.3f}" in told
