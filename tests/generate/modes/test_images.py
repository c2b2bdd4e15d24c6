"""Mode images with an adapter: as diffusers draws with it, each image from its own source; and what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, FluxPriorReduxPipeline, StableDiffusionPipeline
from drawn import CPU, generate, pixels
from safetensors.torch import save_file
from tiny import feature_extractor, saved, vision_config
from tiny_modern import redux as tiny_redux
from transformers import CLIPVisionModelWithProjection

from genrobust.core import UserError
from genrobust.generate import engine_of, identity
from genrobust.generate.loading import load_generator
from genrobust.generate.locate import find_adapter
from genrobust.recipe import GenerateConfig, GeneratorConfig

TOKENS = 4  # of an image, beside those of the text
WEIGHTS = "image_embedder/diffusion_pytorch_model.safetensors"
PARTS = [f"{part}/diffusion_pytorch_model.safetensors" for part in ("transformer", "vae")]  # of FLUX


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


@pytest.fixture(scope="session")
def redux(tmp_path_factory):
    """A random FLUX Redux for the tiny FLUX, in the layout of FLUX.1-Redux-dev."""
    return saved(tiny_redux(), tmp_path_factory.mktemp("redux"))


@pytest.fixture
def with_redux(redux, folder_of):
    def make(kind="flux", **changes):
        of_adapter = {"model": str(redux), **changes}
        own = {"mode": "images", "model": str(folder_of(kind)), "steps": 2, "dtype": "float32", "scheduler": None}
        return GeneratorConfig(**own, width=64, height=64, adapter=of_adapter)

    return make


@pytest.fixture(params=["IP-Adapter", "Redux"])
def either(request, config, with_redux):
    """A section with an adapter of each kind."""
    return config if request.param == "IP-Adapter" else with_redux


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


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_images_are_those_that_diffusers_draws_with_a_redux(with_redux, redux, scale, plan, sampler, real, folder_of):
    asked = list(plan(with_redux()))[:3]
    ours = pixels(sampler(with_redux(scale=scale)).draw(asked))
    assert abs(ours - pixels(sampler(with_redux(scale=0.0)).draw(asked))).max() > 2
    pipeline, prior = FluxPipeline.from_pretrained(folder_of("flux")), FluxPriorReduxPipeline.from_pretrained(redux)
    pipeline.set_progress_bar_config(disable=True)
    # Without text encoders it would append its tokens to zeros of FLUX.1's full width.
    prior.register_modules(text_encoder=pipeline.text_encoder)
    zeros = {"prompt_embeds": torch.zeros(1, 512, 16), "pooled_prompt_embeds": torch.zeros(1, 16)}
    for request, image in zip(asked, ours, strict=True):
        source = real.image(list(real.keys).index(request.source))
        prompt = prior(source, **zeros, prompt_embeds_scale=scale)
        noise = torch.Generator().manual_seed(request.seed)
        how = {"num_inference_steps": 2, "guidance_scale": 3.0, "generator": noise, "width": 64, "height": 64}
        theirs = pipeline(**prompt, **how, output_type="np").images[0]
        assert abs(255 * theirs - image).max() <= 1.5


def test_with_a_redux_the_text_encoders_are_not_loaded(with_redux):
    generator = load_generator(with_redux(), CPU)
    assert generator.pipeline.text_encoder_2 is None and generator.pipeline.transformer is not None
    assert load_generator(with_redux("flux-schnell"), CPU).redux is not None


def test_the_memory_that_is_planned_is_that_of_what_is_loaded(with_redux, redux, folder_of):
    flux = sum((folder_of("flux") / part).stat().st_size for part in PARTS)
    adapter = sum(path.stat().st_size for path in redux.rglob("*.safetensors"))
    assert engine_of(with_redux()).weights_bytes(with_redux()) == flux + adapter


def test_an_image_depends_on_its_request_and_on_its_source(either, plan, sampler):
    config = either
    asked = list(plan(config()))[:4]
    draw = sampler(config()).draw
    together, alone = pixels(draw(asked)), np.concatenate([pixels(draw([request])) for request in asked])
    assert abs(together - alone).max() <= 1
    first, second = asked[0], asked[3]  # of one class
    assert first.label == second.label and first.source != second.source
    other = pixels(draw([replace(first, source=second.source)]))
    assert abs(other[0] - together[0]).max() > 1


def test_the_adapter_is_part_of_what_a_dataset_is(either, labels, plan, real, tmp_path):
    config = either
    assert identity(config())["adapter_sha256"] and identity(config()) != identity(config(scale=0.5))
    assert "adapter" not in identity(GeneratorConfig(steps=2))
    section, asked = config(scale=0.5), GenerateConfig(per_class=1, shard_size=3)
    made = generate(plan(section, 1), section, asked, labels, tmp_path, sources=real)
    (row, *_), manifest = made.metadata().to_pylist(), made.about
    for kept in (row, manifest):
        assert (kept["adapter"], kept["adapter_scale"]) == (Path(section.adapter.model).name, 0.5)
        assert kept["adapter_sha256"] == identity(section)["adapter_sha256"]
    is_file = "image_encoder" not in {path.name for path in Path(section.adapter.model).iterdir()}
    assert row["adapter_file"] == ("ip-adapter_sd15.safetensors" if is_file else None)


def test_an_adapter_of_the_hub_comes_with_its_card(either, monkeypatch):
    """Of other adapters in its folder, nothing is downloaded."""
    section, asked = either().adapter, []

    def download(model, revision, allow_patterns):
        asked.append((model, revision))
        files = [path.relative_to(section.model) for path in Path(section.model).rglob("*") if path.is_file()]
        assert files and all(any(path.match(one) for one in allow_patterns) for path in files)
        assert "README.md" in allow_patterns and not any(Path("x.safetensors").match(one) for one in allow_patterns)
        return section.model

    monkeypatch.setattr("genrobust.generate.locate.snapshot_download", download)
    found = find_adapter(section.model_copy(update={"model": "some/one", "revision": "v2"}))
    assert asked == [(found.id, "v2")] == [("some/one", "v2")] and found.sha256 == find_adapter(section).sha256


def test_a_redux_is_the_same_wherever_it_lies_and_another_with_other_weights(redux, with_redux, tmp_path):
    elsewhere = Path(shutil.copytree(redux, tmp_path / redux.name))
    (elsewhere / "flux1-redux-dev.safetensors").write_bytes(b"for another program")
    assert identity(with_redux(model=str(elsewhere))) == identity(with_redux())
    saved(tiny_redux(seed=1), elsewhere)
    assert identity(with_redux(model=str(elsewhere))) != identity(with_redux())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "models/other.safetensors"}, r"generator\.adapter\.file: models/other"),
        ({"file": "models/ip-adapter_sd15.bin"}, r"generator\.adapter\.file: .* no \.safetensors file"),
        ({"image_encoder": "models"}, r"generator\.adapter\.image_encoder: .* no image encoder"),
        ({"model": "./nowhere"}, r"generator\.adapter: \./nowhere"),
        ({"kind": "variation"}, r"generator\.mode .*generator\.adapter a Stable"),
        ({"kind": "sdxl"}, r"generator\.adapter: .*StableDiffusionXLPipeline"),
    ],
)
def test_what_does_not_fit_is_refused(config, changes, message):
    with pytest.raises(UserError, match=message):
        load_generator(config(**changes), CPU)


REDUX_MISTAKES = [
    ({"kind": "sd"}, r"holds a StableDiffusionPipeline.* needs with a FLUX Redux in generator\.adapter a FluxPipeline"),
    ({"file": "x.safetensors"}, r"generator\.adapter\.file: .* is a FLUX Redux, .*leave it out"),
    ({"image_encoder": "image_encoder"}, r"generator\.adapter\.image_encoder: .* is a FLUX Redux, .*leave it out"),
]


@pytest.mark.parametrize(("changes", "message"), REDUX_MISTAKES)
def test_what_does_not_go_with_a_redux_is_refused(with_redux, changes, message):
    with pytest.raises(UserError, match=message):
        load_generator(with_redux(**changes), CPU)


def test_an_ip_adapter_does_not_go_with_flux(with_redux, adapter):
    with pytest.raises(UserError, match=r"FluxPipeline; .*generator\.adapter a S"):
        load_generator(with_redux(model=str(adapter)), CPU)


def test_a_redux_of_another_width_is_refused(with_redux, sampler, tmp_path):
    other = saved(tiny_redux(width=8), tmp_path / "other")
    with pytest.raises(UserError, match=r"generator\.adapter: .* 8 .* 16"):
        sampler(with_redux(model=str(other)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "image_embedder"), "image_embedder"),
        (
            lambda folder: (folder / "model_index.json").write_text("{"),
            r"generator\.adapter: cannot read .*index",
        ),
        (lambda folder: (folder / "image_embedder" / "config.json").write_text("[]"), r"generator\.adapter: "),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"x"), r"FluxPipeline"),
        (lambda folder: (folder / WEIGHTS).rename(folder / "image_embedder" / "x.bin"), "weights as a pickle"),
    ],
    ids=["a part", "the index", "a configuration", "weights", "a pickle"],
)
def test_a_damaged_redux_is_refused(with_redux, redux, tmp_path, damage, message):
    damage(Path(shutil.copytree(redux, tmp_path / "redux")))
    with pytest.raises(UserError, match=message):
        load_generator(with_redux(model=str(tmp_path / "redux")), CPU)


def test_other_modes_take_no_adapter(adapter):
    with pytest.raises(ValueError, match=r"adapter\n.*mode images, not to mode labels"):
        GeneratorConfig.model_validate({"adapter": str(adapter)})
