"""The processes that train one classifier: one alone, or several with a share of every batch each (PyTorch's DDP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed as dist, nn
from torch.nn.parallel import DistributedDataParallel

from genrobust.core import UserError

Number = TypeVar("Number", bound=int)


@dataclass(frozen=True, slots=True)
class Team:
    """This process as number `rank` of `size` processes that train one classifier together.

    All of them call every method at the same point of their work.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process validates, averages the weights and saves."""
        return self.rank == 0

    @property
    def rows(self) -> slice:
        """The rows of a batch for this process: every `size`-th, because a block could come from one source alone."""
        return slice(self.rank, None, self.size)

    @property
    def seed_suffix(self) -> tuple[int, ...]:
        """Numbers that the seed of a step depends on in addition: none for one process."""
        return () if self.size == 1 else (self.rank,)

    def wrap_ddp(self, network: nn.Module) -> nn.Module:
        """Wrap `network` so that a backward pass averages gradients. Buffers come from the main process."""
        if self.size == 1:
            return network
        is_cuda = next(network.parameters()).is_cuda
        device_ids = [torch.cuda.current_device()] if is_cuda else None
        # No parameter is unused. But without this flag DDP reorders gradients after its first step, and sums of three
        # or more would round differently in a resumed training.
        return DistributedDataParallel(network, device_ids=device_ids, find_unused_parameters=True)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over processes of `value`, a scalar."""
        if self.size == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.size

    def broadcast(self, value: Number, device: torch.device) -> Number:
        """Return the main process's `value`."""
        if self.size == 1:
            return value
        sent = torch.tensor(int(value), device=device)
        dist.broadcast(sent, 0)
        return type(value)(int(sent))


ALONE = Team()


def team_of(workers: int) -> Team:
    """Return the team of `workers` processes that this process was started in.

    Raises:
        UserError: It was not started in such a team.
    """
    if workers == 1:
        return ALONE
    is_started = dist.is_available() and dist.is_initialized()
    size = dist.get_world_size() if is_started else 1
    if size != workers:
        raise UserError(
            f"train.workers: {workers} processes train this classifier together, but this is one of {size}: the "
            "executors Processes and Ray start them all, as does `genrobust train`"
        )
    return Team(dist.get_rank(), workers)
