"""What a step of a training sees, and how wrong the model is about it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from refusals import refused
from small_training import CPU, images, labels, loaded, objective
from tiny import saved, stable_diffusion

from genrobust.generate.train.finetune import CaptionCondition
from genrobust.generate.train.objective import Batch, Examples, losses, noise_schedule, snr_weights, target
from genrobust.recipe import GeneratorConfig

# A signal share of 0.64: a signal-to-noise ratio of 16/9.
KNOWN = {"num_train_timesteps": 2, "trained_betas": [0.36, 0.5]}
# Signal shares of 0.9 and, after a second step, 0.9 x 0.5 = 0.45: signal-to-noise ratios of 9 and 9/11.
CLEAN = {"num_train_timesteps": 2, "trained_betas": [0.1, 0.5]}


@pytest.mark.parametrize("drawing", [{"compile": True}, {"offload": "group"}])
def test_what_speeds_up_drawing_has_no_part_in_training(base, drawing):
    generator = objective(GeneratorConfig(model=str(base), **drawing), "full").load(CPU)
    assert generator.config.offload == "none" and not generator.config.compile
    assert {weight.dtype for weight in generator.pipeline.unet.parameters()} == {torch.float32}


@pytest.mark.parametrize(("kind", "wanted"), [("v_prediction", 0.8 * 2 - 0.6 * 3), ("epsilon", 2.0)])
def test_the_target_on_known_numbers(kind, wanted):
    schedule = DDPMScheduler(**KNOWN, prediction_type=kind)
    shape = (1, 1, 1, 1)
    batch = Batch(torch.full(shape, 3.0), torch.full(shape, 2.0), torch.tensor([0]), torch.zeros(1, 1, 1))
    assert target(schedule, batch).item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("v_prediction", [5 / 10, (9 / 11) / (20 / 11)]), ("epsilon", [5 / 9, 1])],
)
def test_min_snr_weights_are_those_of_the_formula(kind, wanted):
    schedule = DDPMScheduler(**CLEAN, prediction_type=kind)
    assert snr_weights(schedule, torch.tensor([0, 1])).tolist() == pytest.approx(wanted, abs=1e-5)


def test_the_loss_is_the_weighted_error_of_the_velocity(base):
    pipeline = loaded(base).pipeline
    schedule = noise_schedule(pipeline.scheduler.config)
    source = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(2, 12, 8, 8, generator=source) for _ in range(2))
    context = torch.randn(2, 77, 16, generator=source)
    time = torch.tensor([100, 900])
    with torch.no_grad():
        found = losses(schedule, pipeline.unet, Batch(x, noise, time, context))
        # The squared-cosine schedule of Nichol and Dhariwal (2021), written down anew.
        level = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
        share = np.cumprod(1 - np.minimum(1 - level[1:] / level[:-1], 0.999))[time.numpy()]
        a, s = (torch.tensor(np.sqrt(v), dtype=torch.float32).view(2, 1, 1, 1) for v in (share, 1 - share))
        answer = pipeline.unet(a * x + s * noise, time, context).sample
    snr = share / (1 - share)
    wanted = ((answer - (a * noise - s * x)) ** 2).mean((1, 2, 3)).numpy() * np.minimum(snr, 5) / (snr + 1)
    assert found.numpy() == pytest.approx(wanted, rel=1e-4)


def test_another_kind_of_answer_is_refused():
    with refused("prediction_type", "'sample'"):
        noise_schedule(DDPMScheduler(prediction_type="sample").config)


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """The tiny generator with an autoencoder that is sure of itself, so that latents tell which image they are of."""
    pipeline = stable_diffusion()
    with torch.no_grad():
        pipeline.vae.quant_conv.weight[12:] = 0
        pipeline.vae.quant_conv.bias[12:] = -30  # log variance
    return loaded(saved(pipeline, tmp_path_factory.mktemp("exact")))


def examples(generator, dropout=0.0, **changes):
    wanted = objective(Path(), "full", batch_size=32, **changes)
    condition = CaptionCondition(generator, images(), wanted.captions, dropout)
    return Examples(generator, images(), condition, wanted.config)


def means(generator, mirrored=False):
    pixels = np.stack([np.asarray(images().image(i))[:, :: -1 if mirrored else 1] for i in range(12)])
    with torch.no_grad():
        inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
        return generator.pipeline.vae.encode(inputs).latent_dist.mean * generator.pipeline.vae.config.scaling_factor


def nearest(latents, all_means):
    distances = torch.cdist(latents.flatten(1), all_means.flatten(1))
    assert distances.min(1).values.max() < 1e-2  # rounding in the VAE
    return distances.argmin(1).tolist()


def context_of(generator, text):
    with torch.no_grad():
        return generator.pipeline.encode_prompt(text, CPU, 1, False)[0][0]


def test_an_image_comes_with_a_caption_of_its_own(exact):
    batch = examples(exact).batch(0, 0)
    shown = nearest(batch.latents, means(exact))
    assert len(set(shown)) > 6
    told = set()
    for image, context in zip(shown, batch.context, strict=True):
        name = labels().classes[images().labels[image]].prompt
        own = [f"outline of a {name}", f"a {name} in outline"]
        matching = [text for text in own if torch.allclose(context, context_of(exact, text), atol=1e-5)]
        assert len(matching) == 1
        told.add(matching[0])
    assert len(told) == 6  # three classes, two captions each


def test_dropped_captions_are_empty_and_as_many_as_asked_for(exact):
    empty = context_of(exact, "")

    def dropped(share):
        contexts = torch.cat([examples(exact, share).batch(0, k).context for k in range(4)])
        return sum(torch.allclose(context, empty, atol=1e-5) for context in contexts)

    assert dropped(0) == 0
    assert dropped(1) == 128
    assert 15 <= dropped(0.25) <= 49  # 32 of 128 in the mean, plus or minus 3.5 standard deviations


def test_a_flip_mirrors_about_half_of_the_images(exact):
    views = torch.cat([means(exact), means(exact, mirrored=True)])
    shown = nearest(examples(exact, flip=True).batch(0, 0).latents, views)
    assert 6 <= sum(view >= 12 for view in shown) <= 26
    plain = nearest(examples(exact).batch(0, 0).latents, views)
    assert max(plain) < 12


def test_a_batch_is_a_function_of_seed_and_step_alone(exact):
    some = examples(exact)
    first = some.batch(0, 7)
    some.batch(0, 8)
    again = examples(exact).batch(0, 7)
    for name in ("latents", "noise", "timesteps", "context"):
        assert torch.equal(getattr(first, name), getattr(again, name)), name
    assert not torch.equal(first.noise, some.batch(0, 8).noise)
    assert not torch.equal(first.noise, some.batch(1, 7).noise)


def test_what_does_not_fit_into_memory_is_encoded_when_asked_for(exact, monkeypatch):
    kept = examples(exact).batch(0, 0)
    for limit, value in (
        ("objective.KEPT_BYTES", 0),
        ("objective.ENCODED_PIXELS", 5 * 64 * 64),
        ("finetune.ENCODED_TEXTS", 5),
    ):
        monkeypatch.setattr(f"genrobust.generate.train.{limit}", value)
    fresh = examples(exact).batch(0, 0)
    assert torch.allclose(kept.latents, fresh.latents, atol=1e-4)
    assert torch.allclose(kept.context, fresh.context, atol=1e-5)
    assert torch.equal(kept.noise, fresh.noise)
