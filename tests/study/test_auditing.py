"""Audit and filter as commands: what they find, write and refuse, with their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import timm
import torchvision
from PIL import Image, ImageOps
from typer.testing import CliRunner, Result

from genrobust.classifiers.logits import embed_images, predict_logits
from genrobust.classifiers.models import Classifier, load_checkpoint
from genrobust.cli import app
from genrobust.core.images import LabelSpace, StudyData
from genrobust.data.filters import filters_of
from genrobust.data.shards import ShardDataset
from genrobust.release.model_export import export_model
from genrobust.study.auditing import open_sets

HOSTILE = '<script>alert("1")& {{ 7 * 7 }}'  # a folder's name holds no slash
FOLDERS = {"camera": "camera", HOSTILE: "envelope", "tree": "tree"}


def genrobust(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


class Tags(HTMLParser):
    """Counts tags and gathers what the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "srcset") or tag == "link"]


@pytest.fixture
def photos(tmp_path: Path, icons: StudyData) -> Path:
    """`real` (8 images a class), `test` (4), `wild` (8) and `made` (6), folders of three classes without a copy."""
    sources = {"real": icons.train, "test": icons.tests["emoji"], "wild": icons.retrieval, "made": icons.tests["solid"]}
    for (name, images), each in zip(sources.items(), (8, 2, 8, 6), strict=True):
        assert images is not None
        for folder, id in FOLDERS.items():
            (tmp_path / name / folder).mkdir(parents=True)
            for i in np.flatnonzero(images.labels == icons.labels.index(id))[:each]:
                images.image(int(i)).save(tmp_path / name / folder / f"{i}.png")
    return tmp_path


def audit(photos: Path, *more: object) -> Result:
    return genrobust("audit", photos / "made", "--against", photos / "real", "--test", f"t={photos / 'test'}", *more)


def read(folder: Path) -> dict:
    return json.loads((folder / "audit.json").read_text(encoding="utf-8"))


def test_an_audit_without_models_measures_what_pixels_tell(photos: Path) -> None:
    before = {p: p.read_bytes() for p in (photos / "made").rglob("*.png")}
    done = audit(photos, "--train-of-generator", photos / "wild")
    assert done.exit_code == 0, done.output
    facts = read(photos / "audit-made")
    assert (facts["n"], facts["leaks"]) == (18, {})
    assert [space["name"] for space in facts["spaces"]] == ["thumbnails of 8 px"]
    assert facts["spaces"][0]["fidelity"]["n_real"] == 24
    assert facts["memorization"]["n"] == 18
    assert facts["judgements"] == []
    told = " ".join(facts["left_out"])
    assert "--clip FOLDER" in told
    assert "--classifier MODEL" in told
    assert told in " ".join(done.output.split())
    assert {p: p.read_bytes() for p in (photos / "made").rglob("*") if p.is_file()} == before


def test_the_page_loads_nothing_and_runs_nothing_whatever_a_class_is_called(photos: Path) -> None:
    assert audit(photos).exit_code == 0
    text = (photos / "audit-made" / "audit.html").read_text(encoding="utf-8")
    page = Tags(text)
    assert page.tags.count("html") == 1
    assert "script" not in page.tags
    assert page.loaded
    assert all(value.startswith("data:image/webp;base64,") for value in page.loaded)
    assert "&lt;script&gt;" in text
    assert "{{ 7 * 7 }}" in text


def test_the_same_audit_gives_the_same_bytes(photos: Path) -> None:
    for name in ("one", "two"):
        assert audit(photos, "--out", photos / name).exit_code == 0
    for name in ("audit.html", "audit.json"):
        assert (photos / "one" / name).read_bytes() == (photos / "two" / name).read_bytes()


def test_a_leak_is_exit_code_1_unless_it_is_allowed(photos: Path) -> None:
    leaked = ImageOps.mirror(Image.open(next((photos / "test" / "tree").iterdir())))
    leaked.resize((48, 48), Image.Resampling.LANCZOS).save(photos / "made" / "tree" / "leak.jpg", quality=70)
    done = audit(photos)
    assert done.exit_code == 1
    assert "copies of test images of t (1)" in " ".join(done.stderr.split())
    facts = read(photos / "audit-made")  # written all the same, to be looked at
    assert facts["leaks"] == {"t": 1}
    pair = facts["of_tests"][0]["pairs"][0]
    assert (pair["exact"], pair["distance"] < facts["near"]) == (False, True)
    assert audit(photos, "--allow-leaks", "t").exit_code == 0
    assert audit(photos, "--allow-leaks", "tt").exit_code == 2


