"""A class model begins as nothing, learns by class, and is what diffusers loads."""

import numpy as np
import pytest
import torch
from diffusers import DiTPipeline
from safetensors.torch import load_file
from small_training import CPU, images, labels, objective, run, started

from genrobust.core import LabelSpace, Subset, UserError
from genrobust.generate import plan_of
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.loading import load_generator
from genrobust.generate.sample import Sampler
from genrobust.generate.train.class_model import NULL, ClassCondition
from genrobust.recipe import GenerateConfig, GeneratorConfig

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


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


def test_it_begins_as_nothing_and_drops_no_class_by_itself(base, tmp_path):
    training = started(base, tmp_path, "class")
    some = training.examples.batch(0, 0)

    def answer():
        with torch.no_grad():
            return training.model(some.latents, some.timesteps, some.context).sample

    assert answer().abs().max() == 0
    for step in range(2):
        training._gradient(step)
        training._update()
    torch.manual_seed(0)
    first = answer()
    assert first.abs().max() > 0
    assert all(torch.equal(first, answer()) for _ in range(3))


def test_images_come_with_their_class_or_with_none():
    which = torch.arange(12).repeat(40)

    def drawn(share):
        return ClassCondition(images(), NULL, share).draw(which, torch.Generator().manual_seed(0))

    own = torch.from_numpy(np.asarray(images().labels))[which]
    assert torch.equal(drawn(0), own)
    assert set(drawn(1).tolist()) == {NULL}
    some = drawn(0.25)
    assert torch.equal(some[some != NULL], own[some != NULL])
    assert 86 <= int((some == NULL).sum()) <= 154  # 120 of 480 in the mean, plus or minus 3.5 standard deviations


def test_a_class_without_images_is_named(base):
    few = Subset(images(), [i for i in range(12) if images().labels[i] != 1])
    with pytest.raises(UserError, match=f"class '{labels().names[1]}' to learn from"):
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
