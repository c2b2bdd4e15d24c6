"""The image tower of a CLIP as a timm network: its logits are the CLIP's own, in both formats, and strangers' files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from pretrained_networks import as_open_clip
from safetensors.torch import load_file
from transformers import CLIPImageProcessor, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from genrobust.classifiers.clip import ZeroShot, load_clip
from genrobust.classifiers.clip_format import as_transformers, clip_files, read_clip_config
from genrobust.classifiers.clip_towers import open_tower, timm_tower
from genrobust.classifiers.models import create_classifier
from genrobust.core import UserError, find_clip

CPU = torch.device("cpu")
CLASSES = ("cup", "tree", "anchor")
TEXTS = [["an emoji of a cup", "a cup"], ["a tree"], ["a line icon of an anchor", "an anchor"]]


def opened(folder, head="auto"):
    return open_tower(folder, str(folder), head, CLASSES, lambda: TEXTS)


def pixels(size, count=5):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["clip_folder", "open_clip_folder", "embedded"])
def test_the_zero_shot_head_gives_the_clip_s_own_logits(request, kind):
    folder = find_clip("pictograms") if kind == "embedded" else request.getfixturevalue(kind)
    tower, clip = opened(folder), load_clip(folder)
    images = pixels(tower.blueprint.image_size)
    with torch.inference_mode():
        found, wanted = tower.load(CPU)(images), ZeroShot(clip, TEXTS)(images)
    assert tower.classes == CLASSES
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_both_formats_hold_one_network(clip_folder, open_clip_folder):
    tensors = load_file(clip_folder / "model.safetensors")
    again = as_transformers(as_open_clip(tensors))
    assert tensors.keys() == again.keys() and all(torch.equal(again[key], value) for key, value in tensors.items())
    one, other = opened(clip_folder), opened(open_clip_folder)
    assert (one.blueprint, one.prepared) == (other.blueprint, other.prepared)
    assert one.weights != other.weights, "files of other bytes"
    with torch.inference_mode():
        images = pixels(32)
        assert torch.allclose(one.load(CPU)(images), other.load(CPU)(images), atol=1e-5)


def test_open_clip_s_own_network_gives_the_same_logits(clip_folder, tmp_path):
    open_clip = pytest.importorskip("open_clip")
    from safetensors.torch import save_file

    towers = {"width": 32, "layers": 2, "mlp_ratio": 4.0}
    config = {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "head_width": 16, **towers},
        "text_cfg": {"context_length": 24, "vocab_size": 1043, "heads": 2, "width": 32, "layers": 2},
    }
    torch.manual_seed(0)
    theirs = open_clip.model.CLIP(**config).eval()
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, tmp_path / "open_clip_model.safetensors")
    half = [0.5, 0.5, 0.5]
    about = {"model_cfg": config, "preprocess_cfg": {"mean": half, "std": half}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(about))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(clip_folder / name, tmp_path / name)
    images, singles = pixels(32), [texts[:1] for texts in TEXTS]
    tower = open_tower(tmp_path, "it", "text", CLASSES, lambda: singles).load(CPU)
    clip = load_clip(tmp_path)
    tokens = clip.tokenizer([t for (t,) in singles], padding="max_length", max_length=24, return_tensors="pt").input_ids
    with torch.inference_mode():
        image = theirs.encode_image((images / 255 - 0.5) / 0.5, normalize=True)
        wanted = theirs.logit_scale.exp() * image @ theirs.encode_text(tokens, normalize=True).T
        assert torch.allclose(tower(images), wanted, rtol=1e-5, atol=1e-5)


def test_without_the_text_head_a_tower_is_a_plain_timm_network(clip_folder, tmp_path):
    tower = opened(clip_folder, "random")
    assert tower.classes == () and "cosine_head" not in tower.blueprint.model_kwargs
    config = CLIPVisionConfig.from_pretrained(clip_folder, projection_dim=16)
    CLIPVisionModelWithProjection.from_pretrained(clip_folder, config=config).save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    alone = opened(tmp_path)
    assert alone.blueprint == tower.blueprint, "a CLIP without a text tower"
    images = pixels(32)
    with torch.inference_mode():
        features = [of.load(CPU).embed(images)[0] for of in (tower, alone)]
        wanted = CLIPModel.from_pretrained(clip_folder).vision_model((images / 255 - mean(tower)) / std(tower))
    assert torch.allclose(features[0], wanted.pooler_output, atol=1e-5)
    assert torch.equal(*features)
    with pytest.raises(UserError, match=r"train\.head: text"):
        opened(tmp_path, "text")


def test_a_clip_in_both_formats_is_read_by_the_weights_that_are_there(clip_folder, open_clip_folder, tmp_path):
    both = shutil.copytree(clip_folder, tmp_path / "both")
    for path in open_clip_folder.glob("open_clip_*"):
        shutil.copy(path, both)
    assert clip_files(both)[0] == "config.json"
    (both / "model.safetensors").unlink()
    assert clip_files(both) == ("open_clip_config.json",)
    images = pixels(32)
    assert torch.allclose(opened(both).load(CPU)(images), opened(clip_folder).load(CPU)(images), atol=1e-5)


@pytest.mark.parametrize(("mode", "crop"), [("shortest", "center"), ("squash", "squash"), ("longest", "border")])
def test_how_images_become_squares_is_known_of_both_formats(clip_folder, open_clip_folder, tmp_path, mode, crop):
    here = shutil.copytree(open_clip_folder, tmp_path / "open")
    config = json.loads((here / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = mode
    (here / "open_clip_config.json").write_text(json.dumps(config))
    assert opened(here).blueprint.crop_mode == crop
    theirs = shutil.copytree(clip_folder, tmp_path / "transformers")
    assert opened(theirs).blueprint.crop_mode == "center"
    CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(theirs)
    assert opened(theirs).blueprint.crop_mode == "squash"


def mean(tower):
    return tower.load(CPU).mean


def std(tower):
    return tower.load(CPU).std


@pytest.mark.parametrize(
    ("changes", "name", "kwargs"),
    [
        ({}, "vit_base_patch32_clip_quickgelu_224", {}),
        ({"hidden_act": "gelu", "patch_size": 16}, "vit_base_patch16_clip_224", {}),
        (
            {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
            | {"patch_size": 14, "image_size": 336},
            "vit_large_patch14_clip_quickgelu_336",
            {},
        ),
        (
            {"hidden_size": 40, "intermediate_size": 50, "num_attention_heads": 5},
            "vit_base_patch32_clip_quickgelu_224",
            {"embed_dim": 40, "mlp_ratio": 1.25, "num_heads": 5},
        ),
    ],
    ids=str,
)
def test_known_towers_have_timm_s_names(changes, name, kwargs):
    found = timm_tower(CLIPVisionConfig(**changes))
    assert found == (name, kwargs)


def test_towers_that_round_have_the_right_width():
    config = CLIPVisionConfig(hidden_size=49, intermediate_size=57, num_attention_heads=7, num_hidden_layers=1)
    name, kwargs = timm_tower(config)
    with torch.device("meta"):
        assert create_classifier(name, 2, 224, kwargs).network.blocks[0].mlp.fc1.out_features == 57


def spoil(folder, key, value, section="model_cfg"):
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    at = config[section]
    *parents, last = key.split(".")
    for parent in parents:
        at = at[parent]
    at[last] = value
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vision_cfg.timm_model_name", "resnet50"),
        ("vision_cfg.layers", [3, 4, 6, 3]),
        ("text_cfg.hf_model_name", "roberta-base"),
        ("vision_cfg.width", 0),
        ("vision_cfg.width", 48),
        ("embed_dim", 12),
        ("text_cfg", None),
    ],
    ids=str,
)
def test_what_is_no_such_clip_is_refused(open_clip_folder, tmp_path, key, value):
    folder = shutil.copytree(open_clip_folder, tmp_path / "clip")
    spoil(folder, key, value)
    with pytest.raises(UserError, match="cannot read the CLIP"):
        opened(folder).load(CPU)


@pytest.mark.parametrize(
    ("kind", "weights", "pickle"),
    [
        ("clip_folder", "model.safetensors", "pytorch_model.bin"),
        ("open_clip_folder", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
    ],
    ids=str,
)
def test_a_pickle_is_not_read(request, tmp_path, kind, weights, pickle):
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / "clip")
    torch.save(load_file(folder / weights), folder / pickle)
    (folder / weights).unlink()
    with pytest.raises(UserError, match="save them as safetensors"):
        opened(folder).load(CPU)


def test_what_others_put_beside_a_clip_is_not_its_own(open_clip_folder, tmp_path):
    """A repository of the hub often holds timm's model, too, of which others fetch the weights."""
    folder = shutil.copytree(open_clip_folder, tmp_path / "clip")
    (folder / "config.json").write_text(json.dumps({"architecture": "vit_base_patch32_clip_224"}))
    assert read_clip_config(folder).projection_dim == 16
    before = opened(folder).weights
    shutil.copy(folder / "open_clip_model.safetensors", folder / "model.safetensors")
    (folder / "results.json").write_text("{}")
    assert opened(folder).weights == before
