"""Recipes and their overrides."""

from pathlib import Path

import pytest

from piplay.algo.schedules import Schedule
from piplay.config import Config
from piplay.errors import InputError
from piplay.protocols import make_game
from piplay.recipes import load_config, recipes, validated
from piplay.training.learner import make_advantage, make_losses


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_of_the_package_is_sound(name: str) -> None:
    config = load_config(name, {})
    assert config.name == name
    for phase in config.phases:
        make_game(phase, {})
        for learn in phase.learn.values():
            make_advantage(learn, {})
            make_losses(learn)


def test_the_papers_algorithm_is_a_recipe() -> None:
    config = load_config("pi-play", {})
    assert config.iterations == 3
    assert [(phase.name, phase.tasks) for phase in config.phases] == [
        ("examine", "seed_passages"),
        ("write", "seed_passages"),
        ("study", "written"),
    ]
    assert config.policies["teacher"].follows == "student"
    assert config.phases[2].learn["student"].losses["distill"].policy == "teacher"
    assert config.sources["seed_passages"].options["hop_odds"] == [4, 3, 2, 1]
    assert not config.phases[1].learn


def test_overrides_reach_every_kind_of_place() -> None:
    config = load_config(
        "smoke",
        {
            "seed": "7",
            "name": "mine",
            "policies.student.lr": "1e-3",
            "phases.study.steps": "9",
            "phases.study.learn.student.losses.distill.weight": "0.5",
            "phases.examine.options.gates": '["leak"]',
            "sources.seed_passages.hop_odds": "[1, 1]",
            "corpus": "some/where",
        },
    )
    assert (config.seed, config.name, config.environment.options["corpus"]) == (7, "mine", "some/where")
    assert config.policies["student"].lr == 1e-3
    assert (config.phases[2].steps, config.phases[2].learn["student"].losses["distill"].weight) == (9, 0.5)
    assert config.phases[0].options["gates"] == ["leak"]
    assert config.sources["seed_passages"].options["hop_odds"] == [1, 1]


def test_what_is_not_overridden_stays() -> None:
    changed = load_config("smoke", {"seed": "7"})
    assert changed.model_copy(update={"seed": 0}) == load_config("smoke", {})


def test_a_rate_that_no_step_would_take_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"--policies.student.lr would change nothing.* --phases.learn.learn.learner.lr "
    ):
        load_config("warm-up", {"policies.student.lr": "1e-3"})
    unchanged = load_config("warm-up", {}).policies["student"].lr
    assert load_config("warm-up", {"policies.student.lr": str(unchanged)}) == load_config("warm-up", {})
    # A phase of this recipe has no rate of its own.
    assert load_config("tiny-base", {"policies.student.lr": "1e-3"}).policies["student"].lr == 1e-3


def test_a_number_of_a_schedule_is_overridden_alone() -> None:
    config = load_config("warm-up", {"phases.settle.learn.learner.lr.steps": "300"})
    before, after = (one.phases[1].learn["learner"].lr for one in (load_config("warm-up", {}), config))
    assert isinstance(before, Schedule)
    assert isinstance(after, Schedule)
    assert after.written() == before.written() | {"steps": 300}


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
    settings: dict[str, object] = {"phases.examine.seats.student": "examiner", "phases.examine.learn.student": {}}
    load_config("smoke", settings)
    with pytest.raises(InputError, match=r"examiner and student train examiner in one step, with different losses\.pg"):
        load_config("smoke", settings | {"phases.examine.learn.student": {"losses": {"pg": {"eps": 0.1}}}})
    load_config("smoke", {"phases.examine.learn.student": {"losses": {"pg": {"eps": 0.1}}}})
    taught = {"losses": {"pg": {}, "distill": {"policy": "teacher", "top_k": 4}}}
    load_config("smoke", settings | {"phases.examine.learn.student": taught})
    with pytest.raises(InputError, match="with different updates"):
        load_config("smoke", settings | {"phases.examine.learn.student": {"updates": 2}})


def test_a_name_with_a_hyphen_can_be_named_on_the_command_line() -> None:
    named = load_config("smoke", {"phases.study.name": "self-study", "phases.self-study.writes-to": "written"})
    assert (named.phases[2].name, named.phases[2].writes_to) == ("self-study", "written")


