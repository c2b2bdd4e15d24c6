"""Groups of images by a rule of a recipe: from names, tables and JSON, or an error that names the key and the image."""

import datetime
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from stored_files import png, table, tar, write_parquet

from genrobust.core import StudyData, Subset, UserError
from genrobust.data import FolderClasses, MemoryImages, load_data, open_images, open_stored
from genrobust.data.grouping import APART, check_groups_apart, names_if_known, with_groups
from genrobust.data.readers import pictograms
from genrobust.recipe import DataConfig, GroupRule, ImageRule

PREFIX = "([^/_]+)_[^/]*$"
BELOW = "^[^/]+/([^/]+)/"
CLASSES = ("dog", "tea_pot")
COLUMN = {"shifted": {"column": "site"}}


@pytest.fixture
def study(tmp_path):
    """Loads a study of two classes whose test set "shifted" has these files in each class folder, or lies there."""

    def load(shifted, groups=None, apart=None, **more):
        for name in ("train", "test"):
            write(tmp_path / name, [f"{i}.png" for i in range(10)])
        if isinstance(shifted, list):
            shutil.rmtree(tmp_path / "shifted", ignore_errors=True)
            shifted = write(tmp_path / "shifted", shifted)
        shifts = {"shifted": shifted, **more}
        keys = {"source": "folders", "train": tmp_path / "train", "test": tmp_path / "test", "shifts": shifts}
        return load_data(DataConfig.model_validate({**keys, "groups": groups, "groups_apart": apart}))

    return load


def write(folder, files):
    for number, of_class in enumerate(CLASSES):
        for i, file in enumerate(files):
            path = folder / of_class / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():  # a fingerprint covers the time of change
                path.write_bytes(png(20 * number + i))
    return folder


def of_shifted(data):
    """The group of each image of the shifted set, by its key."""
    images = data.tests["shifted"]
    return dict(zip(images.keys, images.groups, strict=True))


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        (PREFIX, {"siteA_0001.jpg": "siteA", "siteA_2.png": "siteA", "site-B_x_1.png": "site-B", "c d_.png": "c d"}),
        (BELOW, {"ann/0001.png": "ann", "ann/2.png": "ann", "bob/trip/0001.png": "bob"}),
        ("(é|猫)(?P<group>.)", {"é1.png": "1", "猫1.png": "1", "猫2.png": "2"}),
    ],
)
def test_a_pattern_finds_the_group_in_the_path_below_the_set(study, pattern, files):
    data = study(list(files), {"shifted": {"pattern": pattern}})
    assert of_shifted(data) == {f"{of}/{file}": group for of in CLASSES for file, group in files.items()}
    assert list(data.image_groups) == ["shifted"]


def test_a_rule_changes_groups_and_nothing_else(study, tmp_path):
    plain = study(["a_1.png", "a_2.png", "b_1.png"])
    ruled = study(tmp_path / "shifted", {"shifted": {"pattern": PREFIX}})
    for name, images in ruled.tests.items():
        other = plain.tests[name]
        assert (images.fingerprint, images.name, list(images.keys)) == (other.fingerprint, other.name, list(other.keys))
        assert images.labels.tolist() == other.labels.tolist() and images.styles == other.styles
        assert all(images.image(i).tobytes() == other.image(i).tobytes() for i in range(len(images)))
    assert plain.image_groups == {} and ruled.train.fingerprint == plain.train.fingerprint
    part = Subset(ruled.tests["shifted"], [0, 2])
    assert part.groups == tuple(ruled.tests["shifted"].groups[i] for i in (0, 2))


def test_groups_of_one_name_are_the_same_in_all_sets_unless_they_are_their_own(study, tmp_path):
    files = ["1_a.png", "1_b.png", "2_a.png"]
    own = {"pattern": PREFIX, "shared": False}
    data = study(files, {"shifted": own, "other": {"pattern": PREFIX}}, other=write(tmp_path / "other", files))
    assert {*data.tests["other"].groups} == {"1", "2"}
    assert {*data.tests["shifted"].groups} == {"shifted: 1", "shifted: 2"}


