"""The command that compares artifacts with the hashes in their manifests."""

from pathlib import Path
from typing import Annotated

from genrobust.cli.options import argument
from genrobust.cli.program import DATA, command, tell
from genrobust.core import GenrobustError, count

VerifiedFolder = Annotated[Path, argument("FOLDER", "A dataset, a checkpoint, or the folder of studies.")]


@command(rich_help_panel=DATA)
def verify(folder: VerifiedFolder) -> None:
    """Check generated datasets and checkpoints against their hashes.

    Example: genrobust verify runs
    """
    from genrobust.study import describe_verified, verify_outputs

    verified = verify_outputs(folder)
    tell(*describe_verified(verified))
    if verified.damaged:
        raise GenrobustError(f"damaged: {count(len(verified.damaged), 'file')}: delete as said above, and rerun")
    if verified.changed:
        raise GenrobustError(f"{len(verified.changed):,} files are not as genrobust wrote them; all others are")
    if folder in verified.unfinished:
        raise GenrobustError(f"{folder} is not finished: run the command that makes it again, and it goes on")
