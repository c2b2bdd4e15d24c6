"""Downloads from the Hugging Face hub, with its failures explained."""

from __future__ import annotations

from pathlib import Path

from genrobust.core.errors import GenrobustError, UserError, one_line


def download(spec: str, named: str, patterns: list[str] | None, remedy: str, kind: str | None = None) -> Path:
    """Fetch the files of the repository `named`, NAME or NAME@REVISION, that match `patterns`; returns their folder.

    What is in the cache of the hub is not fetched again, and is used without a network.

    Args:
        spec: How the user wrote it, for messages.
        patterns: None for all files.
        remedy: What can be given in its place without a network.
        kind: "dataset", or None for a model.

    Raises:
        UserError: A name that cannot be one.
        GenrobustError: It cannot be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    name, _, revision = named.partition("@")
    try:
        return Path(snapshot_download(name, repo_type=kind, revision=revision or None, allow_patterns=patterns))
    except HFValidationError as error:
        raise UserError(f"{spec}: {error}") from None
    except (OSError, ValueError) as error:  # no network, no such repository, or none that may be read; no hub
        reason = one_line(error).rstrip(".")
        raise GenrobustError(f"cannot fetch {spec} from the hub: {reason}. Without a network, {remedy}") from error
