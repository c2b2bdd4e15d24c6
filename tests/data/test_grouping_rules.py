"""Groups of images by a rule of a recipe: from names, tables and JSON, or an error that names the key and the image."""

import datetime
import json
import math
import shutil

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from stored_files import png, save, table, tar, write_parquet

from genrobust.core import ClassLabel, LabelSpace, StudyData, Subset, UserError
from genrobust.data.grouping import with_groups
from genrobust.data.memory import MemoryImages
from genrobust.data.reader import load_data
from genrobust.data.readers import pictograms
from genrobust.recipe import DataConfig, GroupRule

PREFIX = "([^/_]+)_[^/]*$"
BELOW = "^[^/]+/([^/]+)/"
CLASSES = ("dog", "tea_pot")


@pytest.fixture
def study(tmp_path):
    """Loads a study of two classes with these files in each class folder of the test set "shifted"."""

    def load(files, groups=None, more=None, **sets):
        for name in ("train", "test"):
            write(tmp_path / name, [f"{i}.png" for i in range(10)])
        if files is not None:
            shutil.rmtree(tmp_path / "shifted", ignore_errors=True)
            write(tmp_path / "shifted", files)
        sets = sets or {"shifted": tmp_path / "shifted"}
        keys = {"source": "folders", "train": tmp_path / "train", "test": tmp_path / "test", "shifts": sets}
        return load_data(DataConfig.model_validate({**keys, "groups": groups, **(more or {})}))

    return load


def write(folder, files):
    for number, of_class in enumerate(CLASSES):
        for i, file in enumerate(files):
            path = folder / of_class / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():  # a fingerprint covers the time of change
                path.write_bytes(png(20 * number + i))


def of_shifted(data):
    """The group of each image of the shifted set, by its key."""
    images = data.tests["shifted"]
    return dict(zip(images.keys, images.groups, strict=True))


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        (PREFIX, {"siteA_0001.jpg": "siteA", "siteA_2.png": "siteA", "site-B_x_1.png": "site-B", "c d_.png": "c d"}),
        (BELOW, {"ann/0001.png": "ann", "ann/2.png": "ann", "bob/trip/0001.png": "bob"}),
        ("(?:é|猫)(?P<hand>.)", {"é1.png": "1", "猫1.png": "1", "猫2.png": "2"}),
    ],
)  # fmt: skip
def test_a_pattern_finds_the_group_in_the_path_below_the_set(study, pattern, files):
    data = study(list(files), {"shifted": {"pattern": pattern}})
    wanted = {f"{of_class}/{file}": group for of_class in CLASSES for file, group in files.items()}
    assert of_shifted(data) == wanted
    assert list(data.image_groups) == ["shifted"]


def test_a_rule_changes_groups_and_nothing_else(study):
    files = ["a_1.png", "a_2.png", "b_1.png"]
    plain, ruled = study(files), study(None, {"shifted": {"pattern": PREFIX}})
    for name, images in ruled.tests.items():
        other = plain.tests[name]
        assert (images.fingerprint, images.name, list(images.keys)) == (other.fingerprint, other.name, list(other.keys))
        assert images.labels.tolist() == other.labels.tolist() and images.styles == other.styles
        assert [images.image(i).tobytes() for i in range(len(images))] == [
            other.image(i).tobytes() for i in range(len(other))
        ]
    assert plain.image_groups == {}
    assert ruled.train.fingerprint == plain.train.fingerprint and ruled.val.keys == plain.val.keys
    part = Subset(ruled.tests["shifted"], [0, 2])
    assert part.groups == tuple(ruled.tests["shifted"].groups[i] for i in (0, 2))


def test_groups_of_one_name_are_the_same_in_all_sets_unless_they_are_their_own(study, tmp_path):
    files = ["1_a.png", "1_b.png", "2_a.png"]
    write(tmp_path / "other", files)
    sets = {"shifted": tmp_path / "shifted", "other": tmp_path / "other"}
    own = {"pattern": PREFIX, "shared": False}
    data = study(files, {"shifted": own, "other": {"pattern": PREFIX}}, **sets)
    assert {*data.tests["other"].groups} == {"1", "2"}
    assert {*data.tests["shifted"].groups} == {"shifted: 1", "shifted: 2"}
    own = study(files, {"shifted": own, "other": own}, **sets).image_groups
    assert not {*own["shifted"]} & {*own["other"]}


