"""Packed copies: a crop has the pixels that decoding the whole would give it, and near the original's."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from photographs import photograph, psnr
from PIL import Image
from refusals import refused

from genrobust.core import GenrobustError, Subset
from genrobust.data import MemoryImages
from genrobust.train import Mixture, PackedImages, Source, batch_pixels
from genrobust.train.packed import packed_images
from genrobust.train.packed.packed_images import choose_level
from genrobust.train.random_crops import draw_crops


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def in_memory(images):
    return MemoryImages("few", images, [i % 2 for i in range(len(images))], [f"key-{i}" for i in range(len(images))])


@pytest.fixture
def few(photographs):
    return in_memory([encoded(image, quality=90) for image in photographs])


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as executor:
        yield executor


def pixels(images, index, box, level=0):
    return images.pixels(index, level, box).permute(1, 2, 0).numpy()


def test_a_crop_has_the_pixels_of_the_whole(few, pool, tmp_path):
    packed = PackedImages(few, tmp_path, pool)
    for index in range(len(few)):
        assert packed.levels(index)[0] == few.image(index).size
        for level, (width, height) in enumerate(packed.levels(index)):
            whole = pixels(packed, index, (0, 0, width, height), level)
            edges = [(0, 0, 1, 1), (width - 1, height - 1, width, height), (0, height - 3, width, height)]
            boxes = [crop.box(width, height) for crop in draw_crops(0, index, 40)]
            for left, top, right, bottom in [*edges, *boxes]:
                cut = pixels(packed, index, (left, top, right, bottom), level)
                assert np.array_equal(cut, whole[top:bottom, left:right])


def test_a_large_crop_is_read_from_a_smaller_level(pool, tmp_path):
    image = photograph(640, 480, 0)
    packed = PackedImages(in_memory([encoded(image, quality=95)]), tmp_path, pool)
    levels = packed.levels(0)
    assert levels == [(640, 480), (480, 360), (360, 270)]  # the next would have a shorter side below 224 pixels
    used, ratios = set(), []
    for drawn in draw_crops(0, 0, 60):
        level, box = choose_level(drawn, levels, 224)
        sides = [min(b[2] - b[0], b[3] - b[1]) for b in (drawn.box(*size) for size in levels)]
        assert all(side < 224 for side in sides[level + 1 :])  # no smaller level has as many pixels as are asked for
        assert sides[level] >= 224 or level == 0
        scale = [of / to for of, to in zip(2 * image.size, 2 * levels[level], strict=True)]
        there = tuple(min(edge * by, bound) for edge, by, bound in zip(box, scale, 2 * image.size, strict=True))
        exact = image.resize((224, 224), Image.Resampling.BICUBIC, box=there)
        near = drawn.resize(packed.crop(0, drawn, 224), 224)
        wanted = np.asarray(exact)[:, :: -1 if drawn.mirror else 1]
        ratios.append(psnr(near, wanted))
        used.add(level)
    assert used == {0, 1, 2}
    assert min(ratios) > 33  # 40 but for the compression of the level, whose errors shrinking does not average away


def test_what_reads_to_any_rgb_is_packed(pool, tmp_path):
    flat = Image.new("RGB", (40, 20), (200, 40, 40))
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown a quarter turned
    few = in_memory(
        [
            encoded(flat.convert("CMYK"), quality=95),
            encoded(flat.convert("L")),
            encoded(flat, "PNG"),
            encoded(flat, "WEBP", quality=95),
            encoded(flat, exif=turned),
            np.full((1, 1, 3), 7, np.uint8),
        ]
    )
    packed = PackedImages(few, tmp_path, pool)
    for index in range(len(few)):
        original = np.asarray(few.image(index))
        height, width = original.shape[:2]
        assert np.abs(pixels(packed, index, (0, 0, width, height)).astype(int) - original).max() <= 3
    assert packed.levels(4) == [(20, 40)]


@pytest.mark.parametrize("is_packed", [True, False])
def test_batches_do_not_depend_on_the_threads_nor_on_those_before(few, tmp_path, monkeypatch, is_packed):
    def batch(folder, step, seed=3):
        sources = [Source("real", few, 1), Source("more", in_memory([np.full((50, 70, 3), 9, np.uint8)]), 1)]
        packed = tmp_path / folder if is_packed else None
        return Mixture(sources, 8, 48, crop="random-resized", packed=packed).batch(seed, step)[0]

    several = [batch("two", step) for step in range(2)]
    monkeypatch.setattr("genrobust.core.feeding.DECODERS", 1)
    monkeypatch.setattr(batch_pixels, "CROPS_A_TASK", 3)
    assert torch.equal(batch("one", 1), several[1])
    assert not torch.equal(several[0], several[1]) and not torch.equal(batch("one", 1, seed=4), several[1])
    if is_packed:
        one, two = ({p.relative_to(f): p.read_bytes() for p in f.glob("*/[!.]*")} for f in tmp_path.iterdir())
        assert one == two and len(one) == 8


@pytest.mark.parametrize(("crop", "files"), [("square", 0), ("random-resized", 1)])
def test_copies_can_be_made_before_the_first_batch_and_are_for_crops_alone(few, tmp_path, crop, files):
    mixture = Mixture([Source("real", few)], 4, 32, crop, packed=tmp_path)
    mixture.pack()
    assert len(list(tmp_path.rglob("*.jpegs"))) == files


def test_a_killed_packing_goes_on_where_it_was(few, pool, tmp_path, monkeypatch):
    monkeypatch.setattr(packed_images, "SHARD", 2)
    PackedImages(few, tmp_path / "whole", pool)
    reads = []

    class Watched(Subset):
        def image(self, index):
            reads.append(index)
            if len(reads) == 3:
                raise KeyboardInterrupt
            return super().image(index)

    watched = Watched(few, range(len(few)))
    with pytest.raises(KeyboardInterrupt):
        PackedImages(watched, tmp_path / "killed", pool)
    PackedImages(watched, tmp_path / "killed", pool)
    assert sorted(reads).count(0) == 1  # the first shard was whole
    contents = [{p.name: p.read_bytes() for p in (tmp_path / f).glob("*/0*")} for f in ("whole", "killed")]
    assert contents[0] == contents[1] and len(contents[0]) == 3 * -(-len(few) // 2)


def test_an_image_that_cannot_be_read_is_named_before_training(pool, tmp_path):
    good = encoded(Image.new("RGB", (64, 64)))
    with refused("key-1", "few"):
        PackedImages(in_memory([good, good[: len(good) // 2]]), tmp_path, pool)
    assert not list(tmp_path.glob("*/0*"))


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".jpegs", lambda data: bytes(len(data))),
        (".jpegs", lambda data: data[:-1]),
        (".npz", lambda data: b"no array"),
    ],
)
def test_a_damaged_file_is_named_with_its_remedy(few, pool, tmp_path, suffix, damage):
    PackedImages(few, tmp_path, pool)
    (file,) = tmp_path.rglob(f"*{suffix}")
    file.write_bytes(damage(file.read_bytes()))
    with refused(suffix, "delete", kind=GenrobustError):
        PackedImages(few, tmp_path, pool).pixels(0, 0, (0, 0, 8, 8))
