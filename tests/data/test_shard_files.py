"""The writer of tars: bytes that never change, offsets, and no end after an error."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from genrobust.data.shard_files import TarWriter

FILES = {
    "cat-000000.png": b"\x89PNG" * 300,
    "cat-000000.cls": b"0",
    "cat-000000.json": b"{}",
    f"{'x' * 150}.png": b"",
    "猫.json": b"{}" * 256,
}
# Of the tar that shards were first written as.
SHA256 = "177b3a8983b4164cd52608415bc3012188fe2c4edb4569939313dc37cd038ddc"


def test_the_bytes_are_those_of_the_first_shards_and_each_file_is_at_its_offset() -> None:
    file = io.BytesIO()
    with TarWriter(file) as tar:
        offsets = {name: tar.add(name, payload) for name, payload in FILES.items()}
    written = file.getvalue()
    assert hashlib.sha256(written).hexdigest() == SHA256
    for name, payload in FILES.items():
        assert written[offsets[name] : offsets[name] + len(payload)] == payload
    with tarfile.open(fileobj=io.BytesIO(written)) as found:
        facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in found}
        assert (found.getnames(), facts) == ([*FILES], {(0, 0, 0, "", "", 0o644)})


def test_a_tar_that_fails_has_no_end() -> None:
    file = io.BytesIO()
    with pytest.raises(OSError, match="full"), TarWriter(file) as tar:
        tar.add("cat-000000.cls", b"0")
        raise OSError("full")
    assert len(file.getvalue()) == 1024
