"""A rank of a trainer: ``python -m piplay.engine.local.rank FD PID``; see ``ranks.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

import torch

from piplay.algo.losses.base import Loss
from piplay.engine.child import connected
from piplay.engine.local.ranks import TIMEOUT, Start, group_of, store_of, sum_gradients
from piplay.engine.local.sharded import mesh_of
from piplay.engine.local.trainer import LocalTrainer, check_device
from piplay.engine.local.update import Filling, Tally
from piplay.types import PolicyRef, Sample


class Rank(LocalTrainer):
    """A trainer that nobody writes under."""

    def __init__(self, start: Start) -> None:
        """Join the others, and load what they load."""
        settings, store = start.settings, store_of(start.meeting, start.ranks)
        self._group, mesh = None, None
        if settings.lora.rank:
            self._group = group_of(start.rank, start.ranks, store)
        else:
            mesh = mesh_of(start.rank, start.ranks, store, start.device, TIMEOUT)
        super().__init__(
            start.model, start.policies, seed=start.seed, threads=settings.threads, device=start.device, mesh=mesh,
            micro_batch_tokens=settings.micro_batch_tokens, dtype=getattr(torch, settings.dtype), lora=settings.lora,
            checkpointing=settings.checkpointing, exact=settings.exact,
        )  # fmt: skip

    def summed(self, policy: str, part: Sequence[Sample], losses: Mapping[str, Loss], filling: Filling) -> Tally:
        """Make the gradients of a part, and sum them with the other ranks'."""
        tally = self.gradients(policy, part, losses, filling)
        if self._group is not None:
            sum_gradients(self._policies.masters(policy), self._group)
        return tally

    def gathered(self, ref: PolicyRef) -> None:
        """Give what rank 0 gathers."""
        for _ in self._policies.gather(ref):
            pass

    def stored(self) -> None:
        """Give what rank 0 stores."""
        for _, tensors in self._policies.stored():
            for _ in tensors:
                pass

    def _writing(self, ref: PolicyRef) -> bool:
        return False

    def _changed(self, ref: PolicyRef) -> None:
        pass


def serve(connection: Connection, start: Start) -> None:
    """Do what rank 0 asks for until it hangs up."""
    check_device(start.device)
    connection.send(None)
    rank = Rank(start)
    while True:
        method, given = connection.recv()
        if method == "gradients":
            connection.send(rank.summed(*given))
        elif method == "step":
            rank.step(*given)
        else:
            getattr(rank, method)(*given)
            connection.send(None)


if __name__ == "__main__":
    to_rank_0 = connected()
    with suppress(EOFError):
        serve(to_rank_0, to_rank_0.recv())
