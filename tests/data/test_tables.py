"""Parquet files and saved datasets from anywhere: the labels that they have, or an error that names file and column."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from genrobust.core import GenrobustError, UserError
from genrobust.data.stored import open_stored


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()
IMAGES = pa.array([{"bytes": PNG, "path": None}] * 2, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def table(labels=(0, 1), images=IMAGES, names=None, **more):
    made = pa.table({"image": images, "label": pa.array(labels) if isinstance(labels, tuple) else labels, **more})
    if names is not None:
        features = {"features": {"label": {"names": names, "_type": "ClassLabel"}}}
        made = made.replace_schema_metadata({"huggingface": json.dumps({"info": features})})
    return made


def with_schema(raw):
    return table().replace_schema_metadata({"huggingface": raw})


@pytest.mark.parametrize(
    ("made", "groups"),
    [
        (table(), ("0", "1")),
        (table(images=pa.array([PNG, PNG])), ("0", "1")),
        (table(images=pa.array([PNG, PNG], pa.large_binary())), ("0", "1")),
        (table(pa.array([7, 10], pa.uint8())), ("7", "10")),
        (table(names=["a", "b", "c"]), ("a", "b", "c")),
        (with_schema("{}"), ("0", "1")),
        (with_schema('{"info": {"features": {"other": {}}}}'), ("0", "1")),
        (table(**{f"column {i}": pa.array([0.5, 1]) for i in range(3000)}), ("0", "1")),
    ],
)
def test_labels_are_read_whatever_else_the_table_holds(tmp_path, made, groups):
    pq.write_table(made, tmp_path / "t.parquet")
    stored = open_stored(tmp_path / "t.parquet")
    assert stored.groups == groups
    assert stored.listing(groups).read(1).size == (8, 8)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (table((0, None)), "row 1: the label None is none of"),
        (table((0, -1)), "row 1: the label -1"),
        (table((0, 2), names=["a", "b"]), "row 1: the label 2 is none of 0 to 1"),
        (table((0.0, 1.0)), "the column 'label' holds 'double', and must hold integers"),
        (table((0.0, float("nan"))), "'label' holds 'double'"),
        (table(("0", "1")), "'label' holds 'string'"),
        (table((True, False)), "'label' holds 'bool'"),
        (table(([0], [1])), "'label' holds 'list"),
        (table(pa.array(["a", "b"]).dictionary_encode()), "'label' holds 'dictionary"),
        (table((None, None)), "'label' holds 'null'"),
        (table(images=pa.array(["a.png", "b.png"])), "the column 'image' holds 'string', and must hold bytes"),
        (table(images=pa.array([{"path": "a.png"}] * 2)), "'image' holds 'struct"),
        (table(images=pa.array([{"bytes": [1]}] * 2)), "'image' holds 'struct"),
        (table(images=pa.array([[PNG], [PNG]])), "'image' holds 'list"),
        (table(pa.array([0, 1])).rename_columns(["label", "label"]), "no column 'image': it has label, label"),
        (table(more=pa.array([0, 1])).rename_columns(["image", "label", "label"]), "2 columns called 'label'"),
        (table(more=IMAGES).rename_columns(["image", "label", "image"]), "2 columns called 'image'"),
        (table(pa.array([0, 1])).rename_columns(["image", "\x1b[2J"]), r"no column 'label': it has image, \\x1b\[2J"),
        (pa.table({f"c{i}": [0] for i in range(5000)}), r"no column 'image': it has c0, .*c9 \.\.\."),
        (table(names="ab"), "no list of texts"),
        (table(names=["a", 1]), "no list of texts"),
        (table(names=["a", "a"]), "the classes 'a' and 'a' of .* have one name"),
        (table(names=["crane", "Crane"]), "the classes 'crane' and 'Crane' of .* differ by case"),
        (table(names=["a", ""]), "the class ''"),
        (table(names=["a", "b\n"]), r"the class 'b\\n'"),
        (table(names=["a", "b" * 300]), r"the class 'b+' \.\.\. of"),
        (with_schema("{"), "cannot read the features"),
        (with_schema("[1]"), "cannot read the features"),
        (with_schema('{"info": 1}'), "cannot read the features"),
        (with_schema('{"info": {}, "info": {}}'), "a key occurs twice: 'info'"),
        (with_schema("[" * 50_000), "nested too deeply"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path, made, said):
    pq.write_table(made, tmp_path / "t.parquet")
    with pytest.raises(UserError, match=rf"(?=.*t\.parquet).*{said}"):
        open_stored(tmp_path / "t.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 50 + b"PAR1", b"PK\3\4" + b"x" * 99, b"PARE" * 9])
def test_what_is_no_parquet_is_said(tmp_path, content):
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*t\.parquet as parquet"):
        open_stored(tmp_path / "t.parquet")


def test_a_named_pipe_is_not_waited_for(tmp_path):
    for name in ("t.parquet", "t.tar"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match=rf"{name}: it is no regular file"):
            open_stored(tmp_path / name)


def test_files_that_name_labels_differently_are_refused(tmp_path):
    pq.write_table(table(names=["a", "b"]), tmp_path / "0.parquet")
    pq.write_table(table(names=["b", "a"]), tmp_path / "1.parquet")
    with pytest.raises(UserError, match=r"1\.parquet and .*0\.parquet have different names"):
        open_stored(tmp_path)


def save(folder, made, name="data.arrow"):
    folder.mkdir(exist_ok=True)
    with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, made.schema) as stream:
        stream.write_table(made)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("[]", "cannot read the saved dataset"),
        ('{"_data_files": 1}', "cannot read the saved dataset"),
        ('{"_data_files": [{"filename": null}]}', "cannot read the saved dataset"),
        ('{"_data_files": [{"filename": "../data.arrow"}]}', "which is not in that folder"),
        ('{"_data_files": [{"filename": "/etc/passwd"}]}', "which is not in that folder"),
        ('{"_data_files": [{"filename": "data.arrow"}, {"filename": "data.arrow"}]}', "names a file twice"),
        ('{"_data_files": [], "_data_files": [{"filename": "data.arrow"}]}', "a key occurs twice"),
        ('{"_data_files": [{"filename": "none.arrow"}]}', r"none\.arrow"),
        ('{"_data_files": [{"filename": "state.json"}]}', "cannot read the saved dataset"),
    ],
)
def test_what_is_wrong_in_a_saved_dataset_is_named(tmp_path, state, said):
    save(tmp_path / "saved", table())
    (tmp_path / "saved" / "state.json").write_text(state)
    with pytest.raises(UserError, match=rf"(?=.*saved).*{said}"):
        open_stored(tmp_path / "saved")


def test_a_path_beside_an_image_that_is_no_utf_8_is_left_alone(tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    paths = pa.array([b"\xff", b"\xff"]).view(pa.string())
    images = pa.StructArray.from_arrays([pa.array([PNG, PNG]), paths], fields=list(kind))
    save(tmp_path / "saved", table(images=images))
    (tmp_path / "saved" / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    pq.write_table(table(images=images), tmp_path / "t.parquet")
    for place in (tmp_path / "saved", tmp_path / "t.parquet"):
        assert open_stored(Path(place)).listing([]).read(0).size == (8, 8)


@given(data=st.data())
def test_a_changed_parquet_file_gives_its_labels_or_an_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("t")
    pq.write_table(table(names=["a", "b"]), folder / "t.parquet")
    content = bytearray((folder / "t.parquet").read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "t.parquet").write_bytes(content)
    try:
        listing = open_stored(folder / "t.parquet").listing([])
        images = [listing.read(i) for i in range(len(listing.keys))]
    except GenrobustError:
        return
    assert all(np.asarray(image).ndim == 3 for image in images)


def test_the_same_file_twice_is_refused(tmp_path):
    for name, labels in (("0", (0, 1)), ("1", (1, 0))):
        pq.write_table(table(labels), tmp_path / f"{name}.parquet")
    assert len(open_stored(tmp_path).listing([]).keys) == 4
    (tmp_path / "2.parquet").write_bytes((tmp_path / "0.parquet").read_bytes())
    with pytest.raises(UserError, match=r"2\.parquet is the same as .*0\.parquet, so that each"):
        open_stored(tmp_path)


def test_hidden_files_are_no_part_of_a_dataset(tmp_path):
    pq.write_table(table(), tmp_path / "0.parquet")
    (tmp_path / "._0.parquet").write_bytes(b"what macOS keeps beside a file")
    for path in (tmp_path, tmp_path / "*.parquet"):
        assert len(open_stored(path).listing([]).keys) == 2
