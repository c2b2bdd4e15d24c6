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

    def make(self, clip: Clip, of: ImageSet | Sequence[Sequence[str]], batch_size: int) -> None:
        """Embed images, or the texts of each class as one, and save that.

        Raises:
            UserError: An image cannot be read.
        """
        from genrobust.classifiers import clip_embeddings, embed_ensembles

        with progress_bar(f"CLIP, {self.word}", len(of)) as bar:
            if isinstance(of, Sequence):
                embeddings = embed_ensembles(clip, of)
                bar.advance(len(of))
            else:
                embeddings = clip_embeddings(clip, of, batch_size, bar.advance)
        decoders = of.decoders if isinstance(of, ImageSet) else ()
        manifest = Manifest("embeddings", self.inputs, {"count": len(embeddings)}, made_by(Embeddings, *decoders))
        with Artifact(self.folder).writing(manifest, FILE), replacing(self.folder / FILE) as file:
            np.savez(file, allow_pickle=False, embeddings=embeddings)
