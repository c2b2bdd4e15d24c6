"""Opens the image sets, measures them, and writes the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genrobust.core import UserError, file_name, find_clip, resolve_device
from genrobust.data import audit_folder
from genrobust.recipe import is_recipe, load_recipe
from genrobust.study import Load, OpenClassifierFn, check_outside, open_kept_parts, open_sets
from genrobust.tools.audit.measuring import Models, measure
from genrobust.tools.audit.page import write_audit_page
from genrobust.tools.audit.results import Audit


@dataclass(frozen=True, slots=True)
class Audited:
    """An audit, its files by name, and the test sets with leaks that were not allowed."""

    audit: Audit
    files: dict[str, Path]
    leaks: dict[str, int]


def audit(
    dataset: str,
    against: str | None = None,
    tests: Sequence[str] = (),
    wild: str | None = None,
    unseen: str | None = None,
    classifier: OpenClassifierFn | None = None,
    clip: str | Path | None = None,
    allow_leaks: Sequence[str] = (),
    out: Path | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda line: None,
    batch_size: int = 256,
    load: Load = load_recipe,
) -> Audited:
    """Audit `dataset` and write audit.html and audit.json into `out`, by default ``audit-<name>`` beside it.

    Args:
        dataset: The folder of a generated dataset, a folder of class folders, or a recipe (its real images).
        against: The real images, a folder or a recipe; a recipe brings its test sets along.
        tests: Test sets to search for leaks, as ``NAME=DIR``.
        wild: The training images of the generator, a folder or a recipe; a recipe brings unseen images along.
        unseen: A folder of images of the same kind that the generator has never seen.
        classifier: Opens a classifier that was trained on real images.
        clip: The folder of a CLIP, or "pictograms" for the embedded one.
        allow_leaks: Names of test sets that may have leaked.
        batch_size: Images shown to a model at once; it changes figures by rounding alone.
        load: Loads a recipe by its name.

    Raises:
        UserError: What cannot be opened, an `out` inside the dataset, a classifier that lacks a class, an unknown name.
    """
    folder = _results_folder(dataset, out)
    clip_folder = None if clip is None else find_clip(clip)
    torch_device = resolve_device(device)
    sets = open_sets(dataset, against, tests, wild, unseen, load)
    if unknown := [name for name in allow_leaks if name not in sets.tests]:
        raise UserError(f"--allow-leaks {unknown[0]}: no such test set; there are {', '.join(sets.tests) or 'none'}")
    parts = open_kept_parts(folder, torch_device)
    models = Models(classifier and classifier(), clip_folder, torch_device, batch_size)
    measured = measure(sets, models, say, parts)
    leaks = {name: count for name, count in measured.leaks.items() if name not in allow_leaks}
    name = dataset if is_recipe(dataset) else Path(dataset).resolve().name
    files = write_audit_page(measured, sets, name, tuple(leaks), folder)
    parts.remove()
    return Audited(measured, files, leaks)


def _results_folder(dataset: str, out: Path | None) -> Path:
    if is_recipe(dataset):
        return out or Path(f"audit-{file_name(Path(dataset).stem)}")
    return check_outside(dataset, out or audit_folder(Path(dataset)))
