"""CLIP embeddings of images or of class names, which are an artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrobust.core import GenrobustError, ImageSet, progress_bar, reading
from genrobust.store import Artifact, Manifest, artifact_folder, made_by, replacing

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
        """Whether they are saved."""
        return Artifact(self.folder).is_finished

    def load(self) -> np.ndarray:
        """Load them."""
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
