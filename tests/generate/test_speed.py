"""What makes a pipeline faster or smaller: what it does to the images and their identity, and what it refuses."""

import json
import sys
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import yaml
from drawn import CPU, generate, pixels
from small_study import QUICK, REAL, folders_section, genrobust

from genrobust.core import GenrobustError, MissingPackage, UserError
from genrobust.data import ShardDataset
from genrobust.generate import Generation, identity, open_generated, speed
from genrobust.generate.calls import OutOfMemory, explain_out_of_memory
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.loading import load_generator
from genrobust.generate.speed import _bytes, lay_out, quantization
from genrobust.recipe import GenerateConfig
from genrobust.study import RATES


@pytest.fixture
def eager_cache(monkeypatch):
    """Lets the cache skip what it can: random networks change more from step to step than trained ones."""
    monkeypatch.setattr(diffusers, "FirstBlockCacheConfig", partial(diffusers.FirstBlockCacheConfig, threshold=10))


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
        ("attention", "flex", True),
        ("quantize", "torchao-int8", True),
        ("cache", "first-block", True),
        ("tiling", True, True),
        ("offload", "group", False),
    ],
)
def test_keys_that_change_pixels_are_in_the_identity(section, key, value, decides):
    assert (identity(section(**{key: value})) != identity(section())) == decides


@pytest.mark.parametrize(
    ("kind", "more", "same"),
    [
        ("sd", {"tiling": True}, True),  # the images are no larger than a tile
        ("sd", {"offload": "model"}, True),  # nothing to do on a CPU
        ("flux", {"attention": "native"}, True),
        ("flux", {"cache": "first-block"}, False),
        ("flux", {"cache": "taylor-seer"}, False),
    ],
)
def test_images_change_where_they_may(section, sampler, plan, eager_cache, kind, more, same):
    asked = list(plan(section(kind)))[:3]
    plain, fast = (pixels(sampler(section(kind, steps=4, **own)).draw(asked)) for own in ({}, more))
    assert plain.shape == fast.shape and (abs(plain - fast).max() <= 1) == same


@pytest.mark.parametrize(
    ("kind", "cache"),
    [
        ("flux", "first-block"),
        ("flux2-klein", "taylor-seer"),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in (("qwen-image", "first-block"), ("flux", "taylor-seer"), ("qwen-image", "taylor-seer"))
        ),
    ],
)
def test_with_a_cache_too_an_image_depends_on_its_request_alone(section, sampler, plan, eager_cache, kind, cache):
    cached = sampler(section(kind, cache=cache, steps=8))
    asked = list(plan(section(kind)))[:4]
    together = pixels(cached.draw(asked))
    apart = pixels([*cached.draw(asked[:1]), *cached.draw(asked[1:])])
    assert abs(together - apart).max() <= 1  # by rounding, where a batch is drawn at once
    assert (pixels(sampler(section(kind, steps=8)).draw(asked)) != together).any()


def test_steps_that_differ_are_not_compiled(section):
    cached = load_generator(section("flux", cache="taylor-seer", compile="auto"), CPU)
    on_gpu = replace(cached, device=torch.device("cuda"))
    assert not speed.compile_network(on_gpu, 10**6)
    assert speed.trunk_of(cached.pipeline)._compiled_call_impl is None
    insists = load_generator(section("flux", cache="taylor-seer", compile=True), CPU)
    with pytest.raises(UserError, match="cache: taylor-seer"):
        speed.compile_network(insists, 10**6)


