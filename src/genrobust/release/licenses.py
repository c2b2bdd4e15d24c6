"""The licenses of generators and of what is added to them, by their cards: whether their images may be given away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrobust.classifiers import FOLDER, HUB
from genrobust.core import (
    EMBEDDED,
    LARGEST_YAML,
    UserError,
    embedded,
    find_clip,
    hash_generator,
    parse_yaml,
    variants_of,
)
from genrobust.generate import base_of

OTHER = "other"  # the hub's word for a license that is none of its list
GENERATOR = "generator"
_ADDED = {"lora": "LoRA", "adapter": "adapter"}  # to a generator: the key of a manifest, in words
_CARD = "README.md"
_HEADER = re.compile(rb"(?:\xef\xbb\xbf)?\s*---[\r\n]+(.*?)[\r\n]+---[ \t]*([\r\n]|$)", re.S)
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
    found = []
    for manifest in manifests:
        here = folder if manifest.get("weights_sha256") in weights else None
        generator = str(manifest.get("generator") or "of an unknown name")
        found.append(_license(GENERATOR, generator, _cards_of(generator, str(manifest.get("mode")), here)))
        added = {part: str(manifest[key]) for key, part in _ADDED.items() if manifest.get(key)}
        found += [_license(part, id, _cards_on_hub(id)) for part, id in added.items()]
    return tuple(dict.fromkeys(found))


def license_of_network(init: str) -> str:
    """Return the license of the pretrained network that `train.init` names, as timm or its card says; "" unknown."""
    from timm import get_pretrained_cfg

    if init.startswith(HUB):
        return _license("network", init, _cards_on_hub(init.removeprefix(HUB).partition("@")[0])).name
    folder = find_clip(init.removeprefix("clip:")) if init.startswith("clip:") else Path(init.removeprefix(FOLDER))
    if init and folder.exists():
        return _license("network", init, [folder / "README.md"]).name
    known = get_pretrained_cfg(init) if re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", init) else None
    return str(getattr(known, "license", None) or "")


def _license(part: str, id: str, cards: Sequence[Path]) -> License:
    headers = [_header(card) for card in cards]
    said = list(dict.fromkeys(text for header in headers for text in _names(header)))
    more = [str(header[key]) for header in headers for key in ("license_name", "license_link") if header.get(key)]
    forbids = next((text for text in (*said, *more) if _FORBIDS.search(text)), "")
    return License(part, id, ", ".join(said) or forbids, forbids)


def _names(header: dict[str, Any]) -> list[str]:
    """The licenses that a card names."""
    found = header.get("license")
    names = [str(name) for name in found] if isinstance(found, list) else [str(found)] if found else []
    own = header.get("license_name")
    return [str(own)] if names in ([], [OTHER]) and own else names


def _header(card: Path) -> dict[str, Any]:
    """The YAML that a card begins with. Of one that is not read, the lines about its license, as the license's link."""
    try:
        with card.open("rb") as file:
            block = _HEADER.match(file.read(LARGEST_YAML))
    except OSError:
        return {}
    try:
        found = parse_yaml(block[1], str(card)) if block else {}
    except UserError:
        lines = re.findall(rb"^\s*license.*", block[1], re.M) if block else []
        found = {"license_link": b" ".join(lines).decode(errors="replace")}
    return found if isinstance(found, dict) else {}


def _cards_of(generator: str, mode: str, folder: Path | None) -> list[Path]:
    if folder is not None:
        card, base = folder / _CARD, base_of(folder)
        # What was trained from a generator is under its license, whatever a card in the new folder says.
        return [card, *(_cards_of(base, mode, None) if base else [])]
    if generator == EMBEDDED:
        return [embedded("variation" if mode == "images" else "generator") / _CARD]
    return _cards_on_hub(generator)


def _cards_on_hub(id: str) -> list[Path]:
    """The cards of all cached revisions of a hub id."""
    if id.count("/") != 1:
        return []  # a local folder's last name, or none
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.file_download import repo_folder_name

    try:
        name = repo_folder_name(repo_id=id, repo_type="model")
    except HFValidationError:
        return []  # a manifest may say anything
    return sorted(Path(constants.HF_HUB_CACHE, name).glob(f"snapshots/*/{_CARD}"))
