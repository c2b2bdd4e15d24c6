"""Writes a commented recipe for a user's own image folders."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from genrobust.cli import COMMANDS, OUT, START, OutFolder, Overwrite, in_group, option, tell, words_of
from genrobust.core import UserError

TrainFolder = Annotated[
    Path,
    option(
        "--train DIR",
        "Training images: one subfolder for each class, or a CSV table; or a set of domains, such as PACS.",
    ),
]
TestFolder = Annotated[Path | None, option("--test DIR", "Test images that are not shifted.")]
ValFolder = Annotated[Path | None, option("--val DIR", "Validation images; without --test, they become the test set.")]
ShiftFolders = Annotated[list[str] | None, option("--shift NAME=DIR", "A shifted test set; repeatable.")]
GeneratedFolder = Annotated[Path | None, option("--generated DIR", "Generated images that you have already.")]
RetrievedFolder = Annotated[Path | None, option("--retrieved DIR", "Retrieved images that you have already.")]
RealDomain = Annotated[
    str | None, option("--real NAME", "The domain to train on, where --train holds folders DOMAIN/CLASS.")
]
RecipeFile = Annotated[Path, option("--recipe FILE", "The recipe to write.")]
Check = Annotated[bool, option("--check/--no-check", "Decode every image, to find broken ones.")]
PretrainedName = Annotated[
    str | None, option("--pretrained NAME", "Add arms that start from this network, named as in train.init.")
]
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
    check: Check = True,
    overwrite: Overwrite = False,
    pretrained: PretrainedName = None,
    server: Server = None,
    model: ServerModel = None,
    own_generator: OwnGenerator = False,
) -> None:
    """Write a commented recipe for your own image folders.

    Example: genrobust init --train data/train --test data/test --shift sketch=data/sketch
    """
    from genrobust.core import local_folder
    from genrobust.tools.init.folders import name_folders
    from genrobust.tools.init.writing import write_recipe

    if (server is None) != (model is None):
        raise UserError("--server URL and --model NAME belong together: add the other")
    options = {"--generated": generated, "--server": server, "--own-generator": own_generator or None}
    if len(sources := [name for name, value in options.items() if value is not None]) > 1:
        raise UserError(f"{' and '.join(sources)}: images come from one of them: leave out the others")
    others = {"test": test, "val": val, "generated": generated, "retrieved": retrieved}
    folders = name_folders(train, others, shift or [], tell, real)
    named = None if server is None or model is None else (server, model)
    again = partial(words_of, ctx)
    write_recipe(folders, recipe, local_folder(out), again, tell, check, overwrite, pretrained, named, own_generator)
