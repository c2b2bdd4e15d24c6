"""What files hold, as SHA-256: how weights are known whatever their folder is called."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def hash_file(path: Path) -> str:
    """SHA-256, in hex, of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(folder: Path) -> str:
    """SHA-256, in hex, over what a model's folder is made of: weights, configurations, tokenizer.

    Read once a process for files that do not change.
    """
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix in {".safetensors", ".json", ".txt"}]
    return _hash_files(folder, tuple((p, p.stat().st_mtime_ns) for p in files))


@lru_cache
def _hash_files(folder: Path, files: tuple[tuple[Path, int], ...]) -> str:
    total = hashlib.sha256()
    for path, _ in files:
        total.update(f"{path.relative_to(folder).as_posix()} {hash_file(path)}\n".encode())
    return total.hexdigest()
