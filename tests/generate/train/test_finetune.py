"""A fine-tune learns from its images and captions, and is what diffusers loads."""

import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from kill_and_resume import contents
from safetensors.torch import load_file
from small_training import LORA, UNET, loaded, run, started
from tiny import stable_diffusion

from genrobust.core import ClassLabel, LabelSpace
from genrobust.data import MemoryImages
from genrobust.generate.train.finetune import captions_of
from genrobust.recipe import GeneratorConfig, PromptConfig


def sample(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(0)
    return pipeline("outline of 1", num_inference_steps=3, generator=noise, output_type="np").images[0]


LABELS = LabelSpace((ClassLabel("cat", "Cat", "cat"), ClassLabel("crane", "Crane", "crane bird")))


def captions(style, **prompts):
    """Of two images, a cat and a crane, of one style."""
    images = MemoryImages("train", [np.zeros((2, 2, 3), np.uint8)] * 2, [0, 1], ["cat", "crane"], [style] * 2)
    return captions_of(PromptConfig.model_validate(prompts), images, LABELS)


@pytest.mark.parametrize(
    ("prompts", "style", "wanted"),
    [
        ({"templates": "pictograms"}, "hand-drawn", ["a hand-drawn sketch of a crane bird", "a hand-drawn crane bird"]),
        ({"templates": "pictograms"}, "", ["a crane bird"]),
        ({"templates": "pictograms"}, "photo", ["a crane bird"]),
        ({"templates": ["{}", "my {}"]}, "outline", ["crane bird", "my crane bird"]),
        ({"templates": "openai", "strategy": "single"}, "", ["a photo of a crane bird."]),
    ],
)
def test_captions_are_the_prompts_of_the_class_in_the_style_of_the_image(prompts, style, wanted):
    found = captions(style, **prompts)[1, style]
    assert list(found)[: len(wanted)] == wanted
    assert len(found) == (4 if style == "hand-drawn" else len(wanted))


def test_captions_come_from_a_file_of_prompts(tmp_path):
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps({"cat": ["a cat asleep"], "crane": ["a crane in reeds", "a crane in flight"]}))
    assert captions("", strategy="list", file=file) == {
        (0, ""): ("a cat asleep",),
        (1, ""): ("a crane in reeds", "a crane in flight"),
    }


def test_a_full_fine_tune_is_the_base_with_another_unet(base, trained):
    made, before = contents(trained["full"]), contents(base)
    assert made.keys() == before.keys() | {"manifest.json"}
    assert [name for name in before if made[name] != before[name]] == [UNET]
    new, old = load_file(trained["full"] / UNET), load_file(base / UNET)
    assert new.keys() == old.keys()
    assert {weight.dtype for weight in new.values()} == {torch.float16}
    assert any(not torch.equal(new[name], old[name]) for name in old)


def test_it_loads_and_samples_as_any_generator(base, trained):
    own = sample(loaded(trained["full"]).pipeline)
    plain = sample(StableDiffusionPipeline.from_pretrained(trained["full"], torch_dtype=torch.float32))
    assert own.shape == (64, 64, 3)
    assert np.allclose(own, plain, atol=1e-4)  # another layout of the weights
    assert np.abs(own - sample(loaded(base).pipeline)).max() > 1e-3


def test_a_lora_is_small_and_both_diffusers_and_a_recipe_load_what_was_trained(base, tmp_path):
    out = run(base, tmp_path / "out", "lora")
    twin = started(base, tmp_path / "twin", "lora")
    twin.train()
    assert (out / LORA).stat().st_size < (base / UNET).stat().st_size
    plain = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32)
    plain.load_lora_weights(out)
    inputs = (torch.randn(1, 12, 8, 8), torch.tensor([500]), torch.randn(1, 77, 16))
    with torch.no_grad():
        wanted = twin.averaged()(*inputs).sample
        for pipeline in (plain, loaded(base, lora={"model": str(out)}).pipeline):
            assert torch.allclose(pipeline.unet(*inputs).sample, wanted, atol=1e-4)
        assert (loaded(base).pipeline.unet(*inputs).sample - wanted).abs().max() > 1e-3


def test_files_of_a_variant_come_under_plain_names(tmp_path):
    stable_diffusion().to(torch.float16).save_pretrained(tmp_path / "base", variant="fp16")
    generator = GeneratorConfig(model=str(tmp_path / "base"), variant="fp16")
    out = run(generator, tmp_path / "out")
    pipeline = StableDiffusionPipeline.from_pretrained(out, torch_dtype=torch.float16, use_safetensors=True)
    assert pipeline.vae.dtype == pipeline.unet.dtype == torch.float16
    assert not list(out.rglob("*fp16*"))
