"""The network that a training starts from: whose weights it has, its last layer, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pretrained_networks import VIT, save_timm
from safetensors.torch import load_file, save_file

from genrobust.classifiers import (
    Blueprint,
    Initial,
    head_name,
    last_linear,
    load_checkpoint,
    open_initial,
    open_run,
    weights_hash,
)
from genrobust.core import ClassLabel, GenrobustError, LabelSpace, UserError
from genrobust.recipe import TrainConfig

CPU = torch.device("cpu")


def space(*ids):
    return LabelSpace(tuple(ClassLabel(id, id, id) for id in ids))


def initial(spec, ids=("vit-2", "vit-0"), **keys):
    config = TrainConfig(init=str(spec), image_size=32, **keys)
    return open_initial(str(spec), ids, lambda: [[f"a {id}"] for id in ids]), config


def network(spec, ids=("vit-2", "vit-0"), **keys):
    first, config = initial(spec, ids, **keys)
    torch.manual_seed(0)
    return first.make(space(*ids), first.settings(config))


def test_the_rows_of_known_classes_are_kept(timm_folders):
    model = network(timm_folders["vit"])
    theirs = load_file(timm_folders["vit"] / "model.safetensors")
    assert model.mean.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    for name, value in model.network.state_dict().items():
        wanted = theirs[name][[2, 0]] if name.startswith("head.") else theirs[name]
        assert torch.equal(value, wanted), name


def test_a_last_layer_of_other_classes_is_new(timm_folders):
    """By the seed alone, and the classes need no names."""
    one, other = (network(timm_folders["resnet"]) for _ in range(2))
    theirs, last = load_file(timm_folders["resnet"] / "model.safetensors"), head_name(one.network)
    assert last_linear(one.network).out_features == 2
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name
        assert torch.equal(value, theirs[name]) != name.startswith(f"{last}.weight") or "bias" in name, name


def test_numbers_for_unknown_names_are_no_classes_of_the_data(tmp_path):
    """Folders in ImageFolder's order, 0, 1, 10, 2: the row of a number is that of another class."""
    ids = [str(i) for i in (0, 1, 10, 2)]
    place = save_timm(tmp_path / "numbers", "test_vit", 11, "bicubic", VIT)
    config = json.loads((place / "config.json").read_text())
    config.pop("label_names")
    (place / "config.json").write_text(json.dumps(config))
    first, _ = initial(place, ids)
    assert first.opened.classes == ()
    model, theirs = network(place, ids), load_file(place / "model.safetensors")
    assert not any(torch.equal(row, other) for row in model.network.head.weight for other in theirs["head.weight"])


def test_a_checkpoint_and_a_clip_go_the_same_way(checkpoint, few_classes, clip_folder):
    ids = few_classes.ids
    again = network(checkpoint, ids)
    loaded, info = load_checkpoint(checkpoint)
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in again.state_dict().items())
    first, config = initial(checkpoint, ids)
    assert first.settings(config).model_kwargs == info.model_kwargs
    assert first.opened.weights_hash == weights_hash(checkpoint)
    zero_shot = network(f"clip:{clip_folder}", ids)
    assert zero_shot.network.head.classes.out_features == len(ids)
    bare = network(clip_folder, ids)
    assert all(torch.equal(v, zero_shot.state_dict()[k]) for k, v in bare.state_dict().items())


def test_texts_are_part_of_the_identity(clip_folder):
    one, other = initial(clip_folder)[0], initial(clip_folder, ("cup", "tree"))[0]
    assert one.identity(space("vit-2", "vit-0")) != other.identity(space("cup", "tree"))


def test_so_is_which_class_is_which_row(timm_folders):
    """Classes that the network knows by their shown names alone, which a recipe gives them later."""
    first, _ = initial(timm_folders["vit"])
    named = [LabelSpace(tuple(ClassLabel(f"c{n}", name, name) for n, name in enumerate(names))) for names in
             (("x", "y"), ("vit-2", "vit-0"), ("vit-0", "vit-2"))]  # fmt: skip
    assert len({first.identity(labels) for labels in named}) == 3


