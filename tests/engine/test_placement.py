"""Which devices trainers and samplers are given, and what is refused."""

from pathlib import Path

import pytest
from transformers import Qwen3Config

from piplay.engine import placement
from piplay.engine.placement import check_cluster, place, place_over
from piplay.engine.protocol import TooFewDevices
from piplay.engine.vllm import serve
from piplay.engine.vllm.memory import check_heads
from piplay.engine.vllm.messages import Settings
from piplay.errors import InputError
from piplay.settings import EngineSettings


def settings(**given: object) -> EngineSettings:
    return EngineSettings.model_validate({"kind": "vllm", "device": "cuda"} | given)


@pytest.mark.parametrize(
    ("given", "gpus", "trainers", "samplers"),
    [
        ({"device": "cpu"}, 0, "cpu", "-"),
        ({"device": "cpu", "trainers": 2, "samplers": 3}, 8, "cpu cpu", "- - -"),
        ({}, 1, "cuda:0", "0"),
        ({}, 8, "cuda:0", "0"),
        ({"device": "cuda:3", "samplers": 2}, 8, "cuda:3", "3 3"),
        ({"trainers": 2, "samplers": 2}, 2, "cuda:0 cuda:1", "0 1"),
        ({"samplers": 3}, 2, "cuda:0", "0 1 0"),
        ({"trainers": 8, "samplers": 8}, 8, " ".join(f"cuda:{i}" for i in range(8)), "0 1 2 3 4 5 6 7"),
        ({"trainers": 2, "samplers": 2, "placement": "split"}, 4, "cuda:2 cuda:3", "0 1"),
        ({"trainers": 1, "samplers": 3, "placement": "split"}, 3, "cuda:2", "0 1 0"),
        ({"samplers": 2, "tensor_parallel": 2}, 4, "cuda:0", "0,1 2,3"),
        ({"samplers": 3, "tensor_parallel": 2}, 5, "cuda:0", "0,1 2,3 0,1"),
        ({"trainers": 4, "samplers": 1, "tensor_parallel": 4}, 4, "cuda:0 cuda:1 cuda:2 cuda:3", "0,1,2,3"),
        ({"trainers": 2, "samplers": 3, "tensor_parallel": 2, "placement": "split"}, 8, "cuda:6 cuda:7", "0,1 2,3 4,5"),
        ({"trainers": 4, "min_trainers": 2, "samplers": 4}, 3, "cuda:0 cuda:1 cuda:2", "0 1 2 0"),
        ({"trainers": 4, "min_trainers": 2, "placement": "split"}, 4, "cuda:1 cuda:2 cuda:3", "0"),
        ({"device": "cpu", "trainers": 3, "min_trainers": 1}, 0, "cpu cpu cpu", "-"),
        ({"kind": "ray", "tensor_parallel": 4}, 1, "cuda:0", "-"),
        ({"kind": "ray", "trainers": 2, "samplers": 16}, 2, "cuda:0 cuda:1", "- " * 16),
    ],
)
def test_devices(given: dict[str, object], gpus: int, trainers: str, samplers: str) -> None:
    """Samplers by the numbers of the GPUs that each sees, joined by commas."""
    found = place(settings(**given), gpus)
    assert found.trainers == tuple(trainers.split())
    assert found.samplers == tuple(() if one == "-" else tuple(map(int, one.split(","))) for one in samplers.split())


