"""What is read of a token, against sums over a small vocabulary in Python's floats."""

import math

import pytest
import torch

from piplay.algo.losses.base import Rows
from piplay.methods.pi_play.reading import Reading


@pytest.mark.parametrize("top_k", [1, 3, 7, 50])
def test_a_reading_is_what_the_sums_say(top_k: int) -> None:
    generator = torch.Generator().manual_seed(top_k)
    logp, logq = (torch.randn(6, 7, generator=generator).mul(2).log_softmax(-1) for _ in range(2))
    target = torch.tensor([0, 3, 6, 2, 2, 5])
    picked = logp.gather(-1, target[:, None])[:, 0]
    rows = Rows(logp, picked, picked, target, torch.zeros(6), torch.zeros(6), [logq])
    total, found = Reading("teacher", "true", top_k)(rows)
    assert total.item() == 0
    for r in range(6):
        p, q = logp[r].exp().tolist(), logq[r].exp().tolist()
        k = min(top_k, 7)
        mine, theirs = (sorted(range(7), key=lambda v, of=of: -of[v])[:k] for of in (p, q))
        parts = [p[v] * math.log(p[v] / q[v]) for v in range(7)]
        expected = {
            "kl": sum(parts),
            "g": math.log(q[target[r]] / p[target[r]]),
            "student_mass": sum(p[v] for v in mine),
            "teacher_mass": sum(q[v] for v in mine),
            "overlap": len(set(mine) & set(theirs)) / k,
            "tail": sum(parts[v] for v in range(7) if v not in mine),
            "loss": 0.0,
        }
        assert {name: value[r].item() for name, value in found.items()} == pytest.approx(expected, abs=1e-5)
    assert set(Reading("teacher", "true", top_k).metrics) == set(found) - {"loss"}
