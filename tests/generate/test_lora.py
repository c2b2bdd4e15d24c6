"""A LoRA draws as diffusers draws with it, is part of what a dataset is, and is refused where it does not fit."""

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from drawn import CPU, generate
from peft import LoraConfig, get_peft_model_state_dict
from refusals import refused
from safetensors.torch import load_file, save_file

from genrobust.generate import identity
from genrobust.generate.find_models import find_lora
from genrobust.generate.pipeline_loading import load_generator
from genrobust.recipe import GenerateConfig, GeneratorConfig

NAME = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="session")
def lora(tmp_path_factory, folder_of):
    """A random LoRA of a kind of tiny pipeline, as diffusers itself saves one."""

    def make(kind, pipeline_class):
        folder = tmp_path_factory.mktemp(f"lora-{kind}")
        pipeline = pipeline_class.from_pretrained(folder_of(kind))
        torch.manual_seed(5)
        adapter = LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_v"])
        pipeline.unet.add_adapter(adapter)
        pipeline_class.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(pipeline.unet))
        return folder

    return make


@pytest.fixture(scope="session")
def sd_lora(lora):
    return lora("sd", StableDiffusionPipeline)


@pytest.fixture
def config(generator):
    def make(lora, scale=1.0):
        return type(generator)(**{**generator.model_dump(), "lora": {"model": str(lora), "scale": scale}})

    return make


@pytest.fixture
def draw(plan, sampler):
    return lambda config: sampler(config).draw([plan(config)[0]])[0]


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.0])
def test_images_are_those_that_diffusers_draws_with_the_lora(generator, sd_lora, config, draw, scale):
    """Where it is kept apart from the weights instead of merged into them."""
    drawing = draw(config(sd_lora, scale))
    pipeline = StableDiffusionPipeline.from_pretrained(generator.model)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(sd_lora, adapter_name="a")
    pipeline.set_adapters("a", scale)
    noise = torch.Generator().manual_seed(drawing.request.seed)
    theirs = pipeline(drawing.request.prompt, generator=noise, num_inference_steps=2, guidance_scale=3.0).images[0]
    assert abs(np.asarray(theirs, int) - drawing.image).max() <= 1
    without = draw(generator).image.astype(int)
    assert abs(without - drawing.image).max() > 1 if scale else np.array_equal(without, drawing.image)


def test_a_lora_is_part_of_what_a_dataset_is(tmp_path, plan, generator, sd_lora, config):
    asked, section = GenerateConfig(per_class=1, shard_size=3), config(sd_lora, 0.5)
    made = generate(plan(section, 1), section, asked, tmp_path)
    (row, *_), manifest = made.metadata().to_pylist(), made.about
    for kept in (row, manifest):
        assert (kept["lora"], kept["lora_scale"], len(kept["lora_sha256"])) == (sd_lora.name, 0.5, 64)
    assert identity(config(sd_lora / NAME))["lora_sha256"] == row["lora_sha256"]
    other = save(load_file(sd_lora / NAME), tmp_path / "other.safetensors", change=lambda value: value + 1)
    assert identity(config(other))["lora_sha256"] != row["lora_sha256"]
    assert "lora" not in identity(generator)


def save(weights, path, change=lambda value: value, rename=lambda key: key):
    save_file({rename(key): change(value) for key, value in weights.items()}, path)
    return path


@pytest.mark.parametrize(
    ("change", "rename", "named"),
    [
        (lambda v: torch.cat([v, v], 1), lambda k: k, ""),
        (lambda v: v, lambda k: k.replace("unet.", "transformer."), "0 of its 16"),
        (lambda v: v, lambda k: k.replace("up_blocks.0", "up_blocks.7"), "of its 16"),
        (lambda v: v, lambda k: k.replace("lora_A", "A").replace("lora_B", "B"), ""),
    ],
    ids=["other shapes", "other parts", "a part of it", "no LoRA"],
)
def test_a_lora_that_does_not_fit_is_refused(tmp_path, sd_lora, config, change, rename, named):
    file = save(load_file(sd_lora / NAME), tmp_path / "odd.safetensors", change, rename)
    with refused("generator.lora", file, named):
        load_generator(config(file), CPU)


def test_files_of_something_else_are_refused(tmp_path, generator, lora, config):
    short = tmp_path / "short.safetensors"
    short.write_bytes(b"short")
    weights = f"{generator.model}/unet/diffusion_pytorch_model.safetensors"
    other = lora("sdxl", StableDiffusionXLPipeline)
    for name, key in (("tensor", "x"), ("half", "unet.down_blocks.0.attentions.0.proj_in.lora_A.weight")):
        save_file({key: torch.zeros(4, 8)}, tmp_path / f"{name}.safetensors")
    for file in (weights, short, other, tmp_path / "tensor.safetensors", tmp_path / "half.safetensors"):
        with refused("generator.lora", file):
            load_generator(config(file), CPU)


@pytest.mark.parametrize(
    ("names", "folder", "named"),
    [
        (["lora.bin"], ".", "none"),
        (["a.safetensors", "b.safetensors"], ".", "a.safetensors, b.safetensors"),
        ([], "nowhere", "nowhere"),
    ],
)
def test_a_folder_without_one_file_to_take_is_refused(tmp_path, config, names, folder, named):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with refused("generator.lora", named):
        find_lora(config(tmp_path / folder).lora)


def test_of_several_files_the_one_that_diffusers_names_is_taken(tmp_path, config):
    for name in (NAME, "other.safetensors", "lora.bin"):
        (tmp_path / name).write_bytes(b"")
    assert find_lora(config(tmp_path).lora) == (tmp_path.name, tmp_path / NAME)


def test_all_parts_of_a_flux_lora_are_merged(tmp_path, folder_of, monkeypatch):
    """Unasked, diffusers loads the layers of its text encoder, and merges those of the transformer alone."""
    # transformers may ask for a version of peft that is not released yet, and uses nothing new of it here.
    monkeypatch.setattr("transformers.integrations.peft.check_peft_version", lambda **version: None)
    config = {"model": str(folder_of("flux")), "steps": 2, "dtype": "float32", "scheduler": None}
    pipeline = FluxPipeline.from_pretrained(config["model"])
    torch.manual_seed(5)
    of_parts = {}
    for part, layer in (("transformer", "to_q"), ("text_encoder", "q_proj")):
        network = getattr(pipeline, part)
        network.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=[layer]))
        layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(network))
        of_parts[f"{part}_lora_layers"] = layers
    FluxPipeline.save_lora_weights(tmp_path, **of_parts)
    plain, tuned = (
        load_generator(GeneratorConfig(**config, width=64, height=64, **lora), CPU).pipeline
        for lora in ({}, {"lora": {"model": str(tmp_path)}})
    )
    for part, layer in (("transformer", "to_q"), ("text_encoder", "q_proj")):
        after = dict(getattr(tuned, part).named_parameters())
        changed = [n for n, weight in getattr(plain, part).named_parameters() if not torch.equal(weight, after[n])]
        assert changed and all(layer in name for name in changed)
