"""Test images that a study learns from, whichever set they are hidden in: left out, counted, and refused by path."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pictures import jpeg
from PIL import Image, ImageOps
from small_study import CLASSES, QUICK, REAL, TRAIN, folders_section, genrobust

from genrobust.core import ImageSet, StudyData, UserError
from genrobust.data import DataSource, FolderClasses, MemoryImages, Reader, load_data
from genrobust.recipe import READERS, SOURCES, Recipe, parse_recipe
from genrobust.study import open_sets
from genrobust.study.context import Context

Folders = dict[str, Path]


DISGUISES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "mirrored": ImageOps.mirror,
    "larger": lambda image: image.resize((100, 100)),
    "JPEG": jpeg,
}
SETS = {  # what can be learned from, by its keys of the section data
    "train": {},
    "val": {},
    "extra.web": {"extra": {"web": "{}"}},
    "generated": {"generated": "{}"},
    "retrieval": {"retrieved": "{}"},
    "search_pool": {"retrieved": {"search": "{}", "clip": "pictograms"}},
    "unlabeled.site": {"unlabeled": {"site": "{}"}},
}


@pytest.fixture
def folders(write_folder: Callable[..., Path]) -> Folders:
    return {name: write_folder(name, name, 6, CLASSES) for name in ("train", "test", "solid", "emoji")}


def filled(value: Any, folder: Path) -> Any:
    """`value` with the path of a folder in the place of {}."""
    if isinstance(value, Mapping):
        return {key: filled(inner, folder) for key, inner in value.items()}
    return value.replace("{}", str(folder))


def recipe_of(folders: Folders, **more: Any) -> Recipe:
    data = folders_section(folders, **more.pop("data", {}))
    return parse_recipe({**QUICK, "generator": None, "data": data, "train": TRAIN, "arms": [REAL], **more})


def of(images: ImageSet) -> list[str]:
    """The names of its files."""
    return sorted(Path(key).name for key in images.keys)


@pytest.mark.parametrize("key", SETS)
def test_copies_of_test_images_are_learned_from_by_nothing(
    key: str, folders: Folders, write_folder: Callable[..., Path], tmp_path: Path
) -> None:
    own = folders["train"] if key == "train" else write_folder("learned", "retrieved", 6, CLASSES)
    before = of(Context(recipe_of(folders), tmp_path / "before").data.tests["solid"])
    originals = [sorted((folders["solid"] / name).iterdir())[0] for name in CLASSES]
    for place, (word, change) in enumerate(DISGUISES.items()):
        original = originals[place % len(originals)]
        changed = own / original.parent.name / f"copy {word}.png"
        if word == "as it is":
            changed.write_bytes(original.read_bytes())
        else:
            change(Image.open(original).convert("RGB")).save(changed)
    section = {"val": str(own)} if key == "val" else filled(SETS[key], own)
    recipe = recipe_of(folders, data=section)
    listed = load_data(recipe.data).learned
    context = Context(recipe, tmp_path / "runs")
    with_copies = {name: [file for file in of(images) if "copy" in file] for name, images in listed.items()}
    assert sum(map(len, with_copies.values())) == len(DISGUISES), "they are there"
    assert {name: of(images) for name, images in context.data.learned.items()} == {
        name: [file for file in of(images) if "copy" not in file] for name, images in listed.items()
    }
    counted = [notice for notice in context.notices if getattr(notice, "learned", False)]
    assert sum(len(notice.originals) for notice in counted) == len(DISGUISES)
    assert sum(notice.near for notice in counted) == len(DISGUISES) - 1
    assert {test for notice in counted for test in notice.originals.values()} == {"solid"}
    copies = {str(path.relative_to(own)): path for path in own.rglob("copy*")}
    for notice in counted:
        copy, original = notice.example
        assert Path(copy).name in {path.name for path in copies.values()}, "the first copy is named"
        assert Path(original).name in {path.name for path in originals}, "and its original"
    assert of(context.data.tests["solid"]) == before, "test images stay"


def test_no_field_of_a_studys_images_escapes() -> None:
    sets = {field.name for field in fields(StudyData) if "ImageSet" in str(field.type)}
    named = {"tests", "extra", "unlabeled"}
    assert sets == {"train", "val", "retrieval", "withheld", "shifted_val", "search_pool", "generated"} | named
    data = Context(parse_recipe({**QUICK, "arms": [REAL]}), Path("none")).data
    single = dict.fromkeys(("withheld", "search_pool", "generated"), data.val)
    every = replace(data, extra={"web": data.val}, unlabeled={"site": data.val}, **single)
    assert {key.partition(".")[0] for key in every.learned} == sets - {"tests"}
    others = dict.fromkeys(every.learned, data.tests["test"])
    assert {*map(id, every.replaced(others).learned.values())} == {id(data.tests["test"])}


def planted(pictogram_data: StudyData) -> StudyData:
    """Ten images of each set, the first one of all that is learned from a test image."""

    def some(name: str, images: ImageSet, *more: Image.Image) -> MemoryImages:
        pixels = [np.asarray(image) for image in (*more, *(images.image(i) for i in range(10)))]
        labels = [*images.labels[: len(more)].tolist(), *images.labels[:10].tolist()]
        return MemoryImages(name, pixels, labels, [f"{name}/{i}" for i in range(len(pixels))])

    tests = {name: some(name, pictogram_data.tests[name]) for name in ("test", "emoji")}
    leak = ImageOps.mirror(tests["emoji"].image(3))
    learned = {key: some(key, images, leak) for key, images in pictogram_data.learned.items()}
    further = {key: some(key, pictogram_data.train, leak) for key in ("search_pool", "generated")}
    return replace(pictogram_data.replaced(learned), tests=tests, clean="test", **further)


@pytest.mark.parametrize("name", sorted(SOURCES.members()))
def test_no_source_escapes(name: str, pictogram_data: StudyData, tmp_path: Path) -> None:
    source, data = SOURCES.members()[name], planted(pictogram_data)
    loads = type("Planted", (source,), {"load": lambda self: (data, FolderClasses.from_labels(data.labels))})
    assert issubclass(loads, DataSource)
    recipe = parse_recipe({**QUICK, "arms": [REAL]})
    section = loads.model_construct(**{**dict(recipe.data), "source": name, "root": tmp_path})
    context = Context(recipe.model_copy(update={"data": section}), tmp_path / "runs")
    lost = {key: len(images) - len(context.data.learned[key]) for key, images in data.learned.items()}
    assert lost == dict.fromkeys(data.learned, 1)


@pytest.mark.parametrize("kind", sorted(READERS.members().keys() - {"corruptions"}))  # which derives its images
def test_no_reader_escapes(kind: str, pictogram_data: StudyData, tmp_path: Path) -> None:
    leak = MemoryImages("own", [np.asarray(ImageOps.mirror(pictogram_data.train.image(5)))], [0], ["leak"])
    reads = type("Planted", (READERS.members()[kind],), {"open": lambda self, name, *_: {name: leak}})
    assert issubclass(reads, Reader)
    recipe = parse_recipe({**QUICK, "arms": [REAL]})
    shifts = {"own": reads.model_construct(kind=kind, path=tmp_path)}
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"shifts": shifts})})
    assert pictogram_data.train.keys[5] not in Context(recipe, tmp_path / "runs").data.train.keys


@pytest.mark.parametrize(
    "key", ["extra.web", "generated", "retrieved.path", "retrieved.search", "train", "unlabeled.site", "val"]
)
def test_one_folder_is_not_learned_from_and_tested_on(key: str, folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folders["solid"])
    values = recipe_of(folders).model_dump(mode="json")
    section = values["data"]
    at = section
    for part in key.split(".")[:-1]:
        at = at.setdefault(part, {})
    at[key.split(".")[-1]] = str(tmp_path / "link")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(values))
    message = genrobust("show", tmp_path / "own.yaml", "--out", tmp_path / "runs", code=2).stderr
    assert f"data.{key}" in message and "data.shifts.solid" in message


def test_what_chooses_holds_no_copy_of_what_is_tested(folders: Folders, tmp_path: Path) -> None:
    before, name = of(Context(recipe_of(folders), tmp_path / "before").data.tests["emoji"]), next(iter(CLASSES))
    for word, change in DISGUISES.items():
        change(Image.open(next((folders["emoji"] / name).iterdir()))).save(folders["solid"] / name / f"copy {word}.png")
    context = Context(recipe_of(folders, tune={"choose_by": ["solid"]}), tmp_path / "runs")
    assert not [key for key in context.data.tests["solid"].keys if "copy" in key]
    assert of(context.data.tests["emoji"]) == before


@pytest.mark.parametrize("use", ["none", "tune", "scored"])
@pytest.mark.parametrize("apart", [{}, {"groups_apart": {"pattern": r"solid(\d+)"}}], ids=["copies", "of one name"])
def test_nothing_is_learned_from_the_shifted_validation_set(
    apart: dict[str, Any], use: str, folders: Folders, write_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Anything may be chosen on it, whether or not the recipe says so."""
    web = write_folder("web", "retrieved", 6, CLASSES)
    for number, path in enumerate(sorted(web.rglob("*.png"))):
        path.rename(path.with_name(f"own {1000 + number}.png"))
    for number, path in enumerate(sorted(folders["solid"].rglob("*.png"))):
        path = path.rename(path.with_name(f"solid{number}.png"))
        if apart:
            shutil.copy(next((web / path.parent.name).iterdir()), web / path.parent.name / f"solid{number} copy.png")
        elif number % 2:
            shutil.copy(path, web / path.parent.name / f"solid{number} copy.png")
        else:
            ImageOps.mirror(Image.open(path)).save(web / path.parent.name / f"solid{number} copy.png")
    section: dict[str, Any] = {"extra": {"web": str(web)}, "shifted_val": "solid", **apart}
    more = {
        "none": {},
        "tune": {"tune": {"choose_by": ["solid-val"]}},
        "scored": {"evaluate": {"tests": ["test", "solid", "solid-val"]}},
    }
    recipe = recipe_of(folders, data=section, **more[use])
    data, listed = Context(recipe, tmp_path / "runs").data, load_data(recipe.data)
    assert data.shifted_val is not None and listed.shifted_val is not None
    copies = {name.replace(".png", " copy.png") for name in of(data.shifted_val)}
    assert copies <= {*of(listed.extra["web"])} and not copies & {*of(data.extra["web"])}
    assert len(copies) >= 0.8 * len(listed.shifted_val), "drawings of one designer may be copies of each other"


