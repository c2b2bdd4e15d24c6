"""The search of a study: what it depends on, the embeddings that it takes, and what it found."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrobust.classifiers import hash_clip
from genrobust.core import (
    EMBEDDED,
    HEX_DIGITS,
    RETRIEVED_BY_SEARCH,
    Artifact,
    ImageSet,
    Subset,
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
    found_images,
    nearest_in_turn,
    prompt_cosines,
    read_search,
    write_search,
)
from genrobust.study.context import Context
from genrobust.study.stages.embeddings import CLASS_NAMES, FOLDER, Embeddings

if TYPE_CHECKING:
    from genrobust.classifiers import Clip

PART = 2000  # images that are embedded in one go, and that a kill loses at most: a minute of a small CLIP on a CPU


class PoolSearch:
    """The search for images of each class in a pool, by a CLIP: `wanted` [K] of each class, with its `texts`.

    Labels of the pool are not used. Every file is named after all that it depends on, and only the list of what is
    found, in `folder`, depends on texts and numbers: others search the same embeddings again.

    Args:
        hidden: Whether the pool has labels of the study's classes; they tell how often the search is right.
    """

    def __init__(
        self, context: Context, pool: ImageSet, hidden: bool, texts: Sequence[Sequence[str]], wanted: np.ndarray
    ) -> None:
        self.context, self.pool, self.wanted = context, pool, wanted
        self._hidden, self._texts = hidden, texts

    @cached_property
    def clip(self) -> Path:
        """The folder of the CLIP that searches.

        Raises:
            UserError: There is no such folder.
        """
        name = self.context.recipe.data.search_clip
        assert name is not None  # the recipe has seen to it
        folder = find_clip(name)
        if not folder.is_dir():
            raise UserError(f"data.retrieved.clip: there is no folder {folder}: name one that holds a CLIP")
        return folder

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        return {
            "rule": SEARCHED_BY[self._match],
            "pool": self.pool.fingerprint,
            "clip": hash_clip(self.clip),
            "texts": digest(self._texts, HEX_DIGITS),
            "wanted": self.wanted.tolist(),
        }

    @cached_property
    def folder(self) -> Path:
        """Where the list of what is found lies, or will lie."""
        return artifact_folder(self.context.out / "searches", self._match, self._inputs)

    @property
    def is_done(self) -> bool:
        """Whether the search is done; fetches it where another machine did it."""
        return Artifact(self.folder).fetch().is_finished

    def embeddings(self, part: int | str) -> Embeddings:
        """Return the embeddings of a part of the pool, or of CLASS_NAMES, made or not."""
        room, clip = self.context.out / FOLDER, hash_clip(self.clip)
        if part == CLASS_NAMES:
            return Embeddings(room, "class names", {"clip": clip, "texts": digest(self._embedded)})
        inputs = {"clip": clip, "images": self.pool.fingerprint, "size": PART, "part": part}
        return Embeddings(room, f"{self.pool.name} {part}", inputs)

    def totals(self) -> dict[int | str, int]:
        """Count what is embedded: the images of each part, by its number, and under CLASS_NAMES classes or prompts."""
        count = len(self.pool)
        totals: dict[int | str, int] = {start // PART: min(PART, count - start) for start in range(0, count, PART)}
        return totals | {CLASS_NAMES: len(self._embedded)}

    @property
    def _match(self) -> str:
        return self.context.recipe.data.retrieved.match

    @cached_property
    def _embedded(self) -> Sequence[Sequence[str]]:
        """The texts of each embedding: all of a class, or each by itself where prompts take images in turn."""
        return self._texts if self._match == "classes" else [[text] for of_class in self._texts for text in of_class]

    def embed(self, clip: Clip, part: int | str) -> None:
        """Embed a part of the pool, or CLASS_NAMES, with `clip`, loaded.

        Raises:
            UserError: An image cannot be read.
        """
        if isinstance(part, str):
            self.embeddings(part).make_of_texts(clip, self._embedded)
        else:
            images = Subset(self.pool, range(part * PART, min((part + 1) * PART, len(self.pool))))
            batch_size = self.context.recipe.evaluate.batch_size
            self.embeddings(part).make_of_images(clip, images, batch_size, "CLIP, images to search")

    def write(self) -> None:
        """Write the list of what is found, from the embeddings, which are all there."""
        from genrobust.classifiers import split_by_class, unit_means

        fetch_artifacts(self.context.out / FOLDER)
        classes, in_turn = self.embeddings(CLASS_NAMES).load(), self._match == "prompts"
        prompts = split_by_class(classes, self._texts) if in_turn else []
        classes = unit_means(prompts) if in_turn else classes
        parts, seen = [part for part in self.totals() if part != CLASS_NAMES], []
        for part in parts:
            images = self.embeddings(part).load()
            best, cosines = best_classes(images, classes)
            seen.append((best, prompt_cosines(images, best, prompts) if in_turn else cosines[:, None]))
        best, cosines = map(np.concatenate, zip(*seen, strict=True))
        indices, scores = nearest_in_turn(best, cosines, self.wanted)
        write_search(self.folder, self._inputs, self.pool, indices, best[indices], scores)

    @cached_property
    def images(self) -> FoundImages:
        """The images that were found, once the search is done."""
        Artifact(self.folder).fetch()
        return found_images(self.pool, read_search(self.folder), RETRIEVED_BY_SEARCH)

    def report(self) -> str:
        """Say how many of the wanted images were found, which classes ran short, and how often labels are right."""
        images, pool, names = self.images, self.pool, self.context.data.labels.names
        said = [
            f"The search found {len(images):,} of {self.wanted.sum():,} images, among {len(pool):,} of {pool.name}."
        ]
        if self._match == "prompts":
            said.append("The prompts of a class took its nearest images in turn.")
        short = np.flatnonzero(np.bincount(images.labels, minlength=len(names)) < self.wanted)
        if len(short):
            said.append(f"{len(short)} of {len(names)} classes ran short: {some_of(names[k] for k in short)}.")
        if self._hidden and len(images):
            right = 100 * float((images.labels == images.hidden_labels).mean())
            said.append(f"{right:.1f} % show the class that they were found for, by labels that it did not use.")
            if self.context.recipe.data.source == EMBEDDED and self.clip == find_clip(EMBEDDED):
                said.append("This CLIP learned from these very images with their labels; a foreign pool is harder.")
        return " ".join(said)
