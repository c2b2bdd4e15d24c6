"""The writer of WebDataset tars."""

from __future__ import annotations

import io
import tarfile
from typing import IO, Self


class TarWriter:
    """A tar that grows by one file at a time; its bytes depend on names and contents alone: no time, owner or path."""

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # PAX: names of any length

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:  # else it stays without an end
            self._tar.close()

    def add(self, name: str, payload: bytes) -> int:
        """Append a file; returns the offset of its first byte."""
        entry = tarfile.TarInfo(name)  # its defaults: mtime 0, no owner, mode 0644
        entry.size = len(payload)
        self._tar.addfile(entry, io.BytesIO(payload))
        return self._tar.offset - -(-len(payload) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
