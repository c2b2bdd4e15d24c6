import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from genrobust.core.errors import UserError
from genrobust.generate.locate import find_lora
from genrobust.generate.modes import MODES
from genrobust.generate.pipeline import identity, load_generator
from genrobust.generate.plan import plan_of
from genrobust.generate.run import generate
from genrobust.generate.sample import Sampler
from genrobust.recipe.generate import GenerateConfig, GeneratorConfig

CPU = torch.device("cpu")
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
def config(generator_folder):
    def make(lora, scale=1.0, **more):
        own = {"lora": {"model": str(lora), "scale": scale}, "dtype": "float32"}
        return GeneratorConfig(model=str(generator_folder), steps=2, **own, **more)

    return make


@pytest.fixture
def draw(labels):
    def make(config):
        generator = load_generator(config, CPU)
        plan = plan_of(config, GenerateConfig(per_class=1), labels, None, 0)
        return Sampler(generator, MODES[config.mode](generator, labels, None), 2).draw(list(plan))[0]

    return make


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_images_are_those_that_diffusers_draws_with_the_lora(generator_folder, sd_lora, config, draw, scale):
    """Where it is kept apart from the weights instead of merged into them."""
    drawing = draw(config(sd_lora, scale))
    pipeline = StableDiffusionPipeline.from_pretrained(generator_folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(sd_lora, adapter_name="a")
    pipeline.set_adapters("a", scale)
    noise = torch.Generator().manual_seed(drawing.request.seed)
    theirs = pipeline(drawing.request.prompt, generator=noise, num_inference_steps=2, guidance_scale=3.0).images[0]
    assert abs(np.asarray(theirs, int) - drawing.image).max() <= 1
    bare = draw(config(sd_lora, scale).model_copy(update={"lora": None}))
    assert abs(bare.image.astype(int) - drawing.image).max() > 1


def test_a_scale_of_zero_is_no_lora(sd_lora, config, draw):
    none = config(sd_lora).model_copy(update={"lora": None})
    assert np.array_equal(draw(config(sd_lora, 0.0)).image, draw(none).image)


def test_a_lora_is_part_of_what_a_dataset_is(tmp_path, labels, sd_lora, config):
    asked = GenerateConfig(per_class=1, shard_size=3)
    section = config(sd_lora, 0.5)
    made = generate(plan_of(section, asked, labels, None, 0), section, asked, labels, tmp_path, "cpu", threads=1)
    (row, *_), manifest = made.metadata().to_pylist(), made.manifest
    for said in (row, manifest):
        assert (said["lora"], said["lora_scale"], len(said["lora_sha256"])) == (sd_lora.name, 0.5, 64)
    assert identity(config(sd_lora / NAME))["lora_sha256"] == row["lora_sha256"]
    other = save(load_file(sd_lora / NAME), tmp_path / "other.safetensors", change=lambda value: value + 1)
    assert identity(config(other))["lora_sha256"] != row["lora_sha256"]
    assert "lora" not in identity(section.model_copy(update={"lora": None}))


def save(weights, path, change=lambda value: value, rename=lambda key: key):
    save_file({rename(key): change(value) for key, value in weights.items()}, path)
    return path


@pytest.mark.parametrize(
    ("change", "rename", "message"),
    [
        (lambda v: torch.cat([v, v], 1), lambda k: k, "cannot be added to the generator, a StableDiffusionPipeline: "),
        (
            lambda v: v,
            lambda k: k.replace("unet.", "transformer."),
            "does not fit .*: 16 of its 16 layers find no place",
        ),
        (
            lambda v: v,
            lambda k: k.replace("up_blocks.0", "up_blocks.7"),
            "does not fit .* of its 16 layers find no place",
        ),
        (lambda v: v, lambda k: k.replace("lora_A", "A").replace("lora_B", "B"), "holds no LoRA"),
    ],
    ids=["other shapes", "other parts", "a part of it", "no LoRA"],
)
def test_a_lora_that_does_not_fit_is_refused(tmp_path, sd_lora, config, change, rename, message):
    file = save(load_file(sd_lora / NAME), tmp_path / "odd.safetensors", change, rename)
    with pytest.raises(UserError, match=rf"generator.lora: {file} {message}"):
        load_generator(config(file), CPU)


def test_a_lora_of_another_model_is_refused(lora, folder_of, config):
    with pytest.raises(
        UserError, match=r"generator.lora: .* cannot be added to the generator, a StableDiffusionPipeline"
    ):
        load_generator(config(lora("sdxl", StableDiffusionXLPipeline)), CPU)


def test_files_that_are_no_lora_are_told(tmp_path, generator_folder, config):
    with pytest.raises(UserError, match="holds no LoRA"):
        load_generator(config(generator_folder / "unet" / "diffusion_pytorch_model.safetensors"), CPU)
    (tmp_path / "short.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match=r"cannot read .*short.safetensors"):
        load_generator(config(tmp_path / "short.safetensors"), CPU)


def test_a_pickle_is_refused_and_a_choice_asked_for(tmp_path, config, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "lora.bin").write_bytes(b"\x80\x02cos\nsystem\n")
    for model in (tmp_path, tmp_path / "lora.bin"):
        with pytest.raises(UserError, match=rf"generator.lora: {model} holds its weights as a pickle"):
            find_lora(config(model).lora)
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"several .* \(a.safetensors, b.safetensors\): name the one file"):
        find_lora(config(tmp_path).lora)
    (tmp_path / NAME).write_bytes(b"")
    assert find_lora(config(tmp_path).lora) == (tmp_path.name, tmp_path / NAME)
    with pytest.raises(UserError, match=r"generator.lora: ./nowhere is no file, folder or hub id"):
        find_lora(config("./nowhere").lora)
