"""Write the model folders of the package from the trained parts; only the folders whose parts are given.

    python pictograms/assemble.py --vae build/vae/vae --clip build/clip --unet build/unet/unet
    python pictograms/assemble.py --vision build/vision/clip
    python pictograms/assemble.py --variation build/variation/unet

`StableDiffusionPipeline.from_pretrained` loads `generator`, genrobust's audits and filters load `clip`, and
`StableDiffusionImageVariationPipeline.from_pretrained` loads `variation`. The last has its own VAE and vision tower:
the given ones, or else those of the other two folders.

UNets, VAE and the CLIP are stored in half precision. The pipelines' encoders stay in fp32: transformers would
load half-precision ones as they are stored and hand fp16 states to a UNet that diffusers loads in fp32.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from denoising import SCHEDULE
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    StableDiffusionImageVariationPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from train_clip import load_text_encoder
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer, CLIPVisionModelWithProjection

from genrobust.classifiers import clip_embeddings, embed_ensembles, load_clip
from genrobust.data.readers.pictograms import load_pictograms

ASSETS = Path(__file__).parents[1] / "src" / "genrobust" / "assets"


def scheduler() -> DPMSolverMultistepScheduler:
    return DPMSolverMultistepScheduler(**SCHEDULE, algorithm_type="dpmsolver++", solver_order=2)


def half_unet(folder: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(folder).half()


def half_vae(folder: Path) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(folder).half()


def save(pipeline: DiffusionPipeline, folder: Path) -> None:
    """Write `pipeline` into `folder`, anew."""
    shutil.rmtree(folder, ignore_errors=True)
    pipeline.save_pretrained(folder, safe_serialization=True)
    for file in folder.glob("*/config.json"):  # diffusers notes where each part lay on the machine that saved it
        config = json.loads(file.read_text())
        config.pop("_name_or_path", None)
        file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def sample(kind: type[DiffusionPipeline], folder: Path, condition: str | Image.Image) -> None:
    """Check that the pipeline in `folder` loads and samples without any message."""
    loaded = kind.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    image = loaded(condition, num_inference_steps=4, generator=torch.Generator().manual_seed(0)).images[0]
    print(f"{folder.name}: sampled {image.size[0]}x{image.size[1]}", flush=True)


def generator(vae: Path, clip: Path, unet: Path, out: Path) -> None:
    """The text-to-image pipeline of train_vae.py's, train_clip.py's and train_unet.py's results."""
    text, tokenizer = load_text_encoder(clip)
    pipeline = StableDiffusionPipeline(
        vae=half_vae(vae),
        text_encoder=text,
        tokenizer=tokenizer,
        unet=half_unet(unet),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    save(pipeline, out)
    shutil.copyfile(Path(__file__).parent / "generator-card.md", out / "README.md")
    sample(StableDiffusionPipeline, out, "a line icon of a camera")


def clip(vision: Path, out: Path) -> None:
    """The CLIP of train_vision.py, with its tokenizer and its image processor."""
    model = CLIPModel.from_pretrained(vision).half()
    parts = [kind.from_pretrained(vision) for kind in (CLIPTokenizer, CLIPImageProcessor)]
    shutil.rmtree(out, ignore_errors=True)
    for part in (model, *parts):
        part.save_pretrained(out)
    shutil.copyfile(Path(__file__).parent / "clip-card.md", out / "README.md")
    loaded, data = load_clip(out), load_pictograms()
    images = clip_embeddings(loaded, data.val, batch_size=256)
    classes = embed_ensembles(loaded, [[f"a line icon of a {c.prompt}"] for c in data.labels.classes])
    hits = (images @ classes.T).argmax(1) == data.val.labels
    print(f"{out.name}: names {100 * hits.mean():.1f} % of the real validation images", flush=True)


def variation(vae: Path, vision: Path, unet: Path, out: Path) -> None:
    """The image-conditioned pipeline of train_variation.py's UNet, with the tower and the VAE it was trained with."""
    pipeline = StableDiffusionImageVariationPipeline(
        vae=half_vae(vae),
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(vision),
        unet=half_unet(unet),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=CLIPImageProcessor.from_pretrained(vision),
        requires_safety_checker=False,
    )
    save(pipeline, out)
    shutil.copyfile(Path(__file__).parent / "variation-card.md", out / "README.md")
    sample(StableDiffusionImageVariationPipeline, out, load_pictograms().val.image(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part in ("vae", "clip", "unet", "vision", "variation"):
        parser.add_argument(f"--{part}", type=Path)
    parser.add_argument("--out", type=Path, default=ASSETS)
    args = parser.parse_args()
    whole = [args.clip, args.unet]
    if any(whole) and not all([args.vae, *whole]):
        parser.error("the generator is made of --vae, --clip and --unet")
    if not any([*whole, args.vision, args.variation]):
        parser.error("name what to assemble: --vae, --clip and --unet, or --vision or --variation")
    if all(whole):
        generator(args.vae, *whole, args.out / "generator")
    if args.vision:
        clip(args.vision, args.out / "clip")
    if args.variation:
        parts = (args.vae or args.out / "generator" / "vae", args.vision or args.out / "clip")
        variation(*parts, args.variation, args.out / "variation")


if __name__ == "__main__":
    main()
