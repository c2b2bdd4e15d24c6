"""Every mode, with every kind of pipeline, through the code that a study runs."""

from dataclasses import replace
from itertools import pairwise

import diffusers
import numpy as np
import pytest
import torch
from drawn import CPU, darkness_to_black, generate, pixels
from PIL import Image
from refusals import refused
from tiny import saved, with_safety_checker

from genrobust.core import UserError, hashed_seed
from genrobust.data import MemoryImages
from genrobust.generate import identity
from genrobust.generate.mode import locate
from genrobust.generate.pipeline_loading import load_generator
from genrobust.recipe import GenerateConfig, GeneratorConfig
from genrobust.store import Artifact

AGAIN = {"strength": 0.7}
CASES = {  # mode, kind of pipeline, settings, and what diffusers calls the pipeline that draws so
    "labels, SD": ("labels", "sd", {}, "StableDiffusion"),
    "labels, SDXL": ("labels", "sdxl", {"scheduler": "euler"}, "StableDiffusionXL"),
    "labels, SD3": ("labels", "sd3", {"scheduler": None}, "StableDiffusion3"),
    "labels, LCM": ("labels", "lcm", {"scheduler": "lcm", "guidance_scale": 8.0}, "LatentConsistencyModel"),
    "images": ("images", "variation", {"scheduler": None}, "StableDiffusionImageVariation"),
    "labels+images, SD": ("labels+images", "sd", AGAIN, "StableDiffusionImg2Img"),
    "labels+images, SDXL": ("labels+images", "sdxl", AGAIN | {"scheduler": "ddim"}, "StableDiffusionXLImg2Img"),
    "labels+images, LCM": ("labels+images", "lcm", AGAIN | {"scheduler": "lcm"}, "LatentConsistencyModelImg2Img"),
    "class": ("class", "dit", {"scheduler": "ddim"}, "DiT"),
}
WITH_IMAGES = [case for case, (mode, *_) in CASES.items() if "images" in mode]
WITH_TEXT = [case for case, (mode, *_) in CASES.items() if "labels" in mode]
FEW = {"labels, SD", "images", "labels+images, SD", "class"}  # that stand for the others in the short run


def marked(case, *more):
    """The parameters of a test, which is one of the short run for the cases of `FEW` alone."""
    return pytest.param(case, *more, marks=[] if case in FEW else [pytest.mark.thorough])


each_case = pytest.mark.parametrize("case", list(map(marked, CASES)))


@pytest.fixture
def recipe(folder_of):
    """The generator section of a case."""

    def make(case, **more):
        mode, kind, settings, _ = CASES[case]
        settings = {"steps": 3, "dtype": "float32", **settings, **more}
        return GeneratorConfig(mode=mode, model=str(folder_of(kind)), **settings)

    return make


@each_case
def test_batches_of_one_and_of_three_make_the_same_dataset(tmp_path, real, recipe, plan, case):
    made = []
    for size in (1, 3):
        config = GenerateConfig(per_class=2, shard_size=6, batch_size=size)
        out = tmp_path / str(size)
        made.append(generate(plan(recipe(case)), recipe(case), config, out, sources=real))
        assert not list(Artifact(out).damage())
    one, three = made
    request = ["key", "label", "class_id", "prompt", "template", "negative_prompt", "seed", "source"]
    rows = one.metadata().select(request)
    assert rows == three.metadata().select(request)
    assert rows["key"].to_pylist() == list(one.keys) == [r.key for r in plan(recipe(case))]
    assert pixels(one).shape == (6, 64, 64, 3)
    assert abs(pixels(one) - pixels(three)).max() <= 1
    assert len({image.tobytes() for image in pixels(one)}) == 6, "each from its own noise"
    mode, _, settings, _ = CASES[case]
    label_of = dict(zip(real.keys, real.labels.tolist(), strict=True))
    for row in one.metadata().to_pylist():
        assert (row["mode"], row["strength"], row["lora"]) == (mode, settings.get("strength"), None)
        assert bool(row["prompt"]) == bool(row["template"]) == (case in WITH_TEXT)
        assert (row["source"] is not None) == (case in WITH_IMAGES)
        assert case not in WITH_IMAGES or label_of[row["source"]] == row["label"]
    assert one.about["mode"] == mode


