"""A CSV table of image files is read like folders of the same images, with its columns, or refused by its line."""

import csv

import pytest

from genrobust.core import UserError
from genrobust.data.reader import load_data
from genrobust.data.stored import open_stored, open_unlabeled
from genrobust.recipe import DataConfig


@pytest.fixture
def phone(photos):
    """Writes a table of the images below ``photos / "test"``, which it lists by class; returns the table."""

    def write(columns=("path", "label", "camera"), rows=None, name="phone.csv"):
        files = sorted((photos / "test").rglob("*.png"))
        made = [[path.relative_to(photos).as_posix(), path.parent.name, f"c{path.stem}"] for path in files]
        with (photos / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *(made if rows is None else rows)])
        return photos / name

    return write


def loaded(photos, phone, **more):
    sets = {"train": photos / "train", "test": photos / "test", "shifts": {"phone": phone}}
    return load_data(DataConfig.model_validate({"source": "folders", **sets, **more}))


@pytest.mark.parametrize("columns", [("path", "label", "camera"), ("file_name", "label", "camera")])
def test_a_table_gives_the_images_and_labels_of_the_folders_and_groups_by_its_columns(photos, phone, columns):
    data = loaded(photos, phone(columns), groups={"phone": {"column": "camera"}})
    found, same = data.tests["phone"], data.tests["test"]
    assert {f"{key.removeprefix('test/')}" for key in found.keys} == set(same.keys)
    place = {key: i for i, key in enumerate(same.keys)}
    for i, key in enumerate(found.keys):
        j = place[key.removeprefix("test/")]
        assert found.labels[i] == same.labels[j]
        assert found.image(i).tobytes() == same.image(j).tobytes()
        assert found.groups[i] == f"c{key.rpartition('/')[2].removesuffix('.png')}"


def test_a_table_trains(photos, phone):
    rows = [[p.relative_to(photos).as_posix(), p.parent.name] for p in (photos / "train").rglob("*.png")]
    table = phone(("path", "label"), rows, "train.csv")
    by_folders = loaded(photos, phone())
    by_table = load_data(DataConfig(source="folders", train=table, test=photos / "test"))
    assert by_table.labels.names == by_folders.labels.names
    assert len(by_table.train) + len(by_table.val) == len(by_folders.train) + len(by_folders.val) == 36


def test_a_table_without_labels_can_be_searched(photos, phone):
    images = open_unlabeled("data.retrieved.search", phone(("path", "kind", "camera")))
    assert len(images) == 9 and set(images.labels.tolist()) == {0}


@pytest.mark.parametrize(
    ("columns", "rows", "said"),
    [
        (("file", "label"), [], r"phone\.csv has no column 'path': it has file, label"),
        (("path", "class"), [], r"phone\.csv has no column 'label'"),
        (("path", "label", "label"), [], "two columns called 'label'"),
        (("path", "label"), [["/etc/a.png", "camera"]], "line 2: '/etc/a.png' is no path below the table's folder"),
        (("path", "label"), [["../a.png", "camera"]], r"line 2: '\.\./a\.png' is no path below"),
        (("path", "label"), [["", "camera"]], "line 2: '' is no path below"),
        (("path", "label"), [["test\\camera\\0.png", "camera"]], "line 2: .* write paths with /"),
        (("path", "label"), [["test/camera/0.heic", "camera"]], "line 2: .* is no image that is read: convert it"),
        (("path;label",), [["test/camera/0.png;camera"]], "separates its columns by ;: save it with commas"),
        (
            ("path", "label"),
            [["test/camera/0.txt", "camera"]],
            r"line 2: 'test/camera/0\.txt' is no image that is read",
        ),
        (("path", "label"), [["test/camera/0.png", ""]], "line 2: test/camera/0.png has no label"),
        (("path", "label"), [["test/camera/0.png", "camera"]] * 2, "line 3: test/camera/0.png is in line 2 already"),
        (
            ("path", "label"),
            [["test/camera/0.png", "a"], ["./test/camera/0.png", "b"]],
            "line 3: .* is in line 2 already",
        ),
        (("path", "label"), [["test/camera/99.png", "camera"]], r"phone\.csv, line 2: .*99\.png.*No such file"),
        (("path", "label"), [["empty.png", "camera"]], r"line 2: .*empty\.png: it is empty"),
        (("path", "label"), [["test/camera/0.png", "camera"], ["test/Clock/0.png", "Camera"]], "differ by case"),
    ],
)
def test_what_a_table_must_not_say_is_refused_with_its_line(photos, phone, columns, rows, said):
    (photos / "empty.png").touch()
    with pytest.raises(UserError, match=said):
        open_stored(phone(columns, rows))


def test_a_file_counts_once_whatever_its_names(photos, phone, caplog):
    (photos / "link.png").symlink_to(photos / "test" / "camera" / "0.png")
    rows = [["test/camera/0.png", "camera", "a"], ["link.png", "camera", "b"], ["test/camera/1.png", "camera", "c"]]
    listing = open_stored(phone(rows=rows)).listing(())
    assert list(listing.keys) == ["link.png", "test/camera/1.png"]
    assert listing.column("camera") == ["b", "c"]
    assert "links to images that are listed already" in caplog.text
    rows[1][1] = "clock"
    with pytest.raises(UserError, match="links to one image of two classes"):
        open_stored(phone(rows=rows))


def test_all_lines_without_a_file_are_counted(photos, phone):
    rows = [[f"test/camera/{n}.png", "camera"] for n in range(9)]
    with pytest.raises(UserError, match=r"phone\.csv, line 5 \(and 5 other lines\): .*3\.png"):
        open_stored(phone(("path", "label"), rows))


def test_spreadsheets_are_read(photos):
    text = 'path, label ,,camera\ntest/camera/0.png, "a, b",,x\n,,,\ntest/camera/1.png,cat,,y\n\n'
    (photos / "phone.CSV").write_text("\ufeff" + text, encoding="utf-8")
    found = open_stored(photos / "phone.CSV")
    assert found.groups == ("a, b", "cat") and found.listing(()).column("camera") == ["x", "y"]


def test_numbers_have_one_order_however_they_are_written(photos, phone):
    rows = [[f"test/camera/{n}.png", label] for n, label in enumerate(("10", "2", "02"))]
    assert open_stored(phone(("path", "label"), rows)).groups == ("02", "2", "10")


def test_a_missing_table_and_a_column_that_it_lacks_are_named(photos, phone):
    with pytest.raises(UserError, match=r"none\.csv"):
        open_stored(photos / "none.csv")
    with pytest.raises(UserError, match=r"data\.groups\.phone.*no column 'site': it has path, label, camera"):
        loaded(photos, phone(), groups={"phone": {"column": "site"}})