def test_a_cache_without_room_for_a_trajectory_is_refused() -> None:
    assert load_config("smoke", {"engine.cache_tokens": 512, "limits.tokens": 512}).engine.cache_tokens == 512
    with pytest.raises(InputError, match=r"engine.cache_tokens is 511, and a trajectory may have 512"):
        load_config("smoke", {"engine.cache_tokens": 511, "limits.tokens": 512})


def test_a_prompt_of_a_role_that_no_phase_seats_is_refused() -> None:
    with pytest.raises(InputError, match="there is no role 'studnet' \\(did you mean 'student'\\?\\)"):
        load_config("smoke", {"prompts.studnet": "Be brief."})


RECIPE = """
name = "own"
sources.rounds = "mine:Rounds"
policies.guesser = {}
[[phases]]
name = "play"
game = "mine:Guess"
tasks = "rounds"
seats = { guesser = "guesser" }
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("steps = [1]", "phases.play.steps: Input should be a valid integer, not [1]"),
        ("steps = 0", "phases.play.steps: Input should be greater than or equal to 1, not 0"),
        ("stepz = 2", "there is no setting 'phases.play.stepz' (did you mean 'steps'?)"),
        ("learn.gueser = {}", "phases.play: gueser learns but has no seat"),
        ("until = { above = 0.5 }", "the setting 'phases.play.until.metric' is missing: give it"),
        (
            "learn.guesser.advantage = 4",
            "phases.play.learn.guesser.advantage: "
            'write "module:Class", or with its options { kind = "module:Class", … }',
        ),
    ],
)
def test_what_is_wrong_with_a_phase_is_said_under_its_name(tmp_path: Path, more: str, said: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(RECIPE + more, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        load_config(file, {})
    assert str(raised.value) == f"recipe {file}: {said}"


def test_a_class_that_a_recipe_names_by_a_text_takes_options_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(RECIPE + 'learn.guesser.advantage = "batch"\n', encoding="utf-8")
    overrides = {
        "sources.rounds.kind": "mine:Others",
        "sources.rounds.size": "4",
        "phases.play.learn.guesser.advantage.delta": "0.5",
    }
    config = load_config(file, overrides)
    assert (config.sources["rounds"].kind, config.sources["rounds"].options) == ("mine:Others", {"size": 4})
    advantage = config.phases[0].learn["guesser"].advantage
    assert (advantage.kind, advantage.options) == ("batch", {"delta": 0.5})
    with pytest.raises(InputError, match=r"there is no setting 'name\.kind': 'name' is a value"):
        load_config(file, {"name.kind": "x"})


def test_half_of_a_surrogate_pair_in_a_runs_settings_is_said() -> None:
    tree = load_config("smoke", {}).model_dump(mode="json")
    learn = tree["phases"][0]["learn"]
    learn["exami\ud800ner"] = learn.pop("examiner")
    with pytest.raises(InputError, match=r"config\.json.*UTF-8"):
        validated(tree, "config.json")


def test_settings_survive_their_own_json() -> None:
    config = load_config("pi-play", {"corpus": "books", "sources.seed_passages.hop_odds": "[1]"})
    assert Config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"phases.study.learn.student.losses.distill.policy": "techer"}, "did you mean 'teacher'?"),
        ({"phases.write.learn.student.losses.pg": "{}"}, "student learns but has no seat"),
        ({"phases.study.learn.student.losses.kl": '{policy = "base"}'}, "'base'"),
        ({"phases.study.learn.student.losses.pg.weight": "{start = 1.0}"}, "a schedule needs start and decay"),
        ({"phases.study.tasks": "writen"}, "no source 'writen' (did you mean 'written'?)"),
        ({"phases.study.writes_to": "seeds"}, "no source 'seeds'"),
        ({"agent": "studnet"}, "did you mean 'student'?"),
        ({"environment.corpus": "x", "corpsu": "y"}, "did you mean 'corpus'?"),
        ({"iteratons": "3"}, "no setting 'iteratons' of a run or its environment search (did you mean 'iterations'?)"),
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
