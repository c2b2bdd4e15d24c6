"""What a pipeline cannot do with prompts is refused, and what it would do with their lengths is set."""

import pytest
from drawn import CPU
from refusals import refused

from genrobust.generate.pipeline_loading import load_generator
from genrobust.generate.prompt_arguments import Prompts
from genrobust.recipe import GeneratorConfig


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_negative_prompt_without_guidance_which_would_do_nothing_is_refused(sampler, plan, generator, scale):
    config = generator.model_copy(update={"guidance_scale": scale})
    with refused("generate.prompts.negative_prompt", f"guidance_scale of {scale:g}"):
        sampler(config).draw(list(plan(config, negative_prompt="blurry"))[:2])


@pytest.mark.parametrize(("kind", "negative"), [("sd", ["", ""]), ("sdxl", None)])
def test_without_a_negative_prompt_sdxl_keeps_its_own_which_is_no_empty_text(section, plan, kind, negative):
    prompts = Prompts(load_generator(section(kind), CPU))
    assert prompts.arguments(list(plan(section(kind)))[:2]).get("negative_prompt") == negative


@pytest.mark.parametrize(("kind", "tokens"), [("flux-schnell", 256), ("flux", None)])
def test_schnell_reads_as_many_tokens_as_it_was_distilled_with(folder_of, plan, kind, tokens):
    config = GeneratorConfig(model=str(folder_of(kind)), dtype="float32", scheduler=None, width=32, height=32)
    found = Prompts(load_generator(config, CPU)).arguments(list(plan(config))[:2])
    assert found.get("max_sequence_length") == tokens
