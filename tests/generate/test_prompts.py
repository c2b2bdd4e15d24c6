"""Prompts are encoded as diffusers does, each once."""

import pytest
from drawn import CPU

from genrobust.core import UserError
from genrobust.generate.loading import load_generator
from genrobust.generate.prompts import Prompts
from genrobust.recipe import GeneratorConfig


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_each_distinct_prompt_of_a_batch_is_encoded_once(folder_of, plan, kind):
    config = GeneratorConfig(model=str(folder_of(kind)), dtype="float32")
    generator, requests = load_generator(config, CPU), plan(config, negative_prompt="blurry")
    counts = []
    generator.pipeline.text_encoder.register_forward_pre_hook(lambda encoder, args: counts.append(len(args[0])))
    mixed = [requests[i] for i in (0, 1, 2, 1, 0)]
    together = Prompts(generator).arguments(mixed)
    assert counts[0] == len({r.prompt for r in mixed}) == 3
    for place, request in enumerate(mixed):
        for name, alone in Prompts(generator).arguments([request]).items():
            assert together[name][place] == pytest.approx(alone[0], abs=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_negative_prompt_without_guidance_which_would_do_nothing_is_refused(sampler, plan, generator, scale):
    config = generator.model_copy(update={"guidance_scale": scale})
    with pytest.raises(UserError, match=rf"negative_prompt: .*none at a guidance_scale of {scale:g}"):
        sampler(config).draw(list(plan(config, negative_prompt="blurry"))[:2])


@pytest.mark.parametrize(("kind", "tokens"), [("flux-schnell", 256), ("flux", None)])
def test_schnell_reads_as_many_tokens_as_it_was_distilled_with(folder_of, plan, kind, tokens):
    config = GeneratorConfig(model=str(folder_of(kind)), dtype="float32", scheduler=None, width=32, height=32)
    found = Prompts(load_generator(config, CPU)).arguments(list(plan(config))[:2])
    assert found.get("max_sequence_length") == tokens
