"""Are generated icons worth more where their labels are right, or where they are needed? Chosen halves of them.

    genrobust run pictograms-full
    python docs/best_half.py RUNS
    genrobust run best-half.yaml --out RUNS

The second command draws twice as many icons as pictograms-full, and keeps the half of each class and style whose label
the classifier of `real+retrieved, drawing styles` believes most, of the first seed. It writes the study of this half,
and of its part where the pool has fewer than four icons of a class in a style, and tells how many labels another
training of this classifier recognizes. Another half is a second round of generation: the more of a class, the more of
its icons in *wild-val* the classifier of `real+generated, drawing styles` gets wrong.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter, defaultdict
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import torch

from genrobust import Study, load_recipe
from genrobust.classifiers import Feed, open_checkpoint
from genrobust.core import ImageSet
from genrobust.data import decide
from genrobust.recipe import parse_recipe, recipe_yaml

JUDGE = "real+retrieved, drawing styles"
FIRST = "real+generated, drawing styles"
THIN = 4  # icons of a class in a style, in the pool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", help="the output folder")
    runs = parser.parse_args().runs
    full = Study(load_recipe("pictograms-full"), runs)
    images = Study(load_recipe("pictograms-full", ["generate.per_class=112"]), runs).dataset("generated").images
    labels = np.asarray(images.labels)
    believed = probabilities(full, 0, images)
    recognized = probabilities(full, 1, images).argmax(axis=1) == labels
    cells = defaultdict(list)
    for index, cell in enumerate(zip(labels.tolist(), images.styles, strict=True)):
        cells[cell].append(index)
    pool = Counter(zip(full.data.retrieval.labels.tolist(), full.data.retrieval.styles, strict=True))
    half = {cell: sorted(of, key=lambda i: -believed[i, labels[i]])[: len(of) // 2] for cell, of in cells.items()}
    for words, least, most in (("no icon", 0, 0), (f"1 to {THIN - 1}", 1, THIN - 1), (f"{THIN} or more", THIN, 10**6)):
        for name, chosen in (("all", cells), ("the best half", half)):
            of = [index for cell, members in chosen.items() if least <= pool[cell] <= most for index in members]
            print(f"{words} in the pool, {name}: {100 * recognized[of].mean():.0f} % of {len(of):,} recognized")
    thin = {cell: members for cell, members in half.items() if pool[cell] < THIN}
    halves = {"best-half": half, "thin": thin, "second-round": second_round(full, cells)}
    for name, chosen in halves.items():
        kept = {images.keys[index] for members in chosen.values() for index in members}
        print(f"{name}: {len(kept):,} images")
        decide(images, images.keys, None)
        review = decide(images, [key for key in images.keys if key not in kept], "wrong class")
        shutil.move(review.file, f"{name}.review.json")
    Path("best-half.yaml").write_text(recipe_yaml(parse_recipe(recipe())), encoding="utf-8")


def second_round(full: Study, cells: dict[tuple[int, str], list[int]]) -> dict[int, list[int]]:
    """The images of each class: half of all, by its errors on *wild-val*, of all styles alike."""
    first = full.predictions(full.runs(FIRST)[:1])[0]["wild-val"]
    wrong = first.logits.argmax(axis=1) != first.labels
    count = len(full.data.labels)
    errors = np.bincount(first.labels, wrong, count) + 0.5  # of a class without icons in wild-val: half
    rate = errors / (np.bincount(first.labels, minlength=count) + 1)
    half = sum(map(len, cells.values())) / 2
    chosen = {}
    for label in range(count):
        styles = [members for (of, _), members in cells.items() if of == label]
        in_turn = [index for index in chain(*zip_longest(*styles)) if index is not None]
        chosen[label] = in_turn[: round(half * rate[label] / rate.sum())]
    return chosen


def probabilities(study: Study, seed: int, images: ImageSet) -> np.ndarray:
    """What the judge of a seed gives to each class, as logarithms [N, K] in the order of the study's classes."""
    judge = open_checkpoint(study.checkpoint(study.recipe.arm(JUDGE), seed))
    logits = judge.logits(judge.load(torch.device("cpu")), images, Feed(128, torch.device("cpu")))
    columns = judge.columns(study.data.labels)
    return torch.log_softmax(torch.from_numpy(logits[:, columns]).float(), dim=1).numpy()


def recipe() -> dict[str, object]:
    """The recipe pictograms-full with arms on the best half, all with drawing styles."""
    raw = load_recipe("pictograms-full").model_dump(mode="json")
    twice = {"generate": {"per_class": 112}}
    reviews = {name: f"{name.replace(' ', '-')}.review.json" for name in ("best half", "second round")}
    reviews["best half of thin"] = "thin.review.json"
    raw["datasets"] |= {name: {**twice, "filter": {"by": "list", "file": file}} for name, file in reviews.items()}
    mixtures = {
        "real+generated, best half": {"best half": 1},
        "real+retrieved+generated, best half": {"retrieved": 1, "best half": 1},
        "real+retrieved+generated, best half of thin cells": {"retrieved": 1, "best half of thin": 0.5},
        "real+generated, second round": {"second round": 1},
        "real+retrieved+generated, second round": {"retrieved": 1, "second round": 1},
    }
    styles = {"augmentation": "drawing-styles", "augmentation_share": 0.25}
    compared = (
        "real",
        "drawing styles",
        FIRST,
        "real+retrieved+generated, drawing styles",
        JUDGE,
    )
    raw["arms"] = [arm for arm in raw["arms"] if arm["name"] in compared]
    raw["arms"] += [
        {
            "name": f"{name}, drawing styles",
            "mixture": [{"source": source, "weight": weight} for source, weight in {"real": 1, **weights}.items()],
            "train": styles,
        }
        for name, weights in mixtures.items()
    ]
    claims = [
        ("the best half adds to retrieved images with drawing styles", "real+retrieved+generated, best half", JUDGE),
        ("so does the best half of thin cells", "real+retrieved+generated, best half of thin cells", JUDGE),
        ("the best half is worth more than all", "real+generated, best half", FIRST),
        ("images of a second round are worth more than those of a first", "real+generated, second round", FIRST),
        ("and add to retrieved images with drawing styles", "real+retrieved+generated, second round", JUDGE),
    ]
    raw["claims"] = [{"says": says, "arm": f"{arm}, drawing styles", "than": than} for says, arm, than in claims]
    return {**raw, "name": "best-half", "answer": FIRST}


if __name__ == "__main__":
    main()
