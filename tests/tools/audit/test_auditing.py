"""The audit as a command: what it finds, writes and refuses, with its exit codes."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from small_photos import FOLDERS, space
from small_study import contents, genrobust

from genrobust.classifiers import load_checkpoint, predict_logits
from genrobust.core import GenrobustError, LabelSpace, UserError
from genrobust.data import ShardDataset, read_by_image
from genrobust.data.listing import ListedImages
from genrobust.leaks import NEAR
from genrobust.store import PARTS
from genrobust.study import open_sets
from genrobust.tools.export.classifier import export_classifier
from genrobust.tools.export.format import FORMATS


class Tags(HTMLParser):
    """Gathers the tags and what the page would load."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.loaded = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "srcset") or tag == "link"]


def audit(photos, *more, **expected):
    words = ("--against", photos / "real", "--test", f"t={photos / 'test'}")
    return genrobust("audit", photos / "made", *words, *more, **expected)


def read(folder):
    return json.loads((folder / "audit.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("content", ['{"name": "an app"}', "[]", ""], ids=["an app", "a list", "empty"])
def test_a_manifest_of_another_program_makes_a_folder_no_dataset(photos, content):
    for folder in ("made", "real", "test"):
        (photos / folder / "manifest.json").write_text(content)
    audit(photos)
    assert read(photos / "audit-made")["n"] == 18


def test_an_audit_without_models_measures_what_pixels_tell(photos):
    before = {p: p.read_bytes() for p in (photos / "made").rglob("*.png")}
    done = audit(photos, "--trained-on", photos / "wild")
    facts = read(photos / "audit-made")
    assert (facts["n"], facts["leaks"], facts["judgments"]) == (18, {}, [])
    assert [found["against"] for found in facts["copies"]] == [
        "t",
        "the real images",
        "the generator's training images",
        "itself",
    ]
    told = " ".join(facts["left_out"])
    assert all(option in told for option in ("--clip FOLDER", "--classifier MODEL"))
    assert told in " ".join(done.output.split())
    assert {p: p.read_bytes() for p in (photos / "made").rglob("*") if p.is_file()} == before


def test_what_is_known_of_each_image_lies_beside_the_page(photos, shards, write_shards, write_folder):
    classes = {id: id for id in FOLDERS.values()}
    real, test = write_folder("plain", "train", 4, classes), write_folder("plain-test", "emoji", 2, classes)
    words = ("--against", real, "--test", f"t={test}", "--clip", "pictograms", "--allow-leaks", "t")
    genrobust("audit", shards, *words)
    folder, images = photos / "audit-shards", ShardDataset(shards)
    known, facts = read_by_image(folder, images), read(folder)
    sets, judge = ("itself", "the real images", "t"), "zero-shot CLIP"
    names = [f"{what}, {name}" for name in sets for what in ("distance", "nearest")]
    assert set(known) == {*names, f"label probability, {judge}", f"taken for, {judge}"}
    assert {len(values) for values in known.values()} == {len(images)}
    assert np.median(known["distance, t"]) == facts["copies"][0]["median"]
    assert set(known["nearest, itself"]) <= set(images.keys)
    taken = np.array(known[f"taken for, {judge}"]) == np.array(images.class_ids)[images.labels]
    assert taken.mean() == facts["judgments"][0]["agreement"]["share"]
    other = ShardDataset(write_shards(photos / "other", [images.image(0)] * 2, images.class_ids))
    assert read_by_image(folder, other) is None
    (folder / "images.parquet").write_bytes(b"x")
    with pytest.raises(GenrobustError, match=r"images\.parquet"):
        read_by_image(folder, images)


def test_the_page_loads_nothing_and_runs_nothing_and_is_the_same_each_time(photos):
    for name in ("one", "two"):
        audit(photos, "--out", photos / name)
    assert contents(photos / "one") == contents(photos / "two")
    text = (photos / "one" / "audit.html").read_text(encoding="utf-8")
    page = Tags(text)
    assert page.tags.count("html") == 1 and "script" not in page.tags
    assert page.loaded and all(value.startswith("data:image/webp;base64,") for value in page.loaded)
    assert "&lt;script&gt;" in text and "{{ 7 * 7 }}" in text


# Images: while they are read, and while a CLIP is shown them.
@pytest.mark.parametrize(("after", "kept"), [pytest.param(60, 14, marks=pytest.mark.thorough), (140, 72)])
def test_an_interrupted_audit_goes_on_where_it_was(photos, clip_folder, monkeypatch, after, kept):
    for name, size in (
        ("leaks.near_copies._BLOCK", 7),
        ("classifiers.predict.resumable.PART", 4),
    ):
        monkeypatch.setattr(f"genrobust.{name}", size)
    opened, limit, image = [], [10**9], ListedImages.image

    def counted(self, index):
        opened.append(index)
        if len(opened) > limit[0]:
            raise KeyboardInterrupt
        return image(self, index)

    monkeypatch.setattr(ListedImages, "image", counted)
    words = ("--trained-on", photos / "wild", "--clip", clip_folder, "--batch-size", 4)
    audit(photos, *words, "--out", photos / "whole")
    all_at_once = len(opened)
    opened.clear()
    limit[0] = after
    audit(photos, *words, "--out", photos / "resumed", code=130)
    assert list((photos / "resumed" / PARTS).glob("*/*.npz"))
    limit[0] = 10**9
    opened.clear()
    audit(photos, *words, "--out", photos / "resumed")
    assert len(opened) <= all_at_once - kept
    assert contents(photos / "resumed") == contents(photos / "whole")


def test_a_leak_is_exit_code_1_unless_it_is_allowed(photos):
    leaked = ImageOps.mirror(Image.open(next((photos / "test" / "tree").iterdir())))
    leaked.resize((48, 48), Image.Resampling.LANCZOS).save(photos / "made" / "tree" / "leak.jpg", quality=70)
    copied = next((photos / "real" / "camera").iterdir())
    Image.open(copied).save(photos / "made" / "camera" / "copy.webp", lossless=True, exact=True)
    audit(photos, code=1, said="t (1)")
    facts = read(photos / "audit-made")  # written all the same, to be looked at
    of_test, of_real = facts["copies"][:2]
    assert (facts["leaks"], of_real["exact"]) == ({"t": 1}, 1)  # a copy of a real image is no leak
    assert (of_test["exact"], of_test["near"]) == (0, 1)
    assert of_test["pairs"][0]["distance"] < facts["near"] == NEAR
    assert "Leaked, allowed, t: 1 image (5.0 %), 0 of them exact." in " ".join(
        audit(photos, "--allow-leaks", "t").output.split()
    )
    audit(photos, "--allow-leaks", "tt", code=2, said="--allow-leaks tt")


@pytest.mark.usefixtures("own_run")
def test_a_leak_that_a_run_leaves_out_is_no_error():
    image = ImageOps.mirror(Image.open(next(Path("test/bell").iterdir())).convert("RGB"))
    image.save("train/bell/mirrored.png")
    said = " ".join(genrobust("audit", "own.yaml").stdout.split())
    facts = read(Path("audit-own"))
    assert (facts["leaks"], facts["errors"]) == ({"test": 1}, {})
    assert "Left out by genrobust run" in said and "data.near_copies" in said
    keep = ("--set", "data.near_copies=keep", "--out", "kept")
    genrobust("audit", "own.yaml", *keep, code=1, said="test (1)")
    assert read(Path("kept"))["errors"] == {"test": 1}
    allowed = genrobust("audit", "own.yaml", *keep, "--allow-leaks", "test").stdout
    assert "Leaked, allowed" in allowed and "near_copies" not in allowed


def test_models_judge_labels_and_no_batch_size_changes_what_they_say(
    photos, shards, icons, clip_folder, save_classifier
):
    classifier = save_classifier(space(icons, *sorted(FOLDERS.values())))
    for size in (5, 256):
        models = ("--clip", clip_folder, "--classifier", classifier, "--device", "cpu", "--batch-size", size)
        genrobust("audit", shards, "--out", photos / str(size), *models)
    facts, again = read(photos / "256"), read(photos / "5")
    dataset = ShardDataset(shards)
    model, info = load_checkpoint(classifier)
    logits = predict_logits(model, dataset, info.image_size, 4, "cpu")
    shares = {j["judge"]: j["agreement"]["share"] for j in facts["judgments"]}
    assert shares["the classifier"] == pytest.approx((logits.argmax(1) == dataset.labels).mean())
    assert shares == {j["judge"]: j["agreement"]["share"] for j in again["judgments"]}
    assert set(shares) == {"the classifier", "zero-shot CLIP"}
    (quality,), (same,) = facts["qualities"], again["qualities"]
    assert (quality["source"], quality["agreement"]) == ("dataset", shares["zero-shot CLIP"])
    assert quality["clip_score"] == pytest.approx(same["clip_score"], abs=1e-4)


@pytest.mark.thorough
def test_a_classifier_of_more_classes_in_any_form_judges_alike(photos, shards, icons, save_classifier):
    """By the logits of the dataset's classes alone."""
    known = save_classifier(LabelSpace(icons.labels.classes[::-1]))
    forms = {"checkpoint": known, "timm": photos / "timm", "onnx": photos / "onnx" / "model.onnx"}
    for form in ("timm", "onnx"):
        export_classifier(known, FORMATS.get(form)(), photos / form)
    dataset, (model, info) = ShardDataset(shards), load_checkpoint(known)
    columns = [info.classes.index(id) for id in dataset.class_ids]
    logits = predict_logits(model, dataset, info.image_size, 4, "cpu")[:, columns]
    for form, word in forms.items():
        model_words = ("--classifier", word, "--device", "cpu")
        genrobust("audit", shards, *model_words, "--out", photos / f"audit-{form}")
        facts = read(photos / f"audit-{form}")
        share = facts["judgments"][0]["agreement"]["share"]
        assert share == pytest.approx((logits.argmax(1) == dataset.labels).mean()), form


def test_a_file_names_the_classes_of_a_classifier_that_names_none(photos, shards, icons, save_classifier, nameless):
    known = space(icons, "tree", "camera", "envelope")
    checkpoint = save_classifier(known)
    names, short = photos / "names.txt", photos / "short.txt"
    names.write_text("\n".join(known.ids))
    short.write_text("tree\ncamera\n")
    model = ("--classifier", nameless(checkpoint))
    words = ["audit", shards, "--out", photos / "a", "--device", "cpu"]
    genrobust(*words, *model, code=2, said="3 classes")
    genrobust(*words, *model, "--labels", short, code=2, said="short.txt names 2 classes")
    found = []
    for more in (["--classifier", checkpoint], [*model, "--labels", names]):
        genrobust(*words, *more)
        found.append(read(photos / "a")["judgments"][0]["agreement"])
    assert found[0] == found[1]


def test_a_class_that_the_classifier_does_not_know_is_named(shards, icons, save_classifier):
    model = ("--classifier", save_classifier(space(icons, "camera", "tree")))
    genrobust("audit", shards, *model, code=2, said="envelope")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("audit {}/made --out {}/made/inside", "read as a class"),
        ("audit {}/made --test nonsense", "--test nonsense"),
        ("audit {}/made --test t=none", "--test t: there is no none"),
        ("audit {}/made --test itself={}/test", "--test itself: an audit calls another set so"),
        ("audit {}/made --against none", "--against: there is no none"),
        ("audit {}/made --trained-on none", "--trained-on: there is no none"),
        ("audit {}/made --classifier pictograms:none", "'none'"),
        ("audit {}/made --clip {}/real", "config.json"),
        ("audit {}/made --classifier {}/real", "holds no classifier"),
        ("audit {}/made --classifier resnet18d", "3 of the 3 classes"),
        ("audit {}/made --device abacus", "'abacus'"),
    ],
)
def test_a_mistake_is_named_with_exit_code_2(photos, words, said):
    genrobust(*words.replace("{}", str(photos)).split(), code=2, said=said)


