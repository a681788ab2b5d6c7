"""Who sees what, what passes, and who is paid."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from toys.scripted import DictSearcher, ScriptedEngine, context, says, searching, told, tools, turn, used

from piplay.chat.base import Chat
from piplay.engine.protocol import Generate
from piplay.envs.search.question import Passage, Question, Step
from piplay.errors import InputError
from piplay.methods.pi_play.game import Examine, PrivilegedStudy, Study
from piplay.methods.pi_play.gates import GATES, READ_GATES, USUAL_GATES, contested, passes, written_question
from piplay.methods.pi_play.rewards import difficulty_reward, format_score
from piplay.methods.pi_play.views import CHECKER, EXAMINER, READER, STUDENT, examiner_view, student_view, teacher_view
from piplay.rollout.driver import drive
from piplay.types import Episode, ScoredTrajectory, StopReason, ToolUse, Trajectory

BOR = Passage("p1", "Bor", "Bor lies on the Tamsin.")
TAMSIN = Passage("p2", "Tamsin", "The Tamsin rises in Oum.")
QUIL = Passage("p3", "Quil", "Quil rises in Oum, too.")
SEED = Question("m1/examine/0/0", 2, source=BOR)
PATH = (Step("Bor", "p1", "the Tamsin flows by"), Step("Tamsin", "p2", "it rises in Oum"))
GOOD = "Question: Where does the river of Bor rise? Answer: Oum"


def examine(
    chat: Chat, script: Callable[[Generate], str], task: Question = SEED, down: tuple[str, ...] = (), **options: object
) -> tuple[Episode, ScriptedEngine]:
    engine = ScriptedEngine(chat, script)
    options = {"state": {}, "probes": 4} | options
    [episode] = drive(
        [Examine(**options).play(task, context(chat))], engine, tools(DictSearcher([BOR, TAMSIN, QUIL], down))
    )
    return episode, engine


def script(final: str, *students: str, query: str = "Tamsin") -> Callable[[Generate], str]:
    """An examiner that searches once and then says ``final``, and what each student says."""

    def write(request: Generate) -> str:
        if "student" in request.key:
            return students[request.key[request.key.index("student") + 1]]
        return searching(query, "the Tamsin flows by") if request.key[-1] == 0 else says(final, "it rises in Oum")

    return write


# Views


def test_what_each_role_sees(tiny_chat: Chat) -> None:
    _, engine = examine(tiny_chat, script(GOOD, *"abcd"))
    seen = {request.key[4]: request.ids_T.tolist() for request in engine.seen if request.key[-1] == 0}
    assert seen["examiner"] == tiny_chat.prompt(EXAMINER, "Hops: 2. Passage: Bor: Bor lies on the Tamsin.").tolist()
    assert seen["student"] == tiny_chat.prompt(STUDENT, "Where does the river of Bor rise?").tolist()


def test_the_teacher_sees_the_path_and_without_one_what_the_student_sees() -> None:
    question = "Where does it rise?"
    assert teacher_view(question, ()) == student_view(question)
    assert teacher_view(question, PATH) == (
        "Where does it rise? Path: Bor > the Tamsin flows by Tamsin > it rises in Oum"
    )


def test_the_examiner_sees_how_many_hops() -> None:
    assert examiner_view(BOR, 3) == "Hops: 3. Passage: Bor: Bor lies on the Tamsin."


# The task an examiner writes


def test_a_written_task_carries_its_question_answer_seed_and_path(tiny_chat: Chat) -> None:
    episode, _ = examine(tiny_chat, script(GOOD, *"abcd"))
    question = "Where does the river of Bor rise?"
    [written] = episode.written
    assert written == Question("m1/examine/0/0", 2, question, ("Oum",), BOR, PATH)
    assert episode.task is SEED


def test_a_step_whose_search_found_nothing_has_no_passage(tiny_chat: Chat) -> None:
    episode, _ = examine(tiny_chat, script(GOOD, query="Nowhere"), probes=0, gates=())
    [written] = episode.written
    assert written.path[1] == Step("Nowhere", "", "it rises in Oum")


@pytest.mark.parametrize(
    ("said", "question", "answers"),
    [
        ("Question: Who? Answer: Oum", "Who?", ("Oum",)),
        ("Sure. Question:\nWho?\nAnswer:\nOum ", "Who?", ("Oum",)),
        ("Question: Who? Answer:  ", "Who?", ()),
        ("Question: Answer: Oum", "", ("Oum",)),
        ("Answer: Oum Question: Who?", "", ()),
        ("Who? Oum", "", ()),
    ],
)
def test_question_and_answer_are_read_from_their_labels(said: str, question: str, answers: tuple[str, ...]) -> None:
    draft = written_question(SEED, told([turn(said)]))
    assert (draft.question, draft.answers) == (question, answers)


def test_an_episode_that_a_limit_ended_has_written_nothing() -> None:
    draft = written_question(SEED, told([turn(GOOD)], stop=StopReason.TURN_TOKENS))
    assert (draft.question, draft.answers) == ("", ())


# Gates

STORY = told(
    [turn(think="lies on: Tamsin.", query="Tamsin"), turn(GOOD, "rises in: Oum.")], [used("Tamsin", (TAMSIN,))]
)
DRAFT = written_question(SEED, STORY)


def story(*calls: ToolUse, stop: StopReason = StopReason.ANSWERED) -> Trajectory:
    return told([turn(query="x") for _ in calls] + [turn(GOOD)], calls, stop)


REFUSED = {
    "format": [
        (replace(DRAFT, question=""), STORY),
        (replace(DRAFT, answers=()), STORY),
        (DRAFT, replace(STORY, stop=StopReason.MALFORMED)),
        (DRAFT, replace(STORY, stop=StopReason.TURNS)),
    ],
    "leak": [
        (replace(DRAFT, question="Does the river rise in oum?"), STORY),
        (replace(DRAFT, answers=("The River",)), STORY),
    ],
    "grounded": [
        (replace(DRAFT, answers=("Quil",)), STORY),
        (DRAFT, story(used("Tamsin", ()))),
        (replace(DRAFT, answers=("Ou",)), STORY),
        (replace(DRAFT, answers=("on the Tamsin Tamsin",)), STORY),  # across the border of two passages
        (replace(DRAFT, answers=("...",)), STORY),
    ],
    "hops": [
        (DRAFT, story()),
        (DRAFT, story(used("Tamsin", (TAMSIN,)), used("Tamsin", (TAMSIN,)))),
        (replace(DRAFT, hops=1), STORY),
    ],
    "progress": [
        (DRAFT, story(used("Bor", (BOR,)))),
        (DRAFT, story(used("Tamsin", (TAMSIN,)), used("Tamsin", (TAMSIN, BOR)))),
        (DRAFT, story(used("7", ()))),
    ],
    "bridge": [
        (DRAFT, told([turn(query="Quil"), turn(GOOD)], [used("Quil", (replace(TAMSIN, title="Quil"),))])),
        (DRAFT, told([turn(query="Quil"), turn(GOOD)], [used("Quil", ())])),
        # The second search finds what the first passage named, but not the second.
        (DRAFT, story(used("Tamsin", (TAMSIN,)), used("Bor", (BOR,)))),
    ],
    "evidence": [
        (replace(DRAFT, path=(replace(DRAFT.path[0], evidence="flows: Tamsin."), DRAFT.path[1])), STORY),
        (replace(DRAFT, path=(DRAFT.path[0], replace(DRAFT.path[1], evidence="lies on: Oum."))), STORY),
    ],
    "duplicate": [(replace(DRAFT, question="Where does a river of Bor, rise"), STORY)],
}
ASKED = {"where does river of bor rise"}


@pytest.mark.parametrize("gate", REFUSED)  # chain has a story of its own, below
def test_a_sound_question_passes_every_gate(gate: str) -> None:
    assert passes(gate, DRAFT, STORY, BOR, {"what is it"})


@pytest.mark.parametrize(("gate", "draft", "told"), [(g, d, s) for g, found in REFUSED.items() for d, s in found])
def test_each_gate_refuses_what_it_is_for(gate: str, draft: Question, told: Trajectory) -> None:
    assert not passes(gate, draft, told, BOR, ASKED)


@pytest.mark.parametrize(
    ("asked", "passed"),
    [
        ("What is the source of the river of Bor?", True),
        ("What is Bor's river's source?", False),  # only "of" is understood
        ("Which source does the river of Bor have?", True),
        ("What is the river of Bor?", False),  # less than was noted
        ("What is the source of Bor?", False),
        ("What is the source of the river of Quil?", False),
        ("What is the source of the river of the capital of Bor?", False),  # more
        ("What is the source of the river of the river of Bor?", False),
        ("What is the source of the rivers of Bor?", False),
    ],
)
def test_the_gate_chain_wants_what_was_noted_and_no_more(asked: str, *, passed: bool) -> None:
    path = (Step("Bor", "p1", "river: Tamsin."), Step("Tamsin", "p2", "source: Oum."))
    assert passes("chain", replace(DRAFT, question=asked, path=path), STORY, BOR, set()) is passed


def test_the_gate_chain_counts_a_relation_as_often_as_it_was_noted_and_the_longer_of_two_first() -> None:
    twice = (Step("Bor", "p1", "mentor: Tamsin."), Step("Tamsin", "p2", "mentor: Oum."))
    sizes = (Step("Bor", "p1", "size: Tamsin."), Step("Tamsin", "p2", "installed size: Oum."))
    for path, asked, passed in [
        (twice, "Who is the mentor of the mentor of Bor?", True),
        (twice, "Who is the mentor of Bor?", False),
        (sizes, "What is the installed size of the size of Bor?", True),
        (sizes, "What is the installed size of Bor?", False),
        ((Step("Bor", "p1", ""),), "Where is Bor?", False),
    ]:
        assert passes("chain", replace(DRAFT, question=asked, path=path), STORY, BOR, set()) is passed


def test_the_seed_passage_grounds_an_answer_too() -> None:
    assert passes("grounded", replace(DRAFT, answers=("tamsin",)), story(), BOR, set())


def test_a_word_that_holds_the_answer_is_no_leak() -> None:
    assert passes("leak", replace(DRAFT, question="Where is Oumville?"), STORY, BOR, set())


def test_a_gate_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match="hopps"):
        passes("hopps", DRAFT, STORY, BOR, set())


BAD = {
    "format": "Question: Answer: Oum",
    "leak": "Question: Does it rise in Oum? Answer: Oum",
    "grounded": "Question: Where does it rise? Answer: Quil",
    "hops": GOOD,
    "progress": "Question: Which river is it? Answer: Tamsin",
    "bridge": GOOD,  # but the search leads to a passage that the seed does not name
    "chain": GOOD,  # but no note is of the form "relation: value"
    "evidence": GOOD,  # but the notes on the way are in words of the examiner's own
    "duplicate": GOOD,
}


@pytest.mark.parametrize("gate", READ_GATES)
def test_a_gate_pays_nothing_and_calls_no_student_and_its_switch_lets_through(tiny_chat: Chat, gate: str) -> None:
    task = replace(SEED, hops=3) if gate == "hops" else SEED
    memory = {"questions": ["where does river of bor rise"]} if gate == "duplicate" else {}
    query = {"progress": "Bor", "bridge": "Quil"}.get(gate, "Tamsin")
    writes = script(BAD[gate], "Oum", "x", "x", "x", query=query)
    gates = {*USUAL_GATES, gate}
    shut, engine = examine(tiny_chat, writes, task, state=memory, gates=[g for g in GATES if g in gates])
    assert (shut.written, shut.facts) == ((), {"gate": gate})
    assert [played.reward for played in shut.trajectories] == [0.0]
    assert not any("student" in request.key for request in engine.seen)
    open_, _ = examine(tiny_chat, writes, task, state=memory, gates=[g for g in GATES if g in gates - {gate}])
    assert open_.facts["gate"] == ""
    assert open_.written
    assert len(open_.trajectories) == 5


def test_the_first_gate_that_refuses_is_named(tiny_chat: Chat) -> None:
    leaking_and_baseless = script("Question: Is it Quil? Answer: Quil")
    assert examine(tiny_chat, leaking_and_baseless)[0].facts["gate"] == "leak"
    assert examine(tiny_chat, leaking_and_baseless, gates=("hops", "grounded"))[0].facts["gate"] == "grounded"


def test_a_failed_tool_writes_nothing(tiny_chat: Chat) -> None:
    episode, _ = examine(tiny_chat, script(GOOD), down=("Tamsin",))
    assert (episode.facts["gate"], episode.trajectories[0].trajectory.stop) == ("format", StopReason.TOOL_FAILED)


@pytest.mark.parametrize(
    ("says_of_bor", "says_of_tamsin", "gate"),
    [("yes", "Yes.", ""), ("no", "yes", "checked"), ("yes", "no", "checked"), ("yes", "yes no", "checked")],
)
def test_every_step_of_the_path_is_checked_against_its_passage(
    tiny_chat: Chat, says_of_bor: str, says_of_tamsin: str, gate: str
) -> None:
    writes = script(GOOD, "Oum", "Oum", "x", "x")

    def checks(request: Generate) -> str:
        if "checker" not in request.key:
            return writes(request)
        assert request.temperature == 0
        return says((says_of_bor, says_of_tamsin)[request.key[request.key.index("checker") + 1]])

    episode, engine = examine(tiny_chat, checks, gates=[*USUAL_GATES, "checked"])
    assert (episode.facts["gate"], not episode.written) == (gate, bool(gate))
    assert [played.trajectory.role for played in episode.trajectories][:3] == ["examiner", "checker", "checker"]
    assert episode.trajectories[0].reward == (0.0 if gate else 2 / 3 + 0.5)
    assert any("student" in request.key for request in engine.seen) == (not gate)
    seen = [r.ids_T.tolist() for r in engine.seen if "checker" in r.key]
    assert seen == [
        tiny_chat.prompt(CHECKER, "Passage: Bor: Bor lies on the Tamsin. Note: the Tamsin flows by").tolist(),
        tiny_chat.prompt(CHECKER, "Passage: Tamsin: The Tamsin rises in Oum. Note: it rises in Oum").tolist(),
    ]


@pytest.mark.parametrize(
    ("note", "think", "answer", "right"),
    [
        ("river: Oltan.", "river: Oltan.", "no", True),
        ("river: Oltan.", "River:  oltan", "", True),
        ("river: Oltan.", "river: Daldor.", "yes", False),
        ("length: 1,200.", "length: 1200.", "no", True),
        ("river: Oltan.", "mayor: Vergos.", "yes", True),
        ("river: Oltan.", "The note says: the river is Oltan.", "no", False),
        ("its river is Oltan", "its river is Oltan", "no", False),
        ("its river is Oltan", "", "Yes.", True),
    ],
)
def test_what_a_checker_looked_up_counts_more_than_its_verdict(
    tiny_chat: Chat, note: str, think: str, answer: str, right: bool
) -> None:
    def writes(request: Generate) -> str:
        if "checker" in request.key:
            first = request.key[request.key.index("checker") + 1] == 0
            return says(answer, think) if first else says("yes")
        return searching("Tamsin", note) if request.key[-1] == 0 else says(GOOD, "it rises in Oum")

    episode, _ = examine(tiny_chat, writes, gates=["checked"], probes=0)
    assert episode.trajectories[1].reward == float(right)
    assert episode.facts["gate"] == ("" if right else "checked")


@pytest.mark.parametrize(("answer", "gate"), [("oum", ""), ("Tamsin", "answerable"), ("", "answerable")])
def test_a_reader_of_the_passages_has_to_come_to_the_same_answer(tiny_chat: Chat, answer: str, gate: str) -> None:
    writes = script(GOOD, "Oum", "Oum", "x", "x")

    def reads(request: Generate) -> str:
        if "reader" not in request.key:
            return writes(request)
        assert request.temperature == 0
        return says(answer)

    episode, engine = examine(tiny_chat, reads, gates=[*USUAL_GATES, "answerable"])
    assert (episode.facts["gate"], not episode.written) == (gate, bool(gate))
    assert [played.trajectory.role for played in episode.trajectories][:2] == ["examiner", "reader"]
    assert any("student" in request.key for request in engine.seen) == (not gate)
    [seen] = [r.ids_T.tolist() for r in engine.seen if "reader" in r.key]
    question = GOOD.removeprefix("Question: ").partition(" Answer:")[0]
    both = "(1) Bor: Bor lies on the Tamsin. (2) Tamsin: The Tamsin rises in Oum."
    assert seen == tiny_chat.prompt(READER, f"Passages: {both} Question: {question}").tolist()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("Quil", "the quil", "Oum", "x"), True),  # two agree, against one
        (("Quil", "Quil", "Oum", "oum"), False),
        (("Quil", "x", "y", "z"), False),  # nobody agrees with anybody
        (("Tamsin", "Tamsin", "Tamsin", "Oum"), False),  # on the way: stopped too early
        (("", "", "", ""), False),
        ((), False),
    ],
)
def test_a_question_is_contested_where_more_samples_agree_on_another_answer(
    tiny_chat: Chat, answers: tuple[str, ...], expected: bool
) -> None:
    assert contested(DRAFT, answers) == expected
    if answers:
        episode, _ = examine(tiny_chat, script(GOOD, *answers), gates=[*USUAL_GATES, "contested"])
        assert (episode.facts["gate"] == "contested", not episode.written) == (expected, expected)
        assert episode.trajectories[0].reward > 0 or expected
        assert len(episode.trajectories) == 5


def test_easy_questions_are_kept_up_to_their_share() -> None:
    memory: dict[str, list[str]] = {}
    kept = []
    for batch in range(4):
        game = Examine(memory, gates=[*USUAL_GATES, "easy"], easy_share=0.25)  # what a resumed run would do
        episodes = [finished(f"Easy {batch} {i}?", solved=4) for i in range(4)]
        episodes += [finished(f"Hard {batch} {i}?", solved=i) for i in range(4)]
        settled = game.finalize_batch(episodes)
        assert all(e.facts["gate"] in ("", "easy") and (not e.written) == (e.facts["gate"] == "easy") for e in settled)
        assert all(e.trajectories[0].reward == (0.0 if e.facts["gate"] else 1.0) for e in settled)
        kept += [written.question for e in settled for written in e.written]
    easy = sum(question.startswith("Easy") for question in kept)
    assert len(kept) - easy == 16
    assert easy / len(kept) == pytest.approx(0.25, abs=1 / len(kept))
    assert all(not e.facts["gate"] for e in Examine({}).finalize_batch([finished("Easy?", solved=4)]))


@pytest.mark.parametrize("gate", ["easy", "contested"])
def test_gates_on_students_tries_need_some(gate: str) -> None:
    with pytest.raises(InputError, match=f"the gate {gate} needs students' tries"):
        Examine({}, probes=0, gates=["format", gate])
    memory: dict[str, list[str]] = {}
    [kept] = Examine(memory, gates=["easy"], easy_share=0.0).finalize_batch([finished("Who?", solved=0, tries=0)])
    assert kept.written, "what no one could try is not easy"


def finished(question: str, reward: float = 1.0, solved: int = 1, tries: int = 4) -> Episode:
    task = replace(DRAFT, question=question)
    scored = (ScoredTrajectory(STORY, ("hops", 2), reward), ScoredTrajectory(STORY, ("s",), 1.0))
    return Episode((question,), SEED, scored, (task,), {"gate": "", "k": float(solved), "n": float(tries)})


def test_of_duplicates_in_a_batch_the_first_is_kept() -> None:
    game = Examine({})
    first, again, other = game.finalize_batch([finished("Who is it?"), finished("who is it"), finished("Where?")])
    assert (first.facts["gate"], first.trajectories[0].reward, len(first.written)) == ("", 1.0, 1)
    assert (again.facts["gate"], again.trajectories[0].reward, again.written) == ("duplicate", 0.0, ())
    assert again.trajectories[1].reward == 1.0
    assert other.written
    assert game.state == {"questions": ["who is it", "where"], "easy": []}


def test_what_was_asked_in_an_earlier_step_is_a_duplicate() -> None:
    game = Examine({})
    game.finalize_batch([finished("Who is it?")])
    assert [episode.facts["gate"] for episode in game.finalize_batch([finished("Who is it?"), finished("Whose?")])] == [
        "duplicate",
        "",
    ]


def test_without_its_gate_duplicates_stay() -> None:
    game = Examine({}, gates=[gate for gate in USUAL_GATES if gate != "duplicate"])
    settled = game.finalize_batch([finished("Who is it?"), finished("Who is it?")])
    assert [bool(episode.written) for episode in settled] == [True, True]


def test_what_a_gate_refused_is_not_remembered() -> None:
    game = Examine({})
    refused = Episode(("e",), SEED, (ScoredTrajectory(STORY, ("hops", 2)),), facts={"gate": "leak"})
    assert game.finalize_batch([refused]) == [refused]
    assert game.state == {"questions": [], "easy": []}


# Pay


@pytest.mark.parametrize("samples", range(1, 9))
def test_difficulty_falls_from_one_to_nothing_in_even_steps(samples: int) -> None:
    """Formula 1: of the counts that say something, 1 … n − 1, the k-th pays (n − k) of n − 1 equal parts."""
    for correct in range(samples + 1):
        inside = correct in range(1, samples)
        expected = 1 - Fraction(correct - 1, samples - 1) if inside else Fraction(0)
        assert difficulty_reward(correct, samples) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("answer", "hops", "thinks", "expected"),
    [
        ("Oum", 2, 2, 1.0),
        ("Oum", 2, 1, (1 + 0.5 + 1 + 1) / 4),
        ("Oum", 2, 0, (1 + 0 + 1 + 1) / 4),
        ("Oum", 4, 2, (1 + 1 + 2 / 4 + 1) / 4),  # the seed passage is hop 1, the search hop 2
        ("Oum", 1, 2, 1.0),
        ("Quil", 2, 2, (1 + 1 + 1 + 0) / 4),
        ("", 2, 2, 0.0),
        ("Bor", 2, 2, 0.0),  # leaks
        ("one two three four five", 2, 2, 1.0),
        ("one two three four five six", 2, 2, (1 + 1 + 1 + 0.5) / 4),
        (" ".join("abcdefghij"), 2, 2, (1 + 1 + 1 + 0.5) / 4),
        (" ".join("abcdefghijk"), 2, 2, (1 + 1 + 1 + 0) / 4),
    ],
)
def test_format_score(answer: str, hops: int, thinks: int, expected: float) -> None:
    seed = Passage("p", "Seed", "one two three four five six a b c d e f g h i j k")
    first = turn(think="so" if thinks > 0 else "", query="Tamsin")
    last = turn(f"Question: Where does the river of Bor rise? Answer: {answer}", "so" if thinks > 1 else "")
    wrote = told([first, last], [used("Tamsin", (TAMSIN,))])
    assert format_score(written_question(Question("t", hops, source=seed), wrote), wrote, seed) == expected


def test_the_examiner_is_paid_for_difficulty_and_format(tiny_chat: Chat) -> None:
    episode, _ = examine(tiny_chat, script(GOOD, "Oum", "the oum.", "Quil", ""), format_weight=0.25)
    assert episode.facts == {"gate": "", "k": 2.0, "n": 4.0, "r_d": 2 / 3, "r_f": 1.0}
    assert [played.reward for played in episode.trajectories] == [2 / 3 + 0.25, 1.0, 1.0, 0.0, 0.0]
    assert [played.group for played in episode.trajectories] == [("hops", 2)] + [("m1", "test", 0, 0, "students")] * 4


@pytest.mark.parametrize("said", ["Oum", "Quil"])
def test_a_question_that_all_or_none_solve_pays_for_format_alone(tiny_chat: Chat, said: str) -> None:
    episode, _ = examine(tiny_chat, script(GOOD, *[said] * 4))
    assert episode.trajectories[0].reward == 0.5


def test_a_student_whose_tool_failed_does_not_count(tiny_chat: Chat) -> None:
    students = ["Oum", "Quil", searching("down"), searching("down")]
    episode, _ = examine(tiny_chat, script(GOOD, *students), down=("down",))
    assert episode.facts == {"gate": "", "k": 1.0, "n": 2.0, "r_d": 1.0, "r_f": 1.0}


def test_the_student_is_paid_for_an_exact_match_with_any_gold(tiny_chat: Chat) -> None:
    task = Question("t", 2, "Where does it rise?", ("Oum", "Mount Oum"), BOR, PATH)
    said = ["Oum", "the mount OUM", "Oum Quil", "Question: Oum"]
    engine = ScriptedEngine(tiny_chat, lambda request: said[request.key[-3]])
    [episode] = drive([Study(rollouts=4).play(task, context(tiny_chat))], engine, tools(DictSearcher([])))
    assert [played.reward for played in episode.trajectories] == [1.0, 1.0, 0.0, 0.0]
    assert episode.facts == {"k": 2.0}
    assert len({played.group for played in episode.trajectories}) == 1
    for played in episode.trajectories:
        expected = tiny_chat.prompt(STUDENT, teacher_view(task.question, PATH))
        np.testing.assert_array_equal(played.views["privileged"], expected)
        student = tiny_chat.prompt(STUDENT, task.question)
        np.testing.assert_array_equal(played.trajectory.ids_T[: played.trajectory.prompt_len], student)


def test_a_student_that_a_limit_stops_is_not_paid(tiny_chat: Chat) -> None:
    engine = ScriptedEngine(tiny_chat, lambda request: searching("Oum") if request.key[-1] < 3 else "<tool_call>Oum")
    task = Question("t", 2, "Where does it rise?", ("Oum", ""), BOR, PATH)
    [episode] = drive([Study(rollouts=1).play(task, context(tiny_chat))], engine, tools(DictSearcher([])))
    assert (episode.trajectories[0].reward, episode.trajectories[0].trajectory.stop) == (0.0, StopReason.MALFORMED)


def test_the_teacher_recites_with_the_path_in_hand(tiny_chat: Chat) -> None:
    engine = ScriptedEngine(tiny_chat, lambda request: "Oum")
    task = Question("t", 2, "Where does it rise?", ("Oum",), BOR, PATH)
    [episode] = drive([PrivilegedStudy().play(task, context(tiny_chat))], engine, tools(DictSearcher([])))
    [request] = engine.seen
    assert request.policy.name == "teacher"
    assert request.ids_T.tolist() == tiny_chat.prompt(STUDENT, teacher_view(task.question, PATH)).tolist()
    assert episode.trajectories[0].reward == 1.0


def test_a_teacher_that_learns_carries_the_students_prompt(tiny_chat: Chat) -> None:
    task = Question("t", 2, "Where does it rise?", ("Oum",), BOR, PATH)
    engine = ScriptedEngine(tiny_chat, lambda request: ["Oum", "Quil"][request.key[-3]])
    [episode] = drive([PrivilegedStudy(rollouts=2).play(task, context(tiny_chat))], engine, tools(DictSearcher([])))
    assert [played.reward for played in episode.trajectories] == [1.0, 0.0]
    for played in episode.trajectories:
        np.testing.assert_array_equal(played.views["plain"], tiny_chat.prompt(STUDENT, task.question))
        taught = tiny_chat.prompt(STUDENT, teacher_view(task.question, PATH))
        np.testing.assert_array_equal(played.trajectory.ids_T[: played.trajectory.prompt_len], taught)
