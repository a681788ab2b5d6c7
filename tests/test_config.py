"""Recipes and their overrides."""

from pathlib import Path

import pytest

from piplay.config import Config, load_config, recipes
from piplay.errors import InputError
from piplay.training.loop import make_game


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_of_the_package_is_sound(name: str) -> None:
    config = load_config(name, {})
    assert config.name == name
    for phase in config.phases:
        make_game(phase, {})


def test_the_papers_algorithm_is_a_recipe() -> None:
    config = load_config("pi-play", {})
    assert config.iterations == 3
    assert [(phase.name, phase.tasks) for phase in config.phases] == [
        ("examine", "seeds"),
        ("write", "seeds"),
        ("study", "written"),
    ]
    assert config.policies["teacher"].follows == "student"
    assert config.phases[2].learn["student"].teacher == "teacher"
    assert config.hop_odds == (4, 3, 2, 1)
    assert not config.phases[1].learn


def test_overrides_reach_every_kind_of_place() -> None:
    config = load_config(
        "smoke",
        {
            "seed": "7",
            "name": "mine",
            "policies.student.lr": "1e-3",
            "phases.study.steps": "9",
            "phases.study.learn.student.distill": "0.5",
            "phases.examine.options.gates": '["leak"]',
            "hop_odds": "[1, 1]",
            "corpus": "some/where",
        },
    )
    assert (config.seed, config.name, config.corpus) == (7, "mine", Path("some/where"))
    assert config.policies["student"].lr == 1e-3
    assert (config.phases[2].steps, config.phases[2].learn["student"].distill) == (9, 0.5)
    assert config.phases[0].options["gates"] == ["leak"]
    assert config.hop_odds == (1, 1)


def test_what_is_not_overridden_stays() -> None:
    changed = load_config("smoke", {"seed": "7"})
    assert changed.model_copy(update={"seed": 0}) == load_config("smoke", {})


@pytest.mark.parametrize("name", ["a/b", "", ".."])
def test_a_name_that_is_no_name_for_a_file_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="names files: take letters, digits"):
        load_config("smoke", {"phases.study.name": name})
    with pytest.raises(InputError, match="names files: take letters, digits"):
        load_config("smoke", {"policies": {name: {}, **load_config("smoke", {}).model_dump()["policies"]}})


def test_two_phases_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two phases are called 'write'"):
        load_config("smoke", {"phases.study.name": "write"})


def test_roles_that_share_a_policy_learn_alike() -> None:
    settings = {"phases.examine.seats.student": "examiner", "phases.examine.learn.student": {}}
    load_config("smoke", settings)
    with pytest.raises(InputError, match="examiner and student train examiner in one step, with different eps"):
        load_config("smoke", settings | {"phases.examine.learn.student": {"eps": 0.1}})
    load_config("smoke", {"phases.examine.learn.student": {"eps": 0.1}})
    taught = settings | {"phases.examine.learn.student": {"teacher": "examiner", "distill": 1.0, "top_k": 4}}
    load_config("smoke", taught)
    with pytest.raises(InputError, match="with different top_k"):
        load_config("smoke", taught | {"phases.examine.learn.examiner.teacher": "student"})


def test_a_name_with_a_hyphen_can_be_named_on_the_command_line() -> None:
    named = load_config("smoke", {"phases.study.name": "self-study", "phases.self-study.until-solved": "0.5"})
    assert (named.phases[2].name, named.phases[2].until_solved) == ("self-study", 0.5)


def test_a_cache_without_room_for_a_trajectory_is_refused() -> None:
    assert load_config("smoke", {"engine.cache_tokens": 512, "limits.tokens": 512}).engine.cache_tokens == 512
    with pytest.raises(InputError, match=r"engine.cache_tokens is 511, and a trajectory may have 512"):
        load_config("smoke", {"engine.cache_tokens": 511, "limits.tokens": 512})


def test_a_prompt_of_a_role_that_no_phase_seats_is_refused() -> None:
    with pytest.raises(InputError, match="there is no role 'studnet' \\(did you mean 'student'\\?\\)"):
        load_config("smoke", {"prompts.studnet": "Be brief."})


def test_settings_survive_their_own_json() -> None:
    config = load_config("pi-play", {"corpus": "books", "hop_odds": "[1]"})
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"phases.study.learn.student.teacher": "examiner"}, "teacher examiner has no seat"),
        ({"phases.write.learn.student.pg": "1.0"}, "student learns but has no seat"),
        ({"phases.examine.learn.examiner.distill": "1.0"}, "names no teacher seat"),
        ({"phases.study.learn.student.beta": "0.1"}, "names no reference policy"),
        ({"phases.study.learn.student.beta": "0.1", "phases.study.learn.student.reference": "base"}, "'base'"),
        ({"phases.study.seats.student": "teacher"}, "follows another"),
        ({"policies.teacher.follows": "studen"}, "did you mean 'student'?"),
        ({"phases.write.writes": "0"}, "no phase before it writes any"),
    ],
)
def test_settings_that_do_not_fit_each_other(overrides: dict[str, str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config("smoke", overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
