"""The commands that take trained classifiers: benchmark them on a generated dataset, export one, predict with one."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from genrobust.cli.app import command, err_console, out_console, tell
from genrobust.cli.completing import arms_of_recipes, datasets_of_recipes
from genrobust.cli.opening import open_named, with_studies
from genrobust.cli.options import (
    CLASSIFIER,
    MODELS,
    MOST_AT_ONCE,
    ClassifierLabels,
    Device,
    License,
    ModelLabels,
    Overwrite,
    argument,
    option,
)
from genrobust.core import GenrobustError, UserError, check_output, writing

if TYPE_CHECKING:
    from genrobust.core import Score
    from genrobust.robustness import ModelScores
    from genrobust.study import Studies

Dataset = Annotated[
    str,
    option(
        "--on DATASET", "RECIPE:DATASET, a generated dataset, or image folders.", autocompletion=datasets_of_recipes
    ),
]
Real = Annotated[
    str | None,
    option("--real DIR|RECIPE[:SET]", "Real test images; default: the clean test set of the recipe that --on names."),
]
PageFolder = Annotated[Path | None, option("--out DIR", "Folder for the page; default: benchmarks in --runs.")]
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


@command()
@with_studies()
def benchmark(
    studies: "Studies",
    models: Annotated[list[str], MODELS],
    on: Dataset,
    device: Device,
    real: Real = None,
    labels: ModelLabels = None,
    out: PageFolder = None,
) -> None:
    """Score existing classifiers on generated images and on real images of the same classes."""
    from genrobust.report import benchmark_verdict
    from genrobust.study import run_benchmark

    studies.require_recipe(on, real, *models)
    made, files = run_benchmark(models, on, studies, real, out, device or "auto", labels or [])
    out_console.print(_table(made.result.models, made.name, made.real_name))
    tell(*benchmark_verdict(made))
    for note in made.notes:
        err_console.print(f"note: {escape(note)}")
    tell(*files.values())


def _table(models: "tuple[ModelScores, ...]", generated: str, real: str) -> Table:
    styled = models[0].within is not None
    over = "mean over styles" if styled else "percent"
    table = Table(title=Text(f"Top-1, {over}: generated {generated}, real {real}"), title_justify="left")
    table.add_column("model", overflow="fold")
    drops = ("drop within styles, points", "drop over all images") if styled else ("drop, points",)
    for name in ("checkpoints", "generated", "real", *drops):
        table.add_column(name, justify="right")
    for model in models:
        scores = model.leading.scores
        figures = [_figure(scores.generated), _figure(scores.real), _figure(scores.drop, signed=True)]
        if styled:
            figures.append(_figure(model.scores.drop, signed=True))
        table.add_row(Text(model.name), str(len(model.each)), *figures)
    return table


def _figure(score: "Score", signed: bool = False) -> Text:
    from genrobust.report import number, span

    return Text(f"{number(score.value, signed)}\n{span(score, signed)}")


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