def test_what_is_scored_shares_no_group_with_what_is_learned(folders: Folders, tmp_path: Path) -> None:
    """Of a shifted set that is divided, the validation half may be scored, too."""
    for name, first in (("train", 0), ("solid", 4)):
        for number, path in enumerate(sorted(folders[name].rglob("*.png"))):
            path.rename(path.with_name(f"{path.parent.name}{first + number % 6} {name}.png"))
    section = {"shifted_val": "solid", "groups_apart": {"pattern": r"/(\w+\d) "}}
    data = Context(
        recipe_of(folders, data=section, evaluate={"tests": ["test", "solid", "solid-val"]}), tmp_path / "runs"
    ).data
    patients = [{name.split(" ")[0] for name in of(images)} for images in (data.train, data.tests["solid-val"])]
    assert patients[1] and not patients[0] & patients[1]


def test_a_set_of_copies_alone_and_a_class_of_copies_alone_are_mistakes(folders: Folders, tmp_path: Path) -> None:
    name = next(iter(CLASSES))
    for image in (folders["train"] / name).iterdir():
        (folders["solid"] / name / f"again-{image.name}").write_bytes(image.read_bytes())
    with pytest.raises(UserError, match=rf"{name}.*solid"):
        _ = Context(recipe_of(folders), tmp_path / "runs").data