def test_pictograms_brings_its_test_sets_and_its_wild_images(icons):
    sets = open_sets("pictograms", "pictograms", wild="pictograms")
    assert list(sets.tests) == list(icons.tests)
    assert icons.retrieval is not None and sets.wild is not None
    assert sets.wild.fingerprint == icons.retrieval.fingerprint
    assert sets.dataset.fingerprint == icons.train.fingerprint
    assert sets.real is None, "they are not compared with themselves"
    assert len(sets.texts[0]) == 28 and sets.texts[0][0] == "a line icon of a airplane", "the prompts of the recipe"


def test_images_of_a_recipe_with_other_classes_are_not_shown_by_the_names_of_these(tmp_path):
    """Their labels are numbers of other classes."""
    few = tmp_path / "few.yaml"
    few.write_text("{name: few, data: {classes: {count: 5}}, arms: [{name: real, mixture: real}]}")
    for sets in ({"dataset": "pictograms"}, {"dataset": str(few), "wild": "pictograms"}):
        with pytest.raises(UserError, match="pictograms has 100 classes, which are not the 5"):
            open_sets(**sets, against=str(few))


@pytest.mark.parametrize(
    ("more", "folder"),
    [
        ((), "audit-own"),
        (("--against", "own.yaml"), "audit-own"),
        (("--set", "train.steps=9"), "audit-own-train-steps-9"),
    ],
    ids=["alone", "against itself", "varied"],
)
@pytest.mark.usefixtures("own_run")
def test_real_images_are_called_so_and_searched_in_their_test_sets(more, folder):
    said = genrobust("audit", "own.yaml", *more).stdout
    assert [found["against"] for found in read(Path(folder))["copies"]] == ["test", "solid", "itself"]
    page = Path(folder, "audit.html").read_text(encoding="utf-8").partition("<body")[2]
    assert "12 real images" in page and "generat" not in (page + said).lower()


def test_images_that_may_be_either_are_not_called_generated(photos, shards):
    for folder, more, kind in ((photos / "made", ("--against", photos / "real"), "audited"), (shards, (), "generated")):
        genrobust("audit", folder, *more, "--out", photos / kind)
        page = (photos / kind / "audit.html").read_text(encoding="utf-8")
        assert f"18 {kind} images" in page
