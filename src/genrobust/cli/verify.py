"""The command that compares what was made with the hashes in the manifests."""

import shlex
from pathlib import Path
from typing import Annotated

from genrobust.cli.options import argument, option
from genrobust.cli.program import DATA, command, tell
from genrobust.core import GenrobustError

VerifiedFolder = Annotated[Path, argument("FOLDER", "A dataset, a checkpoint, or the folder of studies.")]
Repair = Annotated[bool, option("--repair", "Set damaged output aside, so that only it is made again.")]


@command(rich_help_panel=DATA)
def verify(folder: VerifiedFolder, repair: Repair = False) -> None:
    """Check generated datasets and checkpoints against their hashes.

    Example: genrobust verify runs
    """
    from genrobust.study import describe_verified, verify_outputs

    verified = verify_outputs(folder, repair)
    tell(*describe_verified(verified))
    if verified.damaged and not repair:
        repair_command = shlex.join(["genrobust", "verify", str(folder), "--repair"])
        raise GenrobustError(f"the files listed above are damaged. To set them aside: {repair_command}")
    if verified.damaged:
        tell("run the same commands again: they remake what was set aside and keep everything else")
    elif verified.changed:
        raise GenrobustError(f"{len(verified.changed):,} files are not as genrobust wrote them; all others are")
    elif folder in verified.unfinished:
        raise GenrobustError(f"{folder} is not finished: run the command that makes it again, and it goes on")
