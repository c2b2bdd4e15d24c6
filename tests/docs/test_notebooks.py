"""The notebooks run from top to bottom, in an empty folder, and are kept without outputs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from pages import DOCS

BOOKS = {  # and what a finished run prints
    "five-minutes": ("gain: ",),
    "statistics": ("mixing helps on sketches: holds",),
    "your-images": ("audit.html", "path,class_1,"),
}


def test_they_are_linked_and_have_no_outputs() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    assert {path.stem for path in DOCS.glob("notebooks/*.ipynb")} == BOOKS.keys()
    for name in BOOKS:
        assert f"](notebooks/{name}.ipynb)" in page
        cells = nbformat.read(DOCS / f"notebooks/{name}.ipynb", as_version=4).cells
        assert not any(cell.outputs or cell.execution_count for cell in cells if cell.cell_type == "code")


@pytest.mark.parametrize(
    "name", [name if name == "statistics" else pytest.param(name, marks=pytest.mark.thorough) for name in BOOKS]
)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = nbformat.read(DOCS / f"notebooks/{name}.ipynb", as_version=4)
    NotebookClient(book, timeout=1500, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert all(text in printed for text in BOOKS[name]), printed
    assert any("text/html" in output.get("data", {}) for output in outputs)  # a table or a contact sheet
