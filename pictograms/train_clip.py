"""Train the CLIP of the Pictograms generator on *wild*: both towers and a tokenizer of their own.

    python pictograms/train_clip.py --out build/clip

Every caption of one class (and style, where the caption names one) is right for every image of it, so the contrastive
loss of Radford et al. 2021 is taken with all such pairs as targets, as in supervised contrastive learning (Khosla et
al. 2020). Images and captions are also classified, against one caption of each class (as in UniCL, Yang et al. 2022):
without that the text tower uses only a handful of dimensions for long. At the end it prints zero-shot top-1 on
*wild-val*, the only evaluation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from images import WILD, batch_augment, captions, load_split, shares
from loop import train
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig

from genrobust.data.readers.pictograms import load_pictograms

VOCABULARY = 2000
CONTEXT = 24  # tokens; the longest caption has fewer
CLASS_ONLY = 0.4  # of the captions name the class alone, and are right for every style of it


def train_tokenizer(texts: list[str], folder: Path) -> CLIPTokenizer:
    """Byte-pair encoding with CLIP's conventions (lower case, ``</w>`` ends a word), learned from `texts`."""
    word = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = word
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 256, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator([t.lower() for t in texts], trainer)
    merges = [tuple(m) for m in json.loads(learner.to_str())["model"]["merges"]]
    tokens = alphabet + [a + "</w>" for a in alphabet]  # every byte, so that no text is unknown
    for left, right in merges:
        if left + right not in tokens:
            tokens.append(left + right)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT)
    tokenizer.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """The untrained model: text 4 layers of 128, vision 6 layers of 160 on 8x8 patches of 64 px; 3.2 M parameters."""
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        projection_dim=128,
        **ids,
    )
    vision = CLIPVisionConfig(
        hidden_size=160,
        intermediate_size=640,
        num_hidden_layers=6,
        num_attention_heads=5,
        image_size=64,
        patch_size=8,
        projection_dim=128,
    )
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=128))


def tokens_of(tokenizer: CLIPTokenizer, texts: list[str]) -> dict[str, Tensor]:
    """Token ids [N, 24] and their mask: padded to one length, as StableDiffusionPipeline pads them."""
    return tokenizer(texts, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt")


def load_text_encoder(folder: Path) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """The text encoder and the tokenizer of this script's output, or of a diffusers folder that has them already."""
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    if (folder / "text_encoder").exists():
        return CLIPTextModel.from_pretrained(folder / "text_encoder"), tokenizer
    model = CLIPModel.from_pretrained(folder / "clip")
    text = CLIPTextModel(model.config.text_config)
    prefix = "text_model." if next(iter(text.state_dict())).startswith("text_model.") else ""
    text.load_state_dict({f"{prefix}{k}": v for k, v in model.text_model.state_dict().items()})
    return text, tokenizer


def embed_texts(model: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Unit text embeddings [N, 128]."""
    hidden = model.text_model(**tokens_of(tokenizer, texts)).pooler_output
    return F.normalize(model.text_projection(hidden).float(), dim=-1)


def embed_images(model: CLIPModel, x: Tensor) -> Tensor:
    """Unit image embeddings [N, 128] of images [N, 3, 64, 64] in [-1, 1]."""
    return F.normalize(model.visual_projection(model.vision_model(x).pooler_output).float(), dim=-1)


@torch.inference_mode()
def zero_shot(
    model: CLIPModel, tokenizer: CLIPTokenizer, images: np.ndarray, labels: np.ndarray, prompts: list[str]
) -> float:
    """Top-1 in percent: class embeddings are the mean over class-only and style captions, as CLIP's ensembles are."""
    classes = torch.stack(
        [F.normalize(embed_texts(model, tokenizer, captions(p, None) + captions(p)).mean(0), dim=0) for p in prompts]
    )
    hits = 0
    for i in range(0, len(images), 256):
        x = torch.from_numpy(images[i : i + 256]).permute(0, 3, 1, 2).float() / 127.5 - 1
        hits += int(((embed_images(model, x) @ classes.T).argmax(1).numpy() == labels[i : i + 256]).sum())
    return 100 * hits / len(images)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=128)
    return parser.parse_args()


def main() -> None:
    args, data = options(), load_pictograms()
    prompts = [c.prompt for c in data.labels.classes]
    images, labels, styles = load_split(data.retrieval)
    val = load_split(data.shifted_val)
    print(f"{len(images)} wild images, {len(val[0])} of wild-val", flush=True)
    by_style = [captions(p, s) for p in prompts for s in WILD]
    class_only = [captions(p, None) for p in prompts]
    tokenizer = train_tokenizer([t for group in by_style + class_only for t in group], args.out / "tokenizer")
    model = build(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(tokenizer)} tokens", flush=True)
    style_of = np.array([WILD.index(s) for s in styles])
    weight = shares(labels, style_of)

    def loss_of(clip: CLIPModel, step: int, g: torch.Generator) -> dict[str, Tensor]:
        pick = torch.multinomial(weight, args.batch_size, replacement=True, generator=g).numpy()
        x = batch_augment(images[pick], g)
        alone = torch.rand(args.batch_size, generator=g).numpy() < CLASS_ONLY
        draw = torch.randint(1 << 30, (args.batch_size,), generator=g).numpy()
        texts = []
        for i, a, d in zip(pick, alone, draw, strict=True):
            group = class_only[labels[i]] if a else by_style[labels[i] * len(WILD) + style_of[i]]
            texts.append(group[d % len(group)])
        texts += [group[int(torch.randint(len(group), (1,), generator=g))] for group in class_only]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            u, both = embed_images(clip, x), embed_texts(clip, tokenizer, texts)
        v, classes = both[: args.batch_size], both[args.batch_size :]
        scale = clip.logit_scale.clamp(max=4.6).exp()
        label = torch.from_numpy(labels[pick])
        to_class = F.cross_entropy(scale * u @ classes.T, label) + F.cross_entropy(scale * v @ classes.T, label)
        logits = scale * u @ v.T
        same_class = torch.from_numpy(labels[pick][:, None] == labels[pick][None])
        same_style = torch.from_numpy((style_of[pick][:, None] == style_of[pick][None]) | alone[None])
        right = (same_class & same_style).float()
        per_image = -(F.log_softmax(logits, 1) * right).sum(1) / right.sum(1)
        per_text = -(F.log_softmax(logits, 0) * right).sum(0) / right.sum(0)
        hit = right[torch.arange(len(right)), logits.argmax(1)].mean()
        return {"loss": (per_image.mean() + per_text.mean() + to_class) / 2, "hit": hit}

    clip = train(model, loss_of, steps=args.steps, folder=args.out, lr=1.5e-3, weight_decay=0.1, warmup=300, seed=2)
    clip.save_pretrained(args.out / "clip")
    print(f"zero-shot top-1 on wild-val: {zero_shot(clip, tokenizer, *val[:2], prompts):.1f} %", flush=True)


if __name__ == "__main__":
    main()
