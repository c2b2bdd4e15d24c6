"""The tars of shards: bytes that never change, and offsets."""

from __future__ import annotations

import hashlib
import io
import tarfile

from genrobust.data.shard_files import add_file

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
    with tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        offsets = {name: add_file(tar, name, payload) for name, payload in FILES.items()}
    written = file.getvalue()
    assert hashlib.sha256(written).hexdigest() == SHA256
    for name, payload in FILES.items():
        assert written[offsets[name] : offsets[name] + len(payload)] == payload
    with tarfile.open(fileobj=io.BytesIO(written)) as found:
        facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in found}
        assert (found.getnames(), facts) == ([*FILES], {(0, 0, 0, "", "", 0o644)})
