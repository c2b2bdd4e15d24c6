"""What makes a pipeline faster or fits it into memory: what it does to the images and their identity."""

import json
import weakref

import pytest
import torch
import yaml
from drawn import CPU, generate, pixels
from small_study import QUICK, REAL, folders_section, genrobust

from genrobust.core import GenrobustError, digest
from genrobust.data import ShardDataset
from genrobust.generate import identity
from genrobust.generate.calls import OutOfMemory, explain_out_of_memory
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.loading import load_generator
from genrobust.generate.speed import lay_out
from genrobust.recipe import GenerateConfig, GeneratorConfig
from genrobust.study import RATES


def test_channels_last_change_images_by_rounding_alone(section, labels, plan):
    asked = list(plan(section()))[:2]
    engine, plain = (DiffusersEngine(section(), labels, None, CPU) for _ in range(2))
    for part in (plain.generator.pipeline.unet, plain.generator.pipeline.vae):
        part.to(memory_format=torch.contiguous_format)
    for part in (engine.generator.pipeline.unet, engine.generator.pipeline.vae):
        wide = [w for w in part.parameters() if w.ndim == 4 and min(w.shape[1:3]) > 1]
        assert wide and all(w.is_contiguous(memory_format=torch.channels_last) for w in wide)
    assert abs(engine._pixels(asked, 2)[0] - plain._pixels(asked, 2)[0]).max() < 1e-4


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


def test_keys_that_are_no_more_leave_the_names_of_folders_as_they_were():
    assert digest(GeneratorConfig().sampling()) == "b4fe343fa470"


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
    assert caplog.text.count("decoded one by one") == 1
    with pytest.raises(GenrobustError, match=r"out of memory .* 1 image .*offload"):
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


def test_a_measured_batch_size_draws_the_same_images(section, plan, labels, tmp_path):
    found = []
    for size in ("auto", 4):
        asked = GenerateConfig(per_class=4, shard_size=6, batch_size=size)
        dataset = generate(plan(section(), 4), section(), asked, labels, tmp_path / str(size))
        found.append((dataset.metadata().column("key").to_pylist(), pixels(dataset)))
        assert {1, 2, 4} >= set(dataset.metadata().column("batch_size").to_pylist())
    assert found[0][0] == found[1][0] and abs(found[0][1] - found[1][1]).max() <= 1


def test_a_study_keeps_the_measured_batch_size(write_folder, tmp_path):
    folders = {name: write_folder(name, name, 2, {"bell": "bell", "tree": "tree"}) for name in ("train", "test")}
    generator = {"generator": {"steps": 1}, "generate": {"per_class": 2, "batch_size": "auto"}}
    recipe = {**QUICK, "data": folders_section(folders), **generator, "arms": [REAL]}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(recipe))

    def kept(*words):
        genrobust("generate", tmp_path / "small.yaml", "--out", tmp_path / "runs", *words)
        return json.loads((tmp_path / "runs" / RATES).read_text())["genrobust_rates"]["batch_size"]

    (first,) = kept().items()
    assert "pictograms" in first[0] and first[0].endswith("cpu, shards of 4 images") and first[1] in (1, 2, 4)
    rates = tmp_path / "runs" / RATES
    rates.write_text(json.dumps({"genrobust_rates": {"batch_size": {first[0]: 3}}}))
    assert kept("--set", "data_seed=1") == {first[0]: 3}  # other images of the same generator: not measured again
    drawn = [ShardDataset(folder).metadata(["batch_size"]) for folder in (tmp_path / "runs" / "generated").iterdir()]
    assert sorted(max(of["batch_size"].to_pylist()) for of in drawn) == sorted([first[1], 3])
    assert len(kept("--set", "generate.per_class=3")) == 2  # larger shards may pay more
