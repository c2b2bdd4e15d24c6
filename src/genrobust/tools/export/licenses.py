"""The licenses that the cards of generators and networks state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import RepoCard, constants
from huggingface_hub.file_download import repo_folder_name

from genrobust.classifiers import FOLDER, HUB
from genrobust.core import EMBEDDED, UserError, embedded, find_clip

OTHER = "other"  # the hub's word for a license that is none of its list
PARTS = {"generator": "generator", "lora": "LoRA", "adapter": "adapter"}  # keys of a manifest, in words


def check_license(license: str) -> None:
    """Raise UserError where `license` is no id of the hub's, which a card begins with."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,79}", license):
        raise UserError(f"--license {license[:80]!r}: give an id such as apache-2.0, in small letters, or other")


def licenses_of(manifest: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """List what drew a dataset: the part in words, its name, and the license that its card states, "" where unknown.

    Known are the embedded generator, and the cards of a hub id in the cache of its downloads.
    """
    images = manifest.get("mode") == "images"
    cards = {EMBEDDED: [embedded("variation" if images else "generator") / constants.REPOCARD_NAME]}
    drawn = [(words, str(manifest[key])) for key, words in PARTS.items() if manifest.get(key)]
    return [(words, id, _stated(*cards.get(id, _cards_on_hub(id)))) for words, id in drawn]


def license_of_network(init: str) -> str:
    """Return the license of the pretrained network that `train.init` names, as timm or its card says; "" unknown."""
    from timm import get_pretrained_cfg

    if init.startswith(HUB):
        return _stated(*_cards_on_hub(init.removeprefix(HUB).partition("@")[0]))
    folder = find_clip(init.removeprefix("clip:")) if init.startswith("clip:") else Path(init.removeprefix(FOLDER))
    if init and folder.exists():
        return _stated(folder / constants.REPOCARD_NAME)
    known = get_pretrained_cfg(init) if re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", init) else None
    return str(getattr(known, "license", None) or "")


def _stated(*cards: Path) -> str:
    """The licenses in the headers of `cards`, each once; "" where none can be read."""
    names: dict[str, None] = {}
    for card in filter(Path.is_file, cards):
        try:
            header = RepoCard.load(card).data
        except (OSError, ValueError, yaml.YAMLError):
            continue
        license = header.get("license") or []
        if header.get("license_name") and license in ([], OTHER, [OTHER]):
            license = header.get("license_name")
        names |= dict.fromkeys(map(str, license if isinstance(license, list) else [license]))
    return ", ".join(names)


def _cards_on_hub(id: str) -> list[Path]:
    """The cards of all cached revisions of a hub id; none for the name of a local folder."""
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", id):
        return []
    name = repo_folder_name(repo_id=id, repo_type="model")
    return sorted(Path(constants.HF_HUB_CACHE, name).glob(f"snapshots/*/{constants.REPOCARD_NAME}"))
