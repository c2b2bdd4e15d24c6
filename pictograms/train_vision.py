"""Train the vision tower of the Pictograms CLIP on *wild*, against the frozen text tower of the shipped generator.

    python pictograms/train_vision.py --corpus build/corpus.npy --out build/vision

As in locked-image tuning (Zhai et al. 2022) with exchanged roles: the text tower conditions a UNet already, so it must
not change. A transformer learns little from 6,425 images; a convolutional network of the same size learns more. So one
is trained on them first (by genrobust itself), and is the teacher of the tower: long and consistent distillation (Beyer
et al. 2022) on mixed-up images, with unlabeled drawings of the same families among them. At the end it prints
zero-shot top-1 on *wild-val*, the only evaluation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from images import WILD, batch_augment, captions, load_split, shares
from loop import train
from torch import Tensor
from train_clip import build, embed_images, load_text_encoder, tokens_of, zero_shot
from transformers import CLIPImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer

from genrobust.classifiers import Classifier, load_checkpoint
from genrobust.core import StudyData
from genrobust.data.readers.pictograms import load_pictograms
from genrobust.recipe import ArmConfig, load_recipe
from genrobust.study import Study

GENERATOR = Path(__file__).parents[1] / "src" / "genrobust" / "assets" / "generator"
TEACHER = ["train.model_kwargs={}", "answer=null"]  # the recipes' network at its full width
TEACHER_SEED = 200
MIXED = 0.5  # of the steps see mixed-up images and the teacher's answers alone
UNLABELED = 0.5  # of the images of such a step come from the corpus
TEMPERATURE = 2.0  # of the teacher's answers


def teacher_of(out: Path, steps: int) -> Classifier:
    """A classifier trained on the labeled *wild* images."""
    arms = ["arms=[{name: wild, mixture: retrieved}]", "reference=wild", f"train.steps={steps}"]
    study = Study(load_recipe("pictograms", [*TEACHER, *arms]), out, say=lambda line: print(line, flush=True))
    return load_checkpoint(study.checkpoint(ArmConfig(name="wild", mixture="retrieved"), TEACHER_SEED))[0]


@torch.inference_mode()
def pooled(text: CLIPTextModel, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """The text tower's pooled states [N, 128], before the projection."""
    ids = tokens_of(tokenizer, texts)["input_ids"]
    return torch.cat([text(input_ids=part).pooler_output for part in ids.split(256)]).clone()


def assembled(text: CLIPTextModel, tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP whose text tower is `text`, frozen; the vision tower and both projections are new."""
    model = build(tokenizer)
    state = {k.removeprefix("text_model."): v for k, v in text.state_dict().items()}
    model.text_model.load_state_dict(state)
    model.text_model.requires_grad_(False)
    return model


class Lesson:
    """The loss of a step: the teacher's answers, on mixed-up images or on plain ones with their labels and captions."""

    def __init__(self, data: StudyData, args: argparse.Namespace, text: CLIPTextModel, tokenizer: CLIPTokenizer):
        self.images, self.labels, styles = load_split(data.retrieval)
        self.corpus, self.n = np.load(args.corpus, mmap_mode="r"), args.batch_size
        self.teacher = teacher_of(args.out, args.teacher_steps)
        self.style_of = np.array([WILD.index(s) for s in styles])
        self.weight = shares(self.labels, self.style_of)
        prompts = [c.prompt for c in data.labels.classes]
        groups = [captions(p, s) for p in prompts for s in WILD]  # a list of captions for each (class, style)
        self.first = np.cumsum([0] + [len(group) for group in groups])
        self.states = pooled(text, tokenizer, [t for group in groups for t in group])
        whole = [captions(p, None) + captions(p) for p in prompts]
        self.class_states = torch.stack([pooled(text, tokenizer, group).mean(0) for group in whole])

    def __call__(self, clip: CLIPModel, step: int, g: torch.Generator) -> dict[str, Tensor]:
        pick, mixed, x = self._batch(g)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            answers = self.teacher(x / 2 + 0.5).float().clone()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            u = embed_images(clip, x)
        scale = clip.logit_scale.clamp(max=4.6).exp()
        logits = scale * u @ F.normalize(clip.text_projection(self.class_states), dim=-1).T
        taught = F.kl_div(
            F.log_softmax(logits / TEMPERATURE, 1), F.log_softmax(answers / TEMPERATURE, 1), log_target=True,
            reduction="batchmean",
        ) * TEMPERATURE**2  # fmt: skip
        if mixed:
            return {"loss": taught, "taught": taught}
        label = torch.from_numpy(self.labels[pick])
        contrast = self._contrast(clip, pick, scale * u, g)
        hit = (logits.argmax(1) == label).float().mean()
        loss = taught + 0.5 * F.cross_entropy(logits, label) + 0.25 * contrast
        return {"loss": loss, "taught": taught, "unmixed_hit": hit}

    def _batch(self, g: torch.Generator) -> tuple[np.ndarray, bool, Tensor]:
        """Indices of the images, whether they are mixed up, and the images."""
        n = self.n
        pick = torch.multinomial(self.weight, n, replacement=True, generator=g).numpy()
        drawn = self.images[pick]
        mixed = bool(torch.rand((), generator=g) < MIXED)
        if mixed:
            places = np.flatnonzero(torch.rand(n, generator=g).numpy() < UNLABELED)
            drawn[places] = self.corpus[torch.randint(len(self.corpus), (len(places),), generator=g).numpy()]
        x = batch_augment(drawn, g, zoom=0.25)
        if mixed:
            share = torch.rand(n, 1, 1, 1, generator=g)
            x = x * share + x.roll(1, 0) * (1 - share)
        return pick, mixed, x

    def _contrast(self, clip: CLIPModel, pick: np.ndarray, u: Tensor, g: torch.Generator) -> Tensor:
        """The contrastive loss of images and one caption of each; all pairs of one class and style are right."""
        group = self.labels[pick] * len(WILD) + self.style_of[pick]
        draw = torch.randint(1 << 30, (self.n,), generator=g).numpy()
        chosen = self.first[group] + draw % (self.first[group + 1] - self.first[group])
        v = F.normalize(clip.text_projection(self.states[chosen]), dim=-1)
        right = torch.from_numpy(group[:, None] == group[None]).float()
        right = right / right.sum(1, keepdim=True)
        pairs = u @ v.T
        return F.cross_entropy(pairs, right) + F.cross_entropy(pairs.T, right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="the images of corpus.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="start", type=Path, help="an earlier CLIP with this text tower, to start from")
    parser.add_argument("--teacher-steps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=128)
    args = parser.parse_args()
    data = load_pictograms()
    text, tokenizer = load_text_encoder(GENERATOR)
    text.eval()
    torch.manual_seed(0)
    model = assembled(text, tokenizer)
    if args.start:
        earlier = CLIPModel.from_pretrained(args.start).state_dict()
        model.load_state_dict({k: v for k, v in earlier.items() if not k.startswith("text_model.")}, strict=False)
    loss_of = Lesson(data, args, text, tokenizer)
    clip = train(model, loss_of, steps=args.steps, folder=args.out, lr=1e-3, weight_decay=0.1, warmup=300, seed=4)
    folder = args.out / "clip"
    clip.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    half = [0.5] * 3
    CLIPImageProcessor(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}, image_mean=half, image_std=half
    ).save_pretrained(folder)
    prompts = [c.prompt for c in data.labels.classes]
    print(
        f"zero-shot top-1 on wild-val: {zero_shot(clip, tokenizer, *load_split(data.shifted_val)[:2], prompts):.1f} %",
        flush=True,
    )


if __name__ == "__main__":
    main()
