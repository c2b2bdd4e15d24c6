"""Images that a search finds for each class: what they depend on, the embeddings that it takes, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.classifiers import hash_clip, require_clip
from genrobust.core import (
    EMBEDDED,
    HEX_DIGITS,
    RETRIEVED_BY_SEARCH,
    Artifact,
    ImageSet,
    UserError,
    artifact_folder,
    digest,
    fetch_artifacts,
    find_clip,
    some_of,
)
from genrobust.data import (
    SEARCHED_BY,
    FoundImages,
    best_classes,
    nearest_of_classes,
    read_search,
    write_search,
)
from genrobust.study.context import Context
from genrobust.study.sources.embeddings import CLASS_NAMES, FOLDER, Embeddings
from genrobust.study.sources.source import ImageSource

PART = 2000  # images that are embedded in one go, and that a kill loses at most: a minute of a small CLIP on a CPU


@dataclass
class PoolSearch(ImageSource):
    """The search for images of each class in a pool, by a CLIP, as many as there are of `first` or as the recipe says.

    Labels of the pool are not used. Every file is named after all that it depends on, and only the list of what is
    found, in `folder`, depends on texts and numbers: others search the same embeddings again.
    """

    context: Context
    first: ImageSource | None

    @cached_property
    def pool(self) -> ImageSet:
        """The images to search.

        Raises:
            UserError: There are none.
        """
        data = self.context.data
        pool = data.retrieval if data.unlabeled is None else data.unlabeled
        if pool is None:
            raise UserError(
                f"an arm mixes {RETRIEVED_BY_SEARCH}, but this data has no images to search: name a folder of images "
                "under data.retrieved.search"
            )
        return pool

    @cached_property
    def class_counts(self) -> np.ndarray:
        per_class, labels = self.context.recipe.data.retrieved.per_class, self.context.data.labels
        if per_class is not None:
            return np.full(len(labels), per_class)
        assert self.first is not None  # the recipe has seen to it
        return self.first.class_counts

    @cached_property
    def clip(self) -> Path:
        """The folder of the CLIP that searches.

        Raises:
            UserError: It holds no CLIP.
        """
        name = self.context.recipe.data.search_clip
        assert name is not None  # the recipe has seen to it
        return require_clip(name, "data.retrieved.clip")

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        return {
            "rule": SEARCHED_BY,
            "pool": self.pool.fingerprint,
            "clip": hash_clip(self.clip),
            "texts": digest(self.context.class_texts, HEX_DIGITS),
            "wanted": self.class_counts.tolist(),
        }

    @cached_property
    def folder(self) -> Path:
        """Where the list of what is found lies, or will lie."""
        return artifact_folder(self.context.out / "searches", "classes", self._inputs)

    @property
    def identity(self) -> str:
        return self.folder.name

    @property
    def is_made(self) -> bool:
        return Artifact(self.folder).fetch().is_finished

    def embeddings(self, part: int | str) -> Embeddings:
        """Return the embeddings of a part of the pool, or of CLASS_NAMES, made or not."""
        room, clip = self.context.out / FOLDER, hash_clip(self.clip)
        if part == CLASS_NAMES:
            return Embeddings(room, "class names", {"clip": clip, "texts": digest(self.context.class_texts)})
        inputs = {"clip": clip, "images": self.pool.fingerprint, "size": PART, "part": part}
        return Embeddings(room, f"{self.pool.name} {part}", inputs)

    @cached_property
    def parts(self) -> dict[int | str, range]:
        """What is embedded: images of the pool, by their part, and the texts of classes as CLASS_NAMES."""
        count = len(self.pool)
        parts: dict[int | str, range] = {n: range(s, min(s + PART, count)) for n, s in enumerate(range(0, count, PART))}
        return parts | {CLASS_NAMES: range(len(self.class_counts))}

    def write(self) -> None:
        """Write the list of what is found, from the embeddings, which are all there."""
        fetch_artifacts(self.context.out / FOLDER)
        classes = self.embeddings(CLASS_NAMES).load()
        parts = [part for part in self.parts if part != CLASS_NAMES]
        seen = [best_classes(self.embeddings(part).load(), classes) for part in parts]
        best, cosines = map(np.concatenate, zip(*seen, strict=True))
        indices = nearest_of_classes(best, cosines, self.class_counts)
        write_search(self.folder, self._inputs, self.pool, indices, best[indices], cosines[indices])

    @cached_property
    def images(self) -> FoundImages:
        Artifact(self.folder).fetch()
        return read_search(self.folder, self.pool, RETRIEVED_BY_SEARCH)

    def report(self) -> str:
        """Say how many of the wanted images were found, which classes ran short, and how often labels are right."""
        images, pool, wanted, names = self.images, self.pool, self.class_counts, self.context.data.labels.names
        said = [f"The search found {len(images):,} of {wanted.sum():,} images, among {len(pool):,} of {pool.name}."]
        short = np.flatnonzero(np.bincount(images.labels, minlength=len(names)) < wanted)
        if len(short):
            said.append(f"{len(short)} of {len(names)} classes ran short: {some_of(names[k] for k in short)}.")
        if self.context.data.unlabeled is None and len(images):  # the pool has labels of the study's classes
            right = 100 * float((images.labels == images.hidden_labels).mean())
            said.append(f"{right:.1f} % show the class that they were found for, by labels that it did not use.")
            if self.context.recipe.data.source == EMBEDDED and self.clip == find_clip(EMBEDDED):
                said.append("This CLIP learned from these very images with their labels; a foreign pool is harder.")
        return " ".join(said)
