import numpy as np
import pytest
import torch
from PIL import Image

from genrobust.generate.encode import Prompts
from genrobust.generate.modes import MODES
from genrobust.generate.pipeline import SCHEDULERS, load_generator
from genrobust.generate.plan import Plan
from genrobust.generate.sample import FLAT, Sampler, fault, to_uint8
from genrobust.recipe.generate import GeneratorConfig, PromptConfig

CPU = torch.device("cpu")


@pytest.fixture
def requests(labels):
    return list(Plan(labels, PromptConfig(negative_prompt="blurry"), per_class=4, data_seed=3))


@pytest.fixture
def sampler(labels):
    def make(folder, max_redraws=2, **settings):
        generator = load_generator(
            GeneratorConfig(model=str(folder), **{"steps": 2, "dtype": "float32", **settings}), CPU
        )
        return Sampler(generator, MODES["labels"](generator, labels, None), max_redraws)

    return make


def images(drawings):
    return np.stack([d.image for d in drawings]).astype(int)


def test_drawings_come_in_the_order_of_requests(sampler, generator_folder, requests):
    drawings = sampler(generator_folder).draw(requests)
    assert [d.request for d in drawings] == requests
    assert all(d.image.dtype == np.uint8 and d.image.shape == (64, 64, 3) for d in drawings)
    assert {(d.faults, d.redraws) for d in drawings} == {((), 0)}
    assert len({d.image.tobytes() for d in drawings}) == len(requests)


@pytest.mark.parametrize("scheduler", [*SCHEDULERS, None])
def test_neither_batch_size_nor_neighbours_change_an_image(sampler, generator_folder, requests, scheduler):
    """LCM adds noise at every step: that, too, is an image's own."""
    draw = sampler(generator_folder, scheduler=scheduler, steps=3).draw
    whole = images(draw(requests))
    alone = images([d for request in requests[:3] for d in draw([request])])
    backwards = images(draw(requests[::-1])[::-1])
    assert abs(whole[:3] - alone).max() <= 1
    assert abs(whole - backwards).max() <= 1


def test_the_same_batch_gives_the_same_bytes_whatever_was_encoded_before(sampler, generator_folder, requests):
    fresh, used = sampler(generator_folder), sampler(generator_folder)
    used.draw(requests[6:9])
    used.draw(requests[0:1])
    assert np.array_equal(images(fresh.draw(requests[:6])), images(used.draw(requests[:6])))


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_each_distinct_prompt_of_a_batch_is_encoded_once(folder_of, requests, kind):
    generator = load_generator(GeneratorConfig(model=str(folder_of(kind)), dtype="float32"), CPU)
    counts = []
    generator.pipeline.text_encoder.register_forward_pre_hook(lambda encoder, args: counts.append(len(args[0])))
    mixed = [requests[i] for i in (0, 1, 2, 1, 0)]
    together = Prompts(generator).arguments(mixed)
    assert counts[0] == len({r.prompt for r in mixed}) == 3
    for place, request in enumerate(mixed):
        for name, alone in Prompts(generator).arguments([request]).items():
            assert together[name][place] == pytest.approx(alone[0], abs=1e-5)


def test_images_are_those_that_diffusers_draws_itself(sampler, generator_folder, requests):
    """Unbatched, from the same noise, with prompts as text: nothing of our own comes between."""
    ours = sampler(generator_folder, guidance_scale=2.5)
    pipeline = load_generator(GeneratorConfig(model=str(generator_folder), dtype="float32"), CPU).pipeline
    for request, drawing in zip(requests[:2], ours.draw(requests)[:2], strict=True):
        noise = torch.randn((1, 12, 8, 8), generator=torch.Generator().manual_seed(request.seed))
        theirs = pipeline(
            request.prompt, negative_prompt="blurry", latents=noise, num_inference_steps=2, guidance_scale=2.5
        ).images[0]
        assert isinstance(theirs, Image.Image)
        assert abs(np.asarray(theirs, int) - drawing.image).max() <= 1


