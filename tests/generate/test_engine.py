"""Another package adds an engine, and what is said of one that does not fit."""

import re
from pathlib import Path

import pytest
from drawn import generate, pixels
from pydantic import ValidationError

from genrobust.generate import engine_of
from genrobust.recipe import GenerateConfig, GeneratorConfig

PAGE = (Path(__file__).parents[2] / "docs" / "contributing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)
(SQUARES,) = (example for example in EXAMPLES if "(Engine)" in example)  # the page's own
POINTS = {"squares": "squares:Squares", "absent": "squares:Absent"}


@pytest.fixture(autouse=True)
def installed(install):
    """The package `squares`."""
    install("genrobust.engines", "squares", SQUARES, **POINTS)


def section(engine="squares", **more):
    return GeneratorConfig(engine=engine, model="red", **more)


def test_an_engine_of_another_package_draws_a_dataset(tmp_path, plan):
    asked = GenerateConfig(per_class=4, shard_size=6)
    dataset = generate(plan(section(), 4), section(), asked, tmp_path / "out")
    colors = pixels(dataset).min(axis=(1, 2)).argmax(axis=1)
    assert colors.tolist() == dataset.labels.tolist() == [0, 1, 2] * 4
    row = dataset.metadata().to_pylist()[0]
    assert (row["generator"], row["mode"], row["device"], row["steps"]) == ("red", "labels", "cpu", None)
    assert (dataset.about["engine"], dataset.about["squares_version"]) == ("squares", 1)
    assert engine_of(section()).weights_bytes(section()) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"engine": "square"}, r"engine\n.*no engine 'square' .*perhaps squares.*; known: diffusers, openai, squares"),
        ({"engine": "absent"}, r"engine\n.*'absent': cannot load squares:Absent of the package squares"),
        ({"mode": "class"}, r"mode\n.*the engine squares draws in labels"),
        ({"steps": 3}, r"steps\n.*mode labels, .*engine openai, not to engine squares"),
    ],
)
def test_an_engine_that_does_not_fit_is_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        GeneratorConfig.model_validate({"engine": "squares", **values})


def test_an_engine_of_a_name_that_is_taken_is_refused(install):
    install("genrobust.engines", "other", SQUARES, diffusers="other:Squares")
    with pytest.raises(ValidationError, match="'diffusers': genrobust and other"):
        GeneratorConfig()


def test_a_mode_is_among_what_draws(install):
    """So a dataset is named after the version of the package that brought it, though it has no keys of its own."""
    code = "from genrobust.generate.modes.labels import Labels\n\nclass Loud(Labels):\n    pass\n"
    install("genrobust.modes", "louder", code, loud="louder:Loud")
    config = GeneratorConfig().model_copy(update={"mode": "loud"})
    assert "Loud" in [part.__name__ for part in engine_of(config).parts(config)]
