"""SHA-256 of files and model folders, which identify weights under any name."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(folder: Path) -> str:
    """SHA-256, in hex, of the weights, configurations and tokenizer in a model's folder.

    A process reads files that do not change only once.
    """
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix in {".safetensors", ".json", ".txt"}]
    return _hash_files(folder, tuple((p, p.stat().st_mtime_ns) for p in files))


@lru_cache
def _hash_files(folder: Path, files: tuple[tuple[Path, int], ...]) -> str:
    total = hashlib.sha256()
    for path, _ in files:
        total.update(f"{path.relative_to(folder).as_posix()} {hash_file(path)}\n".encode())
    return total.hexdigest()
