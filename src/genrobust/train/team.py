"""Who trains one classifier: one process, or several that each learn from a share of every batch (DDP)."""

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
        """Whether this is the process that validates, averages the weights and saves."""
        return self.rank == 0

    @property
    def rows(self) -> slice:
        """This process's share of a batch: every `size`-th image, since a block could be of one source alone."""
        return slice(self.rank, None, self.size)

    @property
    def seed_suffix(self) -> tuple[int, ...]:
        """The numbers that the random draws of this process depend on beside the seed and the step."""
        return () if self.size == 1 else (self.rank,)

    def wrap_ddp(self, network: nn.Module) -> nn.Module:
        """Return `network` so that a backward pass averages the gradients, and the main process's buffers count."""
        if self.size == 1:
            return network
        devices = [torch.cuda.current_device()] if next(network.parameters()).is_cuda else None
        # None is unused. Without that flag, DDP orders the gradients anew after its first step, and sums of three or
        # more would round differently in a resumed training.
        return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=True)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of every process's `value`, a scalar."""
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
    """Return this process's place in the team of `workers` processes that it was started in.

    Raises:
        UserError: It was started in no such team.
    """
    if workers == 1:
        return ALONE
    size = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if size != workers:
        raise UserError(
            f"train.workers: {workers} processes train this classifier together, but this is one of {size}: the "
            "executors Processes and Ray start them all, as does `genrobust train`"
        )
    return Team(dist.get_rank(), workers)
