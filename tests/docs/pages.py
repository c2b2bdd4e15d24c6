"""The pages of the documentation and the code in them, as the tests run it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("results/*.md")])
RUN, LEFT_OUT = "sh", "{ .sh .norun }"  # what follows the fence of a block of commands


def blocks(page: Path, *kinds: str) -> Iterator[str]:
    """The blocks of `page` whose fence is followed by one of `kinds`, in their order."""
    for kind, code in re.findall(r"^``` ?(.*?)$\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.M | re.S):
        if kind in kinds:
            yield code