def test_images_are_resized_as_the_network_wants_it(timm_folders, icons):
    image = icons.train.image(0).resize((45, 61), Image.Resampling.LANCZOS)
    kinds = {}
    for kind in ("vit", "resnet"):
        first, _ = initial(timm_folders[kind])
        kinds[kind] = first.blueprint.interpolation
        assert np.asarray(first.opened.prepare(image)).shape == (32, 32, 3)
    assert kinds == {"vit": "bicubic", "resnet": "bilinear"}


def test_a_pretrained_network_is_not_blurred_for_those_from_scratch(timm_folders, tmp_path):
    first, config = initial(timm_folders["resnet"], blur_pool=True, model_kwargs={"stem_width": 8})
    settings = first.settings(config)
    assert not settings.blur_pool and "stem_width" not in settings.model_kwargs
    blueprint = Blueprint("test_resnet", {"blur_pool": True}, 32, "bicubic")
    own = Initial(open_run("arm:wild", tmp_path, ("cup",), blueprint)).settings(TrainConfig(init="arm:wild"))
    assert own.blur_pool and own.network_kwargs == {"blur_pool": True}


def test_a_classifier_of_a_study_is_known_before_it_is_trained(tmp_path):
    blueprint = Blueprint("test_vit", VIT, 32, "bicubic")
    config = TrainConfig(init="arm:wild", image_size=32)
    first = Initial(open_run(config.init, tmp_path / "0123abc", ("cup", "tree"), blueprint))
    assert first.identity(space("cup", "bell")) == "0123abc" != first.identity(space("cup", "tree"))
    with pytest.raises(UserError, match="train it first"):
        first.make(space("cup", "tree"), first.settings(config))


def onnx(tmp_path, folders):
    shutil.copy(folders["onnx"], tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def no_clip(tmp_path, folders):
    return f"clip:{tmp_path}"


def pickled(tmp_path, folders):
    folder = save_timm(tmp_path / "it", "test_vit", 3, "bicubic", VIT)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def other_interpolation(tmp_path, folders):
    return save_timm(tmp_path / "it", "test_vit", 3, "lanczos", VIT)


def two_heads(tmp_path, folders):
    arguments = {"depth": 1, "embed_dim": 24, "num_heads": 2, "img_size": 32}
    return save_timm(tmp_path / "it", "deit_tiny_distilled_patch16_224", 3, "bicubic", arguments)


@pytest.mark.parametrize(
    ("spec", "keys", "said"),
    [
        ("coatnet_0_224", {}, "train.init: no classifier 'coatnet_0_224'"),
        ("alexnet", {}, "train.init"),
        (no_clip, {}, "train.init"),
        (onnx, {}, "train.init"),
        (pickled, {}, "train.init"),
        (other_interpolation, {}, "train.init"),
        (two_heads, {}, "train.init"),
        ("hf-hub:a b", {}, "hf-hub:a b"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_cannot_be_started_from_is_refused(tmp_path, timm_folders, exports, spec, keys, said):
    words = spec(tmp_path, exports) if callable(spec) else str(timm_folders.get(spec, spec))
    with pytest.raises(UserError) as error:
        network(words, **keys)
    assert said in str(error.value)


def test_another_size_is_refused_where_a_network_takes_one(timm_folders):
    first, config = initial(timm_folders["vit"])
    with pytest.raises(UserError, match=r"train\.image_size"):
        first.settings(config.model_copy(update={"image_size": 64}))
    first, config = initial(timm_folders["resnet"])
    assert first.settings(config.model_copy(update={"image_size": 64})).architecture == "test_resnet"


def test_weights_of_another_shape_are_refused(timm_folders, tmp_path):
    folder = shutil.copytree(timm_folders["resnet"], tmp_path / "resnet")
    first, config = initial(folder)
    blueprint = replace(first.blueprint, model_kwargs={"stem_width": 48})
    other = replace(first, opened=replace(first.opened, blueprint=blueprint))
    with pytest.raises(UserError, match=r"train\.init: "):
        other.make(space("cup", "tree"), other.settings(config))
    weights = load_file(folder / "model.safetensors")
    weights["conv1.0.weight"] = torch.zeros(3, 3, 3, 3)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(GenrobustError, match="cannot load the weights"):
        network(folder)
