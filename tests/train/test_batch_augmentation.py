"""Augmentations keep shape and range, follow the seed, and treat each image for itself."""

import pytest
import torch

from genrobust.recipe import AUGMENTATIONS, TrainConfig
from genrobust.train.batch_augmentation import crop_and_flip, make_augment, make_mix

POLICIES = [{"augmentation": name} for name in AUGMENTATIONS.names()]
PLAIN = {"augmentation": "none"}
COMBINED = [{"random_erasing": 0.9}, {"color_jitter": 0.4}, {"grayscale": 0.5}]
ALL = {"augmentation": "autoaugment", "random_erasing": 0.5, "color_jitter": 0.4, "grayscale": 0.2}


def augmented(images, settings, seed=7, fill=(128, 128, 128)):
    augment = make_augment(TrainConfig(**settings), fill)
    torch.manual_seed(seed)
    return augment(images)


@pytest.fixture(scope="module")
def colored(job):
    """Sixteen drawings with as much red everywhere, so that operations on color have something to change."""
    images, _ = job.mixture().batch(0, 0)
    images[:, 0] = 200
    return images


@pytest.mark.parametrize("settings", [*POLICIES, *(PLAIN | more for more in COMBINED), ALL], ids=str)
def test_shape_range_and_seed(colored, settings):
    before = colored.clone()
    once, again, other = (augmented(colored, settings, seed) for seed in (7, 7, 8))
    assert torch.equal(colored, before)
    assert once.shape == colored.shape and once.dtype == torch.float32
    assert float(once.min()) >= 0 and float(once.max()) <= 1
    assert torch.equal(once, again)
    assert torch.equal(once, other) == (settings == PLAIN)
    assert torch.equal(once, colored.float() / 255) == (settings == PLAIN)


def test_erased_pixels_take_the_fill(colored):
    erased = augmented(colored, PLAIN | {"random_erasing": 1.0}, fill=(255, 0, 51))
    changed = (erased != colored.float() / 255).any(dim=1)
    share = changed.float().mean(dim=(1, 2))
    assert (share > 0).all() and (share < 0.4).all()  # up to a third of the area
    wanted = torch.tensor([1.0, 0.0, 0.2]).view(3, 1).expand(3, int(changed.sum()))
    assert torch.allclose(erased.permute(1, 0, 2, 3)[:, changed], wanted)


@pytest.mark.parametrize("settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}], ids=str)
def test_mixed_images_stay_in_range_and_their_targets_sum_to_one(job, settings):
    images, labels = job.mixture().batch(0, 0)
    images = images.float() / 255
    mix = make_mix(TrainConfig(**settings), 8)
    made = []
    for seed in (3, 3, *range(20)):
        torch.manual_seed(seed)
        made.append(mix(images, labels))
    assert torch.equal(made[0][0], made[1][0]) and torch.equal(made[0][1], made[1][1])
    assert any(not torch.equal(made[0][0], other) for other, _ in made)
    for mixed, targets in made:
        assert mixed.shape == images.shape and targets.shape == (16, 8)
        assert float(mixed.min()) >= -1e-6 and float(mixed.max()) <= 1 + 1e-6
        assert torch.allclose(targets.sum(dim=1), torch.ones(16)) and float(targets.min()) >= 0
        assert torch.allclose(mixed.mean(dim=0), images.mean(dim=0), atol=1e-5)  # each image gives as much as it loses
        assert torch.allclose(targets.sum(dim=0), torch.bincount(labels, minlength=8).float(), atol=1e-5)


def test_partners_come_from_anywhere_in_a_batch_if_they_are_asked_for():
    """A weighted batch holds source after source, and torchvision mixes neighbors."""
    given = torch.zeros(64, 3, 4, 4), torch.arange(64)
    assert make_mix(TrainConfig(), 8)(*given) == given
    mix = make_mix(TrainConfig(mixup=1.0), 2)
    first_half = torch.arange(64) < 32
    crossed = 0
    for seed in range(10):
        torch.manual_seed(seed)
        _, targets = mix(given[0], first_half.long())
        crossed += int((targets.max(dim=1).values < 1).sum())
    assert 0.3 < crossed / 640 < 0.7


def test_each_image_gets_a_crop_of_its_own():
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 32).expand(64, 1, 32, 32)
    out = crop_and_flip(ramp)
    rising = out[:, 0, 16, 31] > out[:, 0, 16, 0]
    assert 10 < int(rising.sum()) < 54  # about half are mirrored
    width = (out[:, 0, 16, 31] - out[:, 0, 16, 0]).abs()
    assert len(width.unique()) > 32
    assert float(width.min()) > 0.6**0.5 * 0.75**0.5 - 0.05  # the narrowest crop there is
    assert float((out.amax(dim=(1, 2, 3)) - out.amin(dim=(1, 2, 3))).max()) <= 1