def test_where_each_image_is_a_group_it_is_as_without_a_rule(study, caplog):
    data = study(["1.png", "2.png"], {"shifted": {"pattern": "(.*)"}})
    assert data.image_groups == {}
    assert "data.groups.shifted.pattern: each image of shifted is a group of its own" in caplog.text


def test_a_rule_takes_the_place_of_the_groups_that_a_reader_knows():
    pixel = {"pixel": GroupRule(pattern="^(.)")}
    known, ruled = pictograms.load(), with_groups(pictograms.load(), pixel)
    assert ruled.image_groups["solid"] == known.image_groups["solid"]
    assert {*ruled.image_groups["pixel"]} == {key[0] for key in known.tests["pixel"].keys}
    every = with_groups(known, {"pixel": GroupRule(pattern="(.*)")})
    assert "pixel" not in every.image_groups


# ------------------------------------------------------------------------------------------------ columns


@pytest.fixture
def tables(study, tmp_path):
    """Loads a study of parquet files; the columns are those of the shifted set, which lies in two files."""

    def load(columns, groups, second=None):
        for name in ("train", "test"):
            write_parquet(tmp_path / f"{name}.parquet", table([i % 2 for i in range(20)]))
        for n, of in enumerate((columns, second or columns)):
            length = len(next(iter(of.values())))
            write_parquet(tmp_path / f"s-{n}.parquet", table([i % 2 for i in range(length)], shade=100 * n, **of))
        keys = {"train": tmp_path / "train.parquet", "test": tmp_path / "test.parquet"}
        return study(None, groups, keys, shifted=tmp_path / "s-*.parquet")

    return load


DAY = datetime.date(2026, 1, 31)


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        (["a", "a", "b", "c d"], ["a", "a", "b", "c d"]),
        ([1.0, 1.0, 2.0, 0.5], ["1", "1", "2", "0.5"]),
        ([True, False, True, True], ["True", "False", "True", "True"]),
        ([DAY, DAY, DAY, DAY.replace(day=1)], ["2026-01-31", "2026-01-31", "2026-01-31", "2026-01-01"]),
        (pa.array(["a", "a", "b", "b"]).dictionary_encode(), ["a", "a", "b", "b"]),
    ],
)
def test_a_column_of_parquet_files_names_the_groups(tables, values, groups):
    found = of_shifted(tables({"site": values, "other": ["x"] * 4}, {"shifted": {"column": "site"}}))
    assert found == {f"s-{file}/{row:06d}": group for file in (0, 1) for row, group in enumerate(groups)}


def test_a_column_of_a_saved_dataset_names_the_groups(study, tmp_path):
    folder = save(tmp_path / "saved", table([0, 1, 0, 1], names=list(CLASSES), site=["a", "b", "b", "b"]))
    data = study(None, {"shifted": {"column": "site"}}, shifted=folder)
    assert sorted(of_shifted(data).values()) == ["a", "b", "b", "b"]
    with pytest.raises(UserError, match=r"shifted\.column: .*no column 'cite': it has image, label, site"):
        study(None, {"shifted": {"column": "cite"}}, shifted=folder)


def tar_of(facts):
    members = []
    for number, of_image in enumerate(facts):
        key = f"{'ab'[number % 2]}_{number}"
        members += [(f"{key}.png", png(number)), (f"{key}.cls", str(number % 2).encode())]
        if of_image is not None:
            members.append((f"{key}.json", of_image if isinstance(of_image, bytes) else json.dumps(of_image).encode()))
    return tar(*members)