def test_near_copies_are_kept_where_the_recipe_says_so(folders: Folders, tmp_path: Path) -> None:
    name = next(iter(CLASSES))
    original = next((folders["solid"] / name).iterdir())
    ImageOps.mirror(Image.open(original)).save(folders["train"] / name / "near.png")
    (folders["train"] / name / "exact.png").write_bytes(original.read_bytes())
    data = Context(recipe_of(folders, data={"near_copies": "keep"}), tmp_path / "runs").data
    there = {Path(key).name for images in (data.train, data.val) for key in images.keys}
    assert "near.png" in there and "exact.png" not in there


def test_broken_images_are_all_named_or_left_out_of_what_is_learned_from(folders: Folders, tmp_path: Path) -> None:
    web, name = folders.pop("emoji"), next(iter(CLASSES))
    for place in range(12):
        (web / name / f"broken-{place:02d}.png").write_bytes(b"\x89PNG\r\n\x1a\n no image")
    section: dict[str, Any] = {"extra": {"web": str(web)}}
    with pytest.raises(UserError) as error:
        _ = Context(recipe_of(folders, data=section), tmp_path / "runs").data
    assert str(error.value).count("broken-") == 10 and str(error.value).startswith("12 of ")
    skipping = recipe_of(folders, data={**section, "broken": "skip"})
    context = Context(skipping, tmp_path / "runs")
    assert not [key for key in context.data.extra["web"].keys if "broken" in key]
    assert any("broken-0" in str(notice) for notice in context.notices)
    (folders["solid"] / name / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"broken\.png"):
        _ = Context(skipping, tmp_path / "runs").data


