"""Mode images with an adapter: as diffusers draws with it, each image from its own source; and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from drawn import CPU, generate, pixels
from refusals import refused
from safetensors.torch import save_file
from tiny import feature_extractor, vision_config
from transformers import CLIPVisionModelWithProjection

from genrobust.generate import engine_of, identity
from genrobust.generate.find_models import find_adapter
from genrobust.generate.pipeline_loading import load_generator
from genrobust.recipe import GenerateConfig, GeneratorConfig

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


def test_the_memory_that_is_planned_is_that_of_what_is_loaded(config, adapter, folder_of):
    files = [*folder_of("sd").rglob("*.safetensors"), *adapter.rglob("*.safetensors")]
    assert engine_of(config()).weights_bytes(config()) == sum(path.stat().st_size for path in files)


def test_an_image_depends_on_its_request_and_on_its_source(config, plan, sampler):
    asked = list(plan(config()))[:4]
    draw = sampler(config()).draw
    together, alone = pixels(draw(asked)), np.concatenate([pixels(draw([request])) for request in asked])
    assert abs(together - alone).max() <= 1
    first, second = asked[0], asked[3]  # of one class
    assert first.label == second.label and first.source != second.source
    other = pixels(draw([replace(first, source=second.source)]))
    assert abs(other[0] - together[0]).max() > 1


def test_the_adapter_is_part_of_what_a_dataset_is(config, plan, real, tmp_path):
    assert identity(config())["adapter_sha256"] and identity(config()) != identity(config(scale=0.5))
    assert "adapter" not in identity(GeneratorConfig(steps=2))
    section, asked = config(scale=0.5), GenerateConfig(per_class=1, shard_size=3)
    made = generate(plan(section, 1), section, asked, tmp_path, sources=real)
    (row, *_), manifest = made.metadata().to_pylist(), made.about
    for kept in (row, manifest):
        assert (kept["adapter"], kept["adapter_scale"]) == (Path(section.adapter.model).name, 0.5)
        assert kept["adapter_sha256"] == identity(section)["adapter_sha256"]
    assert row["adapter_file"] == "ip-adapter_sd15.safetensors"


def test_an_adapter_of_the_hub_comes_with_its_card(config, monkeypatch):
    """Of other adapters in its folder, nothing is downloaded."""
    section, asked = config().adapter, []

    def download(model, revision, allow_patterns):
        asked.append((model, revision))
        files = [path.relative_to(section.model) for path in Path(section.model).rglob("*") if path.is_file()]
        assert files and all(any(path.match(one) for one in allow_patterns) for path in files)
        assert "README.md" in allow_patterns and not any(Path("x.safetensors").match(one) for one in allow_patterns)
        return section.model

    monkeypatch.setattr("genrobust.generate.find_models.snapshot_download", download)
    found = find_adapter(section.model_copy(update={"model": "some/one", "revision": "v2"}))
    assert asked == [(found.id, "v2")] == [("some/one", "v2")] and found.sha256() == find_adapter(section).sha256()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"file": "models/other.safetensors"}, ["generator.adapter.file", "models/other"]),
        ({"file": "models/ip-adapter_sd15.bin"}, ["generator.adapter.file", ".safetensors"]),
        ({"image_encoder": "models"}, ["generator.adapter.image_encoder"]),
        ({"model": "./nowhere"}, ["generator.adapter", "./nowhere"]),
        ({"kind": "variation"}, ["generator.mode", "generator.adapter"]),
        ({"kind": "sdxl"}, ["generator.adapter", "StableDiffusionXLPipeline"]),
        ({"kind": "flux"}, ["FluxPipeline", "generator.adapter"]),
    ],
)
def test_what_does_not_fit_is_refused(config, changes, named):
    with refused(*named):
        load_generator(config(**changes), CPU)


def test_other_modes_take_no_adapter(adapter):
    with refused("adapter", "mode images", kind=ValueError):
        GeneratorConfig.model_validate({"adapter": str(adapter)})
