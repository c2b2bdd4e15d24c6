"""No flipped bit of a file that genrobust writes and reads again changes what is read, without an error that names it.

A small study and an audit write every kind of file once. `KINDS` says of each kind what reads it; docs/checking.md has
the same kinds in a table.
"""

import random
import re
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_study import genrobust

from genrobust.classifiers import LossScaler, TrainingState, check_weights, load_checkpoint, read_checkpoint_info
from genrobust.classifiers.saved import load_predictions
from genrobust.core import (
    PARTS,
    GenrobustError,
    ImageSet,
    KeptParts,
    StudyData,
    artifacts,
    digest,
    precision,
    read_part,
)
from genrobust.core.mirror import Mirror
from genrobust.core.own_files import read_file_list
from genrobust.data import ShardDataset, open_stored, read_filter, read_search, write_filter
from genrobust.generate import identity
from genrobust.generate.trained_folder import read_record
from genrobust.recipe import GeneratorConfig, parse_recipe
from genrobust.release.audit_summary import read_audit
from genrobust.release.model_card import measured
from genrobust.study import Study, audit, verify_outputs
from genrobust.study.embeddings import read_embeddings
from genrobust.study.rates import known_rate
from genrobust.study.tracking import read_logged
from genrobust.train import PACKING, PackedImages
from genrobust.train.embedding import KeptFeatures

CLASSES = ("airplane", "anchor", "bell")
FLIPS = 100  # bits of each file
KILLED = "0123456789ab"  # the folder of a training


def write_classes(data: StudyData, images: ImageSet, folder: Path) -> str:
    for id in CLASSES:
        (folder / id).mkdir(parents=True)
        for index in np.flatnonzero(images.labels == data.labels.index(id))[:4].tolist():
            images.image(index).save(folder / id / f"{index}.png")
    return str(folder)


@pytest.fixture(scope="module")
def study(pictogram_data, tiny_generator, clip_folder, tmp_path_factory):
    """A finished study with a filter, a search, packed copies, a fine-tuned generator, a CLIP's view and a tracker."""
    root = tmp_path_factory.mktemp("integrity")
    sets = {"train": pictogram_data.train, **{n: pictogram_data.tests[n] for n in ("test", "solid")}}
    place = {name: write_classes(pictogram_data, images, root / name) for name, images in sets.items()}
    own = {"source": "folders", "train": place["train"], "val": place["test"], "test": place["test"]}
    search = {"search": place["train"], "clip": str(clip_folder)}
    recipe = {
        "name": "small",
        "threads": 1,
        "device": "cpu",
        "data": own | {"shifts": {"solid": {"path": place["solid"]}}, "packed": True, "retrieved": search},
        "generator": {"model": str(tiny_generator), "steps": 1, "dtype": "float32"},
        "generate": {"per_class": 2, "shard_size": 3},
        "finetune": {"steps": 2, "batch_size": 2, "warmup_steps": 0, "precision": "float32"},
        "datasets": {"tuned": {"finetuned": True}, "sure": {"filter": {"drop": 0.5}}},
        "train": {
            "architecture": "test_resnet",
            "image_size": 32,
            "crop": "random-resized",
            "steps": 2,
            "batch_size": 4,
            "warmup_steps": 0,
            "precision": "float32",
        },
        "arms": [
            *({"name": n, "mixture": n} for n in ("real", "tuned", "sure", "retrieved-by-search")),
            {"name": "again", "mixture": "real", "train": {"init": "arm:real"}},
        ],
        "quality": {"clip": str(clip_folder), "per_class": 2},
        "track": ["tensorboard"],
        "robustness": {"baselines": None, "bootstrap": 100},
        "evaluate": {"min_images": 1},
    }
    made = Study(parse_recipe(recipe), root / "runs")
    made.run()
    return made


