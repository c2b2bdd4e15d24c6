"""Every file of a stranger is a typed thing, or an error of at most three lines that names it: whatever its bytes are.

Each target writes a file that is read well, and then many that are changed; the seed of the changes is fixed. With
``-m thorough`` there are ten times as many.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_files import GOOD, file, images_column, member, parquet, png, safetensors, tar
from hypothesis import given, settings, strategies as st
from mutating import SCALARS, VALUES, changed_bytes, changed_json

from genrobust.core import GenrobustError, ImageSet, Sample
from genrobust.data.stored_images import StoredImages

CLASSES = ("camera", "clock")
MORE = 10  # times as many examples where tests may take minutes
Made = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """A file, what writes it and the files around it, and what reads it as a command does.

    Attributes:
        check: Asserts that what was read is sane; it gets the folder, too, and may raise GenrobustError.
        inputs: Further contents of the file.
        named: The words of which an error has one; the file's name by default.
        structured: Whether it is JSON whose values are changed too.
    """

    file: str
    make: Made
    read: Callable[[Path], Any]
    check: Callable[[Any], object]
    inputs: st.SearchStrategy[bytes] | None = None
    named: Sequence[str] = ()
    structured: bool = False
    examples: int = 40

    def contents(self, seed: bytes) -> st.SearchStrategy[bytes]:
        found = [changed_bytes(seed)]
        found += [changed_json(seed), changed_json(seed)] if self.structured else []
        found += [self.inputs] if self.inputs is not None else []
        return st.one_of(found)


def run(target: Target, folder: Path, examples: int) -> None:
    target.make(folder)
    path = folder / target.file
    seed = path.read_bytes()
    target.check(target.read(folder))  # the file as it was written is read well

    @settings(max_examples=examples, print_blob=True)
    @given(target.contents(seed))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        try:
            target.check(target.read(folder))
        except GenrobustError as error:
            text = str(error)
            assert 0 < len(text.splitlines()) <= 3, text
            assert any(word in text for word in target.named or (path.name,)), text

    holds()


# What is read, and what is asked of it.


def stored(name: str) -> Callable[[Path], StoredImages]:
    def read(folder: Path) -> StoredImages:
        from genrobust.data import open_stored

        return open_stored(folder / name)

    return read


def are_listed(found: StoredImages) -> None:
    """Keys are unique, groups known, and each image is RGB or an error; so is a column, with a value for each image."""
    listing = found.listing(found.groups)
    assert len(set(listing.keys)) == len(listing.keys) == len(listing.groups) == len(listing.stamps)
    assert set(listing.groups) <= set(found.groups) and all(isinstance(group, str) for group in found.groups)
    assert len(set(found.groups)) == len(found.groups)
    for index in range(min(len(listing.keys), 6)):
        assert listing.read(index).mode == "RGB"
    if listing.column is not None:
        assert len(listing.column("label")) == len(listing.keys)


TAR_NAMES = ["a.png", "a.jpg", "a.cls", "a.json", "b.png", "b.cls", "../a.png", "./a.png", "/a.cls", "d/a.b.png"]
TAR_CONTENTS = [png(), png(1), b"", b"camera", b"clock\n", b'{"label": 3}', b"[", b"\xff", b"x" * 600]
TAR_KINDS = [bytes([kind]) for kind in b"0001235" + b"67LxgS?"]
TAR_MEMBER = st.builds(
    member,
    st.sampled_from(TAR_NAMES),
    st.sampled_from(TAR_CONTENTS),
    st.sampled_from(TAR_KINDS),
    st.sampled_from(["", "a.png", "b.cls", "/etc/passwd"]),
)
TAR_MEMBERS = st.lists(TAR_MEMBER, max_size=5).map(lambda members: b"".join(members) + bytes(1024))
LABELED = member("a0.json", b'{"label": 3}') + GOOD
IMAGES = (images_column(2), [png(), png(1)], [None, png()], [{"bytes": None, "path": "x"}] * 2, [[png()], [png()]])
LABELS_OF_TWO = ([0, 1], [0, None], [0.0, 1.0], [0.5, float("nan")], [-1, 0], [2**62, 0], [True, False], ["a", "b"])
ODD_COLUMNS = ([1, 2], [{"path": 1}] * 2, [0, 1, 2], [b"0", b"1"] * 2, [{"a": 0}] * 2, [[0], [1]], [None, None])
COLUMNS = st.sampled_from([*IMAGES, *LABELS_OF_TWO, *ODD_COLUMNS])


@st.composite
def odd_parquet(draw: st.DrawFn) -> bytes:
    usual = ("image", "label")
    names = draw(st.sampled_from([usual] * 5 + [("image",), ("label",), (*usual, "label"), ("x", "label")]))
    columns = [(name, draw(COLUMNS)) for name in names]
    length = min(len(values) for _, values in columns)
    labels = draw(st.just(["camera", "clock"]) | VALUES.map(lambda v: json.dumps(v).encode()) | VALUES)
    with tempfile.TemporaryDirectory() as place:
        try:
            parquet("x.parquet", [(name, values[:length]) for name, values in columns], labels).run(Path(place))
        except (TypeError, ValueError, OverflowError):  # no parquet can be made of it
            return b""
        return (Path(place) / "x.parquet").read_bytes()


def save_classifier(folder: Path) -> None:
    import torch

    from genrobust.classifiers import CheckpointInfo, create_classifier, save_checkpoint

    torch.manual_seed(0)
    training = {"config": {"architecture": "test_resnet"}, "counts": {"real": 4}, "seed": 0}
    info = CheckpointInfo("test_resnet", {}, CLASSES, 32, training)
    save_checkpoint(folder, create_classifier("test_resnet", 2, 32), info)


@cache
def weights() -> dict[str, Any]:
    from genrobust.classifiers import load_checkpoint

    with tempfile.TemporaryDirectory() as place:
        save_classifier(Path(place))
        return load_checkpoint(Path(place))[0].state_dict()


def classifier(folder: Path) -> Any:
    from genrobust.classifiers import load_checkpoint

    return load_checkpoint(folder)


def is_unchanged(found: Any) -> None:
    """The weights are those that were written: a changed bit is an error."""
    model, _ = found
    assert all(bool((model.state_dict()[name] == value).all()) for name, value in weights().items())


def info_of(folder: Path) -> Any:
    from genrobust.classifiers import read_checkpoint_info

    return read_checkpoint_info(folder)


def is_info(info: Any) -> None:
    assert isinstance(info.architecture, str) and isinstance(info.image_size, int) and info.image_size > 0
    assert isinstance(info.model_kwargs, dict) and isinstance(info.training, dict)
    assert info.classes and all(isinstance(name, str) for name in info.classes)
    assert len(set(info.classes)) == len(info.classes)


HEADERS = st.builds(
    safetensors,
    st.dictionaries(
        st.sampled_from(["__metadata__", "mean", "std", "network.conv1.weight"]),
        st.fixed_dictionaries(
            {},
            optional={
                "dtype": st.sampled_from(["F32", "F16", "I64", "X", "", None, 3]),
                "shape": st.sampled_from([[], [1], [0], [-1], [2**40, 2**40], [1.5], "1", None, [3, 1, 1]]),
                "data_offsets": st.sampled_from([[0, 4], [4, 0], [0, 0], [0, 2**63], [-4, 4], [0], None, [0, 12]]),
            },
        )
        | SCALARS,
        max_size=3,
    ),
    st.binary(max_size=16),
)


def save_dataset(folder: Path) -> None:
    from genrobust.data import begin_dataset, finish_dataset, write_shard

    begin_dataset(folder, {"shards": 1, "class_ids": list(CLASSES), "generator": "pictograms", "mode": "labels"})
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    write_shard(folder, 0, [Sample(f"{CLASSES[i % 2]}-{i:06d}", i % 2, pixels[i]) for i in range(4)], [])
    finish_dataset(folder)


def dataset(folder: Path) -> Any:
    from genrobust.data import ShardDataset

    return ShardDataset(folder)


def is_as_written(found: ImageSet) -> None:
    assert list(found.keys) == [f"{CLASSES[i % 2]}-{i:06d}" for i in range(4)]
    assert found.labels.tolist() == [0, 1, 0, 1]
    for index in range(len(found)):
        found.image(index)


def is_dataset(found: Any) -> None:
    ids = found.class_ids
    assert all(isinstance(id, str) for id in ids) and len(set(ids)) == len(ids)
    assert len(found) in (0, 4)
    assert not len(found) or not ids or int(found.labels.max()) < len(ids)


def generator(folder: Path) -> Any:
    from genrobust.generate import identity
    from genrobust.recipe import GeneratorConfig

    return identity(GeneratorConfig(model=str(folder / "gen")))


def save_generator(folder: Path) -> None:
    from genrobust.core import embedded

    for part in ("model_index.json", "scheduler/scheduler_config.json"):
        file(f"gen/{part}", (embedded("generator") / part).read_bytes()).run(folder)


def is_flat(found: Mapping[str, Any]) -> None:
    json.dumps(found, allow_nan=False)
    assert found["generator"] == "gen"


def save_timm(folder: Path) -> None:
    from genrobust.tools.export.classifier import export_classifier
    from genrobust.tools.export.format import FORMATS

    save_classifier(folder / "c")
    export_classifier(folder / "c", FORMATS.get("timm")(), folder / "timm")


def timm_classes(folder: Path) -> Any:
    from genrobust.classifiers import open_classifier

    return open_classifier(str(folder / "timm")).classes


def are_two(names: Sequence[str]) -> None:
    assert len(set(names)) == len(names) and all(isinstance(name, str) for name in names)


OF_DATASET = ("manifest.json", "000000", "shards are missing")
TWO_IMAGES = parquet("x.parquet", {"image": images_column(2), "label": [0, 1]}).run
TARGETS = {
    "tar": Target("x.tar", tar("x.tar", LABELED).run, stored("x.tar"), are_listed, TAR_MEMBERS, examples=30),
    "parquet": Target("x.parquet", TWO_IMAGES, stored("x.parquet"), are_listed, odd_parquet()),
    "weights": Target("model.safetensors", save_classifier, classifier, is_unchanged, HEADERS, examples=15),
    "checkpoint": Target("manifest.json", save_classifier, info_of, is_info, structured=True, examples=75),
    "config of timm": Target("timm/config.json", save_timm, timm_classes, are_two, None, ("timm",), True),
    "manifest.json": Target("manifest.json", save_dataset, dataset, is_dataset, None, OF_DATASET, True, 75),
    "parquet of a shard": Target("000000.parquet", save_dataset, dataset, is_as_written, named=("000000",)),
    "tar of a shard": Target("000000.tar", save_dataset, dataset, is_as_written, named=("000000",), examples=20),
    "model_index.json": Target("gen/model_index.json", save_generator, generator, is_flat, None, ("gen",), True, 15),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("times", [1, pytest.param(MORE, marks=pytest.mark.thorough)])
def test_what_is_read_is_sane_or_an_error_that_names_the_file(name: str, times: int, tmp_path: Path) -> None:
    run(TARGETS[name], tmp_path, times * TARGETS[name].examples)
