"""Kuhn poker, one round: the smallest poker in which bluffing pays (Kuhn, 1950)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import numpy as np

from piplay.envs.table.base import require_end, require_legal, write_view

CARDS = ("J", "Q", "K")
"""The deck, lowest card first."""


@dataclass(frozen=True, slots=True)
class KuhnState:
    """A deal and what was done since."""

    cards: tuple[str, str]
    """The card of each seat."""
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kuhn:
    """Kuhn poker: ante 1, bet 1, one card each; payoffs are net chips, -2 to 2.

    In equilibrium the first seat loses 1/18 chip a round.
    """

    seats: ClassVar[tuple[str, ...]] = ("first", "second")
    rules: ClassVar[str] = (
        "Kuhn poker: the cards are J, Q and K, J lowest, and each player holds one. Both have put 1 chip into the pot. "
        "check adds nothing, bet adds 1 chip, call matches a bet, fold gives up the pot. "
        "After two checks or a call the higher card takes the pot."
    )

    def start(self, rng: np.random.Generator) -> KuhnState:
        """Two of the three cards, each order equally likely."""
        first, second = rng.permutation(len(CARDS))[:2]
        return KuhnState((CARDS[first], CARDS[second]))

    def deals(self) -> list[tuple[KuhnState, float]]:
        """The six deals, 1/6 each."""
        return [(KuhnState((first, second)), 1 / 6) for first, second in permutations(CARDS, 2)]

    def to_move(self, state: KuhnState) -> int | None:
        """The seats alternate until a call, a fold or the second check."""
        over = state.actions[-1:] in (("call",), ("fold",)) or state.actions == ("check", "check")
        return None if over else len(state.actions) % 2

    def view(self, state: KuhnState, seat: int) -> str:
        """Own card, pot in chips, the round's actions so far, legal moves."""
        pot = 2 + sum(action in ("bet", "call") for action in state.actions)
        actions = " ".join(state.actions) or "none"
        facts = (f"Card: {state.cards[seat]}", f"Pot: {pot}", f"Actions: {actions}")
        return write_view(self, state, seat, "Kuhn poker", *facts)

    def legal(self, state: KuhnState) -> tuple[str, ...]:
        """``call`` and ``fold`` after a bet, else ``check`` and ``bet``."""
        if self.to_move(state) is None:
            return ()
        return ("call", "fold") if state.actions[-1:] == ("bet",) else ("check", "bet")

    def move(self, state: KuhnState, action: str) -> KuhnState:
        """The same deal with one more action."""
        require_legal(self, state, action)
        return KuhnState(state.cards, (*state.actions, action))

    def payoffs(self, state: KuhnState) -> tuple[float, ...]:
        """Net chips: the higher card wins 1, or 2 after a call; who folds loses 1."""
        require_end(self, state)
        if state.actions[-1] == "fold":
            winner, chips = len(state.actions) % 2, 1.0
        else:
            ranks = [CARDS.index(card) for card in state.cards]
            winner, chips = ranks.index(max(ranks)), 2.0 if state.actions[-1] == "call" else 1.0
        return (chips, -chips) if winner == 0 else (-chips, chips)

    def hidden(self, state: KuhnState, seat: int) -> str:
        """The other seat's card."""
        return f"The other player's card: {state.cards[1 - seat]}"