@pytest.fixture(scope="module")
def files(study):
    """The folder of the study, with the files that other commands and killed trainings leave."""
    out = study.out
    shards = ShardDataset(dataset_of(out))
    write_filter(shards, "a score", np.linspace(0, 1, len(shards)), np.arange(len(shards)) < 2, "low", shards.folder)
    audit(str(dataset_of(out)), out=out / "audit-small", device="cpu")
    killed = KeptParts(out / "audit-small" / PARTS)
    killed.run(40, 20, lambda items: {"embeddings": np.arange(600.0)[None]}, lambda *counted: None)
    save_state(out / "checkpoints" / KILLED)
    kept_features(out / "checkpoints" / KILLED).save(np.arange(600, dtype=np.float32).reshape(30, 20))
    Mirror(f"local://{out}/remote", out / "copies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(out / "cache"))
        precision.remembered("a device", lambda: "bfloat16")
    return out


def dataset_of(out: Path) -> Path:
    return sorted((out / "generated").iterdir())[0]


def state_of(folder: Path) -> tuple[TrainingState, torch.nn.Module]:
    torch.manual_seed(0)
    network = torch.nn.Linear(30, 20)
    optimizer = torch.optim.SGD(network.parameters(), momentum=0.9)
    scaler = LossScaler(torch.device("cpu"), "float32")
    return TrainingState(folder, {"seed": 1}, "classifier", optimizer, scaler), network


def save_state(folder: Path) -> None:
    folder.mkdir()
    state, network = state_of(folder)
    state.save({"step": 3}, model=network.state_dict())


def read_state(path: Path, study: Study) -> Any:
    loaded = state_of(path.parent)[0].load()
    assert loaded is not None
    progress, groups = loaded
    return progress, [(group, key, v.numpy().tobytes()) for group, of in groups.items() for key, v in of.items()]


def kept_features(folder: Path) -> KeptFeatures:
    return KeptFeatures(folder, "a hash", "classifier")


def read_dataset(path: Path, study: Study) -> Any:
    """As a study reads it, and as the class folders and tars of one's own."""
    shards = ShardDataset(path.parent)
    own = open_stored(path.parent).listing(())
    facts = shards.labels.tolist(), shards.keys, shards.styles, shards.given_up, shards.about, shards.fingerprint
    return facts, shards.metadata().to_pylist(), [shards.encoded(i) for i in range(len(shards))], own.keys, own.groups


def read_weights(path: Path, study: Study) -> Any:
    model, info = load_checkpoint(path.parent)
    return asdict(info), [(name, value.numpy().tobytes()) for name, value in model.state_dict().items()]


def read_initial(path: Path, study: Study) -> Any:
    return asdict(check_weights(path.parent)), path.read_bytes()


def read_generator(path: Path, study: Study) -> Any:
    folder = next((study.out / "finetuned").iterdir())
    found = read_record(folder / "finetune.json")
    assert identity(GeneratorConfig(model=str(folder)))  # opens it
    return found


def read_found(path: Path, study: Study) -> Any:
    found = read_search(path.parent)
    return found.fingerprint, found.keys, found.labels.tolist(), found.scores.tolist()


def read_predictions(path: Path, study: Study) -> Any:
    found = load_predictions(path)
    return found.logits.tobytes(), found.labels.tolist(), found.keys, found.classes, found.protocol, found.test_set


def read_packed(path: Path, study: Study) -> Any:
    """All pixels of the smallest and of the largest level of each image."""
    sources = [study.graph.sources.images(name) for name in ("real", "tuned", "sure", "retrieved-by-search")]
    (images,) = [images for images in sources if digest([images.fingerprint, PACKING]) == path.parent.name]
    with ThreadPoolExecutor(1) as pool:
        packed = PackedImages(images, path.parent.parent, pool)
    sizes = [packed.levels(i) for i in range(len(images))]
    return sizes, [packed.pixels(i, 0, (0, 0, *of[0])).numpy().tobytes() for i, of in enumerate(sizes)]


def read_results(path: Path, study: Study) -> Any:
    infos = [read_checkpoint_info(p.parent) for p in sorted((study.out / "checkpoints").glob("*/checkpoint.json"))]
    return [repr(measured(path, info)) for info in infos]


def read_audit_json(path: Path, study: Study) -> Any:
    shards = ShardDataset(dataset_of(study.out))
    return repr(read_audit(path, shards, np.arange(len(shards))))


def read_rates(path: Path, study: Study) -> Any:
    rows = [row for row in study.rows() if row.stage.name == "train"]
    costs = {job.name: row.stage.cost(job) for row in rows for job in row.jobs}
    return {name: known_rate(study.out, "train", study.context.worker, cost) for name, cost in costs.items()}


def read_precision(path: Path, study: Study) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(path.parent.parent))
        return precision.remembered("a device", lambda: "float32")


def read_mark(path: Path, study: Study) -> Any:
    return Mirror(f"local://{path.parent}", Path(tempfile.mkdtemp(dir=study.out / "copies"))).folder.name


@dataclass(frozen=True)
class Kind:
    """A kind of file: the `name` in docs/checking.md, which is its pattern, what reads it, and what stands for damage.

    `again` is what is read of a damaged file that is made again without an error; None where there is an error.
    """

    name: str
    read: Callable[[Path, Study], Any]
    again: Callable[[Any], Any] | None = None