def test_an_exact_copy_of_a_real_image_is_told_and_is_no_leak(photos: Path) -> None:
    copied = next((photos / "real" / "camera").iterdir())
    Image.open(copied).save(photos / "made" / "camera" / "copy.webp", lossless=True, exact=True)
    assert audit(photos).exit_code == 0
    assert read(photos / "audit-made")["of_real"]["exact"] == 1


def test_models_judge_labels(
    photos: Path, write_shards: Callable[..., Path], clip_folder: Path, save_classifier: Callable[..., Path]
) -> None:
    labels = open_sets(str(photos / "real")).labels
    images = [Image.open(p) for p in sorted((photos / "made").rglob("*.png"))]
    shards = write_shards(photos / "shards", images, labels.ids)
    classifier = save_classifier(labels)
    done = genrobust(
        *("audit", shards, "--against", photos / "real", "--out", photos / "out"),
        *("--clip", clip_folder, "--classifier", classifier, "--device", "cpu"),
    )
    assert done.exit_code == 0, done.output
    facts = read(photos / "out")
    dataset = ShardDataset(shards)
    model, info = load_checkpoint(classifier)
    logits = predict_logits(model, dataset, info.image_size, 4, "cpu")
    shares = {j["judge"]: j["agreement"]["share"] for j in facts["judgements"]}
    assert shares["the classifier"] == pytest.approx((logits.argmax(1) == dataset.labels).mean())
    assert set(shares) == {"the classifier", "zero-shot CLIP"}
    assert [space["name"] for space in facts["spaces"][1:]] == ["classifier features", "CLIP embeddings"]
    assert facts["clip_score"]["own"] is not None
    made = facts["making"]
    assert (made["requests"], made["given_up"], made["redrawn"]) == (19, 1, 2)
    assert made["faults"] == {"black": 1, "blank": 1, "nan": 0, "unsafe": 0}
    assert made["reasons"] == {"blank after 2 redraws": 1}


@pytest.fixture
def forms(icons: StudyData, save_classifier: Callable[..., Path], tmp_path: Path) -> dict[str, Path]:
    """One classifier of all classes, in another order than theirs, in three forms."""
    known = save_classifier(LabelSpace(icons.labels.classes[::-1]))
    for form in ("timm", "onnx"):
        export_model(known, form, tmp_path / form)
    return {"checkpoint": known, "timm": tmp_path / "timm", "onnx": tmp_path / "onnx" / "model.onnx"}


def test_a_classifier_of_more_classes_in_any_form_judges_alike(
    photos: Path, write_shards: Callable[..., Path], icons: StudyData, forms: dict[str, Path]
) -> None:
    """By the logits of the dataset's classes alone; an ONNX file has no features, which is said."""
    ids = sorted(FOLDERS.values())
    by_class = [sorted((photos / "made" / folder).iterdir()) for folder in sorted(FOLDERS, key=FOLDERS.__getitem__)]
    shown = [Image.open(path) for paths in zip(*by_class, strict=True) for path in paths]
    shards = write_shards(photos / "shards", shown, ids)
    dataset = ShardDataset(shards)
    model, info = load_checkpoint(forms["checkpoint"])
    logits = predict_logits(model, dataset, info.image_size, 4, "cpu")[:, [info.classes.index(id) for id in ids]]
    odds = np.exp(logits.astype(np.float64))
    trust = (odds / odds.sum(1, keepdims=True))[np.arange(18), dataset.labels]
    of_class = (np.flatnonzero(dataset.labels == label) for label in range(3))
    least = {dataset.keys[i] for here in of_class for i in here[np.argsort(trust[here])[:2]]}
    for form, word in forms.items():
        done = genrobust("audit", shards, "--classifier", word, "--device", "cpu", "--out", photos / form)
        assert done.exit_code == 0, done.output
        facts = read(photos / form)
        share = facts["judgements"][0]["agreement"]["share"]
        assert share == pytest.approx((logits.argmax(1) == dataset.labels).mean()), form
        spaces = [space["name"] for space in facts["spaces"]][1:]
        assert spaces == ([] if form == "onnx" else ["classifier features"])
        assert any("gives answers and no features" in told for told in facts["left_out"]) == (form == "onnx")
        done = genrobust(
            "filter", shards, "--by", "classifier", "--classifier", word, "--drop", 0.34, "--device", "cpu"
        )
        assert done.exit_code == 0, done.output
        (found,) = filters_of(shards)
        assert found.rejected.keys() == least, form
        found.path.unlink()


