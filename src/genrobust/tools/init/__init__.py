"""Writes a commented recipe for a user's own image folders."""

from pathlib import Path
from typing import Annotated

from genrobust.cli import COMMANDS, OUT, START, Overwrite, argument, in_group, option, tell
from genrobust.core import UserError


@COMMANDS.register("init")
@in_group(START)
def init(
    images: Annotated[
        Path | None,
        argument("IMAGES", "All images, in folders STYLE/CLASS: trains on one style, and tests on all of them."),
    ] = None,
    train: Annotated[
        Path | None,
        option("--train DIR", "Training images: one subfolder for each class, or a CSV table; or STYLE/CLASS."),
    ] = None,
    test: Annotated[Path | None, option("--test DIR", "Test images that are not shifted.")] = None,
    val: Annotated[
        Path | None, option("--val DIR", "Validation images; default: a tenth of the training images.")
    ] = None,
    shift: Annotated[
        list[str] | None,
        option("--shift [NAME=]DIR", "A shifted test set; of folders STYLE/CLASS, each style is one; repeatable."),
    ] = None,
    unlabeled: Annotated[
        list[str] | None,
        option("--unlabeled [NAME=]DIR", "Images without labels, as the classifier will meet; repeatable."),
    ] = None,
    generated: Annotated[Path | None, option("--generated DIR", "Generated images that you have already.")] = None,
    retrieved: Annotated[
        Path | None, option("--retrieved DIR", "Labeled images in other styles, as folders CLASS or STYLE/CLASS.")
    ] = None,
    real: Annotated[
        str | None, option("--real STYLE", "The style to train on, where --train holds folders STYLE/CLASS.")
    ] = None,
    out: Annotated[Path, option("--out FILE", "The recipe to write.")] = Path("study.yaml"),
    runs: Annotated[Path, option("--runs DIR", "The folder of studies.")] = Path(OUT),
    overwrite: Overwrite = False,
    pretrained: Annotated[
        str | None,
        option(
            "--pretrained NAME",
            "The network to start from (train.init), or scratch; default for photographs: packaged:efficientnet-lite0.",
        ),
    ] = None,
    server: Annotated[
        tuple[str, str] | None, option("--server URL MODEL", "Generate with a server that has OpenAI's images API.")
    ] = None,
    own_generator: Annotated[
        bool, option("--own-generator", "Generate with a small generator trained on your images, by class and style.")
    ] = False,
) -> None:
    """Write a commented recipe for your own image folders.

    With IMAGES alone, it trains on the style called photo, photos or real, or on the style with the most images.

    Example: genrobust init --train data/train --test data/test --shift sketch=data/sketch
    """
    from genrobust.store import OutputFile, local_folder
    from genrobust.tools.init.proposed_settings import Wishes, propose
    from genrobust.tools.init.recipe_file import write_recipe
    from genrobust.tools.init.starting_network import SCRATCH, require_network
    from genrobust.tools.init.user_images import (
        choose_style,
        load_user_images,
        require_shifts_apart,
    )

    generators = {"--generated": generated, "--server": server, "--own-generator": own_generator}
    given = [name for name, value in generators.items() if value]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} exclude each other: leave out all but one")
    if str(out) == "-":
        raise UserError("--out -: a recipe is a file, which the next command reads: name one")
    output = OutputFile(out, ".yaml", overwrite=overwrite)
    output.check()
    studies = local_folder(runs)
    if pretrained not in (None, SCRATCH):
        require_network(pretrained)
    chosen: list[str] = []
    if images is not None:
        if train is not None:
            raise UserError(f"{images} and --train {train} both name training images: leave one out")
        train = images
        if real is None and test is None:
            real, chosen = choose_style(images)
    if train is None:
        raise UserError("name your images: genrobust init IMAGES, or --train DIR and --test DIR")
    require_shifts_apart({"--retrieved": retrieved, "--generated": generated, "--test": test}, shift or [])
    others = {"test": test, "val": val, "generated": generated, "retrieved": retrieved}
    user_images = load_user_images(train, others, shift or [], unlabeled or [], real)
    values = propose(user_images, Wishes(pretrained, server, own_generator))
    tell(*chosen, *write_recipe(user_images, values, output, studies))
