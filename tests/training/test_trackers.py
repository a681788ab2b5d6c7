"""Trackers hear every number once, over interruptions too, and leave the training's bits alone."""

import json
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from piplay.cli.main import main
from piplay.config import Config
from piplay.engine.local.engine import LocalEngine
from piplay.methods.pi_play.evaluation import LABEL
from piplay.recipes import load_config
from piplay.training.listeners.group import ListenerGroup
from piplay.training.listeners.trackers import Tracker, Trackio, WandB, settings
from piplay.training.run_directory import Run

pytestmark = pytest.mark.slow

Point = tuple[str, int]
"""A name and an n."""


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, toy_recipe: Path) -> Callable[[str], Path]:
    """A run with a tracker, interrupted in its fifth and in its eleventh update and resumed: it plays steps again."""
    made: dict[str, Path] = {}

    def play(tracker: str) -> Path:
        if tracker not in made:
            folder = made[tracker] = tmp_path_factory.mktemp(tracker) / "run"
            command = ["train", str(toy_recipe), "--run-dir", str(folder), "--trackers", tracker]
            for update in (5, 6):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(LocalEngine, "train", interrupted(update))
                    assert main(command) == 130
                command = ["resume", str(folder), "--trust"]
            assert main(command) == 0
        return made[tracker]

    return play


def interrupted(update: int) -> Callable[..., Any]:
    """``LocalEngine.train`` with Ctrl-C in an update."""
    original, calls = LocalEngine.train, Counter[str]()

    def train(*arguments: Any) -> dict[str, float]:
        calls["train"] += 1
        if calls["train"] == update:
            raise KeyboardInterrupt
        return original(*arguments)

    return train


def numbers(run: Path) -> dict[Point, float]:
    """What has to be told of a run, read off its files."""
    found: dict[Point, float] = {}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    ends = [0] + [max(row["n"] for row in rows if row["iteration"] == m) for m in (1, 2)]
    for row in rows:
        found |= {(f"seconds/{name}", row["n"]): value for name, value in row.pop("seconds").items()}
        found |= {(name, row["n"]): value for name, value in row.items() if name != "phase"}
    for n, row in zip(ends, json.loads((run / "summary.json").read_text())["eval"], strict=True):
        for table in ("em_by_hops", "n_by_hops", "teacher_em_by_hops"):
            found |= {(f"eval/{table}/{hops}", n): value for hops, value in row.pop(table).items()}
        del row["right_by_hops"]  # which questions were right: no number
        found |= {(f"eval/{name}", n): value for name, value in row.items()}
    return found


def bits(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.glob("final/*/model.safetensors"))}


@pytest.mark.long
@pytest.mark.parametrize("tracker", ["tensorboard", "wandb"])
def test_a_tracked_run_has_the_bits_of_one_that_is_not(
    tracked: Callable[[str], Path], toy_run: Path, offline: None, tracker: str
) -> None:
    pytest.importorskip(tracker)
    assert bits(tracked(tracker)) == bits(toy_run)


# TensorBoard


@pytest.fixture(scope="module")
def events(tracked: Callable[[str], Path]) -> Any:
    """TensorBoard's own reading of its files."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(tracked("tensorboard") / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    return found


@pytest.mark.long
def test_tensorboard_shows_every_number_once(events: Any, tracked: Callable[[str], Path]) -> None:
    shown = [(tag, point.step, point.value) for tag in events.Tags()["scalars"] for point in events.Scalars(tag)]
    assert Counter((tag, step) for tag, step, _ in shown).most_common(1)[0][1] == 1
    expected = numbers(tracked("tensorboard"))
    assert {(tag, step): value for tag, step, value in shown} == pytest.approx(expected, rel=1e-6)


@pytest.mark.long
def test_tensorboard_was_told_of_some_steps_twice(tracked: Callable[[str], Path]) -> None:
    pytest.importorskip("tensorboard")
    """Otherwise the test above says nothing."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = sorted((tracked("tensorboard") / "tensorboard").iterdir())
    assert len(files) == 3
    steps = [{event.step for event in EventFileLoader(str(file)).Load() if event.HasField("summary")} for file in files]
    assert steps[0] & steps[1]


def test_tensorboard_has_the_settings(events: Any, tracked: Callable[[str], Path]) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    told = dict(HParamsPluginData.FromString(content).session_start_info.hparams)
    assert told["seed"].number_value == 0
    assert told["phases.study.learn.student.losses.distill.top_k"].number_value == 8
    assert told["policies.teacher.follows"].string_value == "student"
    assert "phases.study.learn.student.losses.distill.top_k = 8" in str(events.Tensors("config/text_summary"))


# Weights & Biases


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing reaches a network, whoever is logged in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp("wandb")))
        yield


