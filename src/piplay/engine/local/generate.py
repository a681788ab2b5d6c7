"""Continuous batching: every turn that is ready is written together, and none waits for another's end.

One forward a step: the next token of every slot that is writing, and beside them, chunk by chunk, the prompts and tool
results that are new. State is one row per slot (``_S``) and one column per position of its sequence (``_C``). ``_R``:
the rows at hand; ``_N``: the tokens of a forward; ``_K_B``: the vocabulary in blocks.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from piplay.engine.local.cache import PAGE, Batch, Cache, Chunk, bucket, pages
from piplay.engine.local.graphs import Graphs, hidden
from piplay.engine.local.stops import StopTexts
from piplay.engine.protocol import Generate, Generated, Usage
from piplay.streams import stream
from piplay.types import Floats, Ints, Key

BLOCK = 64
"""Tokens of the vocabulary that are summed before the sums are: a running sum is many times dearer than a sum."""
NEAR = 1 << 18
"""Logits that a CPU keeps near while it draws from them: of more, one pass after the other would go to memory."""
TOKEN_BUCKET = 16
"""A forward is padded to a multiple of this many tokens: fewer distinct shapes, each of which rounds in its own way."""
CHUNK = 512
"""The most tokens of one session in one forward: a long prompt spreads over several, and others go on writing."""
SHARED = 16
"""The fewest tokens that are worth copying from another session's cache."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, and what was written of it before its slot was taken back."""

    order: tuple[int, int]
    """The place of its session's first request in the order of submission, and its own: older sessions go first."""
    request: Generate
    ids: Ints
    logprobs: Floats

    @property
    def known(self) -> int:
        return len(self.request.ids_T) + len(self.ids)


