"""Says what to lower where memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from genrobust.core import GenrobustError

WORDS = ("out of memory", "allocate memory", "not enough memory")  # of CUDA and MPS, a CPU, and a CPU on Windows


@contextmanager
def explain_out_of_memory(device: torch.device, work: str, remedy: str) -> Iterator[None]:
    """Turn running out of memory in the block into GenrobustError that names the `work` and the `remedy`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(w in str(error) for w in WORDS):
            raise
        raise GenrobustError(f"out of memory on {device} {work}: {remedy}") from error
