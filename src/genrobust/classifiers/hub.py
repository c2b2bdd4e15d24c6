"""Fetches files of a model from the Hugging Face hub; what is in its cache is not fetched again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genrobust.classifiers.checkpoints import WEIGHTS
from genrobust.classifiers.clip_format import CONFIG, OPEN_CLIP, OPEN_CLIP_WEIGHTS, clip_files
from genrobust.core import GenrobustError, UserError

HUB = "hf-hub:"  # as timm writes it
CLIP_FILES = (
    CONFIG,
    OPEN_CLIP,
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)


def fetch_from_hub(spec: str, files: Sequence[str], what: str) -> Path:
    """Fetch `files` of ``hf-hub:NAME`` or ``hf-hub:NAME@REVISION`` where it has them, and return their folder.

    Raises:
        UserError: A name that cannot be one.
        GenrobustError: The model cannot be fetched; `what` of a download can be given in its place.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    name, _, revision = spec.removeprefix(HUB).partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(files)))
    except HFValidationError as error:
        raise UserError(f"{spec}: {error}") from None
    except OSError as error:  # no network, no such model, or none that may be read
        raise GenrobustError(
            f"cannot fetch {spec} from the hub: {' '.join(str(error).split())[:400]} Without a network, give the "
            f"folder of a download: its {what}"
        ) from error


def fetch_hub_clip(spec: str) -> Path | None:
    """Fetch the CLIP ``hf-hub:NAME``; None where that is another model. Raises as `fetch_from_hub`."""
    found = clip_files(fetch_from_hub(spec, CLIP_FILES, "configuration, tokenizer and safetensors"))
    if not found:
        return None
    weights = OPEN_CLIP_WEIGHTS if found == (OPEN_CLIP,) else WEIGHTS
    return fetch_from_hub(spec, (*CLIP_FILES, weights), f"configuration, tokenizer and {weights}")
