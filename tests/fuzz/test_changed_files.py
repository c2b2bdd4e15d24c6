"""Every file that is read is a typed thing, or an error of at most three lines that names it: whatever its bytes are.

Each target writes a file that is read well, and then many that are changed; the seed of the changes is fixed. With
``-m thorough`` there are ten times as many.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bounded import bounded
from hostile_files import GOOD, OWN, TABLE, file, image, images_column, member, parquet, png, safetensors, tar
from hypothesis import given, settings, strategies as st
from mutating import SCALARS, VALUES, changed_bytes, changed_json

from genrobust.core import ClassLabel, GenrobustError, ImageSet, LabelSpace, Predictions, Sample
from genrobust.data.stored import StoredImages

CLASSES = ("camera", "clock")
LABELS = LabelSpace(tuple(ClassLabel(name, name, name) for name in CLASSES))
IMAGENET = {"source": "imagenet", "train": "t", "test": "t"}
MORE = 10  # times as many examples where tests may take minutes
Made = Callable[[Path], object]


@dataclass(frozen=True)
class Target:
    """A file, what writes it and the files around it, and what reads it as a command does.

    Attributes:
        check: Asserts that what was read is sane; it gets the folder, too, and may raise GenrobustError.
        inputs: Further contents of the file.
        named: The words of which an error has one; the file's name by default.
        structured: Whether it is JSON whose values are changed too.
    """

    file: str
    make: Made
    read: Callable[[Path], Any]
    check: Callable[[Any], object]
    inputs: st.SearchStrategy[bytes] | None = None
    named: Sequence[str] = ()
    structured: bool = False
    examples: int = 40

    def contents(self, seed: bytes) -> st.SearchStrategy[bytes]:
        found = [changed_bytes([seed])]
        found += [changed_json(seed), changed_json(seed)] if self.structured else []
        found += [self.inputs] if self.inputs is not None else []
        return st.one_of(found)


def run(target: Target, folder: Path, examples: int) -> None:
    target.make(folder)
    path = folder / target.file
    seed = path.read_bytes()
    target.check(target.read(folder))  # the file as it was written is read well

    @settings(max_examples=examples, print_blob=True)
    @given(target.contents(seed))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        try:
            with bounded():
                found = target.read(folder)
                target.check(found)
        except GenrobustError as error:
            text = str(error)
            assert 0 < len(text.splitlines()) <= 3, text
            assert any(word in text for word in target.named or (path.name,)), text

    holds()


# What is read, and what is asked of it.


def recipe_of(folder: Path) -> Any:
    from genrobust.recipe import load_recipe

    return load_recipe(str(folder / "r.yaml"))


def comes_back(recipe: Any) -> None:
    """A recipe that was read is the same after it is written as YAML, and has no number that is none."""
    import yaml

    from genrobust.recipe import recipe_yaml
    from genrobust.recipe.load import parse_recipe

    json.dumps(recipe.model_dump(mode="json"), allow_nan=False)
    assert parse_recipe(yaml.safe_load(recipe_yaml(recipe))) == recipe


def hostile_recipes() -> st.SearchStrategy[bytes]:
    """OWN with hostile values at the keys of its sections, and of those that a recipe may have."""
    import yaml

    from genrobust.recipe.recipe import Recipe
    from genrobust.recipe.section import Section

    def keys(section: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, about in section.model_fields.items():
            yield (*path, name)
            for kind in (about.annotation, *getattr(about.annotation, "__args__", ())):
                if isinstance(kind, type) and issubclass(kind, Section):
                    yield from keys(kind, (*path, name))

    def text(changes: list[tuple[tuple[str, ...], Any]]) -> bytes:
        raw = yaml.safe_load(OWN)
        for path, value in changes:
            node = raw
            for key in path[:-1]:
                if not isinstance(node.get(key), dict):
                    node[key] = {}
                node = node[key]
            node[path[-1]] = value
        return yaml.safe_dump(raw, allow_unicode=True).encode("utf-8", "surrogatepass")

    known = [*keys(Recipe), ("quick",), ("sweep",), ("arms",), ("data", "shifts")]
    dates = st.dates() | st.datetimes() | st.binary(max_size=3)
    return st.lists(st.tuples(st.sampled_from(known), SCALARS | VALUES | dates), min_size=1, max_size=2).map(text)


def stored(name: str) -> Callable[[Path], StoredImages]:
    def read(folder: Path) -> StoredImages:
        from genrobust.data.stored import open_stored

        return open_stored(folder / name)

    return read


def are_listed(found: StoredImages) -> None:
    """Keys are unique, groups known, and each image is RGB or an error; so is a column, with a value for each image."""
    listing = found.listing(found.groups)
    assert len(set(listing.keys)) == len(listing.keys) == len(listing.groups) == len(listing.stamps)
    assert set(listing.groups) <= set(found.groups) and all(isinstance(group, str) for group in found.groups)
    assert len(set(found.groups)) == len(found.groups)
    for index in range(min(len(listing.keys), 6)):
        assert listing.read(index).mode == "RGB"
    if listing.column is not None:
        assert len(listing.column("label")) == len(listing.keys)


TAR_NAMES = ["a.png", "a.jpg", "a.cls", "a.json", "b.png", "b.cls", "../a.png", "./a.png", "/a.cls", "d/a.b.png"]
TAR_CONTENTS = [png(), png(1), b"", b"camera", b"clock\n", b'{"label": 3}', b"[", b"\xff", b"x" * 600]
TAR_KINDS = [bytes([kind]) for kind in b"0001235" + b"67LxgS?"]
TAR_MEMBER = st.builds(
    member,
    st.sampled_from(TAR_NAMES),
    st.sampled_from(TAR_CONTENTS),
    st.sampled_from(TAR_KINDS),
    st.sampled_from(["", "a.png", "b.cls", "/etc/passwd"]),
)
TAR_MEMBERS = st.lists(TAR_MEMBER, max_size=5).map(lambda members: b"".join(members) + bytes(1024))
LABELED = member("a0.json", b'{"label": 3}') + GOOD
IMAGES = (images_column(2), [png(), png(1)], [None, png()], [{"bytes": None, "path": "x"}] * 2, [[png()], [png()]])
LABELS_OF_TWO = ([0, 1], [0, None], [0.0, 1.0], [0.5, float("nan")], [-1, 0], [2**62, 0], [True, False], ["a", "b"])
ODD_COLUMNS = ([1, 2], [{"path": 1}] * 2, [0, 1, 2], [b"0", b"1"] * 2, [{"a": 0}] * 2, [[0], [1]], [None, None])
COLUMNS = st.sampled_from([*IMAGES, *LABELS_OF_TWO, *ODD_COLUMNS])


@st.composite
def odd_parquet(draw: st.DrawFn) -> bytes:
    usual = ("image", "label")
    names = draw(st.sampled_from([usual] * 5 + [("image",), ("label",), (*usual, "label"), ("x", "label")]))
    columns = [(name, draw(COLUMNS)) for name in names]
    length = min(len(values) for _, values in columns)
    labels = draw(st.just(["camera", "clock"]) | VALUES.map(lambda v: json.dumps(v).encode()) | VALUES)
    with tempfile.TemporaryDirectory() as place:
        try:
            parquet("x.parquet", [(name, values[:length]) for name, values in columns], labels).run(Path(place))
        except (TypeError, ValueError, OverflowError):  # no parquet can be made of it
            return b""
        return (Path(place) / "x.parquet").read_bytes()


def published(folder: Path) -> Any:
    from genrobust.robustness import score_published
    from genrobust.tools.published.reading import read_published

    models = read_published(folder / "t.csv", "clean", "shifted")
    return models, score_published(models, np.ones(len(models.names), dtype=bool))


def are_accuracies(found: Any) -> None:
    models, result = found
    assert len(set(models.names)) == len(models.names) == len(models.ids) == len(models.shifted)
    assert ((models.ids >= 0) & (models.ids <= 100)).all() and ((models.shifted >= 0) & (models.shifted <= 100)).all()
    for values in (result.scores.er, result.scores.lo, result.scores.hi):
        assert np.isfinite(values).all()


CELLS = st.sampled_from(["\u0665", "\0", "\x1b"]) | st.sampled_from(
    ["", "a", "m0", "50", "0.5", "0", "100", "101", "-1", "nan", "inf", "1e400", "5_0", '"', '"a,b"', "=1", " 50 "]
)
ROWS = st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=6)
TABLES = ROWS.map(lambda rows: (TABLE + "\n".join(rows)).encode("utf-8", "surrogatepass"))


def save_classifier(folder: Path) -> None:
    import torch

    from genrobust.classifiers.checkpoints import CheckpointInfo
    from genrobust.classifiers.models import create_classifier, save_checkpoint

    torch.manual_seed(0)
    training = {"config": {"architecture": "test_resnet"}, "counts": {"real": 4}, "seed": 0}
    info = CheckpointInfo("test_resnet", {}, CLASSES, 32, training)
    save_checkpoint(folder, create_classifier("test_resnet", 2, 32), info)


@cache
def weights() -> dict[str, Any]:
    from genrobust.classifiers.models import load_checkpoint

    with tempfile.TemporaryDirectory() as place:
        save_classifier(Path(place))
        return load_checkpoint(Path(place))[0].state_dict()


def classifier(folder: Path) -> Any:
    from genrobust.classifiers import load_checkpoint

    return load_checkpoint(folder)


def is_unchanged(found: Any) -> None:
    """The weights are those that were written: a changed bit is an error."""
    model, _ = found
    assert all(bool((model.state_dict()[name] == value).all()) for name, value in weights().items())


def info_of(folder: Path) -> Any:
    from genrobust.classifiers import read_checkpoint_info

    return read_checkpoint_info(folder)


def is_info(info: Any) -> None:
    assert isinstance(info.architecture, str) and isinstance(info.image_size, int) and info.image_size > 0
    assert isinstance(info.model_kwargs, dict) and isinstance(info.training, dict)
    assert info.classes and all(isinstance(name, str) for name in info.classes)
    assert len(set(info.classes)) == len(info.classes)


HEADERS = st.builds(
    safetensors,
    st.dictionaries(
        st.sampled_from(["__metadata__", "mean", "std", "network.conv1.weight"]),
        st.fixed_dictionaries(
            {},
            optional={
                "dtype": st.sampled_from(["F32", "F16", "I64", "X", "", None, 3]),
                "shape": st.sampled_from([[], [1], [0], [-1], [2**40, 2**40], [1.5], "1", None, [3, 1, 1]]),
                "data_offsets": st.sampled_from([[0, 4], [4, 0], [0, 0], [0, 2**63], [-4, 4], [0], None, [0, 12]]),
            },
        )
        | SCALARS,
        max_size=3,
    ),
    st.binary(max_size=16),
)


def save_dataset(folder: Path) -> None:
    from genrobust.data import begin_dataset, finish_dataset, write_shard

    begin_dataset(folder, {"shards": 1, "class_ids": list(CLASSES), "generator": "pictograms", "mode": "labels"})
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    write_shard(folder, 0, [Sample(f"{CLASSES[i % 2]}-{i:06d}", i % 2, pixels[i]) for i in range(4)], [])
    finish_dataset(folder)


def dataset(folder: Path) -> Any:
    from genrobust.data import ShardDataset

    return ShardDataset(folder)


def is_as_written(found: ImageSet) -> None:
    assert list(found.keys) == [f"{CLASSES[i % 2]}-{i:06d}" for i in range(4)]
    assert found.labels.tolist() == [0, 1, 0, 1]
    for index in range(len(found)):
        found.image(index)


def is_dataset(found: Any) -> None:
    ids = found.class_ids
    assert all(isinstance(id, str) for id in ids) and len(set(ids)) == len(ids)
    assert found.missing() == [] and len(found) in (0, 4)
    assert not len(found) or not ids or int(found.labels.max()) < len(ids)


def save_filter(folder: Path) -> None:
    from genrobust.data import write_filter

    save_dataset(folder)
    images, scores = dataset(folder), np.array([0.5, 0.1, 0.2, 0.9])
    write_filter(images, "CLIP score", scores, scores < 0.3, "below 0.3", folder / "filter", {})


def filter_of(folder: Path) -> Any:
    from genrobust.data import read_filter

    return read_filter(folder / "filter")


def is_filter(found: Any) -> None:
    assert set(found.rejected) == {"clock-000001", "camera-000002"} and (found.made, found.kept) == (4, 2)
    assert found.by == "CLIP score" and all(isinstance(reason, str) for reason in found.rejected.values())


def save_search(folder: Path) -> None:
    from genrobust.data import write_search

    save_dataset(folder)
    found = np.array([2, 0]), np.array([0, 1]), np.array([0.5, 0.25])
    write_search(folder / "search", {}, dataset(folder), *found)


def search_of(folder: Path) -> Any:
    from genrobust.data import read_search

    return read_search(folder / "search")


def is_search(found: Any) -> None:
    assert len(found.keys) == 2 and (found.labels.tolist(), found.scores.tolist()) == ([0, 1], [0.5, 0.25])


LOGITS = np.array([[0.5, -1.0], [2.0, 0.25], [0.0, 1.0]], dtype=np.float32)


def save_answers(folder: Path) -> None:
    from genrobust.classifiers.saved import save_predictions

    found = Predictions("test", LOGITS, np.array([0, 1, 1]), ("a", "b", "c"), CLASSES, "32 px", ((0,), (1,), (1, 0)))
    save_predictions(folder, found)


def answers(folder: Path) -> Any:
    from genrobust.classifiers.saved import load_predictions

    return load_predictions(folder)


def are_answers(found: Predictions) -> None:
    assert np.array_equal(found.logits, LOGITS) and found.labels.tolist() == [0, 1, 1]
    assert (found.keys, found.classes, found.protocol) == (("a", "b", "c"), CLASSES, "32 px")
    assert found.accepted == ((0,), (1,), (1, 0))


def labeled(folder: Path) -> Any:
    from genrobust.classifiers import open_classifier

    return open_classifier(str(folder), folder / "l.txt").classes


def are_classes(names: Sequence[str]) -> None:
    assert len(names) == 2 and all(name.strip() and name == name.strip() for name in names)


def chosen(folder: Path) -> Any:
    from genrobust.data.imagenet_classes import label_space

    return label_space(str(folder / "c.txt"), {})


def are_some(labels: LabelSpace) -> None:
    assert 2 <= len(labels) <= 1000 and len(set(labels.ids)) == len(labels)


def prompted(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        from genrobust.generate import class_templates
        from genrobust.recipe import PromptConfig

        return class_templates(PromptConfig(strategy="list", file=folder / name), LABELS)

    return read


def are_prompts(found: Any) -> None:
    assert len(found) == len(LABELS)
    for templates, label in zip(found, LABELS.classes, strict=True):
        assert templates and len(set(templates)) == len(templates)
        assert all(
            isinstance(t.text, str) and t.text.strip() and "{}" not in t.fill("x{}y").replace("x{}y", "")
            for t in templates
        ), label


def generator(folder: Path) -> Any:
    from genrobust.generate import identity
    from genrobust.recipe import GeneratorConfig

    return identity(GeneratorConfig(model=str(folder / "gen")))


def save_generator(folder: Path) -> None:
    from genrobust.core import embedded

    for part in ("model_index.json", "scheduler/scheduler_config.json"):
        file(f"gen/{part}", (embedded("generator") / part).read_bytes()).run(folder)


def is_flat(found: Mapping[str, Any]) -> None:
    json.dumps(found, allow_nan=False)
    assert found["generator"] == "gen"


def objectnet(folder: Path) -> Any:
    from genrobust.data.readers.objectnet import classes_of_folders

    return classes_of_folders(folder)


def save_mappings(folder: Path) -> None:
    file("folder_to_objectnet_label.json", json.dumps({"chair": "Chair", "sock": "Sock"})).run(folder)
    classes = {"Chair": "folding chair; rocking chair, rocker", "Sock": "sock"}
    file("objectnet_to_imagenet_1k.json", json.dumps(classes)).run(folder)


def are_wnids(found: Mapping[str, Any]) -> None:
    assert all(isinstance(f, str) and ids and all(len(id) == 9 for id in ids) for f, ids in found.items())


def flat(folder: Path) -> Any:
    from genrobust.data.ground_truth import list_flat

    return list_flat(folder / "images")


def save_truth(name: str, text: str) -> Made:
    def make(folder: Path) -> None:
        for number in (1, 2):
            image(f"images/ILSVRC2012_val_{number:08d}.png").run(folder)
        file(name, text).run(folder)

    return make


def are_known(found: Any) -> None:
    assert len(found.keys) == 2 and all(group.startswith("n") and len(group) == 9 for group in found.groups)


def save_timm(folder: Path) -> None:
    from genrobust.tools.export.model_export import export_model

    save_classifier(folder / "c")
    export_model(folder / "c", "timm", folder / "timm")


def timm_classes(folder: Path) -> Any:
    from genrobust.classifiers import open_classifier

    return open_classifier(f"local-dir:{folder / 'timm'}").classes


def are_two(names: Sequence[str]) -> None:
    assert len(set(names)) == len(names) and all(isinstance(name, str) for name in names)


def audited(folder: Path) -> Any:
    from genrobust.tools.export.audit_summary import read_audit

    images = dataset(folder)
    return read_audit(folder / "audit.json", images, np.arange(len(images)))


def save_audit(folder: Path) -> None:
    save_dataset(folder)
    copies = {"exact": 0, "near": 1, "against": "test", "flagged": [1]}
    facts = {
        "n": 4,
        "inside": copies,
        "of_real": None,
        "of_tests": [copies],
        "of_wild": None,
        "memorization": None,
        "judgments": [{"judge": "x", "agreement": {"share": 0.5}}],
        "clip_score": {"named": 27.5},
        "left_out": [],
        "spaces": [{"name": "s", "fidelity": {"fid": 1.5, "kid": 0.1, "precision": 0.5, "recall": 0.5}}],
        "leaks": {"test": 1},
        "dataset": {"fingerprint": dataset(folder).fingerprint},
    }
    file("audit.json", json.dumps(facts)).run(folder)


def is_summary(found: Any) -> None:
    assert all(isinstance(word, str) for row in found.rows for word in row)
    assert not any("nan" in word.lower() for _, word in found.rows)
    assert set(found.leaked) <= {f"{CLASSES[i % 2]}-{i:06d}" for i in range(4)}


SAVED = json.dumps({"_data_files": [{"filename": "data.arrow"}]})


def save_arrow(folder: Path) -> None:
    import pyarrow as pa

    table = pa.table({"image": images_column(2), "label": [0, 1]})
    (folder / "saved").mkdir()
    with pa.OSFile(str(folder / "saved" / "data.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    file("saved/state.json", SAVED).run(folder)


WNIDS = "n01440764\nn01443537 # goldfish\n2\n"
PROMPTS = '{"camera": ["a camera", "b"], "clock": ["a clock"]}'
KAGGLE = "ImageId,PredictionString\n" + "".join(
    f"ILSVRC2012_val_{number:08d},{wnid} 1 2 3 4\n" for number, wnid in ((1, "n01440764"), (2, "n01443537"))
)
OF_DATASET = ("manifest.json", "000000", "shards are missing")
OF_TABLE = ("t.csv", "--id", "--shift", "'clean'", "baselines")
MAPPINGS = ("folder_to_objectnet_label.json", "objectnet_to_imagenet_1k.json")
TWO_IMAGES = parquet("x.parquet", {"image": images_column(2), "label": [0, 1]}).run


def save_labels(folder: Path) -> None:
    save_classifier(folder)
    file("l.txt", "camera\nclock\n").run(folder)


TARGETS = {
    "recipe": Target("r.yaml", file("r.yaml", OWN).run, recipe_of, comes_back, hostile_recipes(), examples=20),
    "tar": Target("x.tar", tar("x.tar", LABELED).run, stored("x.tar"), are_listed, TAR_MEMBERS, examples=30),
    "parquet": Target("x.parquet", TWO_IMAGES, stored("x.parquet"), are_listed, odd_parquet()),
    "saved dataset": Target("saved/state.json", save_arrow, stored("saved"), are_listed, None, ("saved",), True),
    "arrow": Target("saved/data.arrow", save_arrow, stored("saved"), are_listed, named=("saved",)),
    "accuracies": Target("t.csv", file("t.csv", TABLE).run, published, are_accuracies, TABLES, OF_TABLE, examples=50),
    "label file": Target("l.txt", save_labels, labeled, are_classes, examples=20),
    "class list": Target("c.txt", file("c.txt", WNIDS).run, chosen, are_some, named=("c.txt", "two classes")),
    "weights": Target("model.safetensors", save_classifier, classifier, is_unchanged, HEADERS, examples=15),
    "checkpoint": Target("manifest.json", save_classifier, info_of, is_info, structured=True, examples=75),
    "config of timm": Target("timm/config.json", save_timm, timm_classes, are_two, None, ("timm",), True),
    "manifest.json": Target("manifest.json", save_dataset, dataset, is_dataset, None, OF_DATASET, True, 75),
    "parquet of a shard": Target("000000.parquet", save_dataset, dataset, is_as_written, named=("000000",)),
    "tar of a shard": Target("000000.tar", save_dataset, dataset, is_as_written, named=("000000",), examples=20),
    "filter": Target("filter/rejected.parquet", save_filter, filter_of, is_filter),
    "search": Target("search/found.parquet", save_search, search_of, is_search),
    "predictions": Target("predictions.npz", save_answers, answers, are_answers),
    "model_index.json": Target("gen/model_index.json", save_generator, generator, is_flat, None, ("gen",), True, 15),
    "prompts as JSON": Target("p.json", file("p.json", PROMPTS).run, prompted("p.json"), are_prompts, structured=True),
    "prompts as text": Target("p.txt", file("p.txt", "a {}\n\nan icon of a {}\n").run, prompted("p.txt"), are_prompts),
    "labels of ObjectNet": Target(MAPPINGS[0], save_mappings, objectnet, are_wnids, None, MAPPINGS, True),
    "classes of ObjectNet": Target(MAPPINGS[1], save_mappings, objectnet, are_wnids, None, MAPPINGS, True),
    "Kaggle's labels": Target("LOC_val_solution.csv", save_truth("LOC_val_solution.csv", KAGGLE), flat, are_known),
    "synset labels": Target(
        "synset_labels.txt", save_truth("synset_labels.txt", "n01440764\nn01443537\n"), flat, are_known
    ),
    "audit.json": Target("audit.json", save_audit, audited, is_summary, structured=True, examples=25),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("times", [1, pytest.param(MORE, marks=pytest.mark.thorough)])
def test_what_is_read_is_sane_or_an_error_that_names_the_file(name: str, times: int, tmp_path: Path) -> None:
    run(TARGETS[name], tmp_path, times * TARGETS[name].examples)
