"""The folder of an export, which appears complete or not at all, and its card."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CardData
from markupsafe import Markup

from genrobust import __version__
from genrobust.core import count, templates
from genrobust.report import escaped, fenced, number, span
from genrobust.store import make_folder, refusal


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `out` when the block ends well, and is removed when it does not."""
    make_folder(out.parent)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as parent:
            folder = Path(parent, out.name)
            folder.mkdir()
            yield folder
            folder.replace(out)
    # Another process may have written to `out` meanwhile.
    except OSError as error:
        raise refusal(out.parent, error) from error


def write_card(folder: Path, template: str, header: CardData, **values: Any) -> None:
    """Write the card of an export: `template` below `header`. Values are escaped unless they are `safe`."""
    environment = templates("tools/export", keep_trailing_newline=True)
    environment.finalize = lambda value: value if isinstance(value, Markup) else escaped(str(value))
    environment.filters["thousands"] = "{:,}".format
    environment.globals |= {"count": count, "fenced": fenced, "number": number, "span": span, "version": __version__}
    text = environment.get_template(template).render(name=folder.name, license=header.get("license"), **values)
    (folder / "README.md").write_text(f"---\n{header}\n---\n{text}", encoding="utf-8")
