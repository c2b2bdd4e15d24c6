"""Who trains one classifier: a process alone, or several that each learn from a share of every batch (DDP)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed as dist, nn
from torch.nn.parallel import DistributedDataParallel

from genrobust.core import UserError


@dataclass(frozen=True, slots=True)
class Team:
    """This process as number `rank` of `size` that train together; the first leads: it validates, averages and saves.

    All of them call every method at the same place of their work.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def rows(self) -> slice:
        """Its share of a batch: every `size`-th image.

        A weighted mixture's batch holds source after source. A block of it would be of one source, and so would the
        batch norms' statistics that are saved, which are the leader's.
        """
        return slice(self.rank, None, self.size)

    @property
    def draws(self) -> tuple[int, ...]:
        """What its random draws depend on beside the seed and the step."""
        return () if self.size == 1 else (self.rank,)

    def spread(self, network: nn.Module) -> nn.Module:
        """`network` so that a backward pass leaves the gradients' mean over the team, and the leader's buffers count.

        DDP is told to look for unused parameters, though there may be none: else it arranges the gradients anew after
        its first step. Sums of three or more would then round otherwise in a training that goes on than in one that
        was never stopped.
        """
        if self.size == 1:
            return network
        at = next(network.parameters()).device
        devices = [torch.cuda.current_device()] if at.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=True)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of everybody's `value`, a scalar."""
        if self.size == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.size

    def of_leader(self, number: int, device: torch.device) -> int:
        """The leader's `number`."""
        if self.size == 1:
            return number
        told = torch.tensor(number, device=device)
        dist.broadcast(told, 0)
        return int(told)


ALONE = Team()


def team_of(workers: int) -> Team:
    """This process in the team of `workers` that it was started in; raises UserError where it was started in none."""
    if workers == 1:
        return ALONE
    there = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if there != workers:
        raise UserError(
            f"train.workers: {workers} processes train this classifier together, and here is {there}: give --executor "
            "ray, which starts them"
        )
    return Team(dist.get_rank(), workers)