def test_another_package_adds_a_policy_for_a_share_of_the_images(colored, install):
    code = """
from genrobust import Augmentation

class Inverted(Augmentation):
    def policy(self, fill):
        return lambda image: 255 - image
"""
    install("genrobust.augmentations", "my_policies", code, inverted="my_policies:Inverted")
    inverted = augmented(255 - colored, {"augmentation": "inverted"})
    assert torch.equal(inverted, augmented(colored, {}))
    white = torch.full((400, 3, 4, 4), 255, dtype=torch.uint8)
    some = augmented(white, {"augmentation": "inverted", "augmentation_share": 0.25})
    black = (some == 0).flatten(1).all(dim=1)
    assert abs(float(black.float().mean()) - 0.25) < 0.07
    assert ((some > 0.99).flatten(1).all(dim=1) | black).all()


@pytest.fixture(scope="module")
def ring():
    """A square frame of black strokes, three pixels wide, on white."""
    image = torch.full((3, 64, 64), 255, dtype=torch.uint8)
    image[:, 16:48, 16:48] = 0
    image[:, 19:45, 19:45] = 255
    return image


def test_drawings_get_every_style_and_keep_their_paper(ring):
    policy = AUGMENTATIONS.get("drawing-styles")().policy((255, 255, 255))
    torch.manual_seed(0)
    drawn = [policy(ring) for _ in range(60)]
    centers = {tuple(image[:, 32, 32].tolist()) for image in drawn}
    assert {(255, 255, 255), (0, 0, 0)} < centers  # as it is or knocked out, and filled
    assert any(len(set(color)) == 1 and 100 < color[0] < 230 for color in centers)  # translucent gray
    assert any(max(color) - min(color) > 40 for color in centers)  # colors
    assert all((image[:, :8] == 255).all() for image in drawn)
    strokes = [(image[:, 32] < 128).all(dim=0).sum() for image in drawn if (image[:, 32, 32] == 255).all()]
    assert len(set(map(int, strokes))) > 1  # thickened or not
    dark = AUGMENTATIONS.get("drawing-styles")().policy((0, 0, 0))
    torch.manual_seed(0)
    assert all(torch.equal(255 - dark(255 - ring), image) for image in drawn), "on dark paper, the negatives"


def test_photographs_become_lines_on_white_flat_colors_or_stay(colored):
    policy = AUGMENTATIONS.get("photograph-styles")().policy((255, 255, 255))
    torch.manual_seed(0)
    (photo, *_) = colored
    drawn = [policy(photo) for _ in range(30)]
    assert all(image.shape == photo.shape and image.dtype == torch.uint8 for image in drawn)
    changed = [image for image in drawn if not torch.equal(image, photo)]
    gray = [image for image in changed if torch.equal(image[0], image[1]) and torch.equal(image[1], image[2])]
    flat = [image for image in changed if len({*map(tuple, image.flatten(1).T.tolist())}) < 150]
    assert min(len(drawn) - len(changed), len(gray), len(flat)) > 2
    assert all((image == 255).float().mean() > 0.5 for image in gray)
    blank = torch.full((3, 20, 30), 7, dtype=torch.uint8)
    assert all(policy(blank).shape == blank.shape for _ in range(9))


def test_drawings_in_color_keep_their_style(colored, ring):
    policy = AUGMENTATIONS.get("drawing-styles")().policy((255, 255, 255))
    torch.manual_seed(0)
    assert all(policy(image) is image for image in colored)
    wide = torch.cat([ring, ring], dim=2)
    assert policy(wide).shape == wide.shape
