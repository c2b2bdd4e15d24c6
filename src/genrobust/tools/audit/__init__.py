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
    from genrobust.study import AuditSets, Studies

AuditedDataset = Annotated[
    str, argument("DATASET", "RECIPE:DATASET, a generated dataset, image folders, or a recipe: its real images.")
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
    Path | None, option("--out DIR", "Folder for the page; default: beside the dataset, or audit-STUDY-DATASET here.")
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
    if labels is not None and classifier is None:
        raise UserError(f"--labels {labels} names the classes of a classifier: add --classifier MODEL")
    studies.require_recipe(dataset, against, wild, classifier)
    tests = _parse_tests(test or [])
    _require_known(studies, against, wild, classifier)

    # Import late: options are checked before torch is loaded.
    from genrobust.classifiers import Feed
    from genrobust.core import find_clip, resolve_device
    from genrobust.data import require_no_images, require_outside
    from genrobust.store import local_folder
    from genrobust.study import Census, open_kept_parts, open_sets, recipe_and_name
    from genrobust.tools.audit.measuring import Measuring
    from genrobust.tools.audit.page import Leaks, audit_verdict, write_audit_page

    recipe, name = recipe_and_name(dataset)
    clip_folder = None if clip is None else find_clip(clip)
    torch_device = resolve_device(device or "auto")
    images = dataset
    if name:
        against = against or recipe
        images = str(studies.folder(dataset))
    folder = out or _default_folder(studies, dataset)
    require_outside({"DATASET": Path(images)}, [folder])
    require_no_images(folder)

    census = Census(local_folder(studies.out)) if recipe else None
    find_broken = {} if census is None else {"find_broken": census.broken}
    sets = open_sets(images, against, tests, wild, studies.recipe, **find_broken)
    allowed = allow_leaks or []
    _require_tests(allowed, sets)
    parts = open_kept_parts(folder, torch_device, Measuring)
    # The classifier may have to be trained first.
    if classifier is None:
        judge = None
    else:
        judge = open_named(studies, classifier, labels)
    done = Measuring(sets, judge, clip_folder, Feed(batch_size, torch_device), parts, census).run()
    if recipe and studies.recipe(recipe).filter_of(name) is not None:
        done.left_out.append(f"The filter of {dataset} is not applied: this is about every image.")

    if sets.is_real and done.leaks:
        learned = _learned(studies, recipe, sets)
    else:
        learned = list(range(done.n))
    errors = {name: copies for name, copies in done.leaks_in(learned).items() if name not in allowed}
    leaks = Leaks(errors, allowed)
    called = dataset if recipe else Path(dataset).resolve().name
    files = write_audit_page(done, sets, called, leaks, folder)
    parts.remove()
    tell(*audit_verdict(done, leaks), *done.left_out, *files.values())
    if errors:
        where = ", ".join(f"{name} ({count:,})" for name, count in errors.items())
        then = f"look at {files['audit.html']}; if they are none, add --allow-leaks NAME"
        raise GenrobustError(f"leaks: the dataset holds copies of test images of {where}: {then}")
    if done.leaks_in(range(done.n)).keys() - {*allowed}:
        tell("If these are copies, nothing is to do. If not, data.near_copies: keep in the recipe trains on them.")


def _default_folder(studies: "Studies", dataset: str) -> Path:
    """Return the folder of the page: in the current folder for a recipe, or beside a dataset."""
    from genrobust.data import audit_folder
    from genrobust.study import recipe_and_name

    recipe, _ = recipe_and_name(dataset)
    if recipe:
        return Path(f"audit-{studies.label(dataset)}")
    return audit_folder(Path(dataset))


def _require_tests(names: list[str], sets: "AuditSets") -> None:
    """Raise UserError if --allow-leaks names a test set that is not searched."""
    for name in names:
        if name not in sets.tests:
            known = ", ".join(sets.tests) or "none"
            raise UserError(f"--allow-leaks {name}: no such test set; there are {known}")


def _parse_tests(texts: list[str]) -> dict[str, Path]:
    """Return the folder of each test set, from ``NAME=DIR``."""
    from genrobust.data import require_there

    tests: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        # The = of a URL belongs to its query.
        if not (name and equals and folder) or "://" in name:
            raise UserError(f"--test {text}: write NAME=DIR")
        if name in tests:
            raise UserError(f"--test {name}: there are two test sets of this name: give one another name")
        tests[name] = Path(folder)
    require_there({f"--test {name}": folder for name, folder in tests.items()})
    return tests


def _require_known(studies: "Studies", against: str | None, wild: str | None, classifier: str | None) -> None:
    """Raise UserError if a folder or the arm of a recipe that an option names is missing."""
    from genrobust.data import require_there
    from genrobust.study import recipe_and_name

    paths: dict[str, Path] = {}
    for name, place in (("--against", against), ("--trained-on", wild)):
        if place is not None and not recipe_and_name(place)[0]:
            paths[name] = Path(place)
    require_there(paths)
    recipe, arm = recipe_and_name(classifier or "")
    if arm:
        studies.recipe(recipe).arm(arm)


def _learned(studies: "Studies", recipe: str, sets: "AuditSets") -> list[int]:
    """Return the places of the training images of a recipe that a run trains on."""
    kept = set(studies.open(recipe).data.train.keys)
    return [place for place, key in enumerate(sets.dataset.keys) if key in kept]
