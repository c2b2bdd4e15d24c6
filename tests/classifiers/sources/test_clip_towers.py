"""The image tower of a CLIP as a timm network: its logits are those of transformers."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import CLIPVisionConfig

from genrobust.classifiers import clip_embeddings, create_classifier, embed_ensembles, load_clip
from genrobust.classifiers.sources.clip_towers import open_tower, timm_tower
from genrobust.core import UserError, find_clip
from genrobust.data import MemoryImages

CPU = torch.device("cpu")
CLASSES = ("cup", "tree", "anchor")
TEXTS = [["an emoji of a cup", "a cup"], ["a tree"], ["a line icon of an anchor", "an anchor"]]


def opened(folder):
    return open_tower(folder, str(folder), CLASSES, TEXTS)


@pytest.mark.parametrize("kind", ["clip_folder", "embedded"])
def test_the_zero_shot_head_gives_the_clip_s_own_logits(request, kind):
    folder = find_clip("pictograms") if kind == "embedded" else request.getfixturevalue(kind)
    tower, clip = opened(folder), load_clip(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (5, clip.image_size, clip.image_size, 3), dtype=np.uint8)
    images = MemoryImages("noise", list(pixels), [0] * 5, [str(i) for i in range(5)])
    wanted = clip.logit_scale * clip_embeddings(clip, images, 5) @ embed_ensembles(clip, TEXTS).T
    with torch.inference_mode():
        found = tower.load(CPU)(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert tower.classes == CLASSES and tower.blueprint.image_size == clip.image_size
    assert found.numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-5)


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


def test_a_tower_that_timm_lacks_is_refused(clip_folder, tmp_path):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace("quick_gelu", "relu"))
    with pytest.raises(UserError, match="its image tower has relu"):
        opened(folder)


def test_towers_that_round_have_the_right_width():
    config = CLIPVisionConfig(hidden_size=49, intermediate_size=57, num_attention_heads=7, num_hidden_layers=1)
    name, kwargs = timm_tower(config)
    with torch.device("meta"):
        assert create_classifier(name, 2, 224, kwargs).network.blocks[0].mlp.fc1.out_features == 57


def test_a_pickle_is_not_read(clip_folder, tmp_path):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    for load in (load_clip, lambda folder: opened(folder).load(CPU)):
        with pytest.raises(UserError, match=r"clip: .*model\.safetensors"):
            load(folder)


def test_what_others_put_beside_a_clip_is_not_its_own(clip_folder, tmp_path):
    """A repository of the hub often holds it in other formats, too."""
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    before = opened(folder).weights_hash
    shutil.copy(folder / "model.safetensors", folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text("{}")
    assert opened(folder).weights_hash == before
