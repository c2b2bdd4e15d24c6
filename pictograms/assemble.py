"""Put the trained parts into one diffusers folder that `StableDiffusionPipeline.from_pretrained` loads as it is.

    python pictograms/assemble.py --vae build/vae/vae --clip build/clip --unet build/unet/unet

UNet and VAE are stored in half precision. The text encoder stays in fp32: transformers would load a half-precision text
encoder as it is stored and hand fp16 states to a UNet that diffusers loads in fp32.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from train_unet import SCHEDULE
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

ASSETS = Path(__file__).parents[1] / "src" / "genrobust" / "assets"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part in ("vae", "clip", "unet"):
        parser.add_argument(f"--{part}", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ASSETS)
    args = parser.parse_args()
    clip = CLIPModel.from_pretrained(args.clip / "clip")
    tokenizer = CLIPTokenizer.from_pretrained(args.clip / "tokenizer")
    text = CLIPTextModel(clip.config.text_config)
    wanted = text.state_dict()
    prefix = "text_model." if next(iter(wanted)).startswith("text_model.") else ""
    text.load_state_dict({f"{prefix}{k}": v for k, v in clip.text_model.state_dict().items()})
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(args.vae).half(),
        text_encoder=text,
        tokenizer=tokenizer,
        unet=UNet2DConditionModel.from_pretrained(args.unet).half(),
        scheduler=DPMSolverMultistepScheduler(**SCHEDULE, algorithm_type="dpmsolver++", solver_order=2),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    shutil.rmtree(args.out / "generator", ignore_errors=True)
    pipeline.save_pretrained(args.out / "generator", safe_serialization=True)
    shutil.copyfile(Path(__file__).parent / "generator-card.md", args.out / "generator" / "README.md")
    # loads and samples with nothing said, or this fails here
    loaded = StableDiffusionPipeline.from_pretrained(args.out / "generator")
    loaded.set_progress_bar_config(disable=True)
    image = loaded("a line icon of a camera", num_inference_steps=4, generator=torch.Generator().manual_seed(0)).images[
        0
    ]
    print(f"sampled {image.size[0]}x{image.size[1]}", flush=True)


if __name__ == "__main__":
    main()
