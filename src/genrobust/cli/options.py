"""The options that several commands share, with their help texts."""

from pathlib import Path
from typing import Annotated, Any

import typer

OUT = "runs"
MOST_AT_ONCE = 65_536  # images in a batch
MOST_WORKERS = 4096


def option(usage: str, help: str, **settings: Any) -> Any:
    """Return an option. Its usage is its names and the name of its value, as in ``--seed N``. A flag has no value."""
    words = usage.split()
    names = [word for word in words if word.startswith("-")]
    return typer.Option(*names, metavar=" ".join(words[len(names) :]), help=help, **settings)


def argument(name: str, help: str, **settings: Any) -> Any:
    """Return a positional argument, such as ``DATASET``."""
    return typer.Argument(metavar=name, help=help, **settings)


CLASSIFIER = (
    "RECIPE:ARM, a checkpoint or timm folder, a timm name, packaged:NAME, hf-hub:NAME, ARCHITECTURE@FILE, or an .onnx "
    "file"
)
MODELS = option("--models [NAME=]MODEL", f"A recipe, {CLASSIFIER}; repeatable.")

RecipeName = Annotated[str, argument("RECIPE", "The name of an installed recipe, or a .yaml file.")]
Sets = Annotated[list[str] | None, option("--set KEY=VALUE", "Override a key: --set train.steps=200; repeatable.")]
Out = Annotated[str, option("--out --runs DIR|URL", "The folder of studies, or a URL such as s3://bucket/runs.")]
Runs = Annotated[str, option("--runs DIR|URL", "The folder of studies, where a recipe finds its finished work.")]
Run = Annotated[
    bool, option("--run", "Run the missing jobs of a recipe first, such as the training of its classifier.")
]
DatasetSpec = Annotated[str, argument("DATASET", "RECIPE:DATASET, a generated dataset, or image folders.")]
Quick = Annotated[bool, option("--quick", "Use the recipe's short version, as a first test.")]
Device = Annotated[str | None, option("--device NAME", "cuda, mps, cpu or auto.")]
DatasetName = Annotated[
    str | None, option("--dataset NAME", "A dataset of the recipe; by default the first that an arm mixes.")
]
ArmName = Annotated[str | None, option("--arm NAME", "Only this arm.")]
ClassifierLabels = Annotated[
    Path | None, option("--labels FILE", "Class names, one per line, of classifiers that store none.")
]
Classifier = Annotated[str | None, option("--classifier MODEL", f"A classifier trained on real images: {CLASSIFIER}.")]
Clip = Annotated[str | None, option("--clip FOLDER", "A CLIP that transformers saved; pictograms is the embedded one.")]
Against = Annotated[str | None, option("--against DIR|RECIPE", "The real images; a recipe adds its test sets.")]
Overwrite = Annotated[bool, option("--overwrite", "Replace existing output.")]
ExecutorName = Annotated[str | None, option("--executor NAME", "Where jobs run: local, slurm or ray.")]
Workers = Annotated[
    int | None,
    option(
        "--workers N",
        "Number of worker processes; default: as many as cores and memory allow, or one for each GPU.",
        min=1,
        max=MOST_WORKERS,
    ),
]
Address = Annotated[str | None, option("--address HOST:PORT", "A Ray cluster; default: start Ray on this machine.")]
