"""Context managers for calls of diffusers, transformers and peft: they translate errors and mute single messages."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from genrobust.core import GenrobustError, OutOfMemory, UserError, is_out_of_memory, one_line

if TYPE_CHECKING:
    import torch

# Messages of cuDNN that may mean that little memory is left.
MAYBE_OUT_OF_MEMORY = ("CUDNN_STATUS_NOT_SUPPORTED", "unable to find an engine")
# diffusers warns of an empty list of parts when it casts a network, as SDXL casts its decoder in every call.
EMPTY_WARNING = ("should be kept in float32: []", "diffusers.models.modeling_utils")


@contextmanager
def explain_out_of_memory(device: torch.device, work: str, remedy: str) -> Iterator[None]:
    """Turn running out of memory in the block into OutOfMemory that names the `work` and the `remedy`.

    Tensors of the block are freed, which the error would otherwise keep until it is handled. An error that `explain`
    has translated already is recognized by its cause.
    """
    try:
        yield
    except (RuntimeError, MemoryError, UserError) as error:
        causes = [error, error.__cause__ or error]
        is_known = any(is_out_of_memory(cause) for cause in causes)
        if not is_known and not any(words in str(error) for words in MAYBE_OUT_OF_MEMORY):
            raise
        traceback.clear_frames(error.__traceback__)
        if device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
        raise OutOfMemory(f"out of memory on {device} {work}: {remedy}") from error


@contextmanager
def explain(problem: str, remedy: str, kind: type[GenrobustError] = UserError) -> Iterator[None]:
    """Turn any error of a library in the block into `kind` with problem and remedy."""
    try:
        yield
    except GenrobustError:
        raise
    except Exception as error:
        raise kind(f"{problem}: {one_line(error)}: {remedy}") from error


@contextmanager
def muted(words: str, *loggers: str) -> Iterator[None]:
    """Drop messages of `loggers` that contain `words`, in the block."""

    def is_shown(record: logging.LogRecord) -> bool:
        return words not in record.getMessage()

    for name in loggers:
        logging.getLogger(name).addFilter(is_shown)
    try:
        yield
    finally:
        for name in loggers:
            logging.getLogger(name).removeFilter(is_shown)


@contextmanager
def refusing_random_weights() -> Iterator[None]:
    """Raise ValueError if transformers initializes missing weights at random in the block, which it only logs."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("transformers")
    collector = Collector(logging.WARNING)
    level = logger.level
    logger.setLevel(min(level, logging.WARNING))
    logger.addHandler(collector)
    try:
        yield
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
    if any("newly initialized" in message for message in messages):
        raise ValueError("some of its weights are missing")
