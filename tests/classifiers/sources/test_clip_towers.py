"""The image tower of a CLIP as a timm network: its logits are those of transformers and open_clip."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPImageProcessor, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from genrobust.classifiers import create_classifier, load_clip
from genrobust.classifiers.sources.clip import ZeroShot
from genrobust.classifiers.sources.clip_folder import OpenClip, TransformersClip, find_clip_folder
from genrobust.classifiers.sources.clip_towers import open_tower, timm_tower
from genrobust.core import UserError, find_clip

CPU = torch.device("cpu")
CLASSES = ("cup", "tree", "anchor")
TEXTS = [["an emoji of a cup", "a cup"], ["a tree"], ["a line icon of an anchor", "an anchor"]]


def opened(folder):
    return open_tower(find_clip_folder(folder), str(folder), CLASSES, lambda: TEXTS)


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
    one, other = opened(clip_folder), opened(open_clip_folder)
    assert (one.blueprint, one.preparation) == (other.blueprint, other.preparation)
    assert one.weights_hash != other.weights_hash, "files of other bytes"
    towers = [of.load(CPU).network.state_dict() for of in (one, other)]
    for key, value in towers[0].items():
        assert torch.equal(value, towers[1][key]) or key == "head.classes.weight", key
    with torch.inference_mode():
        assert torch.allclose(*(of.load(CPU)(pixels(32)) for of in (one, other)), atol=1e-5)


def test_without_a_text_tower_it_is_a_plain_timm_network(clip_folder, tmp_path):
    config = CLIPVisionConfig.from_pretrained(clip_folder, projection_dim=16)
    CLIPVisionModelWithProjection.from_pretrained(clip_folder, config=config).save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    tower = opened(tmp_path)
    assert tower.classes == () and "cosine_head" not in tower.blueprint.model_kwargs
    images = pixels(32)
    with torch.inference_mode():
        network, normalized = tower.load(CPU).network, (images / 255 - mean(tower)) / std(tower)
        features = network.forward_head(network.forward_features(normalized), pre_logits=True)
        wanted = CLIPModel.from_pretrained(clip_folder).vision_model(normalized)
    assert torch.allclose(features, wanted.pooler_output, atol=1e-5)


def test_a_clip_in_both_formats_is_read_by_the_weights_that_are_there(clip_folder, open_clip_folder, tmp_path):
    both = shutil.copytree(clip_folder, tmp_path / "both")
    for path in open_clip_folder.glob("open_clip_*"):
        shutil.copy(path, both)
    assert isinstance(find_clip_folder(both), TransformersClip)
    (both / "model.safetensors").unlink()
    assert isinstance(find_clip_folder(both), OpenClip)
    images = pixels(32)
    assert torch.allclose(opened(both).load(CPU)(images), opened(clip_folder).load(CPU)(images), atol=1e-5)


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
        ("text_cfg.tokenizer_kwargs", {"trust_remote_code": True}),
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
    for load in (load_clip, lambda folder: opened(folder).load(CPU)):
        with pytest.raises(UserError, match="save them as safetensors"):
            load(folder)


def test_what_others_put_beside_a_clip_is_not_its_own(open_clip_folder, tmp_path):
    """A repository of the hub often holds timm's model, too, of which others fetch the weights."""
    folder = shutil.copytree(open_clip_folder, tmp_path / "clip")
    (folder / "config.json").write_text(json.dumps({"architecture": "vit_base_patch32_clip_224"}))
    before = opened(folder).weights_hash
    shutil.copy(folder / "open_clip_model.safetensors", folder / "model.safetensors")
    (folder / "results.json").write_text("{}")
    assert opened(folder).weights_hash == before
