"""What `genrobust init` does: looks at image folders, and writes a commented recipe that fits them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import track

from genrobust.core import UserError, available_devices, cores, make_folder, replacing, slug, templates
from genrobust.data import (
    FolderClasses,
    check_images,
    class_folders,
    image_files,
    read_classes,
    read_image,
    readable_names,
)
from genrobust.recipe import DataConfig, EvaluateConfig, GeneratorConfig
from genrobust.report import count
from genrobust.study.estimate import generation_time

# The repository that held Stable Diffusion 1.5 is gone; the first two are copies of it, the third its predecessor.
STABLE_DIFFUSION = GeneratorConfig(
    model="stable-diffusion-v1-5/stable-diffusion-v1-5",
    alternatives=("benjamin-paine/stable-diffusion-v1-5", "CompVis/stable-diffusion-v1-4"),
    variant="fp16",
    dtype="auto",
    steps=25,
    guidance_scale=2.0,
)
GRID = 6  # baseline models: twice the three that a line takes
LEAST_TEST_IMAGES = 100  # with fewer, one image moves clean accuracy by more than a point, and a line follows chance
SAMPLED = 200  # training images whose size is looked at: their median is that of all to within a few percent
SIZES = (32, 64, 96, 128, 160, 192, 224)  # px, of a square input
GPU_THREADS = 8  # of the CPU beside a GPU; on CPUs alone as many workers of one thread run as there are cores
CPU_SIZE = 64  # px: at 224 a training step takes twelve times as long
PASSES = 30  # over the images of the largest arm: where small networks trained from scratch level off
CPU_STEPS, GPU_STEPS = (200, 3000), (200, 50_000)  # least and most
MOST_PER_CLASS = 1300  # generated images: as many as ImageNet has real ones
SHIFT = "shift "  # begins the role of a shifted test set
BROKEN_SHOWN = 10
NAMES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders that the user named; `shifts` maps a shifted test set's name to its folder."""

    train: Path
    test: Path
    val: Path | None
    shifts: Mapping[str, Path]
    generated: Path | None
    retrieved: Path | None

    def by_role(self) -> dict[str, Path]:
        """Every folder but train by what it is called in messages."""
        others = {"val": self.val, "generated": self.generated, "retrieved": self.retrieved}
        named = {"test": self.test, **{f"{SHIFT}{name}": folder for name, folder in self.shifts.items()}}
        return named | {role: folder for role, folder in others.items() if folder is not None}


@dataclass(frozen=True, slots=True)
class Found:
    """What one folder holds. `counts` is the number of images by label, `renamed` maps a subfolder to the training
    folder that it means by another spelling, `unknown` a subfolder that means none to the nearest training folders."""

    role: str
    folder: Path
    counts: Mapping[int, int]
    renamed: Mapping[str, str]
    unknown: Mapping[str, Sequence[str]]
    lacks: Sequence[str]  # training folders that it has no image of

    @property
    def images(self) -> int:
        return sum(self.counts.values())

    @property
    def words(self) -> str:
        """ "480 images of 95 classes (1 to 9 of each); lacks camera, rocket" on one line, whatever the names hold."""
        if not self.counts:
            return "no image of a known class"
        least, most = min(self.counts.values()), max(self.counts.values())
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        classes = "1 class" if len(self.counts) == 1 else f"{len(self.counts):,} classes ({each} of each)"
        text = f"{count(self.images, 'image')} of {classes}"
        return f"{text}; lacks {_some(self.lacks)}" if self.lacks else text


@dataclass(frozen=True, slots=True)
class Training:
    """The training settings that are proposed; `every` is in steps, the two reasons are comments."""

    architecture: str
    image_size: int
    size_reason: str
    batch_size: int
    steps: int
    steps_reason: str
    learning_rate: float
    warmup_steps: int
    every: int
    quick_steps: int


