"""The step that searches unlabeled images for images of each class, with a CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.classifiers import hash_clip, require_clip
from genrobust.core import (
    EMBEDDED,
    RETRIEVED_BY_SEARCH,
    ImageSet,
    Subset,
    UserError,
    digest,
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
from genrobust.store import HEX_DIGITS, Artifact, artifact_folder, fetch_artifacts
from genrobust.study.executors.work import Item
from genrobust.study.steps.embeddings import CLASS_NAMES, FOLDER, Embeddings, EmbeddingStep
from genrobust.study.steps.images import ImageStep

PART = 2000  # images per part, which a kill loses at most: one minute of a small CLIP on a CPU


@dataclass(frozen=True, eq=False, repr=False)
class Search(EmbeddingStep, ImageStep):
    """Searches a pool for images of each class, as many as `first` has or as the recipe says.

    Labels of the pool are not used. Items are the embeddings of the parts of the pool and of the class names. Only the
    list of found images, in `folder`, depends on texts and numbers: other searches use the same embeddings.
    """

    title = "searching"
    stage = "search"

    first: ImageStep | None

    @property
    def row(self) -> str:
        return self.pool.name

    @cached_property
    def pool(self) -> ImageSet:
        data = self.context.data
        pool = data.retrieval if data.search_pool is None else data.search_pool
        if pool is None:
            raise UserError(
                f"an arm mixes {RETRIEVED_BY_SEARCH}, but this data has no images to search: name a folder of images "
                "under data.retrieved.search"
            )
        return pool

    @cached_property
    def class_counts(self) -> np.ndarray:
        per_class = self.context.recipe.data.retrieved.per_class
        if per_class is not None:
            return np.full(len(self.context.data.labels), per_class)
        # The recipe requires one of the two.
        assert self.first is not None
        return self.first.class_counts

    @property
    def clip_name(self) -> str:
        name = self.context.recipe.data.search_clip
        # The recipe requires it.
        assert name is not None
        return name

    @cached_property
    def clip(self) -> Path:
        return require_clip(self.clip_name, "data.retrieved.clip")

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that the list of found images depends on."""
        return {
            "rule": SEARCHED_BY,
            "pool": self.pool.fingerprint,
            "clip": hash_clip(self.clip),
            "texts": digest(self.context.class_texts, HEX_DIGITS),
            "wanted": self.class_counts.tolist(),
        }

    @cached_property
    def folder(self) -> Path:
        return artifact_folder(self.context.out / "searches", "classes", self.inputs)

    @property
    def identity(self) -> str:
        return self.folder.name

    def artifacts(self) -> list[Path]:
        return [self.embeddings(part).folder for part in self.parts]

    @cached_property
    def parts(self) -> dict[int | str, range]:
        """The inputs of the CLIP: images of the pool, by their part, and the texts of classes as CLASS_NAMES."""
        count = len(self.pool)
        parts: dict[int | str, range] = {}
        for number, start in enumerate(range(0, count, PART)):
            parts[number] = range(start, min(start + PART, count))
        parts[CLASS_NAMES] = range(len(self.class_counts))
        return parts

    def embeddings(self, key: int | str) -> Embeddings:
        if key == CLASS_NAMES:
            return self.embeddings_of_classes()
        inputs = {"clip": hash_clip(self.clip), "images": self.pool.fingerprint, "size": PART, "part": key}
        return Embeddings(self.context.out / FOLDER, f"{self.pool.name} {key}", inputs)

    def shown(self, key: int | str) -> Subset:
        return Subset(self.pool, self.parts[key])

    def items(self) -> list[Item]:
        # Once the list is written, nobody reads the embeddings any more.
        is_made = self.is_made()
        if not is_made:
            fetch_artifacts(self.context.out / FOLDER)
        items: list[Item] = []
        for part, covered in self.parts.items():
            total = len(covered)
            size = 0 if is_made or self.embeddings(part).are_made else total
            if part == CLASS_NAMES:
                item = Item(part, self.item_name(part), size, row=CLASS_NAMES, total=total, unit="classes")
            else:
                name = self.item_name(f"part {part} of {self.pool.name}")
                item = Item(part, name, size, row=self.pool.name, total=total)
            items.append(item)
        return items

    def finish(self, made: Sequence[Item]) -> None:
        """Write the list of found images, unless it is written."""
        if self.is_made():
            return
        fetch_artifacts(self.context.out / FOLDER)
        classes = self.embeddings(CLASS_NAMES).load()
        images = [self.embeddings(part).load() for part in self.parts if part != CLASS_NAMES]
        seen = [best_classes(of_part, classes) for of_part in images]
        best = np.concatenate([labels for labels, _ in seen])
        cosines = np.concatenate([cosines for _, cosines in seen])
        indices = nearest_of_classes(best, cosines, self.class_counts)
        write_search(self.folder, self.inputs, self.pool, indices, best[indices], cosines[indices])

    def open_made(self) -> FoundImages:
        Artifact(self.folder).fetch()
        return read_search(self.folder, self.pool, RETRIEVED_BY_SEARCH)

    def describe_found(self, images: ImageSet) -> str:
        """Describe how many images were found, which classes ran short, and how often labels are right."""
        assert isinstance(images, FoundImages)
        data = self.context.data
        wanted = self.class_counts
        names = data.labels.names
        pool = f"{len(self.pool):,} of {self.pool.name}"
        said = [f"The search found {len(images):,} of {wanted.sum():,} images, among {pool}."]
        short = np.flatnonzero(np.bincount(images.labels, minlength=len(names)) < wanted)
        if len(short):
            said.append(f"{len(short)} of {len(names)} classes ran short: {some_of(names[k] for k in short)}.")
        # Without `search_pool`, the pool has labels of the study's classes.
        if data.search_pool is None and len(images):
            right = 100 * float((images.labels == images.hidden_labels).mean())
            said.append(f"{right:.1f} % show the class that they were found for, by labels that it did not use.")
            if self.context.recipe.data.source == EMBEDDED and self.clip == find_clip(EMBEDDED):
                said.append("This CLIP learned from these very images with their labels; a foreign pool is harder.")
        return " ".join(said)
