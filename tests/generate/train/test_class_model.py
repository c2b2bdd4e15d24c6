"""A class model begins as nothing, learns by class, and is what diffusers loads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DiTPipeline
from refusals import refused
from safetensors.torch import load_file
from sklearn.decomposition import PCA
from small_training import CPU, images, labels, loaded, objective, run, started

from genrobust.core import LabelSpace, Subset
from genrobust.data import MemoryImages
from genrobust.generate import plan_of, styles_of, train_generator
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.patch_autoencoder import fit_patches
from genrobust.generate.pipeline_loading import load_generator
from genrobust.generate.placement import compile_network, large_blocks
from genrobust.generate.sampler import Sampler
from genrobust.generate.train.class_model import NULL, ClassCondition, Numbers, StyledTable
from genrobust.generate.train.objective import in_range, load_views
from genrobust.recipe import PATCH, GenerateConfig, GeneratorConfig

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


def in_styles(places, styles):
    chosen = Subset(images(), places)
    pixels = [np.asarray(chosen.image(i)) for i in range(len(chosen))]
    return MemoryImages("mixed", pixels, chosen.labels, chosen.keys, styles)


@pytest.fixture
def made(trained):
    return trained["class"]


def test_the_folder_is_a_plain_dit_pipeline_with_the_autoencoder_of_the_base(base, made):
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        assert (made / "vae" / name).read_bytes() == (base / "vae" / name).read_bytes()
    pipeline = DiTPipeline.from_pretrained(made, use_safetensors=True)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.beta_schedule == "squaredcos_cap_v2"  # the base's
    assert pipeline.scheduler.config.clip_sample is False
    assert pipeline.get_label_ids([labels().names[1], labels().ids[2]]) == [1, 2]
    assert {w.dtype for w in load_file(made / WEIGHTS).values()} == {torch.float32}
    pipeline.set_progress_bar_config(disable=True)
    drawn = [
        pipeline([0, 2], guidance, torch.Generator().manual_seed(0), num_inference_steps=2, output_type="np").images
        for guidance in (1.0, 4.0)
    ]
    assert drawn[0].shape == (2, 64, 64, 3)
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-4  # its own guidance finds the class that means none


def test_the_class_mode_draws_with_it(made):
    config = GeneratorConfig(mode="class", model=str(made), steps=2, dtype="float32")
    requests = list(plan_of(config, GenerateConfig(per_class=1), labels(), images(), 0))
    drawn = Sampler(DiffusersEngine(config, labels(), None, CPU), 0).draw(requests)
    assert all(d.image is not None and d.image.shape == (64, 64, 3) for d in drawn)
    turned = DiffusersEngine(config, LabelSpace(tuple(reversed(labels().classes))), None, CPU)
    assert turned.mode.arguments(requests, []) == {"class_labels": [2, 1, 0]}, "it knows its classes by name"


def test_it_is_compiled_by_its_large_blocks(made):
    loaded = load_generator(GeneratorConfig(mode="class", model=str(made), dtype="float32", compile=True), CPU)
    compile_network(loaded)
    blocks = large_blocks(loaded.pipeline.transformer)
    assert len(blocks) == 5 and all(block._compiled_call_impl is not None for block in blocks)


def test_it_begins_as_nothing_and_drops_no_class_by_itself(base, tmp_path):
    training = started(base, tmp_path, "class")
    some = training.examples.batch(0, 0)

    def answer():
        with torch.no_grad():
            return training.model(some.latents, some.timesteps, some.context).sample

    assert answer().abs().max() == 0
    for step in range(2):
        training.compute_gradient(step)
        training.update()
    torch.manual_seed(0)
    first = answer()
    assert first.abs().max() > 0
    assert all(torch.equal(first, answer()) for _ in range(3))


def test_each_class_style_and_neither_has_a_number_of_its_own():
    numbers = Numbers(3, ("ink", "oil"))
    classes, styles = numbers.pairs()
    used = [n for n in range(numbers.null) if (int(classes[n]), int(styles[n])) != (3, 0)]
    assert used == [0, 1, 2, *range(4, 12)]
    assert len({(int(classes[n]), int(styles[n])) for n in used}) == 11
    assert torch.equal(numbers.of(classes[used], styles[used]), torch.tensor(used))
    assert numbers.of(torch.tensor([3]), torch.tensor([0])).tolist() == [NULL] == [numbers.null]
    assert numbers.of(torch.arange(3), torch.zeros(3, dtype=torch.int64)).tolist() == [0, 1, 2], "as without styles"
    table = StyledTable(numbers, 4)
    asked = torch.tensor([0, 5, 10, NULL])
    assert torch.equal(table(asked), table.as_table()(asked))
    assert not torch.equal(table(torch.tensor([0]))[0], table(torch.tensor([4]))[0])


def test_images_come_without_their_style_too():
    mixed = in_styles([0, 4], ["ink", "oil"])
    numbers = Numbers(2, styles_of(mixed))
    which = torch.arange(2).repeat(200)

    def drawn(dropout):
        condition = ClassCondition(mixed, numbers, dropout)
        return set(condition(which, torch.Generator().manual_seed(0)).tolist())

    assert drawn(0) == {3, 7}
    assert drawn(1) == {NULL}
    assert drawn(0.5) == {0, 1, 3, 5, 7, 8, NULL}


@pytest.mark.parametrize("components", [None, 6])
def test_a_model_of_classes_and_styles_is_a_plain_dit_pipeline_that_draws_each_class_in_each_style(
    base, tmp_path, components
):
    mixed = in_styles(range(12), ["ink"] * 4 + ["ink", "oil"] * 4)  # no class 0 in oil
    wanted = objective(base, "class", on=mixed, steps=2, components=components)
    assert wanted.inputs() != replace(wanted, images=in_styles(range(12), ["oil", "ink"] * 6)).inputs()
    out = train_generator(wanted, tmp_path / "out", "cpu", threads=1)
    pipeline = DiTPipeline.from_pretrained(out, use_safetensors=True)
    name = labels().names[0]
    assert pipeline.get_label_ids([name, f"{name} (ink)", f"{name} (oil)"]) == [0, 4, 8]
    latents = components or loaded(base).pipeline.vae.config.latent_channels
    assert pipeline.vae.config.latent_channels == pipeline.transformer.config.in_channels == latents
    assert type(pipeline.transformer).__name__ == "UNet2DModel"
    assert type(pipeline.vae).__name__ == ("PatchAutoencoder" if components else "AutoencoderKL")
    drawn_with = GeneratorConfig(mode="class", model=str(out), steps=2, dtype="float32")
    requests = list(plan_of(drawn_with, GenerateConfig(per_class=2), labels(), images(), 0, ["ink", "oil"]))
    engine = DiffusersEngine(drawn_with, labels(), None, CPU)
    numbers = engine.mode.arguments(requests, [])["class_labels"]
    assert sorted(numbers) == [4, 5, 6, 8, 9, 10]
    assert [(n // 4, n % 4) for n in numbers] == [({"ink": 1, "oil": 2}[r.style], r.label) for r in requests]
    assert all(d.image is not None for d in Sampler(engine, 0).draw(requests))
    unknown = list(plan_of(drawn_with, GenerateConfig(per_class=1), labels(), images(), 0, ["lead"]))
    with refused("generator.styles", "(lead)"):
        engine.mode.arguments(unknown, [])


def test_patches_are_drawn_from_their_principal_components():
    pixels = in_range(load_views(images(), range(12), (64, 64)))
    patches = torch.nn.functional.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1).numpy()
    errors = []
    for components in (48, 12, 3):
        autoencoder = fit_patches(pixels.split(5), components)
        with torch.inference_mode():
            latents = autoencoder.encode(pixels).latent_dist.mode()
            drawn = autoencoder.decode(latents).sample
        assert latents.shape == (12, components, 64 // PATCH, 64 // PATCH)
        assert latents.square().mean() == pytest.approx(1, abs=0.02)
        channels = latents.transpose(0, 1).flatten(1)
        assert (torch.cov(channels) - torch.diag(channels.var(1))).abs().max() < 0.02 * channels.var(1).max()
        errors.append(float((drawn - pixels).square().mean()))
    assert errors[0] < 1e-6  # all of 48 numbers are all of a patch
    best = PCA(12).fit(patches)  # around the mean of each pixel, where ours is around that of each color
    least = np.square(best.inverse_transform(best.transform(patches)) - patches).mean()
    assert least * 0.999 <= errors[1] < least * 1.1 < errors[2]


def test_a_class_without_images_is_named(base):
    few = Subset(images(), [i for i in range(12) if images().labels[i] != 1])
    with refused(repr(labels().names[1])):
        objective(base, "class", on=few)


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "mode"), [("sdxl", "labels"), ("variation", "images"), ("dit", "class")])
def test_other_bases_lend_their_autoencoder_too(folder_of, tmp_path, kind, mode):
    generator = GeneratorConfig.model_validate({"model": str(folder_of(kind)), "mode": mode, "dtype": "float32"})
    out = run(generator, tmp_path / "out", "class", steps=2)
    drawn = GeneratorConfig(mode="class", model=str(out), dtype="float32")
    lent, own = (load_generator(g, CPU).pipeline.vae.state_dict() for g in (drawn, generator))
    assert own.keys() == lent.keys()
    assert all(torch.equal(own[name], lent[name]) for name in own)
