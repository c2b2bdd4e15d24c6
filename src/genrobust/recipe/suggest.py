"""Suggests a key of a recipe for a word that is none: by meaning, initials, beginning or spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

NEAR = 5  # keys that are listed where nothing is suggested
# What other programs call a key, where neither its initials nor its beginning tell.
MEANINGS: Mapping[str, tuple[str, ...]] = {
    "accelerator": ("device",),
    "amp": ("precision", "dtype"),
    "backbone": ("architecture",),
    "cfg": ("guidance_scale",),
    "checkpoint": ("init", "model"),
    "classes": ("class_names",),
    "crop_size": ("image_size",),
    "ema": ("ema_decay",),
    "fp16": ("precision", "dtype"),
    "freeze": ("method",),
    "img_size": ("image_size", "width"),
    "images": ("per_class",),
    "ipc": ("per_class",),
    "iterations": ("steps",),
    "lr": ("learning_rate",),
    "max_epochs": ("epochs",),
    "max_steps": ("steps",),
    "model": ("architecture",),
    "negative_prompt": ("prompts",),
    "net": ("architecture",),
    "network": ("architecture",),
    "num_epochs": ("epochs",),
    "num_images": ("per_class",),
    "num_inference_steps": ("steps",),
    "num_workers": ("workers", "threads"),
    "prompt": ("prompts",),
    "resolution": ("image_size", "width"),
    "root": ("root", "train"),
    "sampler": ("scheduler",),
    "samples": ("per_class",),
    "seed": ("seeds", "data_seed"),
    "size": ("image_size", "width"),
    "tests": ("tests", "shifts"),
    "transforms": ("augmentation",),
    "val_set": ("val",),
    "weights": ("init", "model"),
}


def meant(word: str, keys: Iterable[str]) -> list[str]:
    """Return the keys that `word` stands for, by its meaning, its initials or its beginning."""
    keys, word = list(keys), word.lower()
    names = (word, *MEANINGS.get(word, ()))
    by_meaning = [key for name in names for key in keys if key == name]
    by_initials = [key for key in keys if "_" in key and "".join(part[:1] for part in key.split("_")) == word]
    return by_meaning or by_initials or [key for key in keys if len(word) > 2 and key.startswith(word)]


def suggest_nearest(word: str, keys: Iterable[str]) -> str:
    """Suggest the key whose spelling is near `word`, or else name a few that are nearest."""
    keys, word = list(keys), word.lower()
    if near := difflib.get_close_matches(word, keys, n=1):
        return f"did you mean {near[0]}?"
    if len(keys) <= NEAR:
        return f"known here: {', '.join(keys)}"
    examples = ", ".join(difflib.get_close_matches(word, keys, n=NEAR, cutoff=0))
    return f"the nearest here are {examples}; genrobust show RECIPE --yaml prints all keys"
