"""Audits a dataset: copies, leaked test images, labels, diversity and fidelity, on one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from genrobust.cli import (
    COMMANDS,
    DATA,
    MOST_AT_ONCE,
    Against,
    Classifier,
    ClassifierLabels,
    Clip,
    Device,
    argument,
    in_group,
    open_named,
    option,
    tell,
    with_studies,
)
from genrobust.core import GenrobustError, UserError

if TYPE_CHECKING:
    from genrobust.study import Studies

AuditedDataset = Annotated[
    str,
    argument("DATASET", "RECIPE:DATASET, a generated dataset, image folders, or a recipe: its real images."),
]
TestSets = Annotated[list[str] | None, option("--test NAME=DIR", "A test set to search for copies; repeatable.")]
GeneratorImages = Annotated[
    str | None, option("--trained-on DIR|RECIPE", "The images that the generator was trained on.")
]
AllowLeaks = Annotated[
    list[str] | None, option("--allow-leaks NAME", "Do not fail if images of this test set leaked; repeatable.")
]
BatchSize = Annotated[int, option("--batch-size N", "Images shown to a model at once.", min=1, max=MOST_AT_ONCE)]
AuditOut = Annotated[
    Path | None,
    option("--out DIR", "Folder for the page; default: beside the dataset, or audit-STUDY-DATASET here."),
]


@COMMANDS.register("audit")
@in_group(DATA)
@with_studies
def audit(
    studies: "Studies",
    dataset: AuditedDataset,
    device: Device,
    against: Against = None,
    test: TestSets = None,
    wild: GeneratorImages = None,
    classifier: Classifier = None,
    labels: ClassifierLabels = None,
    clip: Clip = None,
    allow_leaks: AllowLeaks = None,
    out: AuditOut = None,
    batch_size: BatchSize = 256,
) -> None:
    """Audit a dataset: copies, leaked test images, labels, diversity, fidelity.

    Example: genrobust audit pictograms:generated --classifier pictograms:real
    """
    from genrobust.classifiers import Feed
    from genrobust.core import find_clip, resolve_device
    from genrobust.data import audit_folder, require_outside
    from genrobust.study import open_kept_parts, open_sets, recipe_and_name
    from genrobust.tools.audit.measuring import Measuring
    from genrobust.tools.audit.page import audit_verdict, write_audit_page

    if labels is not None and classifier is None:
        raise UserError(f"--labels {labels} names the classes of a classifier: add --classifier MODEL")
    studies.require_recipe(dataset, against, wild, classifier)
    recipe, name = recipe_and_name(dataset)
    called = dataset if recipe else Path(dataset).resolve().name
    unfiltered = f"The filter of {dataset} is not applied: this is about every image."
    if recipe:
        out = out or Path(f"audit-{studies.label(dataset)}")
    if name:
        against, dataset = against or recipe, str(studies.folder(dataset))
    folder = out or audit_folder(Path(dataset))
    require_outside({"DATASET": Path(dataset)}, [folder])
    clip_folder, torch_device = None if clip is None else find_clip(clip), resolve_device(device or "auto")
    sets = open_sets(dataset, against, test or [], wild, studies.recipe)
    if unknown := [name for name in allow_leaks or [] if name not in sets.tests]:
        raise UserError(f"--allow-leaks {unknown[0]}: no such test set; there are {', '.join(sets.tests) or 'none'}")
    parts = open_kept_parts(folder, torch_device, Measuring)
    judge = None if classifier is None else open_named(studies, classifier, labels)  # may have to be trained first
    done = Measuring(sets, judge, clip_folder, Feed(batch_size, torch_device), parts).run()
    if recipe and studies.recipe(recipe).filter_of(name) is not None:
        done.left_out.append(unfiltered)
    leaks = {name: count for name, count in done.leaks.items() if name not in (allow_leaks or [])}
    files = write_audit_page(done, sets, called, leaks, folder)
    parts.remove()
    tell(*audit_verdict(done, leaks), *done.left_out, *files.values())
    if leaks:
        where = ", ".join(f"{name} ({count:,})" for name, count in leaks.items())
        raise GenrobustError(
            f"leaks: the dataset holds copies of test images of {where}. Look at {files['audit.html']}; "
            "if they are not copies, add --allow-leaks NAME"
        )
