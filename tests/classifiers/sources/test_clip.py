"""CLIP embeddings and scores against transformers' own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from genrobust.classifiers import clip_embeddings, embed_ensembles, load_clip
from genrobust.classifiers.sources.clip import embed_texts
from genrobust.core import StudyData, Subset, UserError, embedded, find_clip
from genrobust.data import MemoryImages

TEXTS = ["an emoji of a cup", "a line icon of a tree", "a cup " * 30]


@pytest.fixture(scope="module")
def small(icons: StudyData) -> MemoryImages:
    """Ten icons at the size of the tiny CLIP, where no two ways of resizing can differ."""
    pixels = [np.asarray(icons.train.image(i).resize((32, 32))) for i in range(10)]
    return MemoryImages("small", pixels, [0] * 10, [str(i) for i in range(10)])


def test_scores_are_transformers_logits(clip_folder: Path, small: MemoryImages) -> None:
    model = CLIPModel.from_pretrained(clip_folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=24, return_tensors="pt")
    pictures = CLIPImageProcessor.from_pretrained(clip_folder)([small.image(i) for i in range(10)], return_tensors="pt")
    with torch.inference_mode():
        wanted = model(**tokens, **pictures).logits_per_image.numpy()
    clip = load_clip(clip_folder)
    found = clip.logit_scale * clip_embeddings(clip, small, batch_size=4) @ embed_texts(clip, TEXTS).T
    assert found.shape == (10, 3)
    assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("names", [("BILINEAR", "BICUBIC"), ("BICUBIC", "BILINEAR")])
def test_images_are_resized_as_its_processor_does(clip_folder: Path, tmp_path: Path, names: tuple[str, str]) -> None:
    """Up to rounding, which is far smaller than the difference of two ways of resizing."""
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    kinds = [int(Image.Resampling[name]) for name in names]
    own, other = (CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32, resample=kind) for kind in kinds)
    own.save_pretrained(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 60, 45, 3), dtype=np.uint8)
    images = MemoryImages("noise", list(pixels), [0] * 6, [str(i) for i in range(6)])
    model, found = CLIPModel.from_pretrained(folder).eval(), clip_embeddings(load_clip(folder), images, 4)

    def apart(processor: CLIPImageProcessor) -> float:
        with torch.inference_mode():
            seen = model.vision_model(**processor([images.image(i) for i in range(6)], return_tensors="pt"))
            wanted = torch.nn.functional.normalize(model.visual_projection(seen.pooler_output)).numpy()
        return float(np.abs(found - wanted).max())

    assert apart(own) < apart(other) / 3


def test_a_text_does_not_depend_on_its_neighbors(clip_folder: Path) -> None:
    clip = load_clip(clip_folder)
    together = embed_texts(clip, TEXTS)
    assert together == pytest.approx(np.concatenate([embed_texts(clip, [t]) for t in TEXTS]), abs=1e-6)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1)


def test_texts_that_are_cut_are_named(clip_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = load_clip(clip_folder)
    embed_texts(clip, TEXTS[:2])
    assert not caplog.records
    one, other = embed_texts(clip, [f"{TEXTS[2]}tree", f"{TEXTS[2]}cup"])
    assert np.array_equal(one, other)
    assert "reads 24 tokens" in caplog.text and "2 of 2" in caplog.text


def test_a_class_is_the_mean_of_its_texts(clip_folder: Path) -> None:
    clip = load_clip(clip_folder)
    cup, tree = ["an emoji of a cup", "a cup icon"], ["a tree"]
    texts = embed_texts(clip, [*cup, *tree])
    for row, pair in zip(embed_ensembles(clip, [cup, tree]), (texts[:2], texts[2:]), strict=True):
        assert row == pytest.approx(pair.mean(0) / np.linalg.norm(pair.mean(0)), abs=1e-6)


def test_all_images_are_told(clip_folder: Path, small: MemoryImages) -> None:
    seen: list[int] = []
    clip_embeddings(load_clip(clip_folder), small, 4, seen.append)
    assert seen == [4, 4, 2]
    with pytest.raises(UserError, match="small is empty"):
        clip_embeddings(load_clip(clip_folder), Subset(small, []), 4)


def test_pictograms_is_the_embedded_one(clip_folder: Path) -> None:
    assert find_clip("pictograms") == embedded("clip")
    assert find_clip("./pictograms") == Path("pictograms"), "a folder of that name"
    assert find_clip(clip_folder) == clip_folder


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer_config.json"])
def test_what_is_missing_is_named(clip_folder: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        load_clip(folder)


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("model.safetensors", lambda content: content[:100], "header"),
        (
            "config.json",
            lambda content: content.replace(b'"projection_dim": 16', b'"projection_dim": 24'),
            "mismatched keys such as text_projection.weight",
        ),
    ],
)
def test_a_clip_that_does_not_fit_its_files_is_refused(clip_folder, tmp_path, file, change, named) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(change(content))
    assert (folder / file).read_bytes() != content
    with pytest.raises(UserError, match=named) as caught:
        load_clip(folder)
    assert str(folder) in str(caught.value)