KINDS = (
    Kind("generated/*/NNNNNN.tar", read_dataset),
    Kind("generated/*/NNNNNN.parquet", read_dataset),
    Kind("generated/*/NNNNNN.json", read_dataset),
    Kind("generated/*/manifest.json", read_dataset),
    Kind("searches/*/found.parquet", read_found),
    Kind("searches/*/manifest.json", read_found),
    Kind("filters/*/rejected.parquet", lambda path, study: asdict(read_filter(path.parent))),
    Kind("filters/*/manifest.json", lambda path, study: asdict(read_filter(path.parent))),
    Kind("finetuned/*/finetune.json", read_generator),
    Kind("finetuned/*/unet/*.safetensors", read_generator),
    Kind("finetuned/*/model_index.json", read_generator),
    Kind("checkpoints/*/checkpoint.json", lambda path, study: asdict(read_checkpoint_info(path.parent))),
    Kind("checkpoints/*/model.safetensors", read_weights),
    Kind("checkpoints/*/initial.safetensors", read_initial),
    Kind("checkpoints/*/state.safetensors", read_state),
    Kind("checkpoints/*/features.safetensors", lambda path, study: kept_features(path.parent).load().tobytes()),
    Kind("packed/*/*.jpegs", read_packed),
    Kind("packed/*/*.npz", read_packed),
    Kind("predictions/*/*.npz", read_predictions),
    Kind("embeddings/*.npz", lambda path, study: read_embeddings(path).tolist()),
    Kind("rates.json", read_rates, again=lambda found: dict.fromkeys(found)),
    Kind("*/results.json", read_results),
    Kind("audit-*/audit.json", read_audit_json),
    Kind("*/.parts/*/*.npz", lambda path, study: {k: v.tobytes() for k, v in read_part(path).items()}),
    Kind("*/track/*/logged.jsonl", lambda path, study: read_logged(path)),
    Kind("*/.genrobust.files", lambda path, study: read_file_list(path.parent)),
    Kind("precision.json", read_precision, again=lambda found: "float32"),
    Kind(".genrobust.json", read_mark),
)
NOT_READ = ("report.html", "report.md", "results.csv", "audit.html", ".lock", ".copy", "events.out.*")
OF_GENERATOR = "finetuned/*"  # whose record lists all files


def files_of(kind: Kind, out: Path) -> list[Path]:
    return sorted(out.rglob(kind.name.replace("NNNNNN", 6 * "[0-9]")))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_flipped_bit_changes_what_is_read(study, files, kind):
    path = files_of(kind, files)[0]
    whole, rng = path.read_bytes(), random.Random(0)
    expected = kind.read(path, study)
    assert expected == kind.read(path, study)
    found = 0
    try:
        for place in (rng.randrange(8 * len(whole)) for _ in range(FLIPS)):
            damaged = bytearray(whole)
            damaged[place // 8] ^= 1 << place % 8
            path.write_bytes(damaged)
            try:
                read = kind.read(path, study)
            except GenrobustError as error:
                found += 1
                assert path.name in str(error) or path.stem in str(error), f"bit {place}"
                assert re.search(
                    r"delete it|delete /|verify .* --repair|restore it|audit again|run .* again", str(error)
                ), error
                assert len(str(error).splitlines()) <= 3
                continue
            finally:
                path.write_bytes(whole)
            if read != expected:
                assert kind.again is not None and read == kind.again(expected), f"bit {place}"
                found += 1
    finally:
        path.write_bytes(whole)
    assert found, "no flip was noticed"


def test_every_file_is_of_a_kind(files):
    known = {path for kind in KINDS for path in files_of(kind, files)}
    strangers = {
        path.relative_to(files)
        for path in files.rglob("*")
        if path.is_file()
        and path not in known
        and not any(path.match(name) for name in NOT_READ)
        and not path.relative_to(files).match("finetuned/*/*")
        and not path.relative_to(files).match("finetuned/*/*/*")
    }
    assert strangers == set()
    assert all(files_of(kind, files) for kind in KINDS)


def test_the_documentation_lists_the_same_kinds():
    page = (Path(__file__).parents[2] / "docs" / "checking.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)`", page.partition("## How each file is protected")[2], re.MULTILINE)
    assert sorted(rows) == sorted(kind.name for kind in KINDS)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_verify_names_what_is_damaged_and_the_study_makes_it_again(study, files, tmp_path):
    out = tmp_path / "runs"
    shutil.copytree(files, out, ignore=shutil.ignore_patterns("copies", "remote", "cache"))
    before = {path: path.read_bytes() for path in out.glob("predictions/*/*.npz")}
    assert "as they were written" in genrobust("verify", out).stdout
    ours = [artifact.folder for artifact in artifacts(out)]
    damaged = [path for kind in KINDS for path in files_of(kind, out)[:1] if path.parent in ours]
    for path in damaged:
        whole = path.read_bytes()
        flip(path)
        found = verify_outputs(out)
        assert path in found.damaged or path in found.changed
        path.write_bytes(whole)
    theses = [path.with_name("thesis.txt") for path in damaged if "finetuned" not in path.parts]
    for thesis in theses:
        thesis.write_text("mine")
    for path in damaged:
        if path.name not in ("manifest.json", "audit.json"):  # with the one, all in its folder are set aside
            flip(path)
    genrobust("verify", out, code=1, said="--repair")
    assert "run the same commands again" in genrobust("verify", out, "--repair").stdout
    assert not any(verify_outputs(out).damaged)  # what is left
    assert {thesis.read_text() for thesis in theses} == {"mine"}
    Study(study.recipe, out).run()
    assert not verify_outputs(out).damaged
    assert {path: path.read_bytes() for path in out.glob("predictions/*/*.npz")} == before
