"""A CSV table of image files is read like folders of the same images, with its columns, or refused by its line."""

import csv
import shutil

import pytest

from genrobust.core import UserError
from genrobust.data import load_data, open_stored
from genrobust.data.stored_images import open_unlabeled
from genrobust.recipe import DataConfig


@pytest.fixture
def phone(photos):
    """Writes a table of the images below ``photos / part``, which it lists by class; returns the table."""

    def write(columns=("path", "label", "camera"), rows=None, name="phone.csv", part="test"):
        files = sorted((photos / part).rglob("*.png"))
        made = [[path.relative_to(photos).as_posix(), path.parent.name, f"c{path.stem}"] for path in files]
        with (photos / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *(made if rows is None else rows)])
        return photos / name

    return write


def loaded(photos, phone, **more):
    sets = {"train": photos / "train", "test": photos / "test", "shifts": {"phone": phone}}
    return load_data(DataConfig.model_validate({"source": "folders", **sets, **more}))


@pytest.mark.parametrize("path", ["path", "file_name"])
def test_a_table_gives_the_images_and_labels_of_the_folders_and_groups_by_its_columns(photos, phone, path):
    data = loaded(photos, phone((path, "label", "camera")), groups={"phone": {"column": "camera"}})
    found, same = data.tests["phone"], data.tests["test"]
    at = {key: i for i, key in enumerate(same.keys)}
    assert {key.removeprefix("test/") for key in found.keys} == {*at}
    for i, key in enumerate(found.keys):
        j = at[key.removeprefix("test/")]
        assert found.labels[i] == same.labels[j] and found.image(i).tobytes() == same.image(j).tobytes()
        assert found.groups[i] == f"c{key.rpartition('/')[2].removesuffix('.png')}"


def test_a_table_trains(photos, phone):
    by_table = load_data(DataConfig(source="folders", train=phone(part="train"), test=photos / "test"))
    assert by_table.labels.names == loaded(photos, shutil.copytree(photos / "test", photos / "more")).labels.names
    assert len(by_table.train) + len(by_table.val) == 36


def test_a_table_without_labels_can_be_searched(photos, phone):
    images = open_unlabeled("data.retrieved.search", phone(("path", "kind", "camera")))
    assert len(images) == 9 and set(images.labels.tolist()) == {0}


def test_a_table_with_other_column_names_serves_wherever_images_are_named(photos, phone):
    names = ("file", "species", "site")
    tables = {part: phone(names, name=f"{part}.csv", part=part) for part in ("train", "test")}
    columns = {"kind": "csv", "path_column": "file", "label_column": "species"}
    train, test = ({**columns, "path": str(table)} for table in tables.values())
    section = {"source": "folders", "train": train, "test": test, "groups": {"column": "site"}}
    data = load_data(DataConfig.model_validate({**section, "retrieved": {"path": train, "search": train}}))
    by_folders = loaded(photos, shutil.copytree(photos / "test", photos / "more"))
    assert data.labels == by_folders.labels and len(data.train) == len(by_folders.train)
    assert len(data.retrieval) == len(data.search_pool) == 36
    assert set(data.tests["test"].groups) == {"c0", "c1", "c2"}
    dumped = DataConfig.model_validate(section).model_dump(mode="json")
    assert dumped["train"] == train and DataConfig.model_validate(dumped).train.label_column == "species"


def test_images_are_written_as_the_path_that_named_them(photos):
    section = {"source": "folders", "train": photos / "train", "test": photos / "test", "extra": {"more": "b"}}
    dumped = DataConfig.model_validate(section).model_dump(mode="json")
    assert (dumped["train"], dumped["extra"]) == (str(photos / "train"), {"more": "b"})


def test_sets_that_are_no_training_images_are_refused_by_their_key(photos):
    for kind, path in (("corruptions", {}), ("objectnet", {"path": str(photos / "train")})):
        section = {"source": "folders", "train": {"kind": kind, **path}, "test": str(photos / "test")}
        with pytest.raises(UserError, match=rf"data\.train\.kind: {kind}.*data\.shifts"):
            load_data(DataConfig.model_validate(section))


P = ("path", "label")


@pytest.mark.parametrize(
    ("columns", "rows", "named"),
    [
        (("file", "label"), [], "no column 'path': it has file, label"),
        ((*P, "split"), [["a.png", "cat", "train"], ["b.png", "cat", "test"]], r"several splits \(test, train\)"),
        (P, [["../a.png", "camera"]], r"line 2: '\.\./a\.png'"),
        (P, [["test/camera/0.txt", "camera"]], "line 2: .* is no image"),
        (P, [["test/camera/0.png", ""]], "line 2: .* has no label"),
        (P, [["test/camera/0.png", "1"], ["test/Clock/0.png", "1.0"]], r"'1.*'1.* differ by .* a \.0"),
        (P, [["test/camera/0.png", "a"], ["./test/camera/0.png", "b"]], "line 3: .* in line 2 already"),
        (P, [[f"test/camera/{n}.png", "camera"] for n in range(9)], r"line 5: .*3\.png"),
    ],
)
def test_what_a_table_must_not_say_is_refused_with_its_line(photos, phone, columns, rows, named):
    (photos / "empty.png").touch()
    with pytest.raises(UserError, match=rf"(?=.*phone\.csv).*{named}"):
        open_stored(phone(columns, rows))


def test_spreadsheets_are_read(photos, phone):
    text = 'path, label ,,camera\ntest/camera/0.png, "a, b",,x\n,,,\ntest/camera/1.png,cat,,y\n\n'
    (photos / "phone.CSV").write_text("\ufeff" + text, encoding="utf-8")
    found = open_stored(photos / "phone.CSV")
    assert found.groups == ("a, b", "cat") and found.listing(()).column("camera") == ["x", "y"]
    numbers = [[f"test/camera/{n}.png", label] for n, label in enumerate(("10", "2", "02"))]
    assert open_stored(phone(P, numbers)).groups == ("02", "2", "10")
