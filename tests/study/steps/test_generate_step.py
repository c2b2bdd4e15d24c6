"""What generating an image costs."""

import pytest

from genrobust.recipe import GeneratorConfig
from genrobust.study.steps.generate import generation_cost


@pytest.mark.parametrize(
    ("changed", "factor"),
    [
        ({"steps": 40}, 2),
        ({"guidance_scale": 1}, 0.5),
        ({"mode": "labels+images", "strength": 0.5}, 0.5),
        ({"width": 128, "height": 128}, 4),
        ({"lora": "a LoRA", "guidance_scale": 7.5}, 1),
    ],
)
def test_steps_guidance_and_pixels_cost(changed, factor):
    plain, other = (generation_cost(GeneratorConfig(**{"steps": 20, **more})) for more in ({}, changed))
    assert other.amount / plain.amount == pytest.approx(factor, rel=0.06)
    assert other.keys("cpu") == plain.keys("cpu")


def test_another_generator_has_a_rate_of_its_own():
    assert generation_cost(GeneratorConfig(model="a/b")).keys("cuda") != generation_cost(GeneratorConfig()).keys("cuda")
