"""The batch size that pays: larger ones are tried until they do not fit, or gain nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from genrobust.core import GenrobustError, UserError

GAIN = 1.05  # images a second, from a batch to one of twice its size: less is not worth the memory
MOST = 256  # images at once
log = logging.getLogger(__name__)


def best_batch(seconds: Callable[[int], float], most: int = MOST) -> int:
    """Return the largest power of two up to `most` whose images come faster than those of half as many at once.

    Args:
        seconds: Draws so many images at once, and returns how long that took.

    Raises:
        GenrobustError: Not even one image can be drawn.
    """

    def rate_of(size: int) -> float:
        return size / min(seconds(size), seconds(size))  # the first call of each size loads kernels and takes memory

    best, rate = 1, rate_of(1)
    size = 2
    while size <= most:
        try:
            now = rate_of(size)
        except GenrobustError as error:  # too little memory, or more than some kernel can index
            if isinstance(error, UserError):
                raise
            log.warning(f"batch_size: {size} images at once cannot be drawn ({error}): {best} at once")
            return best
        if now < GAIN * rate:
            break
        best, rate, size = size, now, size * 2
    log.info(f"batch_size: {best} images at once, {rate:.2g} images/s in a trial")
    return best