def records(file: Path) -> Iterator[Any]:
    """The records of a .wandb file: after seven bytes a LevelDB log, whose blocks of 32 KiB cut records in parts."""
    from wandb.proto.wandb_internal_pb2 import Record

    raw, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(raw):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", raw[place : place + 7])
        parts += raw[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


@pytest.fixture(scope="module")
def told(tracked: Callable[[str], Path], offline: None) -> list[Any]:
    """What the one file that is left of the W&B run holds."""
    pytest.importorskip("wandb")
    [file] = (tracked("wandb") / "wandb").glob("offline-run-*/*.wandb")
    return list(records(file))


@pytest.mark.long
def test_wandb_is_told_every_number_once(told: list[Any], tracked: Callable[[str], Path]) -> None:
    found: list[tuple[Point, float]] = []
    steps: list[int] = []
    for record in (record for record in told if record.HasField("history")):
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        steps.append(row["_step"])
        found += [((name, row["n"]), value) for name, value in row.items() if not name.startswith("_")]
    assert steps == sorted(set(steps))
    expected = numbers(tracked("wandb"))
    expected |= {("n", n): n for _, n in expected}
    assert dict(found) == expected


@pytest.mark.long
def test_wandb_has_the_settings_and_the_run(told: list[Any], tracked: Callable[[str], Path]) -> None:
    [start] = [record.run for record in told if record.HasField("run")]
    assert start.run_id == (tracked("wandb") / "wandb-id").read_text().strip()
    assert (start.project, start.display_name) == ("piplay", "run")
    settings = {item.key: json.loads(item.value_json) for item in start.config.update}
    assert settings["phases.study.learn.student.losses.distill.top_k"] == 8
    assert settings["policies.teacher.follows"] == "student"
    assert [record.exit.exit_code for record in told if record.HasField("exit")] == [0]


def test_a_wandb_run_that_goes_on_is_told_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    """W&B says on resume which of its steps comes next: what it has is not told again, what it lost is."""
    wandb = pytest.importorskip("wandb")
    asked: list[dict[str, Any]] = []
    logged: list[tuple[int, dict[str, float]]] = []

    class Cloud:
        step = 4

        def define_metric(self, *_: Any, **__: Any) -> None: ...
        def finish(self, exit_code: int) -> None:
            logged.append((-exit_code, {}))

        def log(self, values: dict[str, float], step: int, commit: bool) -> None:
            logged.append((step, values))

    monkeypatch.setattr(wandb, "init", lambda **settings: asked.append(settings) or Cloud())
    (tmp_path / "wandb-id").write_text("abcd1234\n")
    tracker = WandB(Run(tmp_path, load_config("smoke", {})))
    rows = [{"n": n, "iteration": 1, "accuracy": n / 8} for n in (1, 2, 3)]
    tracker.began(rows, [{"iteration": 0, "em": 0.25}, {"iteration": 1, "em": 0.5}])
    tracker.step({"n": 4, "iteration": 2, "phase": "study", "seconds": {"play": 1.5}})
    tracker.close(failed=True)
    assert (asked[0]["id"], asked[0]["resume"]) == ("abcd1234", "allow")
    assert logged == [
        (4, {"n": 2, "iteration": 1, "accuracy": 0.25}),
        (6, {"n": 3, "iteration": 1, "accuracy": 0.375}),
        (7, {"n": 3, "eval/iteration": 1, "eval/em": 0.5}),
        (8, {"n": 4, "iteration": 2, "seconds/play": 1.5}),
        (-1, {}),
    ]


# trackio


class FakeTrackio(ModuleType):
    """Keeps runs by name, in memory; a run that was closed cannot be told more."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.kept: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.given: dict[str, Any] = {}

    def init(self, project: str, **given: Any) -> Any:
        self.given = {"project": project, **given}
        rows = self.kept.setdefault(given["name"], [])
        return SimpleNamespace(
            log=lambda values, step: rows.append((step, values)), finish=lambda: self.given.update(done=True)
        )

    def Api(self) -> Any:  # noqa: N802 (trackio's name)
        return SimpleNamespace(runs=self._runs)

    def _runs(self, project: str) -> list[Any]:
        if not self.kept:
            raise ValueError(f"Project '{project}' does not exist")
        return [SimpleNamespace(name=name, delete=lambda name=name: self.kept.pop(name)) for name in self.kept]


ROWS = [{"n": n, "step": n, "iteration": 1, "accuracy": n / 8, "seconds": {"play": 1.5}} for n in (1, 2, 3)]


def follow(folder: Path) -> None:
    """A run that is killed after its third step, whose checkpoint is of the second, and that goes on."""
    for before, after, failed in ((0, 3, True), (2, 3, False)):
        tracker = Trackio(Run(folder, load_config("smoke", {})))
        tracker.began(ROWS[:before], [{"iteration": 0, "em": 0.25}] if before else [])
        if not before:
            tracker.evaluated({"iteration": 0, "em": 0.25}, "so")
        for row in ROWS[before:after]:
            tracker.step(row)
        tracker.close(failed)


TOLD = [
    (0, {"eval/iteration": 0, "eval/em": 0.25}),
    *((n, {"n": n, "row/step": n, "iteration": 1, "accuracy": n / 8, "seconds/play": 1.5}) for n in (1, 2, 3)),
]


def test_trackio_has_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTrackio()
    monkeypatch.setitem(sys.modules, "trackio", fake)
    for place in ("SPACE_ID", "SERVER_URL"):
        monkeypatch.delenv(f"TRACKIO_{place}", raising=False)
    follow(tmp_path)
    name = f"{tmp_path.name}-{(tmp_path / 'trackio-id').read_text().strip()}"
    assert fake.kept == {name: TOLD}
    assert (fake.given["project"], fake.given["resume"], fake.given["done"]) == ("piplay", "allow", True)
    assert fake.given["config"]["policies.student.lr"] > 0


def test_a_trackio_elsewhere_is_told_what_follows_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeTrackio()
    monkeypatch.setitem(sys.modules, "trackio", fake)
    monkeypatch.setenv("TRACKIO_SERVER_URL", "http://127.0.0.1:9")
    follow(tmp_path)
    assert list(fake.kept.values()) == [[*TOLD, TOLD[-1]]]


def test_trackio_itself_keeps_what_metrics_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "kept"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    follow(tmp_path)
    name = f"{tmp_path.name}-{(tmp_path / 'trackio-id').read_text().strip()}"
    rows = SQLiteStorage.get_logs("piplay", name)
    assert [(row["step"], {k: v for k, v in row.items() if k not in ("step", "timestamp")}) for row in rows] == TOLD


def test_a_runs_own_questions_stand_under_a_name_of_their_own(tmp_path: Path) -> None:
    told: list[tuple[dict[str, float], int, bool]] = []

    class Noted(Tracker):
        def open(self, rows: object, evals: object) -> None:
            self.recall(rows, evals, 0)  # type: ignore[arg-type]

        def tell(self, values: Any, n: int, evaluation: bool) -> None:
            told.append((values, n, evaluation))

        @staticmethod
        def ready() -> None: ...

        def close(self, failed: bool) -> None: ...

    tracker = Noted(Run(tmp_path, load_config("smoke", {})))
    tracker.began([], [{"iteration": 0, "em": 0.25, "questions": LABEL}])
    tracker.evaluated({"iteration": 1, "em": 0.5, "questions": LABEL}, "so")
    assert told == [
        ({"self_generated/iteration": m, "self_generated/em": em}, 0, True) for m, em in ((0, 0.25), (1, 0.5))
    ]


# Bad input


@pytest.mark.parametrize(
    ("tracker", "module"),
    [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb"), ("trackio", "trackio")],
)
def test_a_library_that_is_not_installed(
    toy_recipe: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tracker: str,
    module: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["train", str(toy_recipe), "--run-dir", str(tmp_path / "run"), "--trackers", tracker]) == 2
    extra = "trackio" if tracker == "trackio" else "track"
    assert f"pip install 'piplay[{extra}]'" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_wandb_that_refuses(
    toy_recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    wandb = pytest.importorskip("wandb")

    def login(**_: Any) -> None:
        raise wandb.Error("No API key\nconfigured.")

    monkeypatch.setattr(wandb, "login", login)
    monkeypatch.setattr(wandb.setup().settings, "mode", "online")
    assert main(["train", str(toy_recipe), "--run-dir", str(tmp_path / "run"), "--trackers", "wandb"]) == 2
    assert "W&B cannot be used (No API key configured.); WANDB_MODE=offline" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_trackers_are_named_with_commas_or_as_a_list() -> None:
    for text in ("tensorboard,wandb", "tensorboard, wandb", '["tensorboard", "wandb"]'):
        assert load_config("smoke", {"trackers": text}).trackers == ("tensorboard", "wandb")
    assert load_config("smoke", {}).trackers == ()
    with pytest.raises(ValidationError):
        Config.model_validate(load_config("smoke", {}).model_dump() | {"trackers": "mlflow"})


def test_settings_have_the_names_that_change_them() -> None:
    config = load_config("pi-play", {})
    for name, value in settings(config).items():
        assert load_config("pi-play", {name: str(value)}) == config, name


# Several listeners


def test_several_listeners_are_told_in_their_order() -> None:
    heard: list[tuple[str, str, tuple[Any, ...]]] = []

    class Ear:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getattr__(self, what: str) -> Callable[..., None]:
            return lambda *told: heard.append((self.name, what, told))

    phase = load_config("smoke", {}).phases[0]
    told = {
        "began": ([], []),
        "phase": (1, phase, 2, {}),
        "step": ({"n": 4},),
        "evaluated": ({}, "so"),
        "message": ("so",),
    }
    with ListenerGroup([Ear("a"), Ear("b")]) as both:
        for what, arguments in told.items():
            getattr(both, what)(*arguments)
    expected = [(name, what, arguments) for what, arguments in told.items() for name in "ab"]
    assert heard == [*expected, ("a", "close", (False,)), ("b", "close", (False,))]


def test_listeners_are_closed_when_a_run_fails() -> None:
    class Ear:
        def close(self, failed: bool) -> None:
            self.failed = failed

    ear = Ear()
    with pytest.raises(RuntimeError), ListenerGroup([ear]):
        raise RuntimeError
    assert ear.failed
