"""What makes a pipeline faster or fits it into memory: what it does to the images and their identity."""

import weakref

import pytest
import torch
from drawn import CPU, pixels

from genrobust.core import GenrobustError
from genrobust.generate import identity
from genrobust.generate.calls import OutOfMemory, explain_out_of_memory
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.loading import load_generator
from genrobust.generate.speed import lay_out


def test_channels_last_change_images_by_rounding_alone(section, labels, plan):
    asked = list(plan(section()))[:2]
    engine, plain = (DiffusersEngine(section(), labels, None, CPU) for _ in range(2))
    for part in (plain.generator.pipeline.unet, plain.generator.pipeline.vae):
        part.to(memory_format=torch.contiguous_format)
    for part in (engine.generator.pipeline.unet, engine.generator.pipeline.vae):
        wide = [w for w in part.parameters() if w.ndim == 4 and min(w.shape[1:3]) > 1]
        assert wide and all(w.is_contiguous(memory_format=torch.channels_last) for w in wide)
    assert abs(engine._pixels(asked)[0] - plain._pixels(asked)[0]).max() < 1e-4


def test_convolutions_over_time_keep_their_layout(section):
    pipeline = load_generator(section("qwen-image", scheduler=None), CPU).pipeline
    assert any(weight.ndim == 5 for weight in pipeline.vae.parameters())
    lay_out(pipeline, CPU)


@pytest.mark.parametrize(
    ("key", "value", "decides"),
    [
        ("compile", True, True),
        ("offload", "group", False),
    ],
)
def test_keys_that_change_pixels_are_in_the_identity(section, key, value, decides):
    assert (identity(section(**{key: value})) != identity(section())) == decides


def small_card(fits):
    """Lets the decoder of a pipeline run out of memory with more than `fits` images."""

    def prepare(pipeline):
        decode = pipeline.vae.decode

        def limited(latents, *words, **more):
            if len(latents) > fits:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return decode(latents, *words, **more)

        pipeline.vae.decode = limited

    return prepare


def test_a_batch_that_does_not_fit_is_drawn_in_parts(section, sampler, plan, caplog):
    asked = list(plan(section(), 4))
    drawn = pixels(sampler(section(), small_card(3)).draw(asked))
    assert abs(drawn - pixels(sampler(section()).draw(asked))).max() <= 1
    assert "with 12" not in caplog.text and "from here on 6 at once" in caplog.text and "3 at once" in caplog.text
    with pytest.raises(GenrobustError, match=r"out of memory .* 1 x 64 x 64 pixels .*offload"):
        sampler(section(), small_card(0)).draw(asked)


def test_an_autoencoder_that_was_left_in_another_precision_is_given_its_own_back(section, sampler, plan):
    """As SDXL leaves it in float32 where decoding runs out of memory, which the next half of the batch is not in."""

    def prepare(pipeline):
        decode = pipeline.vae.decode

        def limited(latents, *words, **more):
            if len(latents) > 2:
                pipeline.vae.to(torch.float32)
                raise torch.OutOfMemoryError("CUDA out of memory")
            return decode(latents, *words, **more)

        pipeline.vae.decode = limited

    half = section(dtype="bfloat16")
    asked = list(plan(half))[:4]
    assert len(pixels(sampler(half, prepare).draw(asked))) == 4


def test_running_out_of_memory_frees_what_was_computed():
    """Before the error is handled: half of the batch has to fit beside it."""
    kept = []

    def compute():
        latents = torch.zeros(8)
        kept.append(weakref.ref(latents))
        raise torch.OutOfMemoryError("CUDA out of memory")

    try:
        with explain_out_of_memory(CPU, "while drawing", "lower generate.batch_size"):
            compute()
    except OutOfMemory:
        assert kept[0]() is None