@pytest.fixture
def tars(study, tmp_path):
    """Loads a study of tars; `facts` are the JSON of the images of the shifted set, None for none, in each of two."""

    def load(facts, groups):
        of = {"train": [None] * 20, "test": [None] * 20, "s-0": facts, "s-1": [*facts, facts[-1]]}
        for name, of_images in of.items():
            (tmp_path / f"{name}.tar").write_bytes(tar_of(of_images))
        keys = {"train": tmp_path / "train.tar", "test": tmp_path / "test.tar"}
        return study(None, groups, keys, shifted=tmp_path / "s-*.tar")

    return load


def test_a_key_of_the_json_in_tars_names_the_groups(tars):
    facts = [{"site": "ann", "label": 7}, {"site": "bob"}, {"site": 3, "more": [1]}]
    found = of_shifted(tars(facts, {"shifted": {"column": "site"}}))
    one = {"s-0/a_0": "ann", "s-0/b_1": "bob", "s-0/a_2": "3"}
    assert found == one | {"s-1/a_0": "ann", "s-1/b_1": "bob", "s-1/a_2": "3", "s-1/b_3": "3"}


def test_a_pattern_sees_the_name_of_the_tar_and_the_key(tars):
    found = of_shifted(tars([None] * 3, {"shifted": {"pattern": "^(s-[0-9]/.)"}}))
    assert found["s-0/a_0"] == found["s-0/a_2"] == "s-0/a" and found["s-1/b_1"] == "s-1/b"


class Strange:
    """An image set of another package, which lets nobody change it."""

    __slots__ = ("fingerprint", "keys", "labels", "name", "styles", "values")

    def __init__(self, like, values=None):
        self.name, self.labels, self.keys, self.styles = like.name, like.labels, like.keys, like.styles
        self.fingerprint, self.values = like.fingerprint, values

    def __len__(self):
        return len(self.labels)

    def image(self, index):
        return Image.new("RGB", (8, 8))

    def column(self, name):
        return self.values


def test_images_of_any_reader_have_groups(study):
    data = study(["a_1.png", "a_2.png", "b_1.png"])
    sites = ["x", "y", "x", "y", "x", "x"]
    data.tests["shifted"] = Strange(data.tests["shifted"], sites)
    assert with_groups(data, {"shifted": GroupRule(column="site")}).image_groups == {"shifted": tuple(sites)}
    assert set(with_groups(data, {"shifted": GroupRule(pattern=PREFIX)}).image_groups["shifted"]) == {"a", "b"}


NAMES = ["a_1.png", "b_1.png", "b_2.png", "c.png"]
MISTAKES = [  # the rule of data.groups, what the error names
    ({"pattern": PREFIX}, ["data.groups.pattern: 20 of the 20 images of 'test' have no group", "'dog/0.png'"]),
    (
        {"shifted": {"pattern": "X(.)"}},
        ["shifted.pattern: 8 of the 8 images of 'shifted'", "'dog/a_1.png'"],
    ),
    ({"shifted": {"pattern": PREFIX}}, ["data.groups.shifted.pattern: 2 of the 8 images of 'shifted'", "'dog/c.png'"]),
    ({"shifted": {"pattern": "[.](png)$"}}, ["data.groups.shifted.pattern: all 8 images of 'shifted'", "'png'"]),
    ({"shifted": {"column": "site"}}, ["data.groups.shifted.column: test set 'shifted'", "shifted", "use a pattern"]),
    ({"scetch": {"pattern": PREFIX}}, ["data.groups.scetch: no test set 'scetch'", "test, shifted"]),
]


@pytest.mark.parametrize(("groups", "named"), MISTAKES)
def test_a_rule_that_does_not_fit_names_the_key_the_set_and_the_first_image(study, groups, named):
    with pytest.raises(UserError) as caught:
        study(NAMES, groups)
    assert [word for word in named if word not in str(caught.value)] == []
    assert str(caught.value).count("\n") < 3


