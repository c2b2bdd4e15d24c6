"""Downloads from the Hugging Face hub, with its failures explained."""

from __future__ import annotations

from pathlib import Path

from genrobust.core import GenrobustError, UserError, one_line


def download(spec: str, named: str, patterns: list[str] | None, remedy: str, kind: str | None = None) -> Path:
    """Download files of the repository `named`, NAME or NAME@REVISION, and return their folder.

    Files in the cache of the hub are not downloaded again, and are used without a network.

    Args:
        spec: The repository as the user wrote it, for messages.
        patterns: Patterns of the files; None for all files.
        remedy: What the user can do without a network, for messages.
        kind: "dataset", or None for a model.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    name, _, revision = named.partition("@")
    try:
        return Path(snapshot_download(name, repo_type=kind, revision=revision or None, allow_patterns=patterns))
    except HFValidationError as error:
        raise UserError(f"{spec}: {error}") from None
    except (OSError, ValueError) as error:  # no network, no such repository, or no right to read it
        reason = one_line(error).rstrip(".")
        raise GenrobustError(f"cannot fetch {spec} from the hub: {reason}. Without a network, {remedy}") from error
