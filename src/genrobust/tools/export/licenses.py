"""The licenses of generators and of what is added to them, by their cards: whether their images may be given away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import RepoCard, constants
from huggingface_hub.file_download import repo_folder_name

from genrobust.classifiers import FOLDER, HUB
from genrobust.core import EMBEDDED, UserError, embedded, find_clip, hash_generator, variants_of
from genrobust.generate import base_of

OTHER = "other"  # the hub's word for a license that is none of its list
GENERATOR = "generator"
_ADDED = {"lora": "LoRA", "adapter": "adapter"}  # to a generator: the key of a manifest, in words
# In the names and links of licenses: cc-by-nc-4.0, cc-by-nd-4.0, sai-nc-community, flux-1-dev-non-commercial-license,
# intel-research, apple-amlr, deepfloyd-if-license, NSCL (NVIDIA's).
_FORBIDS = re.compile(
    r"(?<![a-z])(nc|nd|research|nscl|amlr)(?![a-z])|non[-_ ]?commercial|non?[-_ ]?deriv|deepfloyd", re.I
)


@dataclass(frozen=True, slots=True)
class License:
    """The license of a `part` of what drew: GENERATOR, or a word of what was added to it.

    Attributes:
        id: The name of the part.
        name: The license as the card of the part names it, "" where that is not known.
        forbids: What restricts the use of the images, or "".
    """

    part: str
    id: str
    name: str
    forbids: str


def check_license(license: str) -> None:
    """Raise UserError where `license` is no id of the hub's, which a card begins with."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,79}", license):
        raise UserError(f"--license {license[:80]!r}: give an id such as apache-2.0, in small letters, or other")


def licenses_of(manifests: Sequence[Mapping[str, Any]], folder: Path | None) -> tuple[License, ...]:
    """Read the licenses of the generators, LoRAs and adapters that `manifests` name, each once, from their cards.

    `folder` is that of one of the generators; of one that was trained here, the card of its base counts, too. Otherwise
    the card of the embedded generator is known, and those of a hub id in the cache of its downloads: which of several
    revisions drew is not, so each may forbid.

    Raises:
        UserError: `folder` holds none of the generators.
        GenrobustError: The record of its training is damaged.
    """
    weights: set[str] = set()
    if folder is not None:
        if folder.is_dir():
            weights = {hash_generator(folder, variant) for variant in variants_of(folder)}
        if not weights & {manifest.get("weights_sha256") for manifest in manifests}:
            raise UserError(f"--generator {folder}: its weights are not those that drew the images")
    licenses = []
    for manifest in manifests:
        generator_folder = folder if manifest.get("weights_sha256") in weights else None
        generator = str(manifest.get("generator") or "of an unknown name")
        licenses.append(
            _read_license(GENERATOR, generator, _cards_of(generator, str(manifest.get("mode")), generator_folder))
        )
        added = {part: str(manifest[key]) for key, part in _ADDED.items() if manifest.get(key)}
        licenses += [_read_license(part, id, _cards_on_hub(id)) for part, id in added.items()]
    return tuple(dict.fromkeys(licenses))


def require_free(licenses: Sequence[License]) -> None:
    """Raise UserError where one of `licenses` restricts the images."""
    for license in licenses:
        if license.forbids:
            raise UserError(
                f"the {license.part} {license.id} is under {license.name}, which restricts what may be done with its "
                f"images ({license.forbids}): read it, and export with --accept-license if it allows what you plan"
            )


def license_of_network(init: str) -> str:
    """Return the license of the pretrained network that `train.init` names, as timm or its card says; "" unknown."""
    from timm import get_pretrained_cfg

    if init.startswith(HUB):
        return _read_license("network", init, _cards_on_hub(init.removeprefix(HUB).partition("@")[0])).name
    folder = find_clip(init.removeprefix("clip:")) if init.startswith("clip:") else Path(init.removeprefix(FOLDER))
    if init and folder.exists():
        return _read_license("network", init, [folder / constants.REPOCARD_NAME]).name
    known = get_pretrained_cfg(init) if re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", init) else None
    return str(getattr(known, "license", None) or "")


def _read_license(part: str, id: str, cards: Sequence[Path]) -> License:
    names, links = [], []
    for card in filter(Path.is_file, cards):
        try:
            header = RepoCard.load(card).data
        except (OSError, ValueError, yaml.YAMLError):  # no license can be read from it: it is unknown
            continue
        license, license_name = header.get("license") or [], header.get("license_name")
        license = [license_name] if license_name and license in ([], OTHER, [OTHER]) else license
        names += license if isinstance(license, list) else [license]
        links += [license_name, header.get("license_link")]
    said = list(dict.fromkeys(map(str, names)))
    forbids = next((text for text in map(str, filter(None, [*said, *links])) if _FORBIDS.search(text)), "")
    return License(part, id, ", ".join(said) or forbids, forbids)


def _cards_of(generator: str, mode: str, folder: Path | None) -> list[Path]:
    if folder is not None:
        card, base = folder / constants.REPOCARD_NAME, base_of(folder)
        # What was trained from a generator is under its license, whatever a card in the new folder says.
        return [card, *(_cards_of(base, mode, None) if base else [])]
    if generator == EMBEDDED:
        return [embedded("variation" if mode == "images" else "generator") / constants.REPOCARD_NAME]
    return _cards_on_hub(generator)


def _cards_on_hub(id: str) -> list[Path]:
    """The cards of all cached revisions of a hub id; none for the name of a local folder."""
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", id):
        return []
    name = repo_folder_name(repo_id=id, repo_type="model")
    return sorted(Path(constants.HF_HUB_CACHE, name).glob(f"snapshots/*/{constants.REPOCARD_NAME}"))
