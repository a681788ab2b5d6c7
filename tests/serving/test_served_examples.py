"""The examples of other harnesses, where those are installed (``make test-clients``)."""

import asyncio
import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toys.scripted import DictSearcher, ScriptedEngine, says, tools
from toys.services import serving

from piplay.agent import Agent
from piplay.chat.base import Chat
from piplay.rollout.stage import Stage
from piplay.serving.app import make_app
from piplay.serving.questions import Questions
from piplay.settings import Limits

EXAMPLES = Path(__file__).parents[2] / "examples" / "serve"


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    rows = [
        {"id": "1", "question": "Where is Bor?", "golden_answers": ["the Tamsin", "Tamsin"]},
        {"id": "2", "question": "Where is Quil?", "golden_answers": ["Oum"]},
    ]
    file = tmp_path / "towns.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_inspect_asks_a_served_agent(bench: Path, tiny_chat: Chat, tmp_path: Path) -> None:
    inspect_ai = pytest.importorskip("inspect_ai")
    made = runpy.run_path(str(EXAMPLES / "inspect_task.py"))
    engine = ScriptedEngine(tiny_chat, lambda request: says("Tamsin."))
    agent = Agent("scripted", Stage(engine, tiny_chat, tools(DictSearcher([])), Limits(tokens=4000)))
    with serving(make_app(Questions(agent, 8), "mine")) as url:
        [log] = inspect_ai.eval(
            made["benchmark"](bench=str(bench)),
            model="openai-api/piplay/mine",
            model_base_url=f"{url}/v1",
            model_args={"api_key": "none"},
            log_dir=str(tmp_path / "logs"),
            display="none",
        )
    assert log.status == "success"
    assert {sample.id: sample.scores["squad"].value for sample in log.samples} == {"1": "C", "2": "I"}


def test_verifiers_reads_and_rewards(bench: Path) -> None:
    pytest.importorskip("verifiers.v1")
    made: dict[str, Any] = runpy.run_path(str(EXAMPLES / "verifiers_taskset.py"))
    config = made["BenchmarkConfig"](bench=str(bench))
    first, second = made["BenchmarkTaskset"](config)
    assert (first.data.prompt, second.data.answers) == ("Where is Bor?", ["Oum"])
    rewards = [asyncio.run(one.exact_match(SimpleNamespace(last_reply="Tamsin."))) for one in (first, second)]
    assert rewards == [1.0, 0.0]
