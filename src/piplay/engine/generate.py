"""Continuous batching: every turn that is ready is written together, and none waits for another's end.

State is one row per slot (``_S``) and one column per position of its sequence (``_C``). ``_R``: the rows at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from piplay.engine.cache import Cache, Decode, FreshPrefill, Prefill
from piplay.engine.protocol import Generate, Generated
from piplay.learn.packing import packs
from piplay.streams import stream
from piplay.types import Floats, Ints, Key

Numbered = tuple[int, Generate]
"""A request and its place in the order of submission."""


def draw(logits_R_V: Tensor, uniform_R: Tensor, temperature_R: Tensor) -> tuple[Tensor, Tensor]:
    """One token a row by inverse CDF, at temperature 0 the most likely one, and its log-probability at temperature 1.

    The token is the first whose cumulative probability exceeds the row's uniform draw: fp32 softmax, fp64 sum. The
    draw is scaled by the row's total, which rounding leaves a little off 1, so that no row runs past its last token.
    """
    logp_R_V = torch.log_softmax(logits_R_V.float(), dim=-1)
    greedy_R = temperature_R == 0
    if bool(greedy_R.all()):
        token_R = logp_R_V.argmax(-1)
    else:
        tempered_R_V = logp_R_V
        inverse_R_1 = torch.where(greedy_R, 1.0, 1 / temperature_R)[:, None]
        if bool((inverse_R_1 != 1).any()):
            # Up to the row's total. The likeliest token keeps its value, so that nothing underflows when it is cold.
            tempered_R_V = logp_R_V * inverse_R_1 - logp_R_V.amax(-1, keepdim=True) * (inverse_R_1 - 1)
        cdf_R_V = tempered_R_V.exp().cumsum(-1, dtype=torch.float64)
        token_R = torch.searchsorted(cdf_R_V, (uniform_R * cdf_R_V[:, -1])[:, None], right=True)[:, 0]
        token_R.clamp_(max=logp_R_V.shape[-1] - 1)
        if bool(greedy_R.any()):
            token_R = torch.where(greedy_R, logp_R_V.argmax(-1), token_R)
    return token_R, logp_R_V.gather(-1, token_R[:, None])[:, 0]


class Sampler:
    """Writes turns under one policy's weights, which must not change while it lives."""

    def __init__(
        self,
        model: Any,
        *,
        seed: int,
        slots: int,
        token_budget: int,
        end_ids: Ints,
        closes: Callable[[Ints], bool] | None,
    ) -> None:
        """``slots``: sessions cached at once; ``token_budget``: padded tokens in one prefill."""
        self._model, self._seed, self._token_budget = model, seed, token_budget
        self._end_ids, self._closes = end_ids, closes
        self._cache = Cache(model.config, slots, model.device, model.dtype)
        self._queue: list[Numbered] = []
        self._stuck = False
        self._slot_of: dict[Key, int] = {}
        self._request_at: dict[int, Numbered] = {}
        self._clock = 0
        self._used_S = np.zeros(slots, dtype=np.int64)
        self._active_S = np.zeros(slots, dtype=bool)
        self._temperature_S = np.zeros(slots, dtype=np.float32)
        self._cached_S = np.zeros(slots, dtype=np.int64)
        self._stop_S = np.zeros(slots, dtype=np.int64)
        self._ids_S_C: Ints = np.zeros((slots, 0), dtype=np.int64)
        self._logprob_S_C: Floats = np.zeros((slots, 0), dtype=np.float32)
        self._uniform_S_C = np.zeros((slots, 0), dtype=np.float64)

    @property
    def pending(self) -> bool:
        """Whether a request is queued or being written."""
        return bool(self._queue or self._request_at)

    @property
    def empty(self) -> bool:
        """Whether no session holds a slot and nothing is pending."""
        return not (self._slot_of or self._queue)

    def submit(self, number: int, request: Generate) -> None:
        """Queue a request; ``number`` is its place in the order of submission."""
        self._queue.append((number, request))
        self._stuck = False

    def close(self, session: Key) -> None:
        """Free the session's slot, if it has one."""
        slot = self._slot_of.get(session)
        if slot in self._request_at or any(request.session == session for _, request in self._queue):
            raise ValueError(f"session {session} still has a request pending")
        if slot is not None:
            self._release(session)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, Generated]]:
        """Admit what fits, prefill it, and draw one token for every row; the requests that this finished."""
        finished: list[tuple[int, Generated]] = []
        for slot_R, start_R in self._admit():
            finished += self._prefill(slot_R, start_R)
        if self._request_at:
            finished += self._decode()
        return finished

    def _admit(self) -> list[tuple[Ints, Ints]]:
        """Give queued requests slots, in order, until none is to be had; batches of (slots, cached tokens to keep)."""
        if not self._queue or self._stuck:
            return []
        wanted = {request.session for _, request in self._queue}
        admitted: dict[int, int] = {}
        waiting = []
        for number, request in self._queue:
            slot = self._place(request.session, wanted)
            if slot is None:
                waiting.append((number, request))
            else:
                admitted[slot] = self._begin(slot, number, request)
        self._queue = waiting
        self._stuck = bool(waiting)
        total_S = [len(self._request_at[slot][1].ids_T) if slot in admitted else 0 for slot in range(len(self._used_S))]
        todo_S = [total - admitted.get(slot, 0) for slot, total in enumerate(total_S)]
        batches = []
        for fresh in (True, False):
            group = sorted((slot for slot, kept in admitted.items() if (kept == 0) is fresh), key=todo_S.__getitem__)
            for pack in packs(group, todo_S, self._token_budget):
                batches.append((np.array(pack), np.array([admitted[slot] for slot in pack])))
        return batches

    def _place(self, session: Key, wanted: set[Key]) -> int | None:
        """The slot a session may write in now: its own, a free one, or that of the longest idle session."""
        slot = self._slot_of.get(session)
        if slot is not None:
            return None if self._active_S[slot] else slot
        taken = set(self._slot_of.values())
        if len(taken) == len(self._used_S):
            idle = [
                other for other in self._slot_of if other not in wanted and not self._active_S[self._slot_of[other]]
            ]
            if not idle:
                return None
            self._release(min(idle, key=lambda other: self._used_S[self._slot_of[other]]))
            taken = set(self._slot_of.values())
        slot = next(slot for slot in range(len(self._used_S)) if slot not in taken)
        self._slot_of[session] = slot
        return slot

    def _release(self, session: Key) -> None:
        self._cached_S[self._slot_of.pop(session)] = 0
        self._stuck = False

    def _begin(self, slot: int, number: int, request: Generate) -> int:
        """Set a slot up for a request; how many of its cached tokens still stand."""
        length = len(request.ids_T)
        stop = length + request.max_new
        self._widen(stop)
        # The last token is fed again even when it is cached: its logits are not.
        comparable = min(int(self._cached_S[slot]), length - 1)
        differs_C = self._ids_S_C[slot, :comparable] != request.ids_T[:comparable]
        kept = int(differs_C.argmax()) if differs_C.any() else comparable
        self._ids_S_C[slot, :length] = request.ids_T
        self._temperature_S[slot] = request.temperature
        if request.temperature:
            self._uniform_S_C[slot, length:stop] = stream(self._seed, request.key).random(request.max_new)
        self._cached_S[slot], self._stop_S[slot], self._active_S[slot] = kept, stop, True
        self._request_at[slot] = number, request
        return kept

    def _widen(self, columns: int) -> None:
        missing = columns - self._ids_S_C.shape[1]
        if missing > 0:
            extra = ((0, 0), (0, max(missing, self._ids_S_C.shape[1])))
            self._ids_S_C = np.pad(self._ids_S_C, extra)
            self._logprob_S_C = np.pad(self._logprob_S_C, extra)
            self._uniform_S_C = np.pad(self._uniform_S_C, extra)

    def _prefill(self, slot_R: Ints, start_R: Ints) -> list[tuple[int, Generated]]:
        total_R = np.array([len(self._request_at[slot][1].ids_T) for slot in slot_R])
        count_R = total_R - start_R
        self._cache.reserve(int(max(total_R.max(), self._cached_S.max())) + 1)
        kind = Prefill if start_R.any() else FreshPrefill
        view = kind(self._cache, slot_R, start_R, count_R)
        column_R_T = np.arange(count_R.max())
        # Padding repeats the last real position: any valid id will do, it lies in every real token's future.
        position_R_T = np.minimum(start_R[:, None] + column_R_T, total_R[:, None] - 1)
        hidden_R_T_D = self._forward(self._ids_S_C[slot_R[:, None], position_R_T], position_R_T, view)
        self._cached_S[slot_R] = total_R
        row_R = torch.arange(len(slot_R), device=self._model.device)
        return self._extend(slot_R, hidden_R_T_D[row_R, self._cache.to_device(count_R - 1)])

    def _decode(self) -> list[tuple[int, Generated]]:
        slot_R = self._compact()
        rows = int(slot_R[-1]) + 1
        position_S = self._cached_S[:rows].copy()
        length = int(position_S[slot_R].max()) + 1
        self._cache.reserve(int(self._cached_S.max()) + 1)
        view = Decode(self._cache, position_S, length)
        ids_S_1 = np.take_along_axis(self._ids_S_C[:rows], position_S[:, None], axis=1)
        hidden_S_D = self._forward(ids_S_1, position_S[:, None], view)[:, 0]
        self._cached_S[slot_R] += 1
        return self._extend(slot_R, hidden_S_D if rows == len(slot_R) else hidden_S_D[self._cache.to_device(slot_R)])

    def _compact(self) -> Ints:
        """The decoding slots, ascending; moved to the front where they are less than half of the rows up to the last.

        A step's cost is that of all rows up to the last decoding one.
        """
        slot_R = np.flatnonzero(self._active_S)
        if 2 * len(slot_R) > slot_R[-1]:
            return slot_R
        session_at = {slot: session for session, slot in self._slot_of.items()}
        for front in np.flatnonzero(~self._active_S[: len(slot_R)]):
            last = np.flatnonzero(self._active_S)[-1]
            self._swap(int(front), int(last), session_at)
        return np.arange(len(slot_R))

    def _swap(self, idle: int, busy: int, session_at: dict[int, Key]) -> None:
        self._cache.swap(idle, busy)
        for rows in (
            self._used_S, self._active_S, self._temperature_S, self._cached_S, self._stop_S,
            self._ids_S_C, self._logprob_S_C, self._uniform_S_C,
        ):  # fmt: skip
            rows[[idle, busy]] = rows[[busy, idle]]
        self._request_at[idle] = self._request_at.pop(busy)
        moved, displaced = session_at.pop(busy), session_at.pop(idle, None)
        self._slot_of[moved], session_at[idle] = idle, moved
        if displaced is not None:
            self._slot_of[displaced], session_at[busy] = busy, displaced

    def _forward(self, ids_R_T: Ints, position_R_T: Ints, view: FreshPrefill | Decode) -> Tensor:
        """Hidden states (R, T, D) behind the last norm."""
        hidden: Tensor = self._model.base_model(
            input_ids=self._cache.to_device(ids_R_T),
            position_ids=self._cache.to_device(position_R_T),
            past_key_values=view,
            view=view,
        ).last_hidden_state
        return hidden

    def _extend(self, slot_R: Ints, hidden_R_D: Tensor) -> list[tuple[int, Generated]]:
        """Draw the next token of each row; the requests that end with it."""
        position_R = self._cached_S[slot_R]
        uniform_R = self._cache.to_device(self._uniform_S_C[slot_R, position_R])
        logits_R_V = self._model.get_output_embeddings()(hidden_R_D)
        drawn_R, logp_R = draw(logits_R_V, uniform_R, self._cache.to_device(self._temperature_S[slot_R]))
        token_R, logprob_R = drawn_R.cpu().numpy(), logp_R.cpu().numpy()
        if not np.isfinite(logprob_R).all():
            raise FloatingPointError("the policy's output is not finite: its weights are lost")
        self._ids_S_C[slot_R, position_R] = token_R
        self._logprob_S_C[slot_R, position_R] = logprob_R
        closed_R = np.isin(token_R, self._end_ids)
        if self._closes is not None:
            for row, slot in enumerate(slot_R):
                prompt = len(self._request_at[slot][1].ids_T)
                closed_R[row] |= self._closes(self._ids_S_C[slot, prompt : position_R[row] + 1])
        ended_R = closed_R | (position_R + 1 == self._stop_S[slot_R])
        return [self._finish(int(slot_R[row]), bool(closed_R[row])) for row in np.flatnonzero(ended_R)]

    def _finish(self, slot: int, closed: bool) -> tuple[int, Generated]:
        number, request = self._request_at.pop(slot)
        written = slice(len(request.ids_T), int(self._cached_S[slot]) + 1)
        self._active_S[slot] = False
        self._clock += 1
        self._used_S[slot] = self._clock
        self._stuck = False
        ids, logprobs = self._ids_S_C[slot, written].copy(), self._logprob_S_C[slot, written].copy()
        return number, Generated(request.key, ids, logprobs, closed)