def test_a_shifted_validation_set_of_the_source_has_groups_too(tmp_path):
    """On which `genrobust tune` chooses, with an interval."""
    for domain in ("ink", "photo"):
        write(tmp_path / domain, [f"{site}_{i}.png" for site in "ab" for i in range(10)])
    keys = {"source": "domains", "root": tmp_path, "real": "photo", "held_out": 0.4}
    for rule in ({"pattern": PREFIX}, {"shifted-val": {"pattern": PREFIX}}):
        data = load_data(DataConfig.model_validate({**keys, "groups": rule}))
        assert {*data.shifted_val.groups} == {"a", "b"}
        assert (data.tests["ink"].groups is None) == ("shifted-val" in rule)


def test_where_each_image_is_a_group_it_is_as_without_a_rule(study):
    data = study(["1.png", "2.png"], {"shifted": {"pattern": "(.*)"}})
    assert data.image_groups == {}
    (notice,) = data.notices
    assert "data.groups.shifted.pattern" in notice


def test_groups_of_one_image_each_stay_where_other_sets_have_them_too(study, tmp_path):
    """As one scene under several conditions: the mean over these is no mean over independent sets."""
    files = ["1.png", "2.png"]
    other = write(tmp_path / "other", ["1.png", "3.png"])
    rule, scenes = {"pattern": "(.*)"}, {f"{of}/{file}" for of in CLASSES for file in files}
    ruled = study(files, {"shifted": rule, "other": rule}, other=other)
    apart = study(files, None, rule, other=other)
    for data in (ruled, apart):
        assert {*data.tests["shifted"].groups} == scenes
        assert len({*data.tests["shifted"].groups} & {*data.tests["other"].groups}) == len(CLASSES)
    assert apart.tests["test"].groups is None
    own = {"shifted": rule | {"shared": False}, "other": rule}
    assert study(files, own, other=other).image_groups == {}


def test_what_belongs_together_is_a_group_in_each_set_without_a_rule(study, tmp_path):
    """Names of files mean the same image in no two sets, and names that the rule finds mean one thing in all."""
    files = ["n1-1.png", "n1-2.png", "n2-1.png", "photo.png"]
    others = {name: write(tmp_path / name, files) for name in ("drawn", "painted")}
    apart = {"pattern": "(n[0-9])-"}
    data = study(["a_1.png", "a_2.png", "b_1.png"], {"shifted": {"pattern": PREFIX}}, apart, **others)
    assert {*data.tests["shifted"].groups} == {"a", "b"} and data.tests["test"].groups is None
    for name in others:
        photos = {f"{name}: {of}/photo.png" for of in CLASSES}
        assert {*data.tests[name].groups} == {"n1", "n2", *photos}


def test_a_rule_takes_the_place_of_the_groups_that_a_reader_knows():
    known = pictograms.load_pictograms()
    ruled = with_groups(known, {"pixel": GroupRule(pattern="^(.)")})
    assert ruled.image_groups["solid"] == known.image_groups["solid"]
    assert {*ruled.image_groups["pixel"]} == {key[0] for key in known.tests["pixel"].keys}
    assert "pixel" not in with_groups(known, {"pixel": GroupRule(pattern="(.*)")}).image_groups
    with pytest.raises(UserError, match=r"groups\.pixel\.column: .* has no columns"):
        with_groups(known, {"pixel": GroupRule(column="family")})


NAMES = ["a_1.png", "b_1.png", "b_2.png", "c.png"]


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        ({"pattern": PREFIX}, r"groups\.pattern: .* none of the 20 images of test\n.*'dog/\d\.png'"),
        ({"shifted": {"pattern": PREFIX}}, r"groups\.shifted\.pattern: 2 of the 8 images of 'shifted' .*'dog/c\.png'"),
        ({"shifted": {"pattern": "[.](png)$"}}, r"groups\.shifted\.pattern: all 8 images of 'shifted' .*'png'"),
        (COLUMN, r"groups\.shifted\.column: 'shifted': .*use a pattern"),
        ({"scetch": {"pattern": PREFIX}}, r"groups\.scetch: no test set 'scetch'; there are test, shifted"),
    ],
)
def test_a_rule_that_does_not_fit_names_the_key_the_set_and_the_first_image(study, groups, named):
    with pytest.raises(UserError, match=named) as caught:
        study(NAMES, groups)
    assert str(caught.value).count("\n") < 3


