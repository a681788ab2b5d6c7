"""How samples are dealt to ranks; what ranks learn: tests/scale/test_ranks.py."""

from engine_helpers import make_sample

from piplay.engine.local.ranks import deal
from piplay.engine.local.update import filling_of, rows_of


def test_dealing_gives_whole_questions_and_about_as_much_to_each() -> None:
    samples = [make_sample(number // 3) for number in range(30)]
    for ranks in (1, 2, 3, 4):
        parts = deal(samples, ranks)
        assert sorted(i for part in parts for i in part) == list(range(30))
        assert all(part == sorted(part) for part in parts)
        for question in range(10):
            assert len({rank for rank, part in enumerate(parts) for i in part if i // 3 == question}) == 1
        tokens = [sum(len(samples[i].ids_T) for i in part) for part in parts]
        assert max(tokens) <= min(tokens) + 3 * max(len(sample.ids_T) for sample in samples)
    assert deal(samples[:2], 3).count([]) == 2
    assert deal([], 2) == [[], []]


def test_ranks_compute_as_many_rows_of_each_kind() -> None:
    """Whoever has fewer fills up with a sample without weight."""
    parts = [[make_sample(i, ("pg",)) for i in range(9)], [make_sample(20, ("pg",)), make_sample(21, ("distill",))], []]
    found = filling_of(parts, 64)
    assert set(found) == {(False, ("pg",)), (False, ("distill",))}
    for kind, (count, nothing) in found.items():
        assert count == max(len(rows_of(part, 64).get(kind, [])) for part in parts)
        assert tuple(nothing.terms) == kind[1]
        assert not any(weight_T.any() for weight_T in nothing.terms.values())
    assert found[False, ("pg",)][0] > 1
