"""A generator's folder may hold more than is loaded: other variants, other formats. Its hash is of what is loaded."""

import json

import pytest

from genrobust.generate.generator_files import INDEX, hash_generator, part_files

WEIGHTS = "diffusion_pytorch_model"


@pytest.fixture
def folder(tmp_path):
    """A generator of one part, with plain weights and those of a variant in two files."""
    (tmp_path / "unet").mkdir()
    (tmp_path / INDEX).write_text(json.dumps({"_class_name": "P", "unet": ["diffusers", "U"]}))
    (tmp_path / "unet" / "config.json").write_text("{}")
    for name in (WEIGHTS, f"{WEIGHTS}.fp16-00001-of-00002", f"{WEIGHTS}.fp16-00002-of-00002"):
        (tmp_path / "unet" / f"{name}.safetensors").write_text(name)
    (tmp_path / "unet" / f"{WEIGHTS}.safetensors.index.fp16.json").write_text("{}")
    return tmp_path


def test_a_variant_is_its_own_weights_and_the_same_configurations(folder):
    plain, half = (part_files(folder / "unet", variant) for variant in (None, "fp16"))
    assert [path.name for path in plain] == [f"{WEIGHTS}.safetensors", "config.json"]
    assert [path.name for path in half][:2] == [f"{WEIGHTS}.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    assert half[2:] == plain[1:]
    assert part_files(folder / "unet", "no_such") == plain
    assert hash_generator(folder) != hash_generator(folder, "fp16")


def test_what_is_not_loaded_changes_no_hash_and_what_is_loaded_does(folder):
    before = {variant: hash_generator(folder, variant) for variant in (None, "fp16")}
    for stray in ("whole.safetensors", "unet/other.bin", f"unet/{WEIGHTS}.non_ema.safetensors", "notes/a.json"):
        (folder / stray).parent.mkdir(exist_ok=True)
        (folder / stray).write_text("more")
    assert {variant: hash_generator(folder, variant) for variant in before} == before
    (folder / "unet" / f"{WEIGHTS}.safetensors").write_text("changed")
    assert hash_generator(folder) != before[None] and hash_generator(folder, "fp16") == before["fp16"]
    for name, text in (("unet/config.json", "1"), ("unet/spiece.model", "1"), (INDEX, '{"unet": 1}')):
        last = hash_generator(folder, "fp16")
        (folder / name).write_text(text)
        assert hash_generator(folder, "fp16") != last
