"""The color and the shape of each arm in plots, and the arms that plots show."""

from __future__ import annotations

from dataclasses import dataclass

from genrobust.core import Summary

# SVG paths of radius 1 about the origin, of about one area, distinct without color.
SHAPES = (
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",  # circle
    "M-.9-.9H.9V.9H-.9z",  # square
    "M0-1.3L1.3 0 0 1.3-1.3 0z",  # diamond
    "M0-1.25L1.2.9H-1.2z",  # triangle
    "M0 1.25L1.2-.9H-1.2z",  # triangle, upside down
    "M-.45-1.2h.9v.75h.75v.9h-.75v.75h-.9v-.75h-.75v-.9h.75z",  # plus
)
# The style sheet has this many colors --arm-N. With six shapes, 42 arms look different.
COLORS = 7
# Arms in a plot, each with a name in the legend.
MAX_PICTURED = 10


@dataclass(frozen=True, slots=True)
class Look:
    """The look of an arm: the index of its color, and the SVG path of its shape."""

    color: int
    shape: str


def looks(summary: Summary) -> dict[str, Look]:
    """Return the look of each arm, by its number in the study. A group looks like its first arm."""
    found = {}
    for i, arm in enumerate(summary.arms):
        found[arm] = Look(i % COLORS, SHAPES[i % len(SHAPES)])
    for group, members in summary.groups.items():
        found[group] = found[members[0]]
    return found


def split_pictured(summary: Summary, arm: str) -> tuple[list[str], list[str]]:
    """Return the arms that plots show, and the others, each with the most accurate first.

    Plots show all of a few arms. Of many, they show the answer's `arm` and its reference, or the members of these if
    they are groups, and the most accurate others, on the mean of the shifts or on the clean set.
    """

    def accuracy(name: str) -> float:
        return summary.score("top1", name, summary.leading).value

    ranked = sorted(summary.arms, key=accuracy, reverse=True)
    shown: set[str] = set()
    if arm:
        for name in (arm, summary.reference_of(arm)):
            shown.update(summary.groups.get(name, (name,)))
    others = [name for name in ranked if name not in shown]
    shown.update(others[: max(0, MAX_PICTURED - len(shown))])
    return [name for name in ranked if name in shown], [name for name in ranked if name not in shown]
