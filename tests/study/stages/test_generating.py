"""What the speed of drawing depends on, and how it is tried before a run."""

import json

import pytest
from small_study import QUICK, REAL, folders_section

from genrobust.recipe import GENERATED, GeneratorConfig, parse_recipe
from genrobust.study import Study
from genrobust.study.stages.generate import Generate, GeneratedDataset, generator_rate_key


@pytest.mark.parametrize("compiles", ["auto", True])
def test_a_trial_compiles_nothing(write_folder, tmp_path, compiles):
    """Which takes as long as a minute of drawing, and a trial draws for a second."""
    folders = {name: write_folder(name, name, 2, {"bell": "bell", "tree": "tree"}) for name in ("train", "test")}
    own = {"generator": {"steps": 1, "compile": compiles}, "generate": {"per_class": 1}, "arms": [REAL]}
    recipe = parse_recipe({**QUICK, "data": folders_section(folders), **own})
    stage = Generate(GeneratedDataset(Study(recipe, tmp_path / "runs").context, GENERATED))
    stage.trial(stage.jobs()[0], tmp_path / "trial")
    (manifest,) = (tmp_path / "trial").glob("generated/*/manifest.json")
    assert json.loads(manifest.read_text())["compile"] is False


@pytest.mark.parametrize(
    "other",
    [
        {"guidance_scale": 1},
        {"guidance_until": 0.5},
        {"quantize": "torchao-int8"},
        {"offload": "model"},
        {"cache": "first-block"},
        {"attention": "flash"},
        {"slicing": True},
        {"tiling": True},
        {"mode": "images"},
        {"mode": "images", "adapter": {"model": "an adapter"}},
        {"mode": "images", "adapter": {"model": "another adapter"}},
        {"width": 64, "height": 64},
    ],
)
def test_what_takes_other_time_or_memory_has_a_rate_of_its_own(other):
    others = [{}, {"mode": "images"}, {"mode": "images", "adapter": "one of the two"}]
    own = generator_rate_key(GeneratorConfig(**other), "cuda")
    assert own not in [generator_rate_key(GeneratorConfig(**more), "cuda") for more in others if more != other]


def test_what_changes_no_speed_has_the_same():
    """A LoRA is merged, and guidance takes as long whatever its strength."""
    plain = generator_rate_key(GeneratorConfig(), "cuda")
    assert plain == "pictograms, 15 steps, auto, cuda"
    assert plain == generator_rate_key(GeneratorConfig(lora="a LoRA", guidance_scale=7.5), "cuda")