def test_an_image_that_can_be_read_again_is_not_broken(folders: Folders, tmp_path: Path) -> None:
    """A file's mode, or a disk that failed for a while, changes neither its name nor its size and time of change."""
    path = next(folders["train"].glob("*/*.png"))
    content, times = path.read_bytes(), path.stat()
    for written, notices in ((bytes(len(content)), 1), (content, 0)):
        path.write_bytes(written)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        context = Context(recipe_of(folders, data={"broken": "skip"}), tmp_path / "runs")
        assert sum("cannot be read" in str(notice) for notice in context.notices) == notices
    assert path.name in {Path(key).name for images in context.data.learned.values() for key in images.keys}


def test_networks_that_other_recipes_trained_on_test_images_are_named(folders: Folders, tmp_path: Path) -> None:
    name, leak = next(iter(CLASSES)), "of a test image (1 of solid), not left out"
    ImageOps.mirror(Image.open(next((folders["solid"] / name).iterdir()))).save(folders["train"] / name / "near.png")
    untested = {"train": folders["train"], "test": folders["emoji"]}
    own, other = tmp_path / "own.yaml", tmp_path / "other.yaml"
    for path, of in ((own, folders), (other, untested)):  # both of one name
        path.write_text(yaml.safe_dump(recipe_of(of).model_dump(mode="json")))
    out = ("--out", tmp_path / "runs")
    genrobust("train", other, *out)
    genrobust("evaluate", own, "--models", f"{other}:real", *out, said=leak)


def test_drawings_of_one_photograph_are_told_by_their_names_and_left_out_by_a_rule(
    folders: Folders, write_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folders["sketch"] = write_folder("sketch", "solid", 8, CLASSES)
    web = write_folder("web", "train", 5, CLASSES)
    for folder in (folders["sketch"], web):
        for label, name in enumerate(CLASSES):
            for number, path in enumerate(sorted((folder / name).iterdir())):
                photo = f"n0210{label}_{15000 + number % 4}" if number < 4 or folder != web else "own"
                path.rename(path.with_name(f"{photo}-{number}{'a' if folder == web else ''}.png"))
    section: dict[str, Any] = {"extra": {"web": str(web)}}
    context = Context(recipe_of(folders, data=section), tmp_path / "runs")
    (notice,) = (str(notice) for notice in context.notices if "groups_apart" in str(notice))
    rule = yaml.safe_load(notice.split("data.groups_apart: ")[1])
    context = Context(recipe_of(folders, data={**section, "groups_apart": rule}), tmp_path / "runs")
    assert of(context.data.extra["web"]) == ["own-4a.png"] * len(CLASSES)
    assert any("belong together" in str(notice) for notice in context.notices)


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_each_command_counts_what_it_leaves_out(command: str, folders: Folders, tmp_path: Path) -> None:
    leak = next((folders["solid"] / next(iter(CLASSES))).iterdir())
    (folders["train"] / leak.parent.name / "exact.png").write_bytes(leak.read_bytes())
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe_of(folders).model_dump(mode="json")))
    genrobust(command, tmp_path / "own.yaml", "--out", tmp_path / "runs", said="(1 of solid)")


def test_an_audit_leaves_out_the_broken_images_that_a_study_skips(
    folders: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folders["train"] / next(iter(CLASSES)) / "broken.png").write_bytes(b"no image")
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(recipe_of(folders, data={"broken": "skip"}).model_dump(mode="json")))
    opened = open_sets(str(own), str(own))
    assert "broken.png" not in of(opened.dataset) and "broken.png" in caplog.text


def test_a_class_without_a_readable_training_image_is_a_mistake(folders: Folders, tmp_path: Path) -> None:
    name = next(iter(CLASSES))
    for image in (folders["train"] / name).iterdir():
        image.write_bytes(b"no image")
    with pytest.raises(UserError, match=f"every training image of {name} is broken"):
        _ = Context(recipe_of(folders, data={"broken": "skip"}), tmp_path / "runs").data
