"""Guidance that ends before the last step: what it costs, what it draws, and where it is refused."""

import numpy as np
import pytest
import torch
from drawn import CPU, generate, pixels

from genrobust.core import UserError
from genrobust.generate.guidance import guided_steps
from genrobust.generate.loading import load_generator
from genrobust.recipe import GenerateConfig, GeneratorConfig


@pytest.fixture
def config(folder_of):
    def make(kind="sd", **settings):
        return GeneratorConfig(model=str(folder_of(kind)), **{"steps": 4, "dtype": "float32", **settings})

    return make


@pytest.fixture
def draw(plan, sampler):
    """The images of three requests, int [3, H, W, 3], and how many inputs the UNet was given at each step."""

    def draw(config):
        sizes = []

        def count(pipeline):
            pipeline.unet.register_forward_pre_hook(lambda unet, args: sizes.append(len(args[0])))

        return pixels(sampler(config, count).draw(list(plan(config, per_class=1)))), sizes

    return draw


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize("settings", [{}, {"mode": "labels+images", "steps": 6, "strength": 0.7}], ids=str)
def test_a_step_without_guidance_asks_the_unet_once(draw, config, kind, settings):
    whole, guided = draw(config(kind, **settings))
    half, some = draw(config(kind, guidance_until=0.5, **settings))
    none, unguided = draw(config(kind, guidance_scale=1.0, **settings))
    assert (guided, some, unguided) == ([6, 6, 6, 6], [6, 6, 3, 3], [3, 3, 3, 3])
    assert not np.array_equal(half, whole)
    assert not np.array_equal(half, none)


def test_what_is_drawn_is_that_of_a_loop_that_says_so(draw, config, plan):
    ours, _ = draw(config(guidance_until=0.5))
    pipeline, requests = load_generator(config(), CPU).pipeline, list(plan(config(), per_class=1))
    empty, prompts = (pipeline.encode_prompt(texts, CPU, 1, False)[0] for texts in ([""], [r.prompt for r in requests]))
    with torch.inference_mode():
        for request, prompt, image in zip(requests, prompts, ours, strict=True):
            latents = torch.randn((1, 12, 8, 8), generator=torch.Generator().manual_seed(request.seed))
            pipeline.scheduler.set_timesteps(4)
            for step, t in enumerate(pipeline.scheduler.timesteps):
                found = pipeline.unet(latents, t, prompt[None]).sample
                if step < 2:
                    without = pipeline.unet(latents, t, empty).sample
                    found = without + 3.0 * (found - without)
                latents = pipeline.scheduler.step(found, t, latents).prev_sample
            decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample[0]
            drawn = (decoded / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
            assert abs((drawn * 255).round() - image).max() <= 1


def test_a_share_that_comes_to_all_steps_changes_no_image(draw, config):
    assert np.array_equal(draw(config())[0], draw(config(guidance_until=0.9))[0])


def test_at_least_one_step_is_guided_and_a_share_is_rounded():
    assert [guided_steps(4, share) for share in (0.01, 0.25, 0.5, 0.75, 1.0)] == [1, 1, 2, 3, 4]
    assert [guided_steps(10, 0.7), guided_steps(1, 0.5)] == [7, 1]


@pytest.mark.parametrize(("kind", "scheduler"), [("sd3", None), ("lcm", "lcm")])
def test_pipelines_whose_guidance_cannot_end_are_refused(config, kind, scheduler):
    with pytest.raises(UserError, match=r"generator\.guidance_until: a \w+Pipeline"):
        load_generator(config(kind, guidance_until=0.5, scheduler=scheduler), CPU)


def test_the_choice_is_kept_with_the_images_and_tells_datasets_apart(config, plan, labels, tmp_path):
    chosen, asked = config(guidance_until=0.5), GenerateConfig(per_class=1)
    dataset = generate(plan(chosen, 1), chosen, asked, labels, tmp_path)
    assert set(dataset.metadata(["guidance_until"])["guidance_until"].to_pylist()) == {0.5}
    assert dataset.about["guidance_until"] == 0.5
    with pytest.raises(UserError, match=r"guidance_until: there 0\.5, asked for 1"):
        generate(plan(config(), 1), config(), asked, labels, tmp_path)
