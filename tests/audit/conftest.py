"""Real icons, a small generated dataset made of them, a tiny random CLIP and a tiny classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

import genrobust
from genrobust.checkpoints import CheckpointInfo
from genrobust.data import LabelSpace, Sample, StudyData
from genrobust.models import create_classifier, save_checkpoint
from genrobust.sources import pictograms
from genrobust.store import claim, write_shard

TEMPLATES = ("an emoji of a {}", "a line icon of a {}")


@pytest.fixture(scope="session")
def icons() -> StudyData:
    return pictograms.load()


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights for 32 px, with the tokenizer of the embedded generator."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = CLIPTokenizer.from_pretrained(Path(genrobust.__file__).parent / "assets" / "generator" / "tokenizer")
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = CLIPTextConfig(vocab_size=len(tokenizer), max_position_embeddings=24, **size, **ends)
    vision = CLIPVisionConfig(image_size=32, patch_size=8, **size)
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def save_classifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[[LabelSpace], Path]:
    """Saves a classifier of random weights for the classes."""

    def save(labels: LabelSpace) -> Path:
        folder = tmp_path_factory.mktemp("classifier")
        torch.manual_seed(0)
        model = create_classifier("test_resnet", len(labels), 32)
        save_checkpoint(folder, model, CheckpointInfo("test_resnet", {}, labels.ids, 32, {}))
        return folder

    return save


@pytest.fixture
def write_shards() -> Callable[..., Path]:
    """Writes images, one after the other of classes 0, 1, ..., as a generated dataset of one shard."""

    def write(folder: Path, images: Sequence[Image.Image], ids: Sequence[str]) -> Path:
        claim(folder, {"shards": 1, "class_ids": list(ids)})
        samples = []
        for i, image in enumerate(images):
            template = TEMPLATES[i // len(ids) % 2]
            meta = {
                "template": template,
                "prompt": template.replace("{}", ids[i % len(ids)]),
                "style": template.split()[1],
                "redraws": int(i == 1),
                "black": i == 1,
            }
            samples.append(Sample(f"{ids[i % len(ids)]}-{i:06d}", i % len(ids), np.asarray(image.convert("RGB")), meta))
        lost = {"key": f"{ids[0]}-999999", "label": 0, "blank": True, "redraws": 2, "reason": "blank after 2 redraws"}
        write_shard(folder, 0, samples, [lost])
        return folder

    return write
