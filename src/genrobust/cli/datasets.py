"""The commands that take what was made: filters and checks."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from genrobust.cli.opening import open_named, with_studies
from genrobust.cli.options import (
    MOST_AT_ONCE,
    Against,
    Classifier,
    ClassifierLabels,
    Clip,
    DatasetSpec,
    Device,
    argument,
    option,
)
from genrobust.cli.program import DATA, command, tell
from genrobust.core import GenrobustError, UserError

if TYPE_CHECKING:
    from genrobust.study import Studies


BatchSize = Annotated[int, option("--batch-size N", "Images shown to a model at once.", min=1, max=MOST_AT_ONCE)]
Drop = Annotated[float | None, option("--drop SHARE", "Leave out this share of each class, lowest scores first: 0.1.")]
Threshold = Annotated[float | None, option("--threshold SCORE", "Leave out images that score below SCORE.")]
VerifiedFolder = Annotated[Path, argument("FOLDER", "A dataset, a checkpoint, or the folder of studies.")]
Repair = Annotated[bool, option("--repair", "Set damaged output aside, so that only it is made again.")]


@command("filter", rich_help_panel=DATA)
@with_studies
def filter_(
    studies: "Studies",
    dataset: DatasetSpec,
    device: Device,
    clip: Clip = None,
    classifier: Classifier = None,
    labels: ClassifierLabels = None,
    drop: Drop = None,
    threshold: Threshold = None,
    against: Against = None,
    batch_size: BatchSize = 256,
) -> None:
    """List the images of a dataset that do not show their label; its files do not change.

    --clip or --classifier judges them.

    Example: genrobust filter pictograms:generated --clip pictograms --drop 0.1
    """
    from genrobust.classifiers import Feed
    from genrobust.core import find_clip, resolve_device
    from genrobust.recipe import FilterConfig, checked
    from genrobust.study import filter_dataset, recipe_and_name

    if (clip is None) == (classifier is None):
        raise UserError("give either --clip or --classifier, which judges whether an image shows its label")
    if labels is not None and classifier is None:
        raise UserError(f"--labels {labels} names the classes of a classifier: add --classifier MODEL")
    by = "clip" if clip else "classifier"
    try:
        rule = checked(FilterConfig, {"by": by, "clip": clip, "drop": drop, "threshold": threshold}, "filter")
    except ValueError as error:
        raise UserError(str(error)) from None
    studies.require_recipe(dataset, against, classifier)
    against = against or recipe_and_name(dataset)[0] or None
    folder = studies.folder(dataset) or Path(dataset)
    judge = find_clip(clip) if clip else partial(open_named, studies, str(classifier), labels)
    feed = Feed(batch_size, resolve_device(device or "auto"))
    done = filter_dataset(folder, rule, judge, feed, against, studies.recipe)
    tell(f"{done.kept:,} of {done.made:,} images kept, by {done.by}; the others, with the reason:", done.folder)


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