def test_styles_are_those_of_training_images_and_the_pool_and_may_be_missing(tmp_path):
    files = [f"{style}{i}.png" for style in ("ink_", "oil_", "") for i in range(5)]
    train = write(tmp_path / "train", files)
    rows = [f"{path.relative_to(train)},{path.parent.name},{path.name[:3]}" for path in sorted(train.rglob("*_*.png"))]
    (train / "pool.csv").write_text("\n".join(["path,label,site", *rows]))
    keys = {"source": "folders", "train": train, "test": write(tmp_path / "test", ["1.png"])}

    def loaded(rule, pool):
        given = {**keys, "retrieved": {"path": pool}, "styles": rule}
        return load_data(DataConfig.model_validate(given))

    data = loaded({"pattern": PREFIX}, tmp_path / "train")
    assert {*data.train.styles} == {"", "ink", "oil"}, "the others have none"
    assert sorted(data.retrieval.styles) == [""] * 10 + ["ink"] * 10 + ["oil"] * 10
    assert [notice.split(";")[0] for notice in data.notices] == [
        f"data.styles.pattern finds a name for {count} of {name}"
        for count, name in (("17 of the 26 images", "train"), ("20 of the 30 images", "retrieved"))
    ]
    assert all(s in key for key, s in zip(data.train.keys, data.train.styles, strict=True))
    plain = load_data(DataConfig.model_validate(keys))
    assert data.train.fingerprint != plain.train.fingerprint, "what is matched and learned by style is another set"
    keys["train"] = train / "pool.csv"
    data = loaded({"column": "site"}, train / "pool.csv")
    assert {*data.train.styles} == {*data.retrieval.styles} == {"ink", "oil"}
    with pytest.raises(UserError, match=r"styles\.pattern: '\(lead\)' .* none of the \d+ images of train\n.*'.*png'"):
        loaded({"pattern": "(lead)"}, train / "pool.csv")
    with pytest.raises(UserError, match=r"styles\.column: 'train'.*camera"):
        loaded({"column": "camera"}, train / "pool.csv")


def test_a_set_without_the_column_of_what_belongs_together_is_told(pictogram_data):
    """Patients whose column has another name in a set are not kept apart from it."""

    class Table(MemoryImages):
        def column(self, name):
            return {"patient": self.keys, "empty": ["", None]}[name]

    def images(kind, name, files):
        return kind(name, [np.zeros((4, 4, 3), dtype=np.uint8)] * len(files), [0] * len(files), files)

    train = images(Table, "train", ["a", "b"])
    val, test = images(MemoryImages, "val", ["b"]), images(MemoryImages, "test", ["a"])
    data = StudyData(pictogram_data.labels, train, val, {"test": test}, "test")
    (notice,) = check_groups_apart(data, ImageRule(column="patient")).notices
    assert "0 of the 1 images of val, 0 of the 1 images of test" in notice
    with pytest.raises(UserError, match=r"groups_apart\.column: .*'empty'"):
        check_groups_apart(data, ImageRule(column="empty"))
    with pytest.raises(UserError, match=r"groups_apart\.column: 'val'"):
        check_groups_apart(replace(data, train=val, val=train), ImageRule(column="patient"))


# ------------------------------------------------------------------------------------------------ columns


