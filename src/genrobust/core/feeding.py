"""Batches on their way to a device, where the next one is read and copied while this one is in use."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from genrobust.core.machine import cores

if TYPE_CHECKING:  # torch takes seconds
    import torch
    from torch import Tensor

DECODERS = 32  # threads that decode images, at most one a core
Batch = tuple["Tensor", ...]


def reading_pool() -> ThreadPoolExecutor:
    """Return a pool of as many threads as decode images together."""
    return ThreadPoolExecutor(min(DECODERS, cores()))


def feed(batches: Iterable[Batch], device: torch.device) -> Generator[Batch, None, None]:
    """Yield `batches`, each read by a thread while the one before is in use.

    A GPU gets its own copies, from pinned memory and in a stream of their own, so that it computes meanwhile. For any
    other device, batches stay as they are.
    """
    copy, receive, begin = _copy_functions(device) if device.type == "cuda" else (_unchanged, _unchanged, None)
    left = iter(batches)

    def read() -> Batch | None:
        batch = next(left, None)
        return None if batch is None else copy(batch)

    with ThreadPoolExecutor(1, initializer=begin) as reader:
        ahead = reader.submit(read)
        while (batch := ahead.result()) is not None:
            ahead = reader.submit(read)
            yield receive(batch)


def _unchanged(batch: Batch) -> Batch:
    return batch


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The stream for copies to a GPU: one, since what was freed on a stream is used again on that one alone."""
    import torch

    return torch.cuda.Stream(device)


def _copy_functions(
    device: torch.device,
) -> tuple[Callable[[Batch], Batch], Callable[[Batch], Batch], Callable[[], None]]:
    """Return the functions that copy to the GPU `device` in one thread, receive in another, and begin the first."""
    import torch

    stream = _stream(device)

    def begin() -> None:
        torch.cuda.set_device(stream.device)  # or leaving the stream would take memory on the first GPU

    def copy(batch: Batch) -> Batch:
        with torch.cuda.stream(stream):
            copied = tuple(tensor.pin_memory().to(device, non_blocking=True) for tensor in batch)
        stream.synchronize()  # this thread waits, and the GPU's other stream does not
        return copied

    def receive(batch: Batch) -> Batch:
        for tensor in batch:  # or the next copy could take its memory while the GPU still reads it
            tensor.record_stream(torch.cuda.current_stream(device))
        return batch

    return copy, receive, begin
