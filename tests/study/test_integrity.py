"""No flipped bit of a file that genrobust reads again goes unnoticed: a small study writes every kind of file once."""

import random
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from small_study import delete_named, genrobust

from genrobust.classifiers import load_checkpoint
from genrobust.classifiers.predict.saved_predictions import load_predictions
from genrobust.classifiers.training_images import read_training_images
from genrobust.core import GenrobustError, ImageSet, StudyData
from genrobust.data import ShardDataset, read_filter, read_search
from genrobust.generate import identity
from genrobust.recipe import GeneratorConfig, parse_recipe
from genrobust.store import Artifact, artifacts
from genrobust.study import Study, verify_outputs
from genrobust.train import PackedImages

CLASSES = ("airplane", "anchor", "bell")
NO_ARTIFACTS = ("rates.json", ".lock", "events.out.*")  # caches, locks, and what others read


def write_classes(data: StudyData, images: ImageSet, folder: Path) -> str:
    for id in CLASSES:
        (folder / id).mkdir(parents=True)
        for index in np.flatnonzero(images.labels == data.labels.ids.index(id))[:4].tolist():
            images.image(index).save(folder / id / f"{index}.png")
    return str(folder)


@pytest.fixture(scope="module")
def study(pictogram_data, tiny_generator, clip_folder, tmp_path_factory):
    """A finished study with a filter, a search, packed copies, a fine-tuned generator, a CLIP's view and a tracker."""
    root = tmp_path_factory.mktemp("integrity")
    sets = {"train": pictogram_data.train, **{n: pictogram_data.tests[n] for n in ("test", "solid")}}
    place = {name: write_classes(pictogram_data, images, root / name) for name, images in sets.items()}
    own = {"source": "folders", "train": place["train"], "test": place["test"]}
    search = {"search": place["train"], "clip": str(clip_folder)}
    train = {"architecture": "test_resnet", "image_size": 32, "crop": "random-resized", "steps": 2, "batch_size": 4}
    recipe = {
        "name": "small",
        "threads": 1,
        "device": "cpu",
        "data": own | {"shifts": {"solid": {"path": place["solid"]}}, "packed": True, "retrieved": search},
        "generator": {"model": str(tiny_generator), "steps": 1, "dtype": "float32"},
        "generate": {"per_class": 2, "shard_size": 3},
        "finetune": {"steps": 2, "batch_size": 2, "warmup_steps": 0, "precision": "float32"},
        "datasets": {"tuned": {"finetuned": True}, "sure": {"filter": {"drop": 0.5}}},
        "train": {**train, "warmup_steps": 0, "precision": "float32"},
        "arms": [
            *({"name": n, "mixture": n} for n in ("real", "tuned", "sure", "retrieved-by-search")),
            {"name": "again", "mixture": "real", "train": {"init": "arm:real"}},
        ],
        "quality": {"clip": str(clip_folder), "per_class": 2},
        "track": True,
        "robustness": {"baselines": None, "bootstrap": 100},
        "evaluate": {"min_images": 1},
    }
    made = Study(parse_recipe(recipe), root / "runs")
    made.run()
    (dataset, *_) = (found.folder for found in artifacts(made.out) if found.manifest().kind == "dataset")
    genrobust("audit", dataset, "--out", made.out / "audit-small", "--device", "cpu")
    return made


def read_dataset(folder: Path, study: Study) -> None:
    shards = ShardDataset(folder)
    shards.metadata()
    for index in range(len(shards)):
        shards.image(index)


def read_packed(folder: Path, study: Study) -> None:
    of = Artifact(folder).manifest().inputs["images"]
    sources = [study.plan.images(name).open() for name in ("real", "tuned", "sure", "retrieved-by-search")]
    images = next(images for images in sources if images.fingerprint == of)
    with ThreadPoolExecutor(1) as pool:
        packed = PackedImages(images, folder.parent, pool)
    for index in range(len(images)):
        width, height = packed.levels(index)[0]
        packed.pixels(index, 0, (0, 0, width, height))


READERS: dict[str, Callable[[Path, Study], object]] = {
    "dataset": read_dataset,
    "filter": lambda folder, study: read_filter(folder),
    "search": lambda folder, study: read_search(folder, study.data.search_pool, "found"),
    "generator": lambda folder, study: identity(GeneratorConfig(model=str(folder))),
    "checkpoint": lambda folder, study: (load_checkpoint(folder), read_training_images(folder)),
    "predictions": lambda folder, study: load_predictions(folder),
    "packed": read_packed,
}
SHOWN = {"embeddings", "pages", "census"}  # read by the stages and commands of a study


def flip(path: Path, rng: random.Random, first: int = 0, last: int | None = None) -> bytes:
    whole = path.read_bytes()
    damaged, place = bytearray(whole), rng.randrange(8 * first, 8 * (last or len(whole)))
    damaged[place // 8] ^= 1 << place % 8
    path.write_bytes(damaged)
    return whole


def test_every_file_belongs_to_an_artifact_of_a_known_kind(study):
    found = list(artifacts(study.out))
    assert {artifact.manifest().kind for artifact in found} == {*READERS, *SHOWN}
    named = {a.folder / name for a in found for name in (*a.manifest().files, "manifest.json")}
    reports = [path for path in study.out.iterdir() if path.is_symlink()]
    files = {path for path in study.out.rglob("*") if path.is_file() and not {*reports} & {*path.parents}}
    assert [path.name for path in reports] == ["small"]
    assert named <= files
    assert [path for path in files - named if not any(map(path.match, NO_ARTIFACTS))] == []


@pytest.mark.parametrize("kind", READERS)
def test_what_is_damaged_is_an_error_that_names_it_when_it_is_read(study, kind):
    rng, read = random.Random(0), READERS[kind]
    artifact = next(found for found in artifacts(study.out) if found.manifest().kind == kind)
    read(artifact.folder, study)
    unread = {"000000.json"} | ({"initial.safetensors"} if kind == "checkpoint" else set())
    for name in (*artifact.manifest().files, "manifest.json"):
        if name in unread or re.fullmatch(r"\d{6}\.json", name):  # of a part, whose files the manifest lists
            continue
        path = artifact.folder / name
        image = (600, 700) if path.suffix == ".tar" else ()  # the first one's bytes: nobody reads what pads it
        whole = flip(path, rng, *image)
        try:
            with pytest.raises(GenrobustError, match=re.escape(path.name)) as error:
                read(artifact.folder, study)
            assert "delete" in str(error.value) and len(str(error.value).splitlines()) <= 3
        finally:
            path.write_bytes(whole)


def test_verify_names_what_to_delete_and_the_study_makes_it_again(study, tmp_path):
    out, rng = tmp_path / "runs", random.Random(1)
    shutil.copytree(study.out, out)

    def made():
        return {path: path.read_bytes() for of in ("predictions/*/*.npz", "generated/*/*.tar") for path in out.glob(of)}

    before = made()
    genrobust("verify", out)
    theirs = []
    for kind in READERS:
        artifact = next(found for found in artifacts(out) if found.manifest().kind == kind)
        flip(artifact.folder / next(iter(artifact.manifest().files)), rng)
        theirs.append(out / f"{kind}.txt")
        theirs[-1].write_text("mine")
    genrobust("verify", out, code=1)
    delete_named(verify_outputs(out))
    assert {path.read_text() for path in theirs} == {"mine"}
    Study(study.recipe, out).run()
    assert not verify_outputs(out).damaged
    assert made() == before
