"""Durations in words."""

from __future__ import annotations


def about(seconds: float) -> str:
    """ "about 40 s", "about 12 min", "about 3.5 h", "about 4 days"."""
    for length, unit, below in ((1, "s", 90), (60, "min", 90), (3600, "h", 48)):
        if seconds / length < below:
            value = seconds / length
            return f"about {value:.1f} {unit}" if unit == "h" and value < 10 else f"about {value:.0f} {unit}"
    return f"about {seconds / 86400:.0f} days"