@pytest.mark.parametrize(
    ("given", "gpus", "complaint"),
    [
        ({"trainers": 3}, 2, 'engine.trainers is 3, each takes a GPU, and engine.device "cuda" is 2 here: lower it'),
        ({"device": "cuda:1", "trainers": 2}, 8, 'engine.trainers is 2, each takes a GPU, .* "cuda:1" is 1 here'),
        ({"kind": "ray", "trainers": 2}, 1, "engine.trainers is 2, each takes a GPU"),
        ({"trainers": 8, "min_trainers": 6}, 5, "engine.min_trainers is 6, each takes a GPU, .* is 5 here"),
        ({"trainers": 4, "min_trainers": 3, "placement": "split"}, 3, "beside the 1 of a sampler .* is 3 here"),
        (
            {"trainers": 2, "placement": "split"},
            2,
            r"trainers is 2, each takes a GPU beside the 1 of a sampler \(engine.placement\), and",
        ),
        ({"device": "cuda:0", "placement": "split"}, 4, "trainers is 1, each takes a GPU beside the 1 of a sampler"),
        ({"tensor_parallel": 4}, 2, r"takes 4 GPUs \(engine.tensor_parallel\), and .* is 2 here: lower it"),
        ({"tensor_parallel": 2, "device": "cuda:0"}, 8, 'engine.device "cuda:0" is 1 here: lower it'),
        ({"tensor_parallel": 2, "trainers": 3, "placement": "split"}, 4, "beside the 2 of a sampler"),
    ],
)
def test_too_few_devices_are_refused(given: dict[str, object], gpus: int, complaint: str) -> None:
    with pytest.raises(TooFewDevices, match=complaint):
        place(settings(**given), gpus)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"device": "cpu", "placement": "split"}, 'placement: of GPUs, and engine.device is "cpu": leave it out'),
        ({"device": "cpu", "tensor_parallel": 2}, 'tensor_parallel: of GPUs, and engine.device is "cpu"'),
        ({"kind": "local", "tensor_parallel": 2}, 'tensor_parallel: of engine.kind "ray", and it is "local"'),
        ({"kind": "local", "placement": "split"}, 'placement: of engine.kind "ray", and it is "local"'),
        ({"placement": "beside"}, "placement"),
        ({"trainers": 2, "min_trainers": 3}, "min_trainers is 3, of 2 trainers: lower it"),
        ({"kind": "local", "min_trainers": 1}, 'min_trainers: of engine.kind "ray", and it is "local"'),
        ({"device": "cpu", "exact": True}, 'exact: of GPUs, and engine.device is "cpu"'),
        ({"kind": "local", "exact": True}, 'exact: of engine.kind "ray", and it is "local"'),
    ],
)
def test_settings_without_meaning_are_refused(given: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        settings(**given)


@pytest.mark.parametrize("given", [{"device": "cpu"}, {"placement": "split"}])
def test_trainers_of_a_cluster_are_as_many_as_there_is_room_for(given: dict[str, object]) -> None:
    four = settings(kind="ray", trainers=4, samplers=2, **given)
    first, *others = place_over(four, 8, None).trainers
    assert (first, set(others)) == (("cpu", {"cpu"}) if four.device == "cpu" else ("cuda:7", {"cuda:0"}))
    assert len(place_over(four, 1, 9).trainers) == len(place_over(four, 1, 3).trainers) == 4
    with pytest.raises(TooFewDevices, match=r"engine.trainers is 4, and beside 2 samplers .* room for 3: lower it"):
        place_over(four, 1, 2)
    fewer = settings(kind="ray", trainers=4, samplers=2, min_trainers=2, **given)
    assert [len(place_over(fewer, 1, room).trainers) for room in (1, 2, 3)] == [2, 3, 4]
    with pytest.raises(TooFewDevices, match=r"engine.min_trainers is 2, .* room for 1"):
        place_over(fewer, 1, 0)


def test_the_first_trainer_of_a_cluster_takes_a_gpu_here() -> None:
    with pytest.raises(TooFewDevices, match=r'the first trainer takes a GPU here, and engine.device "cuda" is none'):
        place_over(settings(kind="ray", placement="split"), 0, 4)


def test_what_ray_deals_out_is_checked() -> None:
    split = settings(kind="ray", trainers=2, placement="split")
    check_cluster(split, 8, 7, 8)
    check_cluster(settings(kind="ray", trainers=2, tensor_parallel=8), 8, 8, 8)
    with pytest.raises(InputError, match=r"last of the 8 GPUs here, and Ray deals out 8: .*--num-gpus 7`"):
        check_cluster(split, 8, 8, 8)
    with pytest.raises(InputError, match=r"takes 4 GPUs of one machine .* no machine of the cluster has more than 2"):
        check_cluster(settings(kind="ray", tensor_parallel=4), 2, 2, 2)


@pytest.mark.parametrize(
    ("heads", "shared", "able"),
    [(16, 8, [1, 2, 4, 8, 16]), (4, 2, [1, 2, 4]), (12, 4, [1, 2, 4, 12]), (9, 3, [1, 3, 9])],
)
def test_a_model_is_dealt_to_as_many_gpus_as_divide_its_heads(
    heads: int, shared: int, able: list[int], tmp_path: Path
) -> None:
    Qwen3Config(num_attention_heads=heads, num_key_value_heads=shared).save_pretrained(tmp_path)
    for number in range(1, heads + 2):
        if number in able:
            check_heads(tmp_path, number)
        else:
            with pytest.raises(InputError, match=rf"engine.tensor_parallel is {number}, .* one of {str(able)[1:-1]}$"):
                check_heads(tmp_path, number)


def test_what_is_told_of_a_placement() -> None:
    assert "samplers on cuda:0+cuda:1" in str(place(settings(tensor_parallel=2), 2))
    assert str(place(settings(samplers=3), 2)) == "trainers on cuda:0; samplers on cuda:0, cuda:1"
    assert str(place(settings(kind="ray"), 1)) == "trainers on cuda:0; samplers on those that Ray deals out"


@pytest.mark.parametrize(
    ("inherited", "gpus", "seen"), [(None, (), None), (None, (1, 2), "1,2"), ("4,5,6", (0, 2), "4,6"), ("", (3,), "3")]
)
def test_a_samplers_process_sees_its_gpus_alone(
    inherited: str | None, gpus: tuple[int, ...], seen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if inherited is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", inherited)
    assert serve.environment(sampler(gpus=gpus)).get("CUDA_VISIBLE_DEVICES") == seen


def sampler(**given: object) -> Settings:
    return Settings(
        model=None, seed=0, slots=1, longest=8, cache_tokens=None, micro_batch_tokens=8, device="cuda", dtype="float32",
        threads=1, rank=0, adapters=1, tensor_parallel=1, exact=False, **given,
    )  # fmt: skip


def test_gpus_are_counted_once_and_again_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter(["3\n", "2\n"])
    monkeypatch.setattr(placement.subprocess, "run", lambda *_, **__: type("Done", (), {"stdout": next(found)}))
    placement.gpus.cache_clear()
    assert (placement.gpus(), placement.gpus()) == (3, 3)
    placement.gpus.cache_clear()
    assert placement.gpus() == 2
    placement.gpus.cache_clear()