def test_a_file_names_the_classes_of_a_classifier_that_names_none(
    photos: Path,
    write_shards: Callable[..., Path],
    icons: StudyData,
    save_classifier: Callable[..., Path],
    nameless: Callable[[Path], Path],
) -> None:
    known = LabelSpace(tuple(icons.labels.classes[icons.labels.index(id)] for id in ("tree", "camera", "envelope")))
    checkpoint = save_classifier(known)
    shards = write_shards(photos / "shards", [icons.train.image(i) for i in range(9)], sorted(FOLDERS.values()))
    names, short = photos / "names.txt", photos / "short.txt"
    names.write_text("\n".join(known.ids))
    short.write_text("tree\ncamera\n")
    model = ("--classifier", nameless(checkpoint))
    asked = (["audit", shards, "--out", photos / "a"], ["filter", shards, "--by", "classifier", "--drop", 0.34])
    for words in asked:
        for labels, said in (
            ([], "has 3 classes of unknown names: list them in a text file"),
            (["--labels", short], "short.txt names 2 classes, and "),
        ):
            done = genrobust(*words, *model, *labels, "--device", "cpu")
            assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True), done.output
    found = []
    for more in (["--classifier", checkpoint], [*model, "--labels", names]):
        for words in asked:
            done = genrobust(*words, *more, "--device", "cpu")
            assert done.exit_code == 0, done.output
        (left_out,) = filters_of(shards)
        found.append((read(photos / "a")["judgements"][0]["agreement"], left_out.rejected.keys()))
        left_out.path.unlink()
    assert found[0] == found[1]


def test_a_class_that_the_classifier_does_not_know_is_named(
    photos: Path, write_shards: Callable[..., Path], icons: StudyData, save_classifier: Callable[..., Path]
) -> None:
    labels = LabelSpace(tuple(c for c in icons.labels.classes if c.id in ("camera", "tree")))
    shards = write_shards(photos / "shards", [icons.train.image(i) for i in range(6)], sorted(FOLDERS.values()))
    for words in (["audit", shards], ["filter", shards, "--by", "classifier", "--drop", 0.34]):
        done = genrobust(*words, "--classifier", save_classifier(labels), "--device", "cpu")
        assert done.exit_code == 2
        assert "does not know 1 of the 3 classes of this data: envelope. Its own are" in " ".join(done.stderr.split())


def test_torchvisions_networks_have_no_features() -> None:
    networks = {"timm": timm.create_model("test_resnet"), "torchvision": torchvision.models.squeezenet1_1()}
    found = {name: Classifier(network, (0.5,) * 3, (0.5,) * 3).has_features for name, network in networks.items()}
    assert found == {"timm": True, "torchvision": False}


def test_a_classifiers_features_lead_to_its_logits(save_classifier: Callable[..., Path], icons: StudyData) -> None:
    model, info = load_checkpoint(save_classifier(icons.labels))
    features, logits = embed_images(model, icons.val, np.asarray, 50, "cpu")
    assert logits == pytest.approx(predict_logits(model, icons.val, info.image_size, 50, "cpu"), abs=1e-5)
    head = model.network.get_classifier()
    again = features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    assert again == pytest.approx(logits, abs=1e-4)


@pytest.mark.parametrize("command", ["audit", "filter"])
def test_every_command_has_help(command: str) -> None:
    done = genrobust(command, "-h")
    assert done.exit_code == 0
    assert f" {command} [OPTIONS]" in done.stdout


