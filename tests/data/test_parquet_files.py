"""Parquet files from anywhere: the labels that they have, or an error that names file and column."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stored_files import IMAGE, gray, png, table, write_parquet

from genrobust.core import UserError
from genrobust.data import open_stored

PNG = png()
BYTES = pa.array([PNG, PNG])


def with_features(text):
    return table().replace_schema_metadata({"huggingface": text})


@pytest.mark.parametrize(
    ("made", "groups"),
    [
        (table(images=BYTES), ("0", "1")),
        (table(images=BYTES.cast(pa.large_binary())), ("0", "1")),
        (table(pa.array([7, 10], pa.uint8()), pa.array([{"bytes": PNG, "path": "a"}] * 2, IMAGE)), ("7", "10")),
        (table(names=["a", "b", "c"]), ("a", "b", "c")),
        (with_features('{"info": {"features": {"other": {}}}}'), ("0", "1")),
        (table(**{f"column {i}": pa.array([0.5, 1]) for i in range(300)}), ("0", "1")),
    ],
)
def test_labels_are_read_whatever_else_the_table_holds(tmp_path, made, groups):
    stored = open_stored(write_parquet(tmp_path / "t.parquet", made))
    assert stored.groups == groups
    assert stored.listing(groups).read(1).size == (8, 8)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (table((0, None)), "row 1: the label None"),
        (table((0, -1)), "row 1: the label -1"),
        (table((0, 2), names=["a", "b"]), "row 1: the label 2 is none of 0 to 1"),
        (table((0.0, 1.0)), "'label' holds 'double'"),
        (table(images=pa.array(["a.png", "b.png"])), "'image' holds 'string'"),
        (table(images=pa.array([{"path": "a.png"}] * 2)), "'image' holds 'struct"),
        (table(more=BYTES).rename_columns(["image", "label", "image"]), "2 columns called 'image'"),
        (table().rename_columns(["image", "\x1b[2J"]), r"no column 'label': it has image, \\x1b\[2J"),
        (table(names=["crane", "Crane"]), "'crane' and 'Crane'"),
        (with_features('{"info": 1}'), "cannot read the features"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path, made, named):
    path = write_parquet(tmp_path / "t.parquet", made)
    with pytest.raises(UserError, match=rf"(?=.*{path.name}).*{named}"):
        open_stored(path)


def test_an_image_that_is_not_in_the_file_is_named(tmp_path):
    images = pa.array([{"bytes": PNG, "path": None}, {"bytes": None, "path": "b.png"}], IMAGE)
    listing = open_stored(write_parquet(tmp_path / "t.parquet", table(images=images))).listing([])
    assert listing.read(0).size == (8, 8)
    with pytest.raises(UserError, match="row 1: the file holds no bytes"):
        listing.read(1)


def test_files_are_one_dataset(tmp_path):
    for name, labels in (("0", (0, 1)), ("1", (1, 0))):
        write_parquet(tmp_path / f"{name}.parquet", table(labels, shade=2 * int(name)))
    (tmp_path / "._0.parquet").write_bytes(b"what macOS keeps beside a file")
    listing = open_stored(tmp_path).listing([])
    assert [(key, gray(listing.read(i))) for i, key in enumerate(listing.keys)] == [
        *(("0/000000", 0), ("0/000001", 1), ("1/000000", 2), ("1/000001", 3))
    ]
    assert len(open_stored(tmp_path / "*.parquet").listing([]).keys) == 4
    pq.write_table(table(names=["b", "a"]), tmp_path / "2.parquet")
    with pytest.raises(UserError, match=r"2\.parquet and .*0\.parquet have different names"):
        open_stored(tmp_path)
