"""Mode images with an IP-Adapter: as diffusers draws with it, each image from its own source; and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from drawn import CPU, pixels
from safetensors.torch import save_file
from tiny import feature_extractor, vision_config
from transformers import CLIPVisionModelWithProjection

from genrobust.core import UserError
from genrobust.generate import identity
from genrobust.generate.loading import load_generator
from genrobust.recipe import GeneratorConfig

TOKENS = 4  # of an image, beside those of the text


@pytest.fixture(scope="session")
def adapter(tmp_path_factory, folder_of):
    """A random one for the tiny Stable Diffusion, in the layout of h94/IP-Adapter."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(7)
    CLIPVisionModelWithProjection(vision_config()).save_pretrained(folder / "models" / "image_encoder")
    unet = StableDiffusionPipeline.from_pretrained(folder_of("sd")).unet
    width, embedding = unet.config.cross_attention_dim, vision_config().projection_dim
    weights = {
        "image_proj.proj.weight": torch.randn(TOKENS * width, embedding) / embedding**0.5,
        "image_proj.norm.weight": torch.ones(width),
    }
    weights |= {"image_proj.proj.bias": torch.zeros(TOKENS * width), "image_proj.norm.bias": torch.zeros(width)}
    crossing = [name.removesuffix(".processor") for name in unet.attn_processors if "attn2" in name]
    for number, name in enumerate(crossing):
        for kind in ("to_k", "to_v"):
            shape = getattr(unet.get_submodule(name), kind).weight.shape
            weights[f"ip_adapter.{2 * number + 1}.{kind}_ip.weight"] = torch.randn(shape) / shape[1] ** 0.5
    save_file(weights, folder / "models" / "ip-adapter_sd15.safetensors")
    return folder


@pytest.fixture
def config(adapter, folder_of):
    def make(kind="sd", **changes):
        of_adapter = {"model": str(adapter), **changes}
        own = {"mode": "images", "model": str(folder_of(kind)), "steps": 2, "dtype": "float32"}
        return GeneratorConfig(**own, adapter=of_adapter)

    return make


def test_images_are_those_that_diffusers_draws_with_the_adapter(config, adapter, plan, sampler, real, folder_of):
    asked = list(plan(config()))[:3]
    ours = pixels(sampler(config()).draw(asked))
    pipeline = StableDiffusionPipeline.from_pretrained(folder_of("sd"))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = load_generator(config(), CPU).pipeline.scheduler
    pipeline.load_ip_adapter(adapter, subfolder="models", weight_name="ip-adapter_sd15.safetensors")
    pipeline.feature_extractor = feature_extractor()
    for request, image in zip(asked, ours, strict=True):
        source = real.image(list(real.keys).index(request.source))
        noise = torch.Generator().manual_seed(request.seed)
        how = {"num_inference_steps": 2, "guidance_scale": config().guidance_scale, "generator": noise}
        theirs = pipeline("", ip_adapter_image=source, **how, output_type="np").images[0]
        assert abs(255 * theirs - image).max() <= 1.5


def test_an_image_depends_on_its_request_and_on_its_source(config, plan, sampler):
    asked = list(plan(config()))[:4]
    draw = sampler(config()).draw
    together, alone = pixels(draw(asked)), np.concatenate([pixels(draw([request])) for request in asked])
    assert abs(together - alone).max() <= 1
    first, second = asked[0], asked[3]  # of one class
    assert first.label == second.label and first.source != second.source
    other = pixels(draw([replace(first, source=second.source)]))
    assert abs(other[0] - together[0]).max() > 1


def test_the_adapter_is_part_of_what_a_dataset_is(config):
    assert identity(config())["adapter_sha256"] and identity(config()) != identity(config(scale=0.5))
    assert "adapter" not in identity(GeneratorConfig(steps=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "models/other.safetensors"}, r"generator\.adapter\.file: there is no models/other"),
        ({"file": "models/ip-adapter_sd15.bin"}, r"generator\.adapter\.file: .* no \.safetensors file"),
        ({"image_encoder": "models"}, r"generator\.adapter\.image_encoder: .* no image encoder"),
        ({"model": "./nowhere"}, r"generator\.adapter: \./nowhere is no folder or hub id"),
        ({"kind": "variation"}, r"generator\.mode images needs with generator\.adapter a StableDiffusionPipeline"),
        ({"kind": "sdxl"}, r"generator\.adapter: .* cannot be added to the generator, a StableDiffusionXLPipeline"),
    ],
)
def test_what_does_not_fit_is_refused(config, changes, message):
    with pytest.raises(UserError, match=message):
        load_generator(config(**changes), CPU)


def test_other_modes_take_no_adapter(adapter):
    with pytest.raises(ValueError, match="mode labels does not use the key adapter"):
        GeneratorConfig(adapter=str(adapter))