NAN = math.nan
COLUMNS = [  # the values of the column site, what the error names
    (["a", None, "b", "b"], ["2 of the 8 images", "'s-0/000001'"]),
    ([1.0, 2.0, NAN, NAN], ["4 of the 8 images", "'s-0/000002'"]),
    (["a", "None", "<NA>", " "], ["6 of the 8 images", "'s-0/000001'"]),
    (["a"] * 4, ["all 8 images", "'a'"]),
    ([["a"], ["b"], [], []], ["holds 'list<"]),
    ([b"a", b"b", b"b", b"b"], ["holds 'binary'"]),
    (pa.array([b"a", b"b", b"b", b"b"]).dictionary_encode(), ["'s-0/000000' of 'shifted' has a bytes"]),
]


@pytest.mark.parametrize(("values", "named"), COLUMNS)
def test_a_column_that_names_no_groups_is_refused(tables, values, named):
    with pytest.raises(UserError) as caught:
        tables({"site": values}, {"shifted": {"column": "site"}})
    assert str(caught.value).startswith("data.groups.shifted.column: ")
    assert [word for word in ["'shifted'", *named] if word not in str(caught.value)] == []


def test_a_column_that_is_not_there_is_named_with_those_that_are(tables):
    sites = {"site": ["a", "b", "b", "b"], "day": [1, 2, 3, 4]}
    with pytest.raises(UserError, match=r"s-0\.parquet has no column 'sites': it has image, label, site, day; name"):
        tables(sites, {"shifted": {"column": "sites"}})
    with pytest.raises(UserError, match=r"s-1\.parquet has no column 'site': it has image, label, camera"):
        tables(sites, {"shifted": {"column": "site"}}, {"camera": ["a"] * 4})
    with pytest.raises(UserError, match="the column 'image' holds 'struct"):
        tables(sites, {"shifted": {"column": "image"}})
    with pytest.raises(UserError, match=r"data\.groups\.column: test set 'test': .*test\.parquet has no column 'site'"):
        tables(sites, {"column": "site"})


JSON = [  # that of the images of a tar, what the error names
    ([None, None, None], "no .json of an image has the key 'site': there are none"),
    ([{"camera": 1}, {"place": 2}, None], "no .json of an image has the key 'site': they have camera, place"),
    ([{"site": 1}, {"site": None}, {}], "5 of the 7 images of 'shifted' have no group, the first 's-0/a_2'"),
    ([{"site": 1}, {"site": 2}, ["site"]], "3 of the 7 images of 'shifted'"),
    ([{"site": 1}, {"site": [2]}, {"site": 1}], "'s-0/b_1' of 'shifted' has a list under 'site'"),
    ([{"site": 1}, {"site": 2}, b"{"], "cannot read a_2.json in "),
    ([{"site": 1}, {"site": 2}, b'{"site": "\\ud800"}'], "cannot read a_2.json in "),
]


@pytest.mark.parametrize(("facts", "named"), JSON)
def test_json_that_names_no_groups_is_refused(tars, facts, named):
    with pytest.raises(UserError) as caught:
        tars(facts, {"shifted": {"column": "site"}})
    assert named in str(caught.value)


def test_a_reader_without_columns_is_named():
    with pytest.raises(UserError, match=r"groups\.pixel\.column: the images of 'pixel' come from a reader without"):
        with_groups(pictograms.load(), {"pixel": GroupRule(column="family")})


@given(names=st.lists(st.text(min_size=1), min_size=2, unique=True))
def test_any_name_has_a_group_or_is_refused(names):
    """Whatever the names hold, each image has the group that the pattern finds, and no image loses it in silence."""
    data = study_of_names(names)
    heads = {name[0] for name in names}
    try:
        found = with_groups(data, {"shifted": GroupRule(pattern=r"(?s)^(.)")}).tests["shifted"].groups
    except UserError as error:
        assert len(heads) == 1 and "of one group" in str(error)
    else:
        assert found == (None if len(heads) == len(names) else tuple(name[0] for name in names))


def study_of_names(names):
    """A study whose test set "shifted" has images of these names."""
    images = MemoryImages("shifted", [np.zeros((1, 1, 3), np.uint8)] * len(names), [0] * len(names), names)
    labels = LabelSpace(tuple(ClassLabel(c, c, c) for c in CLASSES))
    return StudyData(labels, images, images, {"test": images, "shifted": images}, "test")
