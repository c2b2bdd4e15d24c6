"""Audits a dataset: copies, leaked test images, labels, diversity and fidelity, on one page."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from genrobust.cli import (
    COMMANDS,
    MOST_AT_ONCE,
    Against,
    Classifier,
    ClassifierLabels,
    Clip,
    Device,
    argument,
    datasets_of_recipes,
    open_named,
    option,
    say,
    tell,
    with_studies,
)
from genrobust.core import GenrobustError, UserError

if TYPE_CHECKING:
    from genrobust.study import Studies

AuditedDataset = Annotated[
    str,
    argument(
        "DATASET",
        "RECIPE:DATASET, a generated dataset, image folders, or a recipe: its real images.",
        autocompletion=datasets_of_recipes,
    ),
]
TestSets = Annotated[list[str] | None, option("--test NAME=DIR", "A test set to search for copies; repeatable.")]
GeneratorImages = Annotated[
    str | None, option("--train-of-generator DIR|RECIPE", "The images that the generator was trained on.")
]
Unseen = Annotated[str | None, option("--unseen DIR", "Images that the generator never saw, like its training images.")]
AllowLeaks = Annotated[
    list[str] | None, option("--allow-leaks NAME", "Do not fail if images of this test set leaked; repeatable.")
]
BatchSize = Annotated[int, option("--batch-size N", "Images shown to a model at once.", min=1, max=MOST_AT_ONCE)]
AuditOut = Annotated[
    Path | None,
    option("--out DIR", "Folder for the page; default: beside the dataset, or audit-STUDY-DATASET here."),
]


@COMMANDS.register("audit")
@with_studies()
def audit(
    studies: "Studies",
    dataset: AuditedDataset,
    device: Device,
    against: Against = None,
    test: TestSets = None,
    wild: GeneratorImages = None,
    unseen: Unseen = None,
    classifier: Classifier = None,
    labels: ClassifierLabels = None,
    clip: Clip = None,
    allow_leaks: AllowLeaks = None,
    out: AuditOut = None,
    batch_size: BatchSize = 256,
) -> None:
    """Audit a generated dataset: near-duplicates, leaked test images, labels, diversity, fidelity."""
    from genrobust.study import recipe_and_name
    from genrobust.tools.audit.auditing import audit as run_audit
    from genrobust.tools.audit.page import audit_verdict

    if labels is not None and classifier is None:
        raise UserError(f"--labels {labels} names the classes of a classifier: add --classifier MODEL")
    if unseen is not None and wild is None:
        raise UserError(f"--unseen {unseen}: name what the generator was trained on with --train-of-generator")
    studies.require_recipe(dataset, against, wild, classifier)
    recipe, name = recipe_and_name(dataset)
    if name:
        against, out = against or recipe, out or Path(f"audit-{studies.label(dataset)}")
        dataset = str(studies.folder(dataset))
    opens = None if classifier is None else partial(open_named, studies, classifier, labels)
    tests, allowed, device = test or [], allow_leaks or [], device or "auto"
    done = run_audit(
        dataset, against, tests, wild, unseen, opens, clip, allowed, out, device, say, batch_size, studies.recipe
    )
    tell(*audit_verdict(done.audit, tuple(done.leaks)), *done.audit.left_out, *done.files.values())
    if done.leaks:
        where = ", ".join(f"{name} ({count:,})" for name, count in done.leaks.items())
        raise GenrobustError(
            f"leaks: the dataset holds copies of test images of {where}. Look at {done.files['audit.html']}; "
            "if they are not copies, add --allow-leaks NAME"
        )
