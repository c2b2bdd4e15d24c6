"""CLIP embeddings of images or of class names, which are an artifact, and the base of the steps that make some."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrobust.classifiers import hash_clip
from genrobust.core import GenrobustError, ImageSet, digest, progress_bar, reading, resolve_device
from genrobust.store import Artifact, Manifest, artifact_folder, made_by, replacing
from genrobust.study.estimates import Cost
from genrobust.study.executors.work import Item, MakeItems
from genrobust.study.steps.step import Step

if TYPE_CHECKING:
    from genrobust.classifiers import Clip

FOLDER = "embeddings"  # in the output folder
FILE = "embeddings.npz"
CLASS_NAMES = "the class names"


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Embeddings, float32 [N, D], in a folder in `below` that is named after `word` and all `inputs`."""

    below: Path
    word: str
    inputs: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return artifact_folder(self.below, self.word, self.inputs)

    @property
    def are_made(self) -> bool:
        return Artifact(self.folder).is_finished

    def load(self) -> np.ndarray:
        path = Artifact(self.folder).path(FILE)
        with reading(path, ValueError, KeyError, kind=GenrobustError), np.load(path, allow_pickle=False) as arrays:
            embeddings: np.ndarray = arrays["embeddings"]
            return embeddings

    def make(self, clip: Clip, shown: ImageSet | Sequence[Sequence[str]], batch_size: int) -> None:
        """Embed and save images, or the mean of the texts of each class."""
        from genrobust.classifiers import clip_embeddings, embed_ensembles

        with progress_bar(f"CLIP, {self.word}", len(shown)) as bar:
            if isinstance(shown, Sequence):
                embeddings = embed_ensembles(clip, shown)
                bar.advance(len(shown))
            else:
                embeddings = clip_embeddings(clip, shown, batch_size, bar.advance)
        decoders = shown.decoders if isinstance(shown, ImageSet) else ()
        manifest = Manifest("embeddings", self.inputs, {"count": len(embeddings)}, made_by(Embeddings, *decoders))
        with Artifact(self.folder).writing(manifest, FILE), replacing(self.folder / FILE) as file:
            np.savez(file, allow_pickle=False, embeddings=embeddings)


@dataclass(frozen=True, eq=False, repr=False)
class EmbeddingStep(Step):
    """Base of the steps that show images, and the names of the classes, to a CLIP. Its keys are parts of them."""

    @property
    @abstractmethod
    def clip_name(self) -> str: ...

    @property
    @abstractmethod
    def clip(self) -> Path:
        """The folder of the CLIP."""

    @abstractmethod
    def embeddings(self, key: Any) -> Embeddings:
        """Return the embeddings of a part of the images, or of CLASS_NAMES, made or not."""

    @abstractmethod
    def shown(self, key: Any) -> ImageSet:
        """Return the images of a part, which are made already."""

    def embeddings_of_classes(self) -> Embeddings:
        """Return the embeddings of the names of the classes, made or not."""
        inputs = {"clip": hash_clip(self.clip), "texts": digest(self.context.class_texts)}
        return Embeddings(self.context.out / FOLDER, "class names", inputs)

    def item_name(self, part: str) -> str:
        return f"the CLIP's view of {part}"

    def load(self) -> MakeItems:
        from genrobust.classifiers import load_clip

        recipe = self.context.recipe
        clip = load_clip(self.clip, resolve_device(recipe.device))

        def embed(keys: Sequence[Any]) -> None:
            for key in keys:
                shown = self.context.class_texts if key == CLASS_NAMES else self.shown(key)
                self.embeddings(key).make(clip, shown, recipe.evaluate.batch_size)

        return embed

    def cost(self, item: Item) -> Cost:
        """Return the cost of an image. The names of the classes are few, so they cost nothing."""
        return Cost(int(item.key != CLASS_NAMES), of=f"CLIP {self.clip_name}")