def draw(logits_R_V: Tensor, uniform_R: Tensor, temperature_R: Tensor) -> tuple[Tensor, Tensor]:
    """One token a row by inverse CDF, at temperature 0 the most likely one, and its log-probability at temperature 1.

    The token is the first whose cumulative probability exceeds the row's uniform draw: fp32 softmax, fp64 sums, over
    blocks and then within the block. The draw is scaled by the row's total, which rounding leaves a little off 1.
    """
    if not logits_R_V.is_cpu:
        return _draw(logits_R_V, uniform_R, temperature_R)
    rows = max(1, NEAR // logits_R_V.shape[-1])
    given = (torch.split(each, rows) for each in (logits_R_V, uniform_R, temperature_R))
    parts = [_draw(*part) for part in zip(*given, strict=True)]
    tokens, logprobs = zip(*parts, strict=True)
    return torch.cat(tokens), torch.cat(logprobs)


def _draw(logits_R_V: Tensor, uniform_R: Tensor, temperature_R: Tensor) -> tuple[Tensor, Tensor]:
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
        weight_R_V = pad(tempered_R_V.exp(), (0, -logp_R_V.shape[-1] % BLOCK))
        weight_R_K_B = weight_R_V.view(len(weight_R_V), -1, BLOCK)
        cdf_R_K = weight_R_K_B.sum(-1, dtype=torch.float64).cumsum(-1)
        target_R = uniform_R * cdf_R_K[:, -1]
        row_R, block_R = torch.arange(len(target_R), device=target_R.device), _first_beyond(cdf_R_K, target_R)
        rest_R = target_R - pad(cdf_R_K, (1, 0))[row_R, block_R]
        within_R = _first_beyond(weight_R_K_B[row_R, block_R].cumsum(-1, dtype=torch.float64), rest_R)
        token_R = (block_R * BLOCK + within_R).clamp_(max=logp_R_V.shape[-1] - 1)
        if bool(greedy_R.any()):
            token_R = torch.where(greedy_R, logp_R_V.argmax(-1), token_R)
    return token_R, logp_R_V.gather(-1, token_R[:, None])[:, 0]


def _first_beyond(cdf_R_K: Tensor, target_R: Tensor) -> Tensor:
    """The first place of each row whose sum exceeds the target; the one that completes it where rounding denies that.

    A row that is not finite has no such place: it gets some place, and is refused by its log-probability.
    """
    below_R = torch.nextafter(cdf_R_K[:, -1], torch.zeros_like(target_R))
    place_R = torch.searchsorted(cdf_R_K, torch.minimum(target_R, below_R)[:, None], right=True)[:, 0]
    return place_R.clamp_(max=cdf_R_K.shape[-1] - 1)


class Sampler:
    """Writes turns under one policy's weights, which must not change while it lives."""

    def __init__(
        self,
        model: Any,
        *,
        seed: int,
        slots: int,
        cache_tokens: int | None,
        token_budget: int,
        stop_texts: StopTexts,
        version: int,
        usage: Usage,
        cuda_graphs: bool = False,
    ) -> None:
        """``slots``: sessions cached at once; ``cache_tokens``: tokens of them all, None: as many as come;
        ``token_budget``: new tokens of prompts and tool results in one forward; ``stop_texts``: finds those of
        requests; ``version``: the policy's; ``usage``: where the work is counted; ``cuda_graphs``: replay steps that
        decode and feed nothing else."""
        self._graphs = Graphs(model) if cuda_graphs else None
        self._model, self._seed, self._token_budget = model, seed, token_budget
        self._stop_texts, self._version, self._usage = stop_texts, version, usage
        self._pages = None if cache_tokens is None else pages(cache_tokens)
        self._cache = Cache(model.config, slots, self._pages, model.device, model.dtype)
        self._queue: list[_Asked] = []
        self._first: dict[Key, int] = {}
        self._stuck = False
        self._slot_of: dict[Key, int] = {}
        self._asked_at: dict[int, _Asked] = {}
        self._clock = self._most_sessions = 0
        self._used_S = np.zeros(slots, dtype=np.int64)
        self._active_S = np.zeros(slots, dtype=bool)
        self._temperature_S = np.zeros(slots, dtype=np.float32)
        self._cached_S = np.zeros(slots, dtype=np.int64)
        self._known_S = np.zeros(slots, dtype=np.int64)
        self._stop_S = np.zeros(slots, dtype=np.int64)
        self._ids_S_C: Ints = np.zeros((slots, 0), dtype=np.int64)
        self._logprob_S_C: Floats = np.zeros((slots, 0), dtype=np.float32)
        self._uniform_S_C = np.zeros((slots, 0), dtype=np.float64)

    @property
    def pending(self) -> bool:
        """Whether a request is queued or being written."""
        return bool(self._queue or self._asked_at)

    @property
    def empty(self) -> bool:
        """Whether no session holds a slot and nothing is pending."""
        return not (self._slot_of or self._queue)

    def submit(self, number: int, request: Generate) -> None:
        """Queue a request; ``number`` is its place in the order of submission.

        Raises:
            ValueError: it may become longer than what can be cached.
        """
        longest = len(request.ids_T) + request.max_new
        if self._pages is not None and pages(longest) > self._pages:
            raise ValueError(f"request {request.key} may take {longest} tokens, and {self._pages * PAGE} can be cached")
        order = self._first.setdefault(request.session, number), number
        self._wait(_Asked(order, request, np.zeros(0, np.int64), np.zeros(0, np.float32)))

    def _wait(self, asked: _Asked) -> None:
        insort(self._queue, asked, key=lambda asked: asked.order)
        self._stuck = False

    def close(self, session: Key) -> None:
        """Free the session's slot, if it has one; a request of it that is pending is given up."""
        self._queue = [asked for asked in self._queue if asked.request.session != session]
        self._first.pop(session, None)
        slot = self._slot_of.get(session)
        if slot is not None:
            self._asked_at.pop(slot, None)
            self._active_S[slot] = False
            self._release(session)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, Generated]]:
        """Admit what fits, feed what is new, draw the next token of every row that is complete; what this finished."""
        self._admit()
        while not self._make_room():
            self._suspend()
        slot_R, hidden_R_D = self._forward()
        self._count(len(slot_R))
        return self._extend(slot_R, hidden_R_D) if len(slot_R) else []

    def _admit(self) -> None:
        """Give queued requests slots, the oldest sessions first, until none is to be had or the cache is full."""
        if not self._queue or self._stuck:
            return
        wanted = {asked.request.session for asked in self._queue}
        waiting: list[_Asked] = []
        passed: set[Key] = set()
        full = False
        for asked in self._queue:
            session = asked.request.session
            slot = self._slot_of.get(session)
            begins = session not in passed and (not full if slot is None else not self._active_S[slot])
            # Each turn that is being written may need a page more before long.
            if begins and not self._make_room(pages(asked.known + 1) + len(self._asked_at), session):
                begins, full = False, True
            slot = self._place(session, wanted) if begins else None
            if slot is None:
                waiting.append(asked)
                passed.add(session)
            else:
                self._begin(slot, asked)
        self._queue = waiting
        self._stuck = bool(waiting)

    def _make_room(self, more: int = 0, session: Key = ()) -> bool:
        """Free pages until there are ``more`` besides what turns need; False, and none is, where that cannot be.

        They are those of idle sessions, the longest idle first, those with a turn in the queue last; ``session`` keeps
        its own.
        """
        if self._pages is None:
            return True
        free = self._pages - int(pages(self._known_S[self._active_S]).sum()) - more
        if free < 0:
            return False
        idle = self._idle({session})
        held = sum(int(self._cache.held_S[self._slot_of[other]]) for other in idle)
        if held > free:
            wanted = {asked.request.session for asked in self._queue}
            for other in sorted(idle, key=wanted.__contains__):
                held -= int(self._cache.held_S[self._slot_of[other]])
                self._evict(other)
                if held <= free:
                    break
        return True

    def _suspend(self) -> None:
        """Take the slot of the youngest session. Its turn waits in line with what it has written, and is read again."""
        slot = max(self._asked_at, key=lambda slot: self._asked_at[slot].order)
        asked = self._asked_at.pop(slot)
        self._active_S[slot] = False
        written = self._written(slot, asked.request)
        ids, logprobs = self._ids_S_C[written].copy(), self._logprob_S_C[written].copy()
        self._wait(replace(asked, ids=ids, logprobs=logprobs))
        self._evict(asked.request.session)

    def _place(self, session: Key, wanted: Set[Key]) -> int | None:
        """The slot of a session that writes nothing: its own, a free one, or that of the longest idle session."""
        if session in self._slot_of:
            return self._slot_of[session]
        if len(self._slot_of) == len(self._used_S):
            idle = self._idle(wanted)
            if not idle:
                return None
            self._evict(idle[0])
        taken = set(self._slot_of.values())
        slot = next(slot for slot in range(len(self._used_S)) if slot not in taken)
        self._slot_of[session] = slot
        return slot

    def _idle(self, but: Set[Key]) -> list[Key]:
        """Sessions with a slot that write nothing, the longest idle first."""
        idle = [session for session, slot in self._slot_of.items() if session not in but and not self._active_S[slot]]
        return sorted(idle, key=lambda session: self._used_S[self._slot_of[session]])

    def _evict(self, session: Key) -> None:
        """Take the slot of a session that will go on."""
        self._usage.evicted += int(self._cached_S[self._slot_of[session]])
        self._release(session)

    def _release(self, session: Key) -> None:
        slot = self._slot_of.pop(session)
        self._cache.release(slot)
        self._cached_S[slot] = 0
        self._stuck = False

    def _begin(self, slot: int, asked: _Asked) -> None:
        """Set a slot up for a request, with what its own cache or another's already holds of it."""
        request, known = asked.request, asked.known
        length = len(request.ids_T)
        stop = length + request.max_new
        self._widen(stop)
        ids_T = np.concatenate([request.ids_T, asked.ids])
        # The last token is fed again even when it is cached: its logits are not.
        held_S = self._held(ids_T[:-1])
        kept, donor = int(held_S[slot]), int(held_S.argmax())
        self._cache.release(slot, pages(kept))
        if held_S[donor] >= kept + SHARED:
            self._cache.copy(donor, slot, int(held_S[donor]))
            self._usage.shared += int(held_S[donor]) - kept
            kept = int(held_S[donor])
        self._ids_S_C[slot, :known] = ids_T
        self._logprob_S_C[slot, length:known] = asked.logprobs
        self._temperature_S[slot] = request.temperature
        if request.temperature:
            self._uniform_S_C[slot, length:stop] = stream(self._seed, request.key).random(request.max_new)
        self._cached_S[slot], self._known_S[slot], self._stop_S[slot] = kept, known, stop
        self._active_S[slot] = True
        self._asked_at[slot] = asked

    def _held(self, ids_T: Ints) -> Ints:
        """How many of the first ids every slot has in its cache."""
        same_S_T = self._ids_S_C[:, : len(ids_T)] == ids_T
        common_S = np.where(same_S_T.all(1), len(ids_T), np.argmin(same_S_T, axis=1) if len(ids_T) else 0)
        return np.minimum(common_S, self._cached_S)

    def _widen(self, columns: int) -> None:
        missing = columns - self._ids_S_C.shape[1]
        if missing > 0:
            extra = ((0, 0), (0, max(missing, self._ids_S_C.shape[1])))
            self._ids_S_C = np.pad(self._ids_S_C, extra)
            self._logprob_S_C = np.pad(self._logprob_S_C, extra)
            self._uniform_S_C = np.pad(self._uniform_S_C, extra)

    def _forward(self) -> tuple[Ints, Tensor]:
        """Feed every writing slot what its cache lacks; those that lack nothing now, and their last hidden states."""
        todo_S = np.where(self._active_S, self._known_S - self._cached_S, 0)
        slot_R, chunks = np.flatnonzero(todo_S == 1), self._chunks(np.flatnonzero(todo_S > 1))
        position_R = self._cached_S[slot_R]
        graphs = self._graphs if not chunks else None
        padded = max(TOKEN_BUCKET, bucket(len(slot_R))) if graphs else None
        batch = Batch(self._cache, slot_R, position_R, chunks, self._token_budget, padded)
        count = int(batch.first[-1])
        padding = np.zeros(padded - count if padded else -count % TOKEN_BUCKET, dtype=np.int64)
        ids, positions = [self._ids_S_C[slot_R, position_R]], [position_R]
        drawing, tokens = [slot_R], [np.arange(len(slot_R))]
        for chunk, after in zip(chunks, batch.first[1:], strict=True):
            stop = chunk.start + chunk.count
            ids.append(self._ids_S_C[chunk.slots[0], chunk.start : stop])
            positions.append(np.arange(chunk.start, stop))
            self._cached_S[chunk.slots] = stop
            self._usage.prefilled += chunk.count
            self._usage.shared += chunk.count * (len(chunk.slots) - 1)
            if stop == self._known_S[chunk.slots[0]]:
                drawing.append(chunk.slots)
                tokens.append(np.full(len(chunk.slots), after - 1))
        self._cached_S[slot_R] += 1
        to_device = self._cache.to_device
        given = to_device(np.concatenate([*ids, padding])), to_device(np.concatenate([*positions, padding])), batch
        hidden_N_D = graphs.hidden(*given) if graphs else hidden(self._model, *given)
        return np.concatenate(drawing), hidden_N_D[to_device(np.concatenate(tokens))]

    def _chunks(self, slot_R: Ints) -> list[Chunk]:
        """What is fed besides single tokens, within the budget. What several slots lack behind the same is fed once."""
        alike: dict[tuple[int, bytes], list[int]] = {}
        for slot in slot_R:
            alike.setdefault(
                (int(self._cached_S[slot]), self._ids_S_C[slot, : self._known_S[slot]].tobytes()), []
            ).append(slot)
        chunks, room = [], self._token_budget
        for (start, _), slots in alike.items():
            count = min(int(self._known_S[slots[0]]) - start, CHUNK, room)
            if count:
                chunks.append(Chunk(np.array(slots), start, count))
                room -= count
        return chunks

    def _count(self, drawn: int) -> None:
        self._most_sessions = max(self._most_sessions, len(self._slot_of))
        self._usage.steps += 1
        self._usage.drawn += drawn
        self._usage.capacity += self._most_sessions

    def _extend(self, slot_R: Ints, hidden_R_D: Tensor) -> list[tuple[int, Generated]]:
        """Draw the next token of each row; the requests that end with it."""
        position_R = self._known_S[slot_R]
        uniform_R = self._cache.to_device(self._uniform_S_C[slot_R, position_R])
        logits_R_V = self._model.get_output_embeddings()(hidden_R_D)
        drawn_R, logp_R = draw(logits_R_V, uniform_R, self._cache.to_device(self._temperature_S[slot_R]))
        token_R, logprob_R = drawn_R.cpu().numpy(), logp_R.cpu().numpy()
        if not np.isfinite(logprob_R).all():
            raise FloatingPointError("the policy's output is not finite, its weights are lost")
        self._ids_S_C[slot_R, position_R] = token_R
        self._logprob_S_C[slot_R, position_R] = logprob_R
        self._known_S[slot_R] += 1
        closed_R = np.array([self._closed(slot) for slot in slot_R.tolist()])
        ended_R = closed_R | (position_R + 1 == self._stop_S[slot_R])
        return [self._finish(int(slot_R[row]), bool(closed_R[row])) for row in np.flatnonzero(ended_R)]

    def _closed(self, slot: int) -> bool:
        """Whether the last token of a slot ends its turn."""
        request = self._asked_at[slot].request
        ids = self._ids_S_C[self._written(slot, request)]
        if ids[-1] in request.stop.ids:
            return True
        texts = request.stop.texts
        return bool(texts) and self._stop_texts.complete(texts, ids.tolist())

    def _finish(self, slot: int, closed: bool) -> tuple[int, Generated]:
        asked = self._asked_at.pop(slot)
        written = self._written(slot, asked.request)
        self._active_S[slot] = False
        self._clock += 1
        self._used_S[slot] = self._clock
        self._stuck = False
        ids, logprobs = self._ids_S_C[written].copy(), self._logprob_S_C[written].copy()
        return asked.order[1], Generated(asked.request.key, ids, logprobs, closed, self._version)

    def _written(self, slot: int, request: Generate) -> tuple[int, slice]:
        """Where in ``_S_C`` the turn stands that a slot has written so far."""
        return slot, slice(len(request.ids_T), int(self._known_S[slot]))
