"""Whether an error means that memory ran out."""

from __future__ import annotations

import torch

# In RuntimeErrors: of CUDA and MPS, of a CPU, of a CPU on Windows.
WORDS = ("out of memory", "allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` means that a GPU or a CPU ran out of memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in WORDS)
