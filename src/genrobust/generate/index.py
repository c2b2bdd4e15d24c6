"""Reads the model_index.json of a folder in the diffusers format, which may be a stranger's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genrobust.core import INDEX, UserError, reading

PATCHES = ["genrobust.generate.patch_autoencoder", "PatchAutoencoder"]  # the one part of ours


def read_index(folder: Path) -> dict[str, Any]:
    """Return the model_index.json of `folder`.

    Raises:
        UserError: The folder is no diffusers folder, or one that is not of diffusers' own classes.
    """
    if folder.is_file():
        raise UserError(
            f"{folder} is a file; a generator is a diffusers folder: convert it with "
            "StableDiffusionPipeline.from_single_file(...).save_pretrained(...)"
        )
    if not (folder / INDEX).exists():
        raise UserError(f"{folder} is no diffusers folder: it has no {INDEX}")
    with reading(folder / INDEX, ValueError, then=": get it again"):
        index = json.loads((folder / INDEX).read_bytes())
        if not isinstance(index, dict):
            raise ValueError("it is no JSON object")
        if not isinstance(index.get("_class_name"), str | list):
            raise ValueError("it names no _class_name")
    if isinstance(index["_class_name"], list):
        raise UserError(
            f"{folder} is a community pipeline (the _class_name in its {INDEX} is a list), which brings code of its "
            "own, and genrobust runs none: name a generator of diffusers' own classes"
        )
    for name, part in index.items():
        if name != "id2label" and isinstance(part, list) and not _is_known_part(part):
            raise UserError(
                f"{folder / INDEX}: {name} is {str(part)[:60]}: a part is of a class of diffusers or transformers, or "
                "[null, null]; get it again, or name another"
            )
    return index


def _is_known_part(part: list[Any]) -> bool:
    """Whether diffusers can load `part`, [library, class], without importing a module that anybody may have named."""
    if part == [None, None]:
        return True
    if len(part) != 2 or not all(isinstance(word, str) for word in part):
        return False
    if part[0] in ("diffusers", "transformers") or part == PATCHES:
        return True
    import diffusers  # which takes seconds

    return hasattr(diffusers.pipelines, part[0])