@pytest.mark.parametrize("by", ["clip", "classifier"])
def test_a_filter_leaves_out_the_lowest_of_each_class(
    photos: Path,
    write_shards: Callable[..., Path],
    clip_folder: Path,
    save_classifier: Callable[..., Path],
    by: str,
) -> None:
    labels = open_sets(str(photos / "real")).labels
    images = [Image.open(p) for p in sorted((photos / "made").rglob("*.png"))]
    shards = write_shards(photos / "shards", images, labels.ids)
    model = clip_folder if by == "clip" else save_classifier(labels)
    words = ("filter", shards, "--by", by, f"--{by}", model, "--against", photos / "real", "--device", "cpu")
    done = genrobust(*words, "--drop", 0.34)
    assert done.exit_code == 0, done.output
    assert "12 of 18 images kept" in done.output
    (found,) = filters_of(shards)
    of_class = [key.rpartition("-")[0] for key in found.rejected]
    assert sorted(of_class) == sorted([*labels.ids] * 2)
    assert genrobust(*words).exit_code == 2
    assert genrobust(*words, "--threshold", 5).exit_code == 2
    assert genrobust("audit", shards, "--against", photos / "real").exit_code == 0
    page = (photos / "audit-shards" / "audit.html").read_text(encoding="utf-8")
    assert f"{found.path.name}: 12 of 18 images kept" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["audit", "none"], "cannot read the folder none"),
        (["audit", "{}/made", "--out", "{}/made/inside"], "lies inside the dataset"),
        (["audit", "{}/made", "--test", "nonsense"], "write NAME=DIR"),
        (["audit", "{}/made", "--train-of-generator", "none"], "cannot read the folder none"),
        (["audit", "{}/made", "--clip", "{}/real"], "is no CLIP folder: config.json is missing"),
        (["audit", "{}/made", "--classifier", "{}/real"], "holds no classifier: neither a finished checkpoint nor"),
        (["audit", "{}/made", "--classifier", "resnet18dd"], "no classifier 'resnet18dd'"),
        (["audit", "{}/made", "--classifier", "resnet18d"], "does not know 3 of the 3 classes of this data"),
        (["audit", "{}/made", "--labels", "names.txt"], "--classifier MODEL"),
        (["audit", "{}/made", "--device", "abacus"], "no device 'abacus'"),
        (["filter", "{}/made", "--by", "clip", "--clip", "pictograms", "--drop", "0.1"], "holds no generated dataset"),
        (["filter", "{}/made", "--by", "clip", "--drop", "0.1"], "--clip FOLDER"),
        (["filter", "{}/made", "--by", "eye", "--classifier", "x", "--drop", "0.1"], "use clip or classifier"),
    ],
)
def test_a_mistake_is_said_in_a_line_with_exit_code_2(photos: Path, words: list[str], said: str) -> None:
    done = genrobust(*(word.replace("{}", str(photos)) for word in words))
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.stderr.split())


def test_pictograms_names_the_embedded_clip(
    photos: Path, write_shards: Callable[..., Path], clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For both commands; before anything else is done where the package comes without it."""
    images = [Image.open(p) for p in sorted((photos / "made").rglob("*.png"))]
    shards = write_shards(photos / "shards", images, open_sets(str(photos / "real")).labels.ids)
    to_real = ("--against", photos / "real", "--device", "cpu")
    for folder, code in ((photos / "none", 2), (clip_folder, 0)):
        monkeypatch.setattr("genrobust.core.assets.embedded", lambda part, folder=folder: folder)
        filtered = genrobust("filter", shards, "--by", "clip", "--clip", "pictograms", "--drop", 0.34, *to_real)
        audited = genrobust("audit", shards, "--clip", "pictograms", *to_real)
        assert (filtered.exit_code, audited.exit_code) == (code, code), filtered.output + audited.output
        said = filtered.stderr, audited.stderr
        assert all(("the package comes without it" in " ".join(words.split())) == bool(code) for words in said)
    (found,) = filters_of(shards)
    assert len(found.rejected) == 6


def test_pictograms_brings_its_test_sets_and_its_wild_images(icons: StudyData) -> None:
    sets = open_sets("pictograms", "pictograms", wild="pictograms")
    assert list(sets.tests) == list(icons.tests)
    assert icons.retrieval is not None
    assert sets.wild is not None
    assert sets.wild.fingerprint == icons.retrieval.fingerprint
    assert sets.real is not None
    assert sets.real.fingerprint == icons.train.fingerprint