def test_seed_prompt_and_negative_prompt_all_matter(sampler, generator_folder, requests, labels):
    draw = sampler(generator_folder).draw
    base = images(draw(requests[:1]))
    others = [
        Plan(labels, PromptConfig(negative_prompt="blurry"), 4, data_seed=4)[0],
        Plan(labels, PromptConfig(negative_prompt="blurry", templates=("not a {}",)), 4, data_seed=3)[0],
        Plan(labels, PromptConfig(negative_prompt="sharp, not blurry at all"), 4, data_seed=3)[0],
    ]
    assert all(not np.array_equal(images(draw([other])), base) for other in others)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_without_guidance_the_negative_prompt_is_not_used(sampler, generator_folder, requests, scale, labels):
    draw = sampler(generator_folder, guidance_scale=scale).draw
    other = list(Plan(labels, PromptConfig(), per_class=4, data_seed=3))
    assert np.array_equal(images(draw(requests[:2])), images(draw(other[:2])))


def test_other_sizes_are_drawn(sampler, generator_folder, requests):
    assert sampler(generator_folder, width=32, height=96).draw(requests[:1])[0].image.shape == (96, 32, 3)


# ------------------------------------------------------------------------------------------ faults


def constant(value):
    def change(pipeline):
        pipeline.vae.decoder.conv_out.weight.zero_()
        pipeline.vae.decoder.conv_out.bias.fill_(value)

    return change


@pytest.mark.parametrize(("value", "reason"), [(-2.0, "black"), (2.0, "blank"), (0.0, "blank")])
def test_a_generator_that_draws_nothing_is_given_up(sampler, changed_generator, requests, value, reason):
    drawings = sampler(changed_generator(constant(value)), max_redraws=2).draw(requests[:3])
    assert [(d.image, d.faults, d.redraws) for d in drawings] == [(None, (reason,) * 3, 2)] * 3


def black_from(image):
    """How much darker, in [0, 1], an image of quiet contrast must be to count as black."""
    lo, hi = 0.0, 1.0
    for _ in range(30):
        middle = (lo + hi) / 2
        lo, hi = (lo, middle) if np.clip(image - middle, 0, 1).mean() < FLAT else (middle, hi)
    return hi


def test_black_images_are_drawn_again_from_other_noise(sampler, changed_generator, requests):
    """A decoder so dark that half of the noise gives black and half does not."""

    def darkened(by):
        def change(pipeline):
            pipeline.vae.decoder.conv_out.weight.mul_(0.3)  # so that nothing is clipped before it is darkened
            pipeline.vae.decoder.conv_out.bias.sub_(2 * by)  # decoded values span [-1, 1]

        return sampler(changed_generator(change), max_redraws=8)

    thresholds = np.array([black_from(d.image / 255) for d in darkened(0).draw(requests)])
    middle = float(np.median(thresholds))
    draw = darkened(middle).draw
    drawings = draw(requests)
    assert [bool(d.faults) for d in drawings] == (thresholds < middle).tolist()
    assert {fault for d in drawings for fault in d.faults} == {"black"}
    redrawn = [d for d in drawings if d.redraws and d.image is not None]
    assert redrawn
    assert all(d.image.mean() >= FLAT * 255 - 1 for d in redrawn)
    again = draw([redrawn[0].request])[0]
    assert again.faults == redrawn[0].faults
    assert abs(again.image.astype(int) - redrawn[0].image).max() <= 1


def test_faults_are_told_from_pictures():
    white = np.ones((64, 64, 3), np.float32)
    assert fault(white) == "blank"
    assert fault(white * [0.2, 0.9, 0.4]) == "blank"
    assert fault(white * 0) == "black"
    holed = white.copy()
    holed[3, 4, 1] = np.nan
    assert fault(holed) == "nan"
    line = white.copy()
    line[30:32, 10:50] = 0
    assert fault(line) == ""
    assert fault(1 - line) == ""
    red = np.zeros((64, 64, 3), np.float32)
    red[:32] = [1, 0, 0]
    assert fault(red) == ""


def test_levels_are_rounded_as_pil_images_from_diffusers():
    values = np.array([0.0, 0.4 / 255, 0.6 / 255, 1.0])
    assert to_uint8(values).tolist() == [0, 0, 1, 255]
