"""A tiny, random, but true Stable Diffusion pipeline on disk, and what a generated dataset needs beside it."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from genrobust.config import GenerateConfig, GeneratorConfig, PromptConfig
from genrobust.data import ClassLabel, LabelSpace


def tiny_pipeline(folder: Path) -> StableDiffusionPipeline:
    """Weights from a fixed seed; 64 px images from latents [12, 8, 8]; a tokenizer of single letters."""
    letters = [*string.printable[:94], *(f"{c}</w>" for c in string.printable[:94])]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    torch.manual_seed(0)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokens),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=12,
        out_channels=12,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=12,
        norm_num_groups=4,
        sample_size=64,
    )
    scheduler = DPMSolverMultistepScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture(scope="session")
def generator_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-generator")
    tiny_pipeline(tmp_path_factory.mktemp("tokenizer")).save_pretrained(folder)
    return folder


Change = Callable[[StableDiffusionPipeline], object]


@pytest.fixture(scope="session")
def changed_generator(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Change], Path]:
    """Makes a folder of the tiny pipeline after `change` has had its way with it."""

    def make(change: Change) -> Path:
        pipeline = tiny_pipeline(tmp_path_factory.mktemp("tokenizer"))
        with torch.no_grad():
            change(pipeline)
        folder = tmp_path_factory.mktemp("changed-generator")
        pipeline.save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def generator(generator_folder: Path) -> GeneratorConfig:
    return GeneratorConfig(model=str(generator_folder), steps=2)


@pytest.fixture
def labels() -> LabelSpace:
    names = ("camera", "guitar", "rocket")
    return LabelSpace(tuple(ClassLabel(name, name.title(), name) for name in names))


@pytest.fixture
def config() -> GenerateConfig:
    return GenerateConfig(per_class=4, shard_size=6, batch_size=4, prompts=PromptConfig(), max_redraws=2)
