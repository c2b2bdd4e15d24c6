"""The notebooks run from top to bottom, in an empty folder, and are stored with what they show."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import nbformat
import pytest
from pages import DOCS

BOOKS = {  # and what a finished run prints
    "five-minutes": ("gain: ",),
    "statistics": ("mixing helps on sketches: holds",),
    "your-images": ("audit.html", "path,class_1,"),
}


def shown(book: Any, name: str) -> str:
    """Return what the notebook prints, once it is that of a finished run, and a table or a picture is shown."""
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("text/html" in output.get("data", {}) for output in outputs)
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert all(text in printed for text in BOOKS[name]), printed
    return printed


def test_they_are_linked_and_stored_with_outputs() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    assert {path.stem for path in DOCS.glob("notebooks/*.ipynb")} == BOOKS.keys()
    for name in BOOKS:
        assert f"](notebooks/{name}.ipynb)" in page
        path = DOCS / f"notebooks/{name}.ipynb"
        shown(nbformat.read(path, as_version=4), name)
        assert str(DOCS.parent) not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", [name if name == "statistics" else pytest.param(name, marks=pytest.mark.thorough) for name in BOOKS]
)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    path = DOCS / f"notebooks/{name}.ipynb"
    monkeypatch.syspath_prepend(DOCS)
    printed = shown(importlib.import_module("notebooks").run(path, tmp_path), name)
    if name == "statistics":  # on any machine
        assert printed == shown(nbformat.read(path, as_version=4), name)
