"""Guards round calls of other libraries: single messages are muted, and running out of memory is explained."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from genrobust.core import GenrobustError, OutOfMemory, UserError, is_out_of_memory, one_line

if TYPE_CHECKING:
    import torch

PERHAPS = ("CUDNN_STATUS_NOT_SUPPORTED", "unable to find an engine")  # what cuDNN may say where little memory is left
# Diffusers warns of an empty list of parts where it casts a network, as SDXL does its decoder at every call.
EMPTY_WARNING = ("should be kept in float32: []", "diffusers.models.modeling_utils")


@contextmanager
def explain_out_of_memory(device: torch.device, work: str, remedy: str) -> Iterator[None]:
    """Turn running out of memory in the block into OutOfMemory that names the `work` and the `remedy`.

    Also where `explain` named another remedy. What the block computed is freed, which the error would keep until it is
    handled.
    """
    try:
        yield
    except (RuntimeError, MemoryError, UserError) as error:
        errors = filter(None, (error, error.__cause__))
        if not (any(map(is_out_of_memory, errors)) or any(words in str(error) for words in PERHAPS)):
            raise
        traceback.clear_frames(error.__traceback__)
        if device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
        raise OutOfMemory(f"out of memory on {device} {work}: {remedy}") from error


@contextmanager
def explain(problem: str, remedy: str, kind: type[GenrobustError] = UserError) -> Iterator[None]:
    """Turn any error that diffusers, transformers or peft raise in the block into `kind` with problem and remedy."""
    try:
        yield
    except GenrobustError:
        raise
    except Exception as error:
        raise kind(f"{problem}: {one_line(error)}: {remedy}") from error


@contextmanager
def muted(words: str, *loggers: str) -> Iterator[None]:
    """Drop the messages of `loggers` that hold `words` while the block runs."""

    def keep(record: logging.LogRecord) -> bool:
        return words not in record.getMessage()

    for name in loggers:
        logging.getLogger(name).addFilter(keep)
    try:
        yield
    finally:
        for name in loggers:
            logging.getLogger(name).removeFilter(keep)


@contextmanager
def refusing_random_weights() -> Iterator[None]:
    """Raise ValueError where transformers draws weights at random in the block, of which it only logs that it did."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, collector = logging.getLogger("transformers"), Collector(logging.WARNING)
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