def write_recipe(
    folders: Folders, recipe: Path, out: Path, say: Callable[[str], None], check: bool = True, overwrite: bool = False
) -> None:
    """Look at `folders` and write a recipe for them that `genrobust run` accepts as it is; `say` is told what is found.

    Nothing is read of test images beyond their names, unless `check` decodes every image to find the broken ones.
    Rates that were measured in the output folder `out` tell what generation costs. Folders that mean no training class
    are written down for the user to fill in, and a run refuses the recipe until that is done.

    Raises UserError for a recipe that is there already (unless `overwrite`) or is no .yaml, a folder that is missing,
    empty or named twice, and a training class without images.
    """
    if recipe.suffix not in {".yaml", ".yml"}:
        raise UserError(f"--recipe {recipe}: the name of a recipe ends in .yaml")
    if recipe.exists() and not overwrite:
        raise UserError(f"{recipe} is there already: add --overwrite to replace it, or name another with --recipe")
    _refuse_twins(folders)
    classes, class_names = _classes(folders)
    train = _look("train", folders.train, classes)
    if train.lacks:
        which = _some(train.lacks)
        raise UserError(f"{folders.train}: these class folders hold no image: {which}. Add some, or remove them")
    found = {role: _look(role, folder, classes) for role, folder in folders.by_role().items()}
    _say_found([train, *found.values()], folders, say)
    if check:
        _say_broken([train, *found.values()], say)
    text = _render(train, found, class_names, recipe, out, say)
    make_folder(recipe.parent)
    with replacing(recipe) as file:
        file.write(text.encode())
    open_ends = list(dict.fromkeys(name for one in found.values() for name in one.unknown))
    first = f"Fill in data.same_class ({_some(open_ends)})" if open_ends else "Look it over"
    say(f"wrote {recipe}. {first}, then: genrobust run {recipe} --quick")


def read_folders(
    train: Path,
    test: Path | None,
    val: Path | None,
    shifts: Sequence[str],
    generated: Path | None,
    retrieved: Path | None,
    say: Callable[[str], None],
) -> Folders:
    """The folders that options name; `shifts` are ``NAME=DIR``.

    `val` without `test` becomes the test set, which `say` is told: something must test, and what tests must not choose
    checkpoints. Raises UserError where there is neither, and for a shift without a name or with one that is taken.
    """
    if test is None:
        if val is None:
            raise UserError("--test DIR: name the unshifted test images; --val DIR alone serves as the test set")
        say(f"no --test, so {val} is the unshifted test set")
        test, val = val, None
    named: dict[str, Path] = {}
    for text in shifts:
        name, sign, folder = text.partition("=")
        if not (sign and name.strip() and folder):
            raise UserError(f"--shift {text}: write NAME=DIR, such as --shift sketch=data/sketch")
        if slug(name) in {"test", *map(slug, named)}:  # the slug names files of predictions
            raise UserError(f"--shift {text}: another test set has that name; choose another")
        named[name] = Path(folder).expanduser()
    return Folders(train, test, val, named, generated, retrieved)


