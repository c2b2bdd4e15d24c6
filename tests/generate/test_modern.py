"""Published generators, old and new, tiny and with random weights, draw through the same code."""

import numpy as np
import pytest
from drawn import CPU, pixels
from refusals import refused
from tiny_modern import MODERN

from genrobust.generate.pipeline_loading import load_generator

PACKED = ["flux", "flux2-klein", "lumina2", "qwen-image", "z-image"]  # 2 x 2 latents into one


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in ("sdxl", "flux2-klein") else [pytest.mark.thorough])
        for kind in ("sd1.5", "sd2.1", "sdxl", *MODERN)
    ],
)
def test_an_image_depends_on_its_request_alone(section, sampler, plan, kind):
    asked = list(plan(section(kind), 2))
    loaded = sampler(section(kind))
    together = pixels(loaded.draw(asked))
    assert together.shape == (6, 64, 64, 3) and len(np.unique(together.reshape(6, -1), axis=0)) == 6
    alone = pixels([one for request in asked[::-1] for one in loaded.draw([request])])
    assert abs(together - alone[::-1]).max() <= 1


@pytest.mark.parametrize(
    "kind",
    [
        "sd1.5",
        "flux",
        *(
            pytest.param(kind, marks=pytest.mark.thorough)
            for kind in ("sd2.1", "pixart-sigma", "sana", "lumina2", "qwen-image", "z-image")
        ),
    ],
)
def test_guidance_and_the_prompt_change_the_image(section, sampler, plan, kind):
    asked = list(plan(section(kind), 1))[:1]
    loaded = sampler(section(kind))
    drawn = pixels(loaded.draw(asked))
    stronger = pixels(sampler(section(kind, guidance_scale=9.0)).draw(asked))
    renamed = list(plan(section(kind), 1, strategy="single", templates=["xyz {}"]))[:1]
    other = pixels(loaded.draw(renamed))
    assert (drawn != stronger).any() and (drawn != other).any()


@pytest.mark.parametrize("kind", ["flux", "flux2-klein"])
def test_a_negative_prompt_that_would_do_nothing_is_refused(section, sampler, plan, kind):
    asked = list(plan(section(kind), 1, negative_prompt="blurry"))
    with refused("generate.prompts.negative_prompt", "Flux"):
        sampler(section(kind)).draw(asked)


@pytest.mark.parametrize("guidance", [0, 0.5])
def test_a_negative_prompt_counts_wherever_z_image_is_guided(section, sampler, plan, guidance):
    own = section("z-image", guidance_scale=guidance)
    one, other = (list(plan(own, 1, negative_prompt=words))[:1] for words in ("", "xyz"))
    draw = sampler(own).draw
    drawn = pixels(draw(one))
    if guidance:
        assert (drawn != pixels(draw(other))).any()
    else:
        with refused("generate.prompts.negative_prompt", "guidance_scale of 0"):
            draw(other)


@pytest.mark.parametrize("kind", PACKED)
def test_a_size_that_would_be_rounded_is_refused(section, kind):
    with refused("generator.width", 72, 16):
        load_generator(section(kind, width=72), CPU)


@pytest.mark.parametrize(("kind", "same"), [("pixart-sigma", (64, 96)), ("sana", (64, 96))])
def test_sizes_beside_those_of_the_training_are_drawn_as_asked(section, sampler, plan, kind, same):
    height, width = same
    asked = list(plan(section(kind), 1))[:1]
    drawn = sampler(section(kind, width=width, height=height)).draw(asked)
    assert drawn[0].image.shape == (height, width, 3)
