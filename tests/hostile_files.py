"""Files that go wrong: each function returns what makes one in a folder, for the tables of test_hostile.py."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from genrobust.core import digest
from genrobust.store import Artifact


def sealed(value: object) -> bytes:
    """A manifest with its own hash, as genrobust writes it."""
    plain = json.loads(json.dumps(value, allow_nan=False))
    return json.dumps({**plain, "sha256": digest(plain, 64)}).encode()


@dataclass(frozen=True)
class Make:
    """What makes something in a folder, in words for messages; it may return what is called when the test is over."""

    about: str
    run: Callable[[Path], Any]


OWN = """name: own
threads: 1
device: cpu
data: {source: folders, train: photos/train, test: photos/test, shifts: {solid: photos/solid}}
generate: {per_class: 2}
train: {architecture: test_resnet, image_size: 32, steps: 2, batch_size: 4, warmup_steps: 0, precision: float32}
arms: [{name: real, mixture: real}]
robustness: {baselines: null}
"""
TABLE = "model,clean,shifted\n" + "".join(f"m{i},{50 + 5 * i},{30 + 6 * i}\n" for i in range(8))


def png(color: int = 0, size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (color % 256, 60, 200)).save(buffer, "PNG")
    return buffer.getvalue()


def recipe(changes: str) -> str:
    """OWN with the top-level keys of the YAML text `changes` in place of its own."""
    keys = set(re.findall(r"^(\w+):", changes, re.M))
    kept = [line for line in OWN.splitlines() if line.partition(":")[0] not in keys]
    return "\n".join([*kept, changes, ""])


def file(name: str | bytes, content: str | bytes) -> Make:
    """A file, and the folders above it."""

    def make(folder: Path) -> None:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return Make(f"{name!r}: {content[:80]!r}", make)


def yaml(changes: str, name: str = "r.yaml") -> Make:
    return Make(f"{name} with {changes[:100]!r}", file(name, recipe(changes)).run)


def image(name: str | bytes, color: int = 0) -> Make:
    return Make(f"{name!r}", file(name, png(color)).run)


def link(name: str, target: str) -> Make:
    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return Make(f"{name} -> {target}", make)


def fifo(name: str) -> Make:
    """A pipe that this process holds open for reading and writing, so that neither end waits for the other."""

    def make(folder: Path) -> Callable[[], None]:
        os.mkfifo(folder / name)
        return partial(os.close, os.open(folder / name, os.O_RDWR | os.O_NONBLOCK))

    return Make(f"a pipe {name}", make)


def changed_checkpoint(**changes: Any) -> Make:
    """A checkpoint whose description has other values."""

    def make(folder: Path) -> None:
        artifact = Artifact(folder / "checkpoint")
        manifest = artifact.manifest()
        artifact.publish(replace(manifest, about={**manifest.about, **changes}))

    return Make(f"a checkpoint with {str(changes)[:80]}", make)


def member(name: str, content: bytes | str = b"", kind: bytes = tarfile.REGTYPE, to: str = "", **more: Any) -> bytes:
    """One member of a tar, as its bytes; `more` are attributes of the header, such as a size that lies."""
    data = content.encode() if isinstance(content, str) else content
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.size = kind, to, len(data)
    for key, value in more.items():
        setattr(header, key, value)
    return header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512)


def tar(name: str, *members: bytes) -> Make:
    names = [part[:100].rstrip(b"\0").decode("utf-8", "replace") for part in members]
    return Make(f"{name} with {names}", file(name, b"".join(members) + bytes(1024)).run)


def pair(key: str, label: str = "camera", color: int = 0) -> bytes:
    return member(f"{key}.png", png(color)) + member(f"{key}.cls", label)


GOOD = b"".join(pair(f"a{i}", label, i) for i, label in enumerate(("camera", "clock") * 2))


def parquet(name: str, columns: Any, names: Any = ("camera", "clock")) -> Make:
    """A parquet file of `columns`, by name or as pairs; `names` are what `datasets` keeps as those of the labels."""
    fields = list(columns.items() if isinstance(columns, Mapping) else columns)
    table = pa.table([pa.array(v) if isinstance(v, list) else v for _, v in fields], names=[n for n, _ in fields])
    kept = {"info": {"features": {"label": {"names": names}}}}
    about = names if isinstance(names, bytes) else json.dumps(kept).encode()
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"huggingface": about}), buffer)
    labels = [value for column, value in fields if column == "label"]
    return Make(f"{name}: {table.column_names}, {labels}, {names!r:.60}", file(name, buffer.getvalue()).run)


def images_column(count: int = 4) -> list[dict[str, Any]]:
    return [{"bytes": png(i), "path": f"{i}.png"} for i in range(count)]


def safetensors(header: bytes | Any, data: bytes = b"") -> bytes:
    """A safetensors file: the length of its header, the header as JSON, the data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


class Harmful:
    """What a pickle may do when it is read: make a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


PICKLE = pickle.dumps({"weight": Harmful()})


def torch_file() -> bytes:
    """A state dict as torch.save writes one, whose pickle is harmful."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)
        archive.writestr("archive/version", "3")
    return buffer.getvalue()