def of_a_thousand_classes(transformer):
    """The same transformer with its "no class" at number 1000, the only one that DiTPipeline itself guides by."""
    wide = diffusers.DiTTransformer2DModel.from_config({**transformer.config, "num_embeds_ada_norm": 1000})
    weights = transformer.state_dict()
    for name, table in weights.items():
        if "embedding_table" in name:
            weights[name] = torch.zeros(1001, table.shape[1])
            weights[name][:3], weights[name][1000] = table[:3], table[3]
    wide.load_state_dict(weights)
    return wide.eval()


@pytest.mark.parametrize(
    ("case", "negative"),
    [marked(case, "") for case in CASES] + [marked(case, "blurry") for case in WITH_TEXT if "LCM" not in case],
)
def test_images_are_those_that_diffusers_draws_itself(real, recipe, plan, sampler, case, negative):
    """Unbatched, told in diffusers' own words: text and not embeddings, a seeded generator and not noise."""
    config = recipe(case)
    without = {"text_encoder_3": None, "tokenizer_3": None} if case == "labels, SD3" else {}
    pipeline = getattr(diffusers, f"{CASES[case][-1]}Pipeline").from_pretrained(config.model, **without)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = load_generator(config, CPU).pipeline.scheduler
    if case == "class":
        pipeline.transformer = of_a_thousand_classes(pipeline.transformer)
    requests = list(plan(config, negative_prompt=negative))[:3:2]
    for request, drawing in zip(requests, sampler(config).draw(requests), strict=True):
        told = {"class_labels": [request.label]} if case == "class" else {}
        if case in WITH_TEXT:
            told["prompt"] = request.prompt
        if negative:
            told["negative_prompt"] = negative
        if case in WITH_IMAGES:
            told["image"] = real.image(list(real.keys).index(request.source))
        if config.mode == "labels+images":
            told["strength"] = config.strength
        told |= {"num_inference_steps": config.steps, "guidance_scale": config.guidance_scale}
        theirs = pipeline(generator=torch.Generator().manual_seed(request.seed), **told).images[0]
        assert abs(np.asarray(theirs, int) - drawing.image).max() <= 1


@pytest.mark.parametrize("case", list(map(marked, WITH_IMAGES)))
def test_the_source_image_enters_and_no_other_does(real, recipe, plan, sampler, case):
    draw = sampler(recipe(case)).draw
    request, *others = plan(recipe(case))
    another = next(key for key in real.keys if key != request.source)
    alone, turned = pixels(draw([request])), pixels(draw([replace(request, source=another)]))
    assert np.array_equal(alone, pixels(draw([request])))
    assert abs(alone - turned).max() > 1
    assert abs(pixels(draw([request, *others]))[:1] - alone).max() <= 1


def test_source_images_of_any_size_are_fitted(real, recipe, plan, sampler):
    """To the size of the images drawn, as if their middle had been cut out first."""
    square = real.image(0).resize((40, 40))
    wide = Image.new("RGB", (100, 40), "red")
    wide.paste(square, (30, 0))
    both = MemoryImages("train", [np.asarray(square), np.asarray(wide)], [0, 0], ["square", "wide"])
    draw = sampler(recipe("labels+images, SD"), sources=both).draw
    request = plan(recipe("labels+images, SD"))[0]
    drawn = pixels(draw([replace(request, source="square"), replace(request, source="wide")]))
    assert drawn.shape == (2, 64, 64, 3)
    assert abs(drawn[0] - drawn[1]).max() <= 8, "but for what resampling mixes in at the cut"
    tall = sampler(recipe("labels+images, SD", height=96), sources=both).draw([replace(request, source="wide")])
    assert tall[0].image.shape == (96, 64, 3)
    assert sampler(recipe("images"), sources=both).draw([replace(request, source="wide")])[0].image is not None


