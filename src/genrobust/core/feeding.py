"""Feed batches to a device: the next batch is read and copied while one is in use."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from genrobust.core.machine import cores

# torch takes seconds to load.
if TYPE_CHECKING:
    import torch
    from torch import Tensor

DECODERS = 32  # most threads that decode images; at most one per core
Batch = tuple["Tensor", ...]


def reading_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(DECODERS, cores()))


def feed(batches: Iterable[Batch], device: torch.device) -> Generator[Batch, None, None]:
    """Yield `batches`. A thread reads each while the one before is in use.

    For a GPU, batches are copied from pinned memory in a stream of their own, so that the GPU computes meanwhile. For
    other devices, they are not copied.
    """
    copier = _GpuCopier(device) if device.type == "cuda" else _NoCopier()
    left = iter(batches)

    def read() -> Batch | None:
        batch = next(left, None)
        return None if batch is None else copier.copy(batch)

    with ThreadPoolExecutor(1, initializer=copier.begin) as reader:
        ahead = reader.submit(read)
        while (batch := ahead.result()) is not None:
            ahead = reader.submit(read)
            yield copier.receive(batch)


class _NoCopier:
    """Leaves batches on the CPU."""

    def begin(self) -> None:
        """Prepare the reading thread."""

    def copy(self, batch: Batch) -> Batch:
        """Copy a batch in the reading thread."""
        return batch

    def receive(self, batch: Batch) -> Batch:
        """Take a copied batch over in the computing thread."""
        return batch


class _GpuCopier(_NoCopier):
    """Copies batches to a GPU in a stream of their own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _stream(device)

    def begin(self) -> None:
        import torch

        # Without this, leaving the stream would take memory on the first GPU.
        torch.cuda.set_device(self._stream.device)

    def copy(self, batch: Batch) -> Batch:
        import torch

        with torch.cuda.stream(self._stream):
            copied = tuple(tensor.pin_memory().to(self._device, non_blocking=True) for tensor in batch)
        # Only this thread waits, not the GPU's other stream.
        self._stream.synchronize()
        return copied

    def receive(self, batch: Batch) -> Batch:
        import torch

        # Without this, the next copy could take the memory of a batch that the GPU still reads.
        for tensor in batch:
            tensor.record_stream(torch.cuda.current_stream(self._device))
        return batch


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream for copies to a GPU. There is one, because memory freed on a stream is reused on it only."""
    import torch

    return torch.cuda.Stream(device)
