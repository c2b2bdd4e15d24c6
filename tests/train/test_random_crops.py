"""Random resized crops: torchvision's boxes, drawn by seed, step and place alone, whatever reads the images."""

import numpy as np
import pytest
import torch
from photographs import psnr
from PIL import Image
from pydantic import ValidationError
from refusals import refused
from torchvision.transforms import RandomResizedCrop

from genrobust.classifiers import read_checkpoint_info
from genrobust.data import MemoryImages
from genrobust.recipe import TrainConfig
from genrobust.train import Mixture, Source
from genrobust.train.batch_augmentation import make_augment
from genrobust.train.loop import Training
from genrobust.train.random_crops import draw_crops


def ramps(n=12):
    """Images of several sizes; red grows from left to right and green from top to bottom, from 0 to 255."""
    sizes = [(90, 60), (48, 96), (64, 64)]

    def ramp(width, height):
        x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
        return np.stack([x, y, np.full_like(x, 128)], axis=-1).astype(np.uint8)

    images = [ramp(*sizes[i % 3]) for i in range(n)]
    return MemoryImages("ramps", images, [i % 2 for i in range(n)], [str(i) for i in range(n)])


def crops_of(batch_size=8, **how):
    return Mixture([Source("real", ramps(**how))], batch_size, 32, crop="random-resized")


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (64, 64), (7, 5)])
def test_boxes_have_the_area_and_aspect_of_torchvisions(size):
    width, height = size
    boxes = np.array([crop.box(*size) for crop in draw_crops(0, 0, 2000)])
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2] <= width).all() and (boxes[:, 3] <= height).all()
    rounding = 1 / min(w.min(), h.min())
    assert (w * h / (width * height)).min() > 0.08 * (1 - 3 * rounding)
    assert ((w / h) > 3 / 4 * (1 - 2 * rounding)).all() and ((w / h) < 4 / 3 * (1 + 2 * rounding)).all()

    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = np.array([RandomResizedCrop.get_params(image, (0.08, 1), (3 / 4, 4 / 3)) for _ in range(2000)])
    ours = np.stack([boxes[:, 1], boxes[:, 0], h, w], axis=1)  # top, left, height, width
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / 2000)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4 * error + 0.1).all()
    assert ours.std(axis=0) == pytest.approx(theirs.std(axis=0), rel=0.1)


def test_an_image_that_no_box_fits_is_cut_at_its_center_and_a_single_pixel_is_one():
    (crop,) = draw_crops(0, 0, 1)
    assert crop.box(1000, 10) == (493, 0, 506, 10)  # 4 / 3 of its height wide
    assert crop.box(10, 1000) == (0, 493, 10, 506)
    assert crop.cut(Image.new("RGB", (1, 1), "red"), 16).tolist() == [[[255, 0, 0]] * 16] * 16


def test_crops_differ_by_seed_step_and_place_and_half_are_mirrored():
    def box(seed, step, place):
        return draw_crops(seed, step, 4)[place].box(300, 200)

    assert len({box(0, 0, 0), box(1, 0, 0), box(0, 1, 0), box(0, 0, 1)}) == 4
    assert box(3, 7, 2) == box(3, 7, 2)
    assert 420 < sum(crop.mirror for crop in draw_crops(0, 0, 1000)) < 580


def test_a_crop_shows_what_lies_in_its_box():
    image = ramps().image(0)
    for crop in draw_crops(5, 0, 8):
        left, top, right, bottom = crop.box(*image.size)
        inside = np.asarray(image)[top:bottom, left:right].astype(float)
        pixels = crop.cut(image, 32).astype(float)
        assert pixels.shape == (32, 32, 3)
        assert pixels.mean(axis=(0, 1)) == pytest.approx(inside.mean(axis=(0, 1)), abs=2)
        assert (pixels[0, 0, 0] > pixels[0, -1, 0]) == crop.mirror  # red grows to the right


def test_an_image_is_cut_anew_at_every_use():
    mixture = crops_of(batch_size=6)
    one = Mixture([Source("real", ramps(1))], 6, 32, crop="random-resized").batch(0, 0)[0]
    assert len({image.numpy().tobytes() for image in one}) == 6  # the same image in six places of a batch
    assert mixture.batch(0, 0, size=48)[0].shape == (6, 3, 48, 48)


def test_augmentations_do_not_cut_them_again():
    images = crops_of().batch(0, 0)[0]
    assert torch.equal(make_augment(TrainConfig(crop="random-resized"))(images), images.float() / 255)


def test_sizes_grow_late_in_steps_of_32_and_end_at_the_full_one():
    config = TrainConfig(crop="random-resized", image_size=224, start_size=160, steps=88)
    sizes = [config.size_at(step, 88) for step in range(88)]
    assert sizes == sorted(sizes) and set(sizes) == {160, 192, 224}
    assert sizes[65] == 160 and sizes[76] == 224 and sizes[71] == 192  # FFCV's ramp: from epoch 65 to 76
    assert TrainConfig(image_size=96).size_at(0, 600) == 96


def test_a_training_grows_as_it_says(job, tmp_path):
    seen = []

    class Watched(Training):
        def train_step(self, step, images, labels):
            seen.append(images.shape[-1])
            return super().train_step(step, images, labels)

    job.begun(tmp_path, Watched, crop="random-resized", image_size=64, start_size=32, steps=8).train()
    assert seen == [32] * 7 + [64]
    assert read_checkpoint_info(tmp_path).image_size == 64


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"augmentation": "none", "crop": "random-resized"}, "augmentation: none"),
        ({"start_size": 32}, "start_size"),
        ({"start_size": 16, "crop": "random-resized"}, "start_size"),
        ({"start_size": 96, "crop": "random-resized", "image_size": 64}, "image_size"),
    ],
)
def test_what_does_not_go_together_is_refused(keys, words):
    with refused(words, kind=ValidationError):
        TrainConfig(**keys)


def test_crops_are_resized_as_pillow_does_it(photographs):
    for crop, image in zip(draw_crops(0, 0, 2 * len(photographs)), 2 * photographs, strict=True):
        pillow = image.crop(crop.box(*image.size)).resize((96, 96), Image.Resampling.BICUBIC)
        theirs = np.asarray(pillow)[:, ::-1] if crop.mirror else np.asarray(pillow)
        assert psnr(crop.cut(image, 96), theirs) > 50


def test_what_random_crops_are_made_by_is_in_the_fingerprint(tmp_path):
    parts = [Source("real", ramps())]
    squares, crops = Mixture(parts, 4, 32), Mixture(parts, 4, 32, crop="random-resized")
    packed = Mixture(parts, 4, 32, crop="random-resized", packed=tmp_path)
    assert len({squares.fingerprint, crops.fingerprint, packed.fingerprint}) == 3
    assert Mixture(parts, 4, 32, packed=tmp_path).fingerprint == squares.fingerprint  # squares are never packed
    assert not any(tmp_path.iterdir())  # and nothing is, before it is needed
