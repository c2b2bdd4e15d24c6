"""Arrays on disk: .npz files without pickles, whose comment is the SHA-256 of all else in the file.

numpy compares the checksums of a zip's members only where it reads a member to its end, and those of its directory
never: a flipped bit there could hide an array, or a part of one.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from genrobust.core.files import replacing
from genrobust.core.sealing import BLANK_SEAL, check_seal, write_seal


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], mirrored: bool = True) -> None:
    """Write `arrays` by name, in their order and uncompressed; the file appears whole or not at all, as `replacing`."""
    with replacing(path, mirrored) as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.seek(-2, 2)  # the length of the comment, of which there is none yet
        file.write(struct.pack("<H", len(BLANK_SEAL)) + BLANK_SEAL.encode())
        write_seal(file, file.tell() - len(BLANK_SEAL))


def load_arrays(path: Path) -> np.lib.npyio.NpzFile:
    """Open what `save_arrays` wrote, to be closed by the caller; an array is read when it is asked for.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ValueError: It differs from what was written.
    """
    check_seal(path, max(0, path.stat().st_size - len(BLANK_SEAL)))
    try:
        found = np.load(path, allow_pickle=False)
    except (EOFError, zipfile.BadZipFile) as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, np.lib.npyio.NpzFile):
        raise ValueError("it is no .npz file")
    return found
