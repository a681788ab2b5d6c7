"""What is logged of a step, on episodes made by hand."""

from dataclasses import replace

import pytest
from toys.scripted import told, turn, used

from piplay.envs.search.question import Question
from piplay.methods.pi_play.metrics import em_by_hops, question_metrics, role_metrics
from piplay.training.metrics import role_metrics as core_metrics
from piplay.types import Episode, ScoredTrajectory, StopReason


def student(
    reward: float = 0.0, queries: tuple[str, ...] = (), stop: StopReason = StopReason.ANSWERED
) -> ScoredTrajectory:
    calls = [used(query, ()) for query in queries]
    trajectory = told([turn(query=query) for query in queries] + [turn("x")], calls, stop, "student", written=4)
    return ScoredTrajectory(trajectory, ("q",), reward)


def study(hops: int, *rewards: float, failed: int = 0) -> Episode:
    """``failed``: students besides whose tool failed."""
    task = Question(f"t{hops}", hops, f"Question {hops}?", ("gold",))
    scored = (*map(student, rewards), *(student(stop=StopReason.TOOL_FAILED) for _ in range(failed)))
    return Episode((hops,), task, scored, facts={"k": sum(rewards)})


def examine(hops: int, *rewards: float, gate: str = "") -> Episode:
    task = Question(f"s{hops}", hops)
    written = () if gate else (replace(task, question=f"Question {hops}?", answers=("gold",)),)
    facts = {"gate": gate} if gate else {"gate": "", "k": sum(rewards)}
    return Episode((hops,), task, (ScoredTrajectory(told([turn("x")]), ("h",)), *map(student, rewards)), written, facts)


def test_what_is_logged_of_seats() -> None:
    scored = [
        student(1.0),
        student(0.0, ("Bor", "the bor!", "Tamsin", "BOR"), StopReason.TURNS),
        student(0.0, ("Bor", "Tamsin"), StopReason.TURNS),
        student(1.0, ("Bor",), StopReason.TOOL_FAILED),
    ]
    episode = Episode(("e",), Question("t", 1), tuple(scored))
    row = core_metrics(["student", "examiner"], [episode]) | role_metrics([episode])
    expected = {
        "reward": 0.5,
        "length": (2 + 4 + 2 + 24 + 2 + 14 + 2 + 9) / 4,  # a prompt of 2, turns of 4, a tool's answer of 1
        "length_max": 26.0,
        "tokens_written": (4 + 20 + 12 + 8) / 4,
        "turns": (1 + 5 + 3 + 2) / 4,
        "tool_calls": 7 / 4,
        "searches": 7 / 4,
        "repeated_queries": 2 / 4,
        "stop/answered": 0.25,
        "stop/turns": 0.5,
        "stop/tool_failed": 0.25,
        "stop/malformed": 0.0,
        "stop/turn_tokens": 0.0,
        "stop/total_tokens": 0.0,
    }
    assert row == {f"student/{name}": value for name, value in expected.items()}


def test_what_is_logged_of_study_tasks() -> None:
    row = question_metrics([study(1, 1, 1, 0, 0), study(1, 1, 1, 1, 1), study(2, 0, 0, 0, 0)], None)
    assert row == {
        "tasks/1": 2,
        "tasks/2": 1,
        "k/2": 1,
        "k/4": 1,
        "k/0": 1,
        "accuracy": 0.5,
        "solved": 1 / 3,
        "accuracy/1": 0.75,
        "accuracy/2": 0.0,
        "informative/1": 0.5,
        "informative/2": 0.0,
    }


def test_a_tool_that_fails_says_nothing_of_a_task() -> None:
    row = question_metrics(
        [study(1, 1, 1, failed=2), study(1, 1, 0, failed=2), study(2, failed=4)], lambda task: "true"
    )
    assert (row["solved"], row["accuracy"], row["wasted"]) == (1 / 2, 3 / 4, 1 / 2)
    assert (row["k/2"], row["k/1"], row["informative/1"]) == (1, 1, 0.5)
    assert not {"k/0", "accuracy/2", "informative/2"} & set(row)
    nothing = question_metrics([study(1, failed=4)], lambda task: "true")
    assert not {"solved", "accuracy", "wasted", "false_agreement"} & set(nothing), (
        "a server that is down solves nothing"
    )


def test_what_is_logged_of_an_examiners_tasks() -> None:
    episodes = [examine(2, 1, 0), examine(2, gate="leak"), examine(3, gate="leak"), examine(3, gate="hops")]
    row = question_metrics(episodes, None)
    assert {name: row[name] for name in row if name.startswith("gate/")} == {
        "gate/passed": 1,
        "gate/leak": 2,
        "gate/hops": 1,
    }
    assert (row["tasks/2"], row["tasks/3"], row["k/1"], row["informative/2"]) == (2, 2, 1, 1.0)
    assert "accuracy/3" not in row


def test_what_the_gate_format_refused_is_counted_by_why_it_ended() -> None:
    def refused(stop: StopReason) -> Episode:
        trajectory = told([turn("x")], stop=stop)
        return Episode(("e",), Question("s", 2), (ScoredTrajectory(trajectory, ("h",)),), facts={"gate": "format"})

    stops = [StopReason.TOTAL_TOKENS, StopReason.TOTAL_TOKENS, StopReason.ANSWERED]
    row = question_metrics([*map(refused, stops), examine(2, gate="leak")], None)
    counts = {name: value for name, value in row.items() if name.startswith(("format/", "gate/"))}
    assert counts == {"gate/format": 3, "gate/leak": 1, "format/total_tokens": 2, "format/answered": 1}


def test_the_truth_of_what_passed_the_gates() -> None:
    verdicts = {1: "true", 2: "false", 3: "ill_typed", 4: "unknown"}
    episodes = [examine(1, 1, 1), examine(2, 1, 0), examine(3, 0, 1), examine(4, 1, 0), examine(1, gate="leak")]
    row = question_metrics(episodes, lambda task: verdicts[task.hops])
    assert [row[f"truth/{hops}"] for hops in (1, 2, 3, 4)] == [1.0, 0.0, 0.0, 0.0]
    assert [row[name] for name in ("true", "false", "ill_typed", "unknown")] == [0.25] * 4
    # Two are wrong; of the two others one is solved by every sample.
    assert row["wasted"] == 3 / 4
    # Agreement with the examiner where the truth is another: one of eight rollouts at 2 hops, one at 3.
    assert row["false_agreement"] == 2 / 8


def test_the_truth_of_a_study_task_is_asked_of_the_task_itself() -> None:
    asked: list[Question] = []

    def audit(task: Question) -> str:
        asked.append(task)
        return "false"

    episode = study(2, 1, 0)
    row = question_metrics([episode], audit)
    assert asked == [episode.task]
    assert (row["truth/2"], row["false"], row["false_agreement"], row["wasted"]) == (0.0, 1.0, 0.5, 1.0)


def test_nothing_written_has_no_truth() -> None:
    row = question_metrics([examine(2, gate="format")], lambda task: "true")
    assert not {"true", "truth/2", "false_agreement"} & set(row)


def test_held_out_exact_match_by_hops() -> None:
    em, counts = em_by_hops([study(3, 1), study(1, 0), study(3, 0), study(1, 0), study(3, 1)])
    assert em == {"1": 0.0, "3": pytest.approx(2 / 3)}
    assert counts == {"1": 2, "3": 3}
    assert list(em) == ["1", "3"]
