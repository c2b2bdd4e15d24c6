"""Runs the notebooks from top to bottom, each in an empty folder, and stores them with their outputs."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent / "notebooks"


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Return the notebook at `path` as it ran in `folder`, without the progress on standard error."""
    book = nbformat.read(path, as_version=4)
    metadata = dict(book.metadata)
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(
        book, timeout=1500, kernel_name="python3", record_timing=False, coalesce_streams=True, resources=where
    ).execute(env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"})
    book.metadata = metadata  # without the versions of the kernel
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return nbformat.reads(nbformat.writes(book).replace(f"{folder}{os.sep}", ""), as_version=4)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            book = run(NOTEBOOKS / f"{name}.ipynb", Path(folder).resolve())
        nbformat.write(book, NOTEBOOKS / f"{name}.ipynb")
