"""Generated datasets come back as they were written, in other programs too, and what is damaged is named."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from genrobust.core import GenrobustError, Sample, UserError
from genrobust.data import (
    ShardDataset,
    begin_dataset,
    done_shards,
    finish_dataset,
    missing_shards,
    write_shard,
)
from genrobust.data.shard_files import SCHEMA
from genrobust.store import Artifact, Manifest

CLASSES = ["cat", "dog"]
ABOUT = {"shards": 3, "class_ids": CLASSES, "steps": 5}


def samples(shard, count=4):
    rng = np.random.default_rng(shard)
    made = []
    for i in range(count):
        meta = {"style": "solid" if i else "", "prompt": 'a "{}" 猫', "seed": 2**63 - 1 - i, "redraws": i}
        image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        made.append(Sample(f"{CLASSES[i % 2]}-{shard * 10 + i // 2:06d}", i % 2, image, meta))
    return made


WANTED = [sample for shard in range(3) for sample in samples(shard)]
REJECTED = {"key": "dog-000099", "label": 1, "black": True, "reason": "black after 2 redraws"}


@pytest.fixture
def folder(tmp_path):
    """Three shards of four images; the second has a request that was given up beside them."""
    folder = tmp_path / "data set"
    begin_dataset(folder, ABOUT)
    for shard in range(3):
        write_shard(folder, shard, samples(shard), [REJECTED] if shard == 1 else [])
    finish_dataset(folder)
    return folder


def everything(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_images_labels_and_metadata_come_back(folder):
    dataset = ShardDataset(folder)
    assert len(dataset) == 12
    assert list(dataset.keys) == [s.key for s in WANTED]
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [s.label for s in WANTED]
    assert list(dataset.styles) == [s.meta["style"] for s in WANTED]
    assert dataset.class_ids == ("cat", "dog")
    assert dataset.name == "generated"
    for i in (11, 0, 5, 5):
        image = dataset.image(i)
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), WANTED[i].image)


@pytest.mark.parametrize(("different", "warns"), [(1, True), (3, True), (4, False), (8, False)])
def test_a_warning_names_copies_where_most_images_are_one(tmp_path, different, warns):
    begin_dataset(tmp_path, ABOUT | {"shards": 1})
    images = [np.full((4, 4, 3), number % different, np.uint8) for number in range(8)]
    write_shard(tmp_path, 0, [Sample(f"cat-{i}", 0, image) for i, image in enumerate(images)], [])
    words = ShardDataset(tmp_path, allow_partial=True).describe_copies()
    assert words.startswith(f"{8 - different} of 8 images") if warns else words == ""


def test_metadata_has_a_row_for_every_request(folder):
    table = ShardDataset(folder).metadata()
    assert table.schema.names == SCHEMA.names
    rows = {row["key"]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows == 13
    assert (rows["dog-000099"]["status"], rows["dog-000099"]["black"]) == ("given-up", True)
    assert rows["dog-000099"]["image_sha256"] is None
    assert rows["cat-000000"]["seed"] == 2**63 - 1
    assert rows["cat-000000"]["prompt"] == 'a "{}" 猫'
    assert ShardDataset(folder).given_up == {"dog-000099": "black after 2 redraws"}


def test_the_same_samples_give_the_same_bytes(folder, tmp_path):
    again = tmp_path / "again"
    begin_dataset(again, ABOUT)
    for shard in (2, 0, 1):
        write_shard(again, shard, samples(shard), [REJECTED] if shard == 1 else [])
    finish_dataset(again)
    assert everything(again) == everything(folder)
    assert ShardDataset(again).fingerprint == ShardDataset(folder).fingerprint


def test_the_fingerprint_follows_the_images(folder):
    before = ShardDataset(folder).fingerprint
    changed = samples(2)
    changed[0].image[0, 0, 0] ^= 1
    write_shard(folder, 2, changed, [])
    assert ShardDataset(folder).fingerprint != before


def test_a_shard_may_have_no_image_at_all(folder):
    write_shard(folder, 0, [], [REJECTED])
    dataset = ShardDataset(folder)
    assert len(dataset) == 8
    assert np.array_equal(np.asarray(dataset.image(0)), samples(1)[0].image)


def test_webdataset_reads_the_shards(folder):
    import webdataset

    urls = [str(p) for p in sorted(folder.glob("*.tar"))]
    read = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert [r["__key__"] for r in read] == [s.key for s in WANTED]
    for got, sample in zip(read, WANTED, strict=True):
        assert np.array_equal(got["png"], sample.image)
        assert got["cls"] == sample.label
        assert got["json"]["prompt"] == sample.meta["prompt"]


def test_a_folder_holds_one_dataset(folder):
    before = everything(folder)
    begin_dataset(folder, ABOUT)
    finish_dataset(folder)
    with pytest.raises(UserError) as error:
        begin_dataset(folder, {**ABOUT, "steps": 6, "scheduler": "ddim"})
    assert "steps: there 5, asked for 6" in str(error.value)
    assert 'scheduler: there null, asked for "ddim"' in str(error.value)
    assert "class_ids" not in str(error.value)
    assert everything(folder) == before


def test_a_folder_of_other_files_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="holds no generated dataset"):
            ShardDataset(folder)
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(UserError, match=r"holds other files \(thesis.tex\)"):
        begin_dataset(tmp_path, ABOUT)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("content", [b"", b"{\xff", b"[]", b'{"genrobust_format": 3}', b'{"shards": 1}'])
def test_a_manifest_that_cannot_be_read_is_refused(folder, content):
    (folder / "manifest.json").write_bytes(content)
    for attempt in (lambda: begin_dataset(folder, ABOUT), lambda: ShardDataset(folder)):
        with pytest.raises(GenrobustError, match=r"manifest\.json"):
            attempt()


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("dataset", {"shards": 10**9}),
        ("dataset", {"shards": True}),
        ("dataset", {"class_ids": ["cat", "cat"]}),
        ("dataset", {"class_names": {"cat": 5, "dog": "dog"}}),
        ("checkpoint", {}),
    ],
)
def test_what_is_no_dataset_of_ours_is_refused(tmp_path, kind, changed):
    Artifact(tmp_path).begin(Manifest(kind, about={**ABOUT, **changed}))
    with pytest.raises(UserError, match=next(iter(changed), "kind")):
        ShardDataset(tmp_path)


def test_a_shard_is_done_when_its_manifest_is_there(folder, tmp_path):
    (folder / "000001.json").unlink()
    assert done_shards(folder) == [0, 2]
    assert missing_shards(folder, 3) == [1]
    assert missing_shards(tmp_path / "nowhere", 2) == [0, 1]
    with pytest.raises(UserError, match="1 of 3 shards are missing"):
        ShardDataset(folder)
    partial = ShardDataset(folder, allow_partial=True)
    assert list(partial.keys) == [s.key for shard in (0, 2) for s in samples(shard)]
    assert np.array_equal(np.asarray(partial.image(4)), samples(2)[0].image)


@pytest.mark.parametrize("name", ["000001.tar", "000001.parquet", "000001.json"])
@pytest.mark.parametrize("spoil", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"PAR1 not really PAR1", None])
def test_damage_is_found_at_opening(folder, name, spoil):
    path = folder / name
    if spoil:
        path.write_bytes(spoil(path.read_bytes()))
    else:
        path.unlink()
    with pytest.raises(GenrobustError, match=name if path.exists() or path.suffix != ".json" else "missing"):
        ShardDataset(folder)


def test_a_flipped_bit_is_found_when_its_image_is_read(folder):
    row = pq.read_table(folder / "000000.parquet").to_pylist()[2]
    data = bytearray((folder / "000000.tar").read_bytes())
    data[row["offset"] + row["size"] // 2] ^= 4
    (folder / "000000.tar").write_bytes(data)
    dataset = ShardDataset(folder)
    assert dataset.image(1).size == (64, 48)
    with pytest.raises(GenrobustError, match=f"{row['key']} in .*000000.tar has changed"):
        dataset.image(2)


def test_a_key_that_an_export_could_not_write_is_refused(folder):
    """A stranger's shards may name anything; exports make names of files of it."""
    table = pq.read_table(folder / "000000.parquet").drop_columns("key")
    keys = ["../../../../home/photo", *(sample.key for sample in samples(0)[1:])]
    pq.write_table(table.append_column("key", [keys]), folder / "000000.parquet")
    Artifact(folder).finish_part("000000", ["000000.tar", "000000.parquet"], {})
    with pytest.raises(GenrobustError, match=r"an image of the key '../../../../home/photo', which genrobust did not"):
        ShardDataset(folder)


def test_what_cannot_be_written_leaves_the_shard_as_it_was(folder):
    before, image = everything(folder), samples(0)[0].image

    def broken_off():
        yield from samples(1, count=2)
        raise ValueError("no more")

    named = [[Sample(key, 0, image)] for key in ("a.b-000000", "a/b-000000", "", "a b")]
    for bad in (broken_off(), *named, [Sample("a-000000", 0, image, {"mood": "good"})]):
        with pytest.raises(ValueError, match=r"no more|the key|metadata without a column: mood"):
            write_shard(folder, 1, bad, [])
    assert everything(folder) == before