@each_case
def test_black_images_are_drawn_again_in_every_mode(recipe, plan, sampler, case):
    """A decoder so dark that some noise gives black and some does not; each redraw has the seed it says."""

    def dark(by):
        def change(pipeline):
            pipeline.vae.decoder.conv_out.weight.mul_(0.3)  # so that nothing is clipped before it is darkened
            pipeline.vae.decoder.conv_out.bias.sub_(2 * by)  # decoded values span [-1, 1]

        return change

    requests = list(plan(recipe(case)))
    thresholds = [darkness_to_black(image / 255) for image in pixels(sampler(recipe(case), dark(0)).draw(requests))]
    _, below, above = max((b - a, a, b) for a, b in pairwise(sorted(thresholds)))  # the widest gap, for rounding
    draw = sampler(recipe(case), dark((below + above) / 2), redraws=20).draw
    drawings = draw(requests)
    assert [bool(d.faults) for d in drawings] == [threshold <= below for threshold in thresholds]
    assert {fault for d in drawings for fault in d.faults} == {"black"}
    redrawn = next(d for d in drawings if d.redraws and d.image is not None)
    again = draw([replace(redrawn.request, seed=hashed_seed(redrawn.request.seed, redrawn.redraws))])
    assert abs(pixels(again) - redrawn.image).max() <= 1


def test_unsafe_images_are_drawn_again(tmp_path, plan, sampler):
    """With a checker that flags whatever is more like one of its concepts than a cosine of `threshold`."""

    def faults(threshold, **more):
        folder = saved(with_safety_checker(threshold), tmp_path / str(threshold))
        config = GeneratorConfig(model=str(folder), steps=2, dtype="float32", **more)
        return [d.faults for d in sampler(config).draw(list(plan(config)))]

    assert faults(-1.1, safety_checker=True) == [("unsafe",) * 3] * 6
    assert faults(1.1, safety_checker=True) == [()] * 6
    assert faults(-1.1) == [()] * 6, "off by default"


@pytest.mark.parametrize(
    ("mode", "kind", "message"),
    [
        ("labels", "variation", "StableDiffusionImageVariationPipeline; generator.mode labels .*images"),
        ("labels", "dit", "DiTPipeline; .* generator.mode to class"),
        ("images", "sd", "StableDiffusionImageVar.*generator.mode to labels or labels.images"),
        ("images", "dit", "DiTPipeline; .*generator.mode to class"),
        ("labels+images", "variation", "generator.mode to images"),
        ("class", "sdxl", "StableDiffusionXLPipeline; generator.mode class .*DiTPipeline"),
    ],
)
def test_a_pipeline_for_another_mode_is_refused_with_the_mode_that_takes_it(folder_of, mode, kind, message):
    with pytest.raises(UserError, match=message):
        locate(GeneratorConfig(mode=mode, model=str(folder_of(kind))))


def test_text_pipelines_saved_for_image_to_image_are_taken_for_both(tmp_path, folder_of):
    pipeline = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(folder_of("sd"))
    folder = saved(pipeline, tmp_path / "img2img")
    for mode in ("labels", "labels+images"):
        assert locate(GeneratorConfig(mode=mode, model=str(folder)))[1] == folder


def test_what_a_mode_does_not_use_decides_no_identity(recipe):
    keys = {mode: set(identity(recipe(case))) for case, (mode, *_) in CASES.items()}
    assert {mode for mode in keys if "strength" in keys[mode]} == {"labels+images"}
    assert {mode for mode in keys if "width" not in keys[mode]} == {"class"}


def test_a_source_image_that_cannot_be_read_is_named(tmp_path, real, recipe, plan):
    config, asked = recipe("images"), GenerateConfig(per_class=2, shard_size=3)
    broken = plan(config)[4].source
    files = [b"no image" if key == broken else np.asarray(real.image(i)) for i, key in enumerate(real.keys)]
    train = MemoryImages("train", files, real.labels, real.keys)

    def run(sources):
        return generate(plan(config), config, asked, tmp_path, sources=sources)

    with refused(broken, "guitar-000001"):
        run(train)
    assert len(run(real)) == 6, "what was done before stays"
