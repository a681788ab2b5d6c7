"""Nash mixtures of matrix games, exact and in numpy alone.

A game can have many equilibria. Here the answer is always the one with the least sum of squares, which is unique: the
order of the strategies does not matter, equal strategies get equal shares, and a game without any difference gives the
uniform mixture. An opponent league draws from it (VGC-Bench, arXiv 2506.10326, draws from any equilibrium).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
"""Axis suffixes: M rows and N columns of a payoff matrix."""

ROUNDING = 1e-13
"""What counts as zero in the least-squares problem, per unit of its largest unknown; payoffs are scaled to 1 before."""
ACCURACY = 1e-6
"""What a best response may gain, per unit of the largest payoff; above it, nothing is returned."""


@dataclass(frozen=True, slots=True)
class Equilibrium:
    """A mixture for each side of a zero-sum matrix game from which neither gains by leaving."""

    row_M: Doubles
    """Probabilities of the rows."""
    column_N: Doubles
    """Probabilities of the columns."""
    value: float
    """The row player's expected payoff."""


def symmetric_mixture(payoffs_NN: npt.ArrayLike) -> Doubles:
    """The Nash mixture [N] of a symmetric zero-sum game, e.g. of a league's empirical win matrix.

    ``payoffs_NN[i, j]`` is the row player's payoff of strategy i against j. Only its antisymmetric part counts,
    (A - Aᵀ) / 2: an advantage of the row seat as such is no strength of a strategy. ``ValueError`` where the matrix is
    not square, empty or not finite; ``ArithmeticError`` where a best response gains more than ``ACCURACY``.
    """
    payoffs = _finite_matrix(payoffs_NN)
    if payoffs.shape[0] != payoffs.shape[1]:
        raise ValueError(f"a symmetric game has as many rows as columns, not {payoffs.shape}")
    game = (payoffs - payoffs.T) / 2
    scale = float(np.abs(game).max())
    return _least_norm_mixture(game / scale if scale else game)


def equilibrium(payoffs_MN: npt.ArrayLike) -> Equilibrium:
    """An equilibrium of the zero-sum game that pays the row player ``payoffs_MN[i, j]`` and the column player minus it.

    Solved as one symmetric game of M + N + 1 strategies (Gale, Kuhn and Tucker, "On Symmetric Games", 1950).
    ``ValueError`` where the matrix is empty or not finite; ``ArithmeticError`` where a best response gains more than
    ``ACCURACY``, which happens when payoffs span more than eight orders of magnitude.
    """
    payoffs = _finite_matrix(payoffs_MN)
    M, N = payoffs.shape
    low, spread = float(payoffs.min()), float(np.ptp(payoffs))
    # The construction needs a game with a positive value.
    positive = 1 + (payoffs - low) / (spread or 1)
    game = np.zeros((M + N + 1, M + N + 1))
    game[:M, M:-1], game[:M, -1], game[M:-1, -1] = positive, -1, 1
    mixture = _least_norm_mixture(game - game.T)
    row, column = mixture[:M] / mixture[:M].sum(), mixture[M:-1] / mixture[M:-1].sum()
    _require_exact(nash_conv(positive, row, column))
    return Equilibrium(row, column, float(row @ payoffs @ column))


def nash_conv(payoffs_MN: npt.ArrayLike, row_M: npt.ArrayLike, column_N: npt.ArrayLike) -> float:
    """What both sides together gain by turning to their best responses; 0 in equilibrium alone."""
    payoffs, row, column = (np.asarray(each, dtype=np.float64) for each in (payoffs_MN, row_M, column_N))
    return float((payoffs @ column).max() - (row @ payoffs).min())


def _finite_matrix(payoffs: npt.ArrayLike) -> Doubles:
    matrix = np.asarray(payoffs, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise ValueError(f"payoffs are a matrix of finite numbers, not of shape {matrix.shape}:\n{matrix}")
    return matrix


def _least_norm_mixture(game_NN: Doubles) -> Doubles:
    """The equilibrium [N] with the least sum of squares of an antisymmetric game, whose value is 0.

    Equilibria are the vectors of the cone {x >= 0, xᵀA >= 0}, scaled to sum to 1. The projection of (1, ..., 1) onto a
    cone has the smallest angle to it, hence, scaled, the least norm. By Moreau's theorem that projection is
    1 + [I, A] u for the u >= 0 that makes it shortest.
    """
    N = len(game_NN)
    cone_N_2N = np.hstack([np.eye(N), game_NN])
    projection = 1 + cone_N_2N @ _nonnegative_least_squares(-cone_N_2N, np.ones(N))
    weights = np.maximum(projection, 0)
    mixture: Doubles = weights / weights.sum()
    _require_exact(-float((mixture @ game_NN).min()))
    return mixture


def _require_exact(gain: float) -> None:
    """Raises where a best response gains more than rounding explains, in payoffs scaled to 1."""
    if gain > ACCURACY:
        raise ArithmeticError(f"a best response gains {gain:.1e}: the payoffs span too many orders of magnitude")


def _nonnegative_least_squares(A_MN: Doubles, b_M: Doubles) -> Doubles:
    """The u >= 0 [N] that makes ‖A u - b‖ least (Lawson and Hanson, "Solving Least Squares Problems", 1974, ch. 23)."""
    N = A_MN.shape[1]
    u, free = np.zeros(N), np.zeros(N, dtype=bool)
    for _ in range(10 * N):
        gradient = np.where(free, 0, A_MN.T @ (b_M - A_MN @ u))
        enter = int(gradient.argmax())
        if gradient[enter] <= ROUNDING * (1 + u.max()):
            return u
        free[enter] = True
        while True:
            target = np.zeros(N)
            target[free] = np.linalg.lstsq(A_MN[:, free], b_M, rcond=None)[0]
            leaving = free & (target <= 0)
            if not leaving.any():
                break
            step = (u[leaving] / np.maximum(u[leaving] - target[leaving], np.finfo(float).tiny)).min()
            u = np.maximum(u + step * (target - u), 0)
            free &= u > ROUNDING * (1 + u.max())
        u = target
    raise ArithmeticError(f"no solution after {10 * N} steps")