def test_a_cache_keeps_nothing_of_a_batch_that_did_not_fit(section, labels, plan, monkeypatch):
    own = section("flux", cache="taylor-seer", steps=8)
    cached, fresh = (DiffusersEngine(own, labels, None, CPU) for _ in range(2))
    asked, trunk = list(plan(own))[:4], cached.generator.pipeline.transformer
    whole, calls = trunk.forward, []

    def forward(*args, **kwargs):
        calls.append(1)
        if len(calls) == 6:
            raise torch.OutOfMemoryError
        return whole(*args, **kwargs)

    monkeypatch.setattr(trunk, "forward", forward)
    drawn, expected = (np.stack(engine.draw(asked)).astype(int) for engine in (cached, fresh))
    assert abs(drawn - expected).max() <= 1  # the former are decoded one by one
    assert len(calls) > 8


@pytest.mark.parametrize(
    ("kind", "more", "error", "message"),
    [
        ("sd", {"attention": "flash-3"}, UserError, "attention .*StableDiffusionPipeline"),
        ("flux", {"attention": "flash"}, UserError, "generator.attention: flash .*install"),
        *(
            (kind, {"attention": name}, UserError, f"attention: {name} takes no masks, which a {pipeline} needs")
            for kind, pipeline in (("qwen-image", "QwenImagePipeline"), ("z-image", "ZImagePipeline"))
            for name in ("flash", "flash-3", "sage")
        ),
        ("sd", {"cache": "first-block"}, UserError, "generator.cache: a Stable"),
    ],
)
def test_what_a_pipeline_cannot_do_is_refused(section, kind, more, error, message):
    with pytest.raises(error, match=message):
        load_generator(section(kind, **more), CPU)


def test_the_attention_of_a_generator_is_not_that_of_the_next(section, labels, plan):
    asked = list(plan(section("flux")))[:1]
    plain = DiffusersEngine(section("flux"), labels, None, CPU)
    before = plain._pixels(asked, 2)[0]
    flex = DiffusersEngine(section("flux", attention="flex"), labels, None, CPU)
    assert (plain._pixels(asked, 2)[0] == before).all()
    assert (flex._pixels(asked, 2)[0] != before).any()  # in the last bits


def test_a_quantizer_that_is_not_installed_is_named_with_what_installs_it(section, monkeypatch):
    monkeypatch.setattr("genrobust.core.errors.find_spec", lambda package: None)
    with pytest.raises(MissingPackage, match=r"needs the package torchao.*genrobust\[quantize\]"):
        load_generator(section(quantize="torchao-int8"), CPU)


@pytest.mark.parametrize("quantize", ["torchao-int8", "torchao-float8"])
def test_quantized_parts_draw_and_take_less(section, sampler, plan, quantize):
    pytest.importorskip("torchao")
    quantized, plain = (load_generator(section(**more), CPU).pipeline for more in ({"quantize": quantize}, {}))
    assert _bytes(quantized.unet.parameters()) < _bytes(plain.unet.parameters())
    assert pixels(sampler(section(quantize=quantize)).draw(list(plan(section()))[:2])).shape[0] == 2


def test_a_quantizer_that_is_too_old_is_named_with_what_to_do(section, tmp_path, monkeypatch):
    (tmp_path / "torchao").mkdir()
    for module in ("__init__.py", "quantization.py"):
        (tmp_path / "torchao" / module).touch()
    config = section(quantize="torchao-int8")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(UserError, match=r"generator\.quantize: torchao-int8 .*pip install --upgrade"):
            quantization(config, Path(config.model))
    finally:
        for name in ("torchao", "torchao.quantization"):
            sys.modules.pop(name, None)


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


def test_with_a_cache_no_batch_size_is_measured(section, plan, labels, tmp_path):
    """Images are drawn one by one, whatever a larger batch would gain."""
    cached = section("flux", cache="first-block")
    asked, measured = GenerateConfig(per_class=2, shard_size=6, batch_size="auto"), []
    run = Generation(plan(cached), cached, asked, labels, tmp_path / "out", "cpu", 1)
    with run.claimed() as missing:
        run.load(lambda measure: measured.append(measure) or measure())(missing)
    assert set(open_generated(tmp_path / "out").metadata().column("batch_size").to_pylist()) == {1} and not measured


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
