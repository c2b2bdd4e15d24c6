"""Mode edit: as diffusers edits, each image from its own source and instruction; and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from drawn import CPU, pixels
from PIL import Image, ImageOps
from refusals import refused

from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.pipeline_loading import load_generator
from genrobust.recipe import parse_recipe

KINDS = ["instruct-pix2pix", pytest.param("instruct-pix2pix-xl", marks=pytest.mark.thorough), "flux-kontext"]
SKETCH = {"templates": ["turn this {} into a pencil sketch", "make the {} a painting"]}


@pytest.fixture
def edit(section):
    return lambda kind, **more: section(kind, mode="edit", **more)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_that_of_diffusers_and_depends_on_its_request_alone(edit, sampler, plan, real, folder_of, kind):
    asked = list(plan(edit(kind), 2, **SKETCH))
    drawn = pixels(sampler(edit(kind)).draw(asked))
    assert drawn.shape == (6, 64, 64, 3) and len(np.unique(drawn.reshape(6, -1), axis=0)) == 6

    theirs = DiffusionPipeline.from_pretrained(folder_of(kind))
    theirs.set_progress_bar_config(disable=True)
    request, image = asked[3], real.image(list(real.keys).index(asked[3].source))
    more = {"_auto_resize": False, "max_area": 64 * 64} if kind == "flux-kontext" else {}
    alone = theirs(
        prompt=request.prompt,
        image=ImageOps.fit(image, (64, 64), Image.Resampling.LANCZOS),
        generator=torch.Generator().manual_seed(request.seed),
        num_inference_steps=2,
        guidance_scale=3.0,
        output_type="np",
        **more,
    ).images[0]
    assert abs(drawn[3] - (alone * 255).round().astype(int)).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_source_and_instruction_change_the_image(edit, sampler, plan, kind):
    first, second = list(plan(edit(kind), 2, strategy="single", templates=["turn this {} into a sketch"]))[:2]
    (other,) = list(plan(edit(kind), 1, strategy="single", templates=["xyz {}"]))[:1]
    loaded = sampler(edit(kind))
    drawn = pixels(loaded.draw([first]))
    for changed in ({"source": second.source}, {"prompt": other.prompt}):
        assert (pixels(loaded.draw([replace(first, **changed)])) != drawn).any(), changed


def test_the_guidance_by_the_image_is_of_an_instruct_pix2pix(edit, sampler, plan, labels, real):
    asked = list(plan(edit("instruct-pix2pix"), 1, **SKETCH))[:1]
    drawn = [
        pixels(sampler(edit("instruct-pix2pix", image_guidance_scale=scale)).draw(asked)) for scale in (None, 1.5, 9)
    ]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()  # 1.5 is the pipeline's own
    with refused("generator.image_guidance_scale", "FluxKontextPipeline"):
        DiffusersEngine(edit("flux-kontext", image_guidance_scale=2), labels, real, CPU)


def test_other_pipelines_and_descriptions_are_refused(edit, section):
    with refused("generator.mode edit", "generator.mode to labels"):
        load_generator(edit("sd1.5"), CPU)
    with refused("generator.mode labels", "generator.mode to edit"):
        load_generator(section("instruct-pix2pix"), CPU)
    raw = {"name": "study", "arms": [{"name": "real", "mixture": "real"}], "generator": {"mode": "edit", "model": "x"}}
    with refused("templates", "mode edit"):
        parse_recipe(raw)
    parse_recipe(raw | {"generate": {"prompts": SKETCH}})
    changed = {**raw, "generator": {"model": "x"}, "datasets": {"edited": {"generator": {"mode": "edit"}}}}
    with refused("datasets.edited.generate.prompts.templates"):
        parse_recipe(changed)
