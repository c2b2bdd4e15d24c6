"""Sets of domains, built small in the layouts in which they are downloaded."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import ImageOps
from pydantic import ValidationError
from small_study import QUICK, REAL, TRAIN, genrobust

from genrobust.core import ImageSet, StudyData, UserError
from genrobust.data import load_data
from genrobust.leaks import Copies
from genrobust.recipe import DataConfig, parse_recipe
from genrobust.study.context import Context

EACH = 6  # images of a class in a domain
CLASSES = ("airplane", "bell", "camera")
LAYOUTS = {  # the folders of the domains, as each set unpacks
    "pacs": ("PACS/kfold", ("photo", "art_painting", "cartoon", "sketch")),
    "office-home": ("OfficeHomeDataset_10072016", ("Real World", "Art", "Clipart", "Product")),
    "vlcs": ("VLCS", ("VOC2007", "Caltech101", "LabelMe", "SUN09")),
    "terra-incognita": ("terra_incognita", ("location_38", "location_43", "location_46", "location_100")),
    "domainnet": ("", ("real", "clipart", "infograph", "painting", "quickdraw", "sketch")),
}


@pytest.fixture
def unpacked(pictogram_data: StudyData, tmp_path: Path) -> Callable[..., Path]:
    """Writes a set of domains, each with `each` images of a class, and returns its root."""
    wild, labels = pictogram_data.retrieval, pictogram_data.labels
    assert wild is not None

    def write(domains: tuple[str, ...], below: str = "", each: int = EACH) -> Path:
        for name in CLASSES:
            places = iter(np.flatnonzero(wild.labels == labels.ids.index(name)).tolist())
            for domain in domains:
                folder = tmp_path / "root" / below / domain / name
                folder.mkdir(parents=True)
                for number in range(each):
                    wild.image(next(places)).save(folder / f"{number:03}.png")
        return tmp_path / "root"

    return write


def loaded(source: str, root: Path, **more: Any) -> StudyData:
    return load_data(DataConfig.model_validate({"source": source, "root": root, **more}))


def parts(data: StudyData) -> dict[str, ImageSet]:
    sets = {"train": data.train, "val": data.val, "pool": data.retrieval, "shifted": data.shifted_val, **data.tests}
    return {name: images for name, images in sets.items() if images is not None}


def per_style(images: ImageSet) -> set[int]:
    """How many images of a class in a style there are."""
    return {*Counter(zip(images.labels.tolist(), images.styles, strict=True)).values()}


@pytest.mark.parametrize("source", LAYOUTS)
def test_one_domain_cuts_every_domain_into_halves(source: str, unpacked: Callable[..., Path]) -> None:
    below, domains = LAYOUTS[source]
    sets = parts(loaded(source, unpacked(domains, below)))
    assert list(sets) == ["train", "val", "pool", "shifted", *domains]
    assert {name: {*images.styles} for name, images in sets.items()} == {
        "train": {domains[0]},
        "val": {domains[0]},
        "pool": {*domains[1:]},
        "shifted": {*domains[1:]},
        **{domain: {domain} for domain in domains},
    }
    assert [per_style(images) for images in sets.values()] == [{2}, {1}, {2}, {1}, *({3} for _ in domains)]
    apart = [key for images in sets.values() for key in images.keys]
    assert len({*apart}) == len(apart) == EACH * len(CLASSES) * len(domains), "each image is in one part"
    for images in sets.values():
        assert [key.split("/")[-3] for key in images.keys] == [*images.styles]
        assert [key.split("/")[-2] for key in images.keys] == [CLASSES[label] for label in images.labels]


def test_drawings_of_one_photograph_lie_in_one_half_with_it(unpacked: Callable[..., Path]) -> None:
    """Two drawings of each photograph, of which half are among the photos."""
    root = unpacked(("photo", "art_painting", "cartoon", "sketch"), each=12)
    for path in sorted(root.glob("sketch/*/*.png")):
        number = int(path.stem)
        path.rename(path.with_name(f"n{len(path.parent.name)}_{number // 2}-{number % 2}.png"))
    for path in sorted(root.glob("photo/*/00[0-2].png")):
        path.rename(path.with_name(f"n{len(path.parent.name)}_{int(path.stem)}.jpg"))
    pattern = re.compile(r"/(n\d+_\d+)[-.]")

    def photographs(*sets: ImageSet | None) -> set[str]:
        return {match[1] for images in sets if images for key in images.keys if (match := pattern.search(key))}

    data = loaded("pacs", root)
    sides = [photographs(data.train, data.retrieval), photographs(data.val, data.shifted_val)]
    sides.append(photographs(*data.tests.values()))
    assert all(sides) and sum(map(len, sides)) == len(set.union(*sides)) == 6 * len(CLASSES)
    assert sum(len(images) for images in parts(data).values()) == 4 * 12 * len(CLASSES)
    drawn = data.tests["sketch"]
    assert drawn.groups and {*drawn.groups} == photographs(drawn), "intervals are over photographs, not drawings"
    assert data.tests["photo"].groups is None, "each is of another thing"
    assert data.shifted_val is not None and {*(data.shifted_val.groups or ())} >= photographs(data.shifted_val)
    with pytest.raises(UserError, match=r"data.groups_apart.column: .* has no columns: use a pattern"):
        loaded("pacs", root, groups_apart={"column": "photograph"})


def test_halves_are_those_of_the_names_whatever_else_is_there(unpacked: Callable[..., Path]) -> None:
    root = unpacked(LAYOUTS["pacs"][1])
    other = loaded("pacs", root, real="cartoon")
    assert other.clean == "cartoon" and other.shifts == ("photo", "art_painting", "sketch")
    assert {*other.train.styles} == {"cartoon"}
    before = parts(loaded("pacs", root))
    for name, images in parts(other).items():
        if name in other.tests:
            assert images.keys == before[name].keys, "test halves do not depend on what is trained on"
    shutil.rmtree(root / "sketch")
    fewer = parts(loaded("pacs", root, domains=["photo", "art_painting", "cartoon"]))
    assert fewer["photo"].keys == before["photo"].keys and fewer["train"].keys == before["train"].keys


def test_leave_one_out_trains_on_four_fifths_of_the_others(unpacked: Callable[..., Path]) -> None:
    data = loaded("pacs", unpacked(LAYOUTS["pacs"][1], each=10), protocol="leave-one-out", left_out="sketch")
    assert (data.clean, data.shifts, data.shifted_val) == ("test", ("sketch",), None)
    assert len(data.tests["sketch"]) == 10 * len(CLASSES)
    assert [per_style(images) for images in (data.train, data.val, data.tests["test"])] == [{8}, {1}, {1}]
    assert {*data.train.styles} == {"photo", "art_painting", "cartoon"}
    assert data.retrieval is None
    assert not {*data.train.keys} & ({*data.val.keys} | {*data.tests["test"].keys})


def test_a_set_of_one_s_own_has_any_domains(unpacked: Callable[..., Path]) -> None:
    root = unpacked(("inked", "painted"))
    with pytest.raises(UserError, match=r"data.real: .* inked, painted"):
        loaded("domains", root)
    data = loaded("domains", root, real="painted", class_names={"bell": "church bell"})
    assert (data.clean, data.shifts) == ("painted", ("inked",))
    assert data.labels.names == ("airplane", "church bell", "camera")
    shutil.rmtree(root / "painted")
    with pytest.raises(UserError, match=r"one to test on, and there is inked"):
        loaded("domains", root)


def test_domains_may_differ_in_a_hyphen_alone(unpacked: Callable[..., Path]) -> None:
    """One of the sites 1-1 and 11 was passed over."""
    data = loaded("domains", unpacked(("1-1", "11", "2")), real="2")
    assert {*data.shifts} == {"1-1", "11"}
    assert all(f"/{site}/" in f"/{key}" for site in data.shifts for key in data.tests[site].keys)


def _without(*paths: str) -> Callable[[Path], None]:
    return lambda root: [shutil.rmtree(root / path) for path in paths] and None


def _renamed(*names: str) -> Callable[[Path], None]:
    return lambda root: [path.rename(root / name) for path, name in zip([*root.iterdir()], names, strict=True)] and None


MISTAKES: list[tuple[Callable[[Path], object], dict[str, Any], str]] = [
    (_without("cartoon/bell", "cartoon/airplane"), {}, r"0 images of airplane and too few of 1 other class,"),
    (_without("sketch"), {}, r"root lacks the domain sketch and holds art_painting, cartoon, photo: .*data.domains"),
    (_renamed("a", "b", "c", "d"), {}, r"root lacks the domain photo and holds a, b, c, d: name the folder"),
    (lambda root: None, {"domains": ["photo", "sketches"]}, r"data.domains: no domain 'sketches'; there are photo"),
    (lambda root: None, {"protocol": "leave-one-out", "left_out": "clipart"}, r"data.left_out: no domain 'clipart'"),
]


@pytest.mark.parametrize(("change", "keys", "message"), MISTAKES, ids=[message for *_, message in MISTAKES])
def test_mistakes_name_what_is_wrong(
    change: Callable[[Path], object], keys: dict[str, Any], message: str, unpacked: Callable[..., Path]
) -> None:
    root = unpacked(LAYOUTS["pacs"][1])
    change(root)
    with pytest.raises(UserError, match=message):
        loaded("pacs", root, **keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"left_out": "sketch"}, "left_out: it belongs"),
        ({"protocol": "leave-one-out"}, "needs it"),
        ({"protocol": "leave-one-out", "left_out": "sketch", "real": "photo"}, "real: it belongs"),
        ({"protocol": "leave-one-out", "left_out": "test"}, "rename the folder"),
    ],
)
def test_keys_belong_to_their_protocol(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=message):
        loaded("pacs", tmp_path, **keys)


def test_near_copies_of_test_images_are_left_out_of_the_pool_and_counted(
    unpacked: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = unpacked(LAYOUTS["pacs"][1])
    data = loaded("pacs", root)
    assert data.retrieval is not None and data.shifted_val is not None
    originals, copies = data.tests["cartoon"], [data.retrieval, data.shifted_val]
    for images in copies:  # the first cartoon of the class of the first test image becomes its mirror image
        place = next(i for i, style in enumerate(images.styles) if style == "cartoon")
        original = np.flatnonzero(originals.labels == images.labels[place])[0]
        ImageOps.mirror(originals.image(int(original))).save(root / images.keys[place])
    data = loaded("pacs", root)
    section = {"source": "pacs", "root": str(root)}
    recipe = {**QUICK, "generator": None, "data": section, "train": TRAIN, "arms": [REAL]}
    context = Context(parse_recipe(recipe), tmp_path / "none")
    left_out = [notice for notice in context.notices if isinstance(notice, Copies) and notice.learned]
    counts = {copy.name: len(copy.originals) for copy in left_out}
    assert {copy.name for copy in left_out if [*copy.originals.values()].count("cartoon") == 1} == {
        "pool",
        "shifted-val",
    }
    for name, images in parts(context.data).items():
        assert len(images) == len(parts(data)[name]) - counts.get(images.name, 0)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "runs").mkdir()
    words = ("show", tmp_path / "own.yaml", "--out", tmp_path / "runs")
    genrobust(*words, said="of test images (1 of cartoon")
    monkeypatch.setattr("genrobust.leaks.find_near_copies", None)  # a second look needs it no more
    genrobust(*words, said="of test images (1 of cartoon")
