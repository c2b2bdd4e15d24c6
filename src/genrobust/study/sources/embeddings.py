"""CLIP embeddings of the images and the class names of a study, each an artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrobust.core import (
    Artifact,
    GenrobustError,
    ImageSet,
    Manifest,
    artifact_folder,
    made_by,
    progress_bar,
    reading,
    replacing,
)

if TYPE_CHECKING:
    from genrobust.classifiers import Clip

FOLDER = "embeddings"  # in the folder of studies
FILE = "embeddings.npz"
CLASS_NAMES = "the class names"


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Embeddings, float32 [N, D], in a folder of `room` that is named after `word` and all `inputs`."""

    room: Path
    word: str
    inputs: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return artifact_folder(self.room, self.word, self.inputs)

    @property
    def are_made(self) -> bool:
        """Whether they are saved."""
        return Artifact(self.folder).is_finished

    def load(self) -> np.ndarray:
        """Load them.

        Raises:
            UserError: They are not made.
            GenrobustError: They are damaged.
        """
        path = Artifact(self.folder).path(FILE)
        with reading(path, ValueError, KeyError, kind=GenrobustError), np.load(path, allow_pickle=False) as arrays:
            embeddings: np.ndarray = arrays["embeddings"]
            return embeddings

    def make_of_texts(self, clip: Clip, ensembles: Sequence[Sequence[str]]) -> None:
        """Embed the texts of each of `ensembles` as one, and save that."""
        from genrobust.classifiers import embed_ensembles

        with progress_bar(CLASS_NAMES, len(ensembles)) as bar:
            self.save(embed_ensembles(clip, ensembles))
            bar.advance(len(ensembles))

    def make_of_images(self, clip: Clip, images: ImageSet, batch_size: int, title: str) -> None:
        """Embed `images`, and save that; `title` is what the progress is called.

        Raises:
            UserError: An image cannot be read.
        """
        from genrobust.classifiers import clip_embeddings

        with progress_bar(title, len(images)) as bar:
            self.save(clip_embeddings(clip, images, batch_size, bar.advance))

    def save(self, embeddings: np.ndarray) -> None:
        """Save them."""
        manifest = Manifest("embeddings", self.inputs, {"count": len(embeddings)}, made_by("embeddings"))
        with Artifact(self.folder).writing(manifest, FILE), replacing(self.folder / FILE) as file:
            np.savez(file, allow_pickle=False, embeddings=embeddings)
