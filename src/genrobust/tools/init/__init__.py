"""Writes a commented recipe for a user's own image folders."""

from pathlib import Path
from typing import Annotated

import typer

from genrobust.cli import COMMANDS, OUT, START, OutFolder, Overwrite, in_group, option, tell
from genrobust.core import UserError

TrainFolder = Annotated[
    Path,
    option(
        "--train DIR",
        "Training images: one subfolder for each class, or a CSV table; or folders STYLE/CLASS, as in PACS.",
    ),
]
TestFolder = Annotated[Path | None, option("--test DIR", "Test images that are not shifted.")]
ValFolder = Annotated[Path | None, option("--val DIR", "Validation images; default: a tenth of the training images.")]
ShiftFolders = Annotated[
    list[str] | None,
    option("--shift [NAME=]DIR", "A shifted test set; of folders STYLE/CLASS, each style is one; repeatable."),
]
GeneratedFolder = Annotated[Path | None, option("--generated DIR", "Generated images that you have already.")]
RetrievedFolder = Annotated[
    Path | None, option("--retrieved DIR", "Labeled images in other styles, as folders CLASS or STYLE/CLASS.")
]
RealDomain = Annotated[
    str | None, option("--real STYLE", "The style to train on, where --train holds folders STYLE/CLASS.")
]
RecipeFile = Annotated[Path, option("--recipe FILE", "The recipe to write.")]
PretrainedName = Annotated[
    str | None,
    option("--pretrained NAME", "The network to start from, as in train.init; default: a small one for photographs."),
]
Scratch = Annotated[bool, option("--scratch", "Start from no pretrained network.")]
Server = Annotated[str | None, option("--server URL", "Generate with a server that has the images API of OpenAI.")]
ServerModel = Annotated[str | None, option("--model NAME", "The server's name of its model.")]
OwnGenerator = Annotated[
    bool,
    option("--own-generator", "Generate with a small generator that is trained on your images, by class and style."),
]


@COMMANDS.register("init")
@in_group(START)
def init(
    ctx: typer.Context,
    train: TrainFolder,
    test: TestFolder = None,
    val: ValFolder = None,
    shift: ShiftFolders = None,
    generated: GeneratedFolder = None,
    retrieved: RetrievedFolder = None,
    real: RealDomain = None,
    recipe: RecipeFile = Path("study.yaml"),
    out: OutFolder = Path(OUT),
    overwrite: Overwrite = False,
    pretrained: PretrainedName = None,
    scratch: Scratch = False,
    server: Server = None,
    model: ServerModel = None,
    own_generator: OwnGenerator = False,
) -> None:
    """Write a commented recipe for your own image folders.

    Example: genrobust init --train data/train --test data/test --shift sketch=data/sketch
    """
    from genrobust.core import local_folder
    from genrobust.tools.init.finding import find
    from genrobust.tools.init.writing import write_recipe

    if (server is None) != (model is None):
        raise UserError("--server URL and --model NAME belong together: add the other")
    if scratch and pretrained is not None:
        raise UserError("--scratch and --pretrained exclude each other: leave one out")
    options = {"--generated": generated, "--server": server, "--own-generator": own_generator or None}
    if len(sources := [name for name, value in options.items() if value is not None]) > 1:
        raise UserError(f"{' and '.join(sources)}: images come from one of them: leave out the others")
    others = {"test": test, "val": val, "generated": generated, "retrieved": retrieved}
    found = find(train, others, shift or [], real)
    named = None if server is None or model is None else (server, model)
    start = "scratch" if scratch else pretrained
    tell(*write_recipe(found, recipe, local_folder(out), overwrite, start, named, own_generator))