@pytest.fixture
def parquet(study, tmp_path):
    """Loads a study whose shifted set lies in two parquet files of these columns."""

    def load(columns, groups=COLUMN, second=None):
        for n, of in enumerate((columns, second or columns)):
            labels = [i % 2 for i in range(4)]
            write_parquet(tmp_path / f"s-{n}.parquet", table(labels, names=list(CLASSES), shade=100 * n, **of))
        return study(tmp_path / "s-*.parquet", groups)

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
def test_a_column_of_parquet_files_names_the_groups(parquet, values, groups):
    found = of_shifted(parquet({"site": values, "other": ["x"] * 4}))
    assert found == {f"s-{file}/{row:06d}": group for file in (0, 1) for row, group in enumerate(groups)}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["a", None, "b", "b"], "2 of the 8 images of 'shifted' .*'s-0/000001'"),
        (["a", "None", "<NA>", " "], "6 of the 8 images of 'shifted' .*'s-0/000001'"),
        ([1.0, 2.0, math.nan, math.nan], "4 of the 8 images of 'shifted' .*'s-0/000002'"),
        (["a"] * 4, "all 8 images of 'shifted' .*'a'"),
    ],
)
def test_a_column_that_names_no_groups_is_refused(parquet, values, named):
    with pytest.raises(UserError, match=rf"^data\.groups\.shifted\.column: .*{named}"):
        parquet({"site": values})


@pytest.fixture
def tars(study, tmp_path):
    """Loads a study whose shifted set lies in two tars, of images with these JSON beside them, None for none."""

    def load(facts, groups=COLUMN):
        for n, of_images in enumerate((facts, [*facts, facts[-1]])):
            members = []
            for i, about in enumerate(of_images):
                key = f"{'ab'[i % 2]}_{i}"
                members += [(f"{key}.png", png(i)), (f"{key}.cls", CLASSES[i % 2].encode())]
                if about is not None:
                    content = about if isinstance(about, bytes) else json.dumps(about).encode()
                    members.append((f"{key}.json", content))
            (tmp_path / f"s-{n}.tar").write_bytes(tar(*members))
        return study(tmp_path / "s-*.tar", groups)

    return load


def test_a_key_of_the_json_in_tars_or_their_names_are_the_groups(tars):
    facts = [{"site": "ann", "label": 7}, {"site": "bob"}, {"site": 3, "more": [1]}]
    one = {"s-0/a_0": "ann", "s-0/b_1": "bob", "s-0/a_2": "3"}
    two = {"s-1/a_0": "ann", "s-1/b_1": "bob", "s-1/a_2": "3", "s-1/b_3": "3"}
    assert of_shifted(tars(facts)) == one | two
    found = of_shifted(tars(facts, {"shifted": {"pattern": "^(s-[0-9]/.)"}}))
    assert found["s-0/a_0"] == found["s-0/a_2"] == "s-0/a" and found["s-1/b_1"] == "s-1/b"


def test_a_tar_without_the_key_leaves_the_others_theirs(tars, tmp_path):
    """A rule that keeps images apart was dropped for a whole set if one of its tars had no such key."""
    labels = tars([{"site": "ann"}, {"site": "bob"}, {"site": 3}]).labels
    members = [("a_9.png", png(9)), ("a_9.cls", CLASSES[0].encode())]
    (tmp_path / "s-2.tar").write_bytes(tar(*members))
    images = open_images("shifted", open_stored(tmp_path / "s-*.tar"), FolderClasses.from_labels(labels))
    found = dict(zip(images.keys, names_if_known(APART, images, ImageRule(column="site")), strict=True))
    assert found["s-0/a_0"] == "ann" and found["s-1/b_1"] == "bob" and found["s-2/a_9"] is None
    assert names_if_known(APART, images, ImageRule(column="place")) == [None] * len(images)


def test_an_empty_name_is_none():
    images = MemoryImages("train", [np.zeros((4, 4, 3), np.uint8)] * 2, [0] * 2, ["x_.png", "z_1.png"])
    assert names_if_known(APART, images, ImageRule(pattern=r"_(\w*)\.png")) == [None, "1"]


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ([None, None, None], "no .json of an image has the key 'site': there are none"),
        ([{"site": 1}, {"site": None}, ["site"]], "5 of the 7 images of 'shifted' have no group, the first 's-0/a_2'"),
        ([{"site": 1}, {"site": 2}, b"{"], r"cannot read a_2\.json in .*s-0\.tar"),
    ],
)
def test_json_that_names_no_groups_is_refused(tars, facts, named):
    with pytest.raises(UserError, match=named):
        tars(facts)
