"""Words that are no keys: the suggestion is what the user meant, never a list of all keys."""

import pytest

from genrobust.core import UserError
from genrobust.recipe import load_recipe

MEANT = {
    "lr": "train.learning_rate",
    "arch": "train.architecture",
    "bs": "train.batch_size",
    "wd": "train.weight_decay",
    "epochs": "train.epochs",
    "model": "train.architecture",
    "img_size": "train.image_size",
    "aug": "train.augmentation",
    "seed": "seeds",
    "train.lr": "learning_rate",
    "train.batch": "batch_size",
    "train.per_class": "generate.per_class",
    "generator.cfg": "guidance_scale",
    "generator.num_inference_steps": "steps",
}


@pytest.mark.parametrize(("word", "key"), MEANT.items())
def test_a_word_is_read_by_its_meaning(word, key):
    with pytest.raises(UserError) as caught:
        load_recipe("pictograms", [f"{word}=1"])
    assert f"did you mean {key}" in str(caught.value)


@pytest.mark.parametrize("word", ["zzz", "train.zzz", "data.retrieved.zzz"])
def test_a_word_without_meaning_gets_a_handful_of_keys(word):
    with pytest.raises(UserError) as caught:
        load_recipe("pictograms", [f"{word}=1"])
    assert str(caught.value).count(",") <= 6 and len(str(caught.value)) < 250
