"""The batch size that pays: larger ones are tried until they do not fit, or gain nothing."""

from __future__ import annotations

from collections.abc import Callable

from genrobust.core import GenrobustError

GAIN = 1.05  # images a second, from a batch to one of twice its size: less is not worth the memory


def best_batch(seconds: Callable[[int], float], most: int) -> int:
    """Return the largest power of two up to `most` whose images come faster than those of half as many at once.

    `seconds` draws so many images at once, and returns how long that took.
    """

    def rate_of(size: int) -> float:
        return size / min(seconds(size), seconds(size))  # the first call of each size loads kernels and takes memory

    best, rate = 1, rate_of(1)
    while 2 * best <= most:
        try:
            now = rate_of(2 * best)
        except GenrobustError:  # too little memory, or more than some kernel can index
            return best
        if now < GAIN * rate:
            break
        best, rate = 2 * best, now
    return best
