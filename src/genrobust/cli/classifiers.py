"""The commands that take trained classifiers: benchmark them on a generated dataset, export one, predict with one."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.markup import escape

from genrobust.cli.completing import arms_of_recipes
from genrobust.cli.opening import open_named, with_studies
from genrobust.cli.options import (
    CLASSIFIER,
    MOST_AT_ONCE,
    ClassifierLabels,
    Device,
    License,
    Overwrite,
    argument,
    option,
)
from genrobust.cli.program import command, err_console, tell
from genrobust.core import GenrobustError, UserError, check_output, writing

if TYPE_CHECKING:
    from genrobust.study import Studies

Checkpoint = Annotated[
    str, argument("CHECKPOINT", "RECIPE:ARM, or the folder of a trained classifier.", autocompletion=arms_of_recipes)
]
Form = Annotated[str, option("--to FORM", "timm or onnx.")]
ExportFolder = Annotated[
    Path | None, option("--out DIR", "Output folder; default: CHECKPOINT-FORM in the current folder.")
]
Results = Annotated[Path | None, option("--report FILE", "The results.json of the classifier's study, for the card.")]
Arm = Annotated[str | None, option("--arm NAME", "Its arm in --report, if two arms were trained alike.")]
Model = Annotated[str, argument("MODEL", f"{CLASSIFIER}.", autocompletion=arms_of_recipes)]
Images = Annotated[Path, argument("FOLDER", "The images, in this folder and those below it.")]
AnswerFile = Annotated[Path | None, option("--out FILE.csv", "Output file; default: standard output.")]
Top = Annotated[int, option("--top N", "Number of classes for each image, likeliest first.", min=1, max=100_000)]
BatchSize = Annotated[int, option("--batch-size N", "Images in a batch.", min=1, max=MOST_AT_ONCE)]


@command("export-model")
@with_studies()
def export_model(
    studies: "Studies",
    checkpoint: Checkpoint,
    to: Form,
    out: ExportFolder = None,
    report: Results = None,
    arm: Arm = None,
    license: License = "other",
    overwrite: Overwrite = False,
) -> None:
    """Export a trained classifier as a folder for timm or as an ONNX file, with a model card."""
    from genrobust.classifiers import read_checkpoint_info
    from genrobust.release import check_target, export_model as run_export, measured
    from genrobust.study import recipe_and_name

    studies.require_recipe(checkpoint)
    folder = out or Path(f"{studies.label(checkpoint)}-{to}")
    check_target(to, folder, overwrite)  # before the arm is trained
    source = studies.checkpoint(checkpoint) or Path(checkpoint)
    if report is None and (study_results := studies.results(checkpoint)) is not None:
        with suppress(UserError):  # a report of another training of this arm, or none
            measured(study_results, read_checkpoint_info(source), arm or recipe_and_name(checkpoint)[1])
            report, arm = study_results, arm or recipe_and_name(checkpoint)[1]
    tell(*run_export(source, to, folder, report, arm, license, overwrite).values())


@command()
@with_studies()
def predict(
    studies: "Studies",
    model: Model,
    folder: Images,
    device: Device,
    out: AnswerFile = None,
    overwrite: Overwrite = False,
    top: Top = 5,
    labels: ClassifierLabels = None,
    batch_size: BatchSize = 128,
) -> None:
    """Classify the images in a folder; writes CSV."""
    from genrobust.classifiers import images_in, predict_images

    out = out or Path("-")
    to_file = out != Path("-")
    output = out, ".csv", () if labels is None else (labels,), overwrite
    check_output(*output)  # before the classifier is trained
    studies.require_recipe(model)
    paths = images_in(folder)
    opened = open_named(studies, model, labels)
    err_console.print(f"{escape(opened.name)}: {len(opened.classes):,} classes; {opened.preparation}")
    with writing(*output) as file:
        counts = predict_images(opened, folder, paths, file.write, top, batch_size, device or "auto")
    if to_file:
        tell(f"{counts.images:,} images in {out}")
    if counts.unreadable:
        raise GenrobustError(
            f"{counts.unreadable:,} of {counts.images:,} images cannot be read; the column error gives the reason"
        )