def propose(real: int, largest: int, side: int, gpu: bool) -> Training:
    """Training settings for `real` images, of a median shorter side of `side` px, and `largest` in the largest arm."""
    fitting = max((s for s in SIZES if s <= side), default=SIZES[0])
    size = fitting if gpu else min(fitting, CPU_SIZE)
    reason = f"px; the shorter side of the training images is {side} px in the median"
    if size < fitting:
        reason += f", but without a GPU more than {CPU_SIZE} takes days"
    batch = 128 if real >= 512 else max(8, 2 ** int(math.log2(max(1, real / 4))))
    low, high = GPU_STEPS if gpu else CPU_STEPS
    steps = min(high, max(low, math.ceil(PASSES * largest / batch / 100) * 100))
    passes = steps * batch / largest
    return Training(
        architecture="resnet10t" if size <= 96 else "resnet18" if real < 100_000 else "resnet50",
        image_size=size,
        size_reason=reason,
        batch_size=batch,
        steps=steps,
        steps_reason=f"{passes:.0f} passes over the {largest:,} images of the largest arm",
        learning_rate=round(2e-3 * math.sqrt(batch / 128), 5),  # AdamW's noise grows with the root of the batch
        warmup_steps=steps // 10,
        every=steps // 5,
        quick_steps=max(20, steps // 20),
    )


# --------------------------------------------------------------------------------------------- looking


def _refuse_twins(folders: Folders) -> None:
    seen: dict[Path, str] = {}
    for role, folder in {"train": folders.train, **folders.by_role()}.items():
        other = seen.setdefault(folder.resolve(), role)
        if other != role:
            raise UserError(f"{other} and {role} are the same folder, {folder}: each needs images of its own")


def _classes(folders: Folders) -> tuple[FolderClasses, dict[str, str]]:
    """The label space of the training folder, and the shown name of each of its folders."""
    shown = readable_names([sub.name for sub in _subfolders(folders.train)])
    config = DataConfig(source="folders", train=folders.train, test=folders.test, class_names=shown)
    return read_classes(config), shown


def _subfolders(folder: Path) -> list[Path]:
    subs = class_folders(folder)
    for sub in subs:
        try:
            sub.name.encode()
        except UnicodeEncodeError:
            raise UserError(f"the folder name {sub.name!a} in {folder} is no valid UTF-8: rename it") from None
    return subs


def _look(role: str, folder: Path, classes: FolderClasses) -> Found:
    counts: dict[int, int] = {}
    renamed: dict[str, str] = {}
    unknown: dict[str, list[str]] = {}
    try:
        for sub in _subfolders(folder):
            label = classes.match(sub.name)
            if label is None:
                unknown[sub.name] = classes.near(sub.name)
                continue
            if sub.name != classes.folders[label]:
                renamed[sub.name] = classes.folders[label]
            number = sum(1 for _ in image_files(sub))
            if number:
                counts[label] = counts.get(label, 0) + number
    except UserError as error:
        raise UserError(f"{role}: {error}") from error
    lacks = [name for label, name in enumerate(classes.folders) if label not in counts]
    return Found(role, folder, counts, renamed, unknown, lacks)


def _median_side(folder: Path) -> int:
    """The median shorter side, in px, of up to SAMPLED images spread evenly over `folder`."""
    files = sorted(image_files(folder))
    sides = []
    for path in files[:: math.ceil(len(files) / SAMPLED)]:
        try:
            sides.append(min(read_image(path).size))
        except UserError:
            continue  # broken images are told elsewhere
    if not sides:
        raise UserError(f"{folder}: none of the images that were tried can be read, such as {files[0]}")
    return round(statistics.median(sides))


# --------------------------------------------------------------------------------------------- telling


def _say_found(found: Sequence[Found], folders: Folders, say: Callable[[str], None]) -> None:
    least = EvaluateConfig().min_images
    for one in found:
        say(f"{one.role}: {one.words}")
        if one.renamed:
            say(f"  by another spelling: {_some([f'{a} is {b}' for a, b in one.renamed.items()])}")
        for name, near in one.unknown.items():
            perhaps = f" (perhaps {' or '.join(near)}?)" if near else ""
            say(f'  the folder {name!r} means no training class{perhaps}: say which, or "", under data.same_class')
        if one.role.startswith(SHIFT) and one.images < least:
            say(f"  fewer than {least} images: scored, and left out of the mean over shifts (evaluate.min_images)")
        if one.role == "retrieved" and one.lacks:
            say("  the arm real+retrieved will want images of every class that is generated")
    if folders.val is None:
        say("val: none, so a tenth of train, by class, is held back to choose checkpoints by")
    if not folders.shifts:
        say("no shifted test set: without --shift NAME=DIR there is no robustness to measure")


def _say_broken(found: Sequence[Found], say: Callable[[str], None]) -> None:
    parts = [sub for one in found for sub in class_folders(one.folder)]
    console = Console(stderr=True)
    bar = track(parts, "checking every image", console=console, transient=True, disable=not console.is_terminal)
    broken = [bad for sub in bar for bad in check_images(sub)]
    for _, reason in broken[:BROKEN_SHOWN]:
        say(reason)
    if len(broken) > BROKEN_SHOWN:
        say(f"and {len(broken) - BROKEN_SHOWN:,} more images that cannot be read")
    if broken:
        what = count(len(broken), "broken image")
        say(f"{what}: a run stops at the first that it meets, so mend or remove them before it")


def _say_generation(images: int, device: str, out: Path, say: Callable[[str], None]) -> None:
    cost = generation_time(images, STABLE_DIFFUSION, device, out)
    if device != "cpu":
        say(f"to generate: {cost}")
        return
    say(f"no GPU here and no generated images, so the recipe has no generated arm. To generate: {cost}")
    say("  either run this recipe on a machine with a GPU, after taking in its two generated arms,")
    say("  or bring images of any generator, one subfolder a class: genrobust init ... --generated DIR")


def _no_grid(test: Found, shifts: Mapping[str, Found]) -> str:
    """Why a baseline line would say nothing here; "" where it would."""
    if not shifts:
        return "there is no shifted test set"
    if test.images < LEAST_TEST_IMAGES:
        return f"{test.images} clean test images are too few for one, {LEAST_TEST_IMAGES} would do"
    return ""


def _some(names: Sequence[str]) -> str:
    """Up to NAMES_SHOWN names, quoted where they need it, and how many more there are."""
    shown = ", ".join(_quoted(name) for name in names[:NAMES_SHOWN])
    return f"{shown} and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else shown


# --------------------------------------------------------------------------------------------- writing


def _render(
    train: Found,
    found: Mapping[str, Found],
    class_names: Mapping[str, str],
    recipe: Path,
    out: Path,
    say: Callable[[str], None],
) -> str:
    """The recipe's text; `found` holds the folders but train by role."""
    device = available_devices()[0]
    gpu = device != "cpu"
    brought = found.get("generated")
    per_class = min(MOST_PER_CLASS, max(10, round(statistics.median(train.counts.values()))))
    to_generate = per_class * len(train.counts)
    if brought is None:
        _say_generation(to_generate, device, out, say)
    shifts = {role.removeprefix(SHIFT): one for role, one in found.items() if role.startswith(SHIFT)}
    no_grid = _no_grid(found["test"], shifts)
    if no_grid:
        say(f"no baseline line, and so no effective robustness: {no_grid}")
    added = [brought.images if brought else to_generate, *([found["retrieved"].images] if "retrieved" in found else [])]
    environment = templates("study", keep_trailing_newline=True)
    environment.filters |= {"q": _quoted}
    return environment.get_template("init.yaml.j2").render(
        file=_quoted(str(recipe)),
        name=slug(recipe.stem),
        title=f"{len(train.counts):,} classes of {train.folder}, {count(len(shifts), 'shifted test set')}",
        threads=min(GPU_THREADS, cores()) if gpu else 1,
        train=train,
        val=found.get("val"),
        test=found["test"],
        shifts=shifts,
        generated=brought,
        retrieved=found.get("retrieved"),
        with_generated=gpu or brought is not None,
        class_names=class_names,
        unknown={name: near for one in found.values() for name, near in one.unknown.items()},
        generator=STABLE_DIFFUSION,
        per_class=per_class,
        plan=propose(train.images, train.images + max(added), _median_side(train.folder), gpu),
        min_images=EvaluateConfig().min_images,
        grid=GRID,
        no_grid=no_grid,
    )


def _quoted(value: str) -> str:
    """`value` as YAML that is one line and safe as a key, in a list and in a comment, whatever it holds."""
    style = None if value.isprintable() else '"'  # which escapes line breaks
    listed = yaml.safe_dump([value], default_style=style, default_flow_style=True, allow_unicode=True, width=math.inf)
    return listed.strip()[1:-1]
