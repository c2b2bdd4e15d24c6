"""A plan becomes a dataset: the same one however it is divided, stopped and resumed, and never a wrong one."""

import itertools
import signal
from importlib import metadata

import numpy as np
import pytest
from drawn import generate
from kill_and_resume import contents
from refusals import refused

from genrobust.core import GenrobustError, OutOfMemory, hardware
from genrobust.generate import Plan
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.generation import HOPELESS
from genrobust.generate.sampler import Sampler
from genrobust.store import Artifact, lock


def run(out, labels, generator, config, shards=None, data_seed=0):
    plan = Plan(labels, config, data_seed)
    return generate(plan, generator, config, out, shards)


def test_a_plan_becomes_a_dataset_and_every_image_says_how_it_was_made(tmp_path, labels, generator, config):
    dataset = run(tmp_path / "out", labels, generator, config)
    plan = Plan(labels, config, 0)
    assert len(dataset) == len(plan) == 12
    assert list(dataset.keys) == [r.key for r in plan]
    assert dataset.labels.tolist() == [r.label for r in plan]
    assert list(dataset.styles) == [r.style for r in plan]
    assert dataset.class_ids == labels.ids
    assert (dataset.about["requests"], dataset.about["shards"], dataset.about["shard_size"]) == (12, 2, 6)
    assert [(c.id, c.label_name, c.name) for c in dataset.label_space().classes] == [
        (c.id, c.label_name, c.name) for c in labels.classes
    ]
    for row, request in zip(dataset.metadata().to_pylist(), plan, strict=True):
        assert (row["prompt"], row["seed"], row["template"]) == (request.prompt, request.seed, request.template)
        assert row["generator"] and len(row["weights_sha256"]) == 64
        assert (row["scheduler"], row["steps"], row["guidance_scale"]) == ("DPMSolverMultistepScheduler", 2, 3.0)
        assert (row["width"], row["height"], row["dtype"], row["device"]) == (64, 64, "float32", "cpu")
        assert (row["batch_size"], row["threads"], row["torch_version"]) == (4, 1, metadata.version("torch"))
        assert (row["redraws"], row["black"], row["blank"], row["nan"], row["unsafe"]) == (0, *[False] * 4)
    shards = [f"00000{shard}.{kind}" for shard in (0, 1) for kind in ("json", "parquet", "tar")]
    assert list(contents(tmp_path / "out")) == [*shards, "manifest.json"]
    assert not list(Artifact(tmp_path / "out").damage())
    assert str(tmp_path.parent).encode() not in b"".join(contents(tmp_path / "out").values())
    assert generator.model.startswith(str(tmp_path.parent)), "which is a path"


def test_a_precision_that_no_recipe_has_replaced_is_the_machines(tmp_path, labels, generator, config):
    """As of a dataset of diffusers where the recipe's own is drawn by a server, whose section has no dtype."""
    made = run(tmp_path, labels, generator.model_copy(update={"dtype": "auto"}), config, shards=[0])
    assert made.about["dtype"] == made.metadata()["dtype"][0].as_py() == hardware("cpu").best


def test_a_second_run_finds_all_done_and_touches_nothing(tmp_path, labels, generator, config):
    out = tmp_path / "out"
    first = run(out, labels, generator, config)

    def times():
        return {p.name: p.stat().st_mtime_ns for p in out.iterdir() if p.name != ".lock"}

    before = times()
    assert run(out, labels, generator, config).fingerprint == first.fingerprint
    assert times() == before


def test_only_missing_shards_are_made_and_as_before(tmp_path, labels, generator, config):
    out = tmp_path / "out"
    run(out, labels, generator, config)
    whole = contents(out)
    (out / "000001.json").unlink()  # as if killed right before it was done
    (out / ".000001.parquet.0a1b2c3d.part").write_bytes(b"half")
    kept = (out / "000000.tar").stat().st_mtime_ns
    run(out, labels, generator, config)
    assert contents(out) == whole
    assert (out / "000000.tar").stat().st_mtime_ns == kept


@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_an_interrupted_run_leaves_whole_shards_and_resumes_to_the_same_bytes(
    tmp_path, labels, generator, config, monkeypatch, at
):
    """Within the first batch, and within and between shards; what is killed is tested with the study."""
    small, out = config.model_copy(update={"shard_size": 4, "batch_size": 2}), tmp_path / "out"
    draw, batches = Sampler.draw, itertools.count()

    def interrupt(self, requests):
        if next(batches) == at:
            signal.raise_signal(signal.SIGINT)
        return draw(self, requests)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it ignores it
    monkeypatch.setattr(Sampler, "draw", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(out, labels, generator, small)
    signal.signal(signal.SIGINT, before)
    kinds = ("json", "parquet", "tar")
    assert list(contents(out)) == [*(f"{i:06d}.{kind}" for i in range(at // 2) for kind in kinds), "unfinished.json"]
    run(out, labels, generator, small)
    run(tmp_path / "undisturbed", labels, generator, small)
    assert contents(out) == contents(tmp_path / "undisturbed")


def test_blank_images_never_enter(tmp_path, labels, generator, changed_generator, config):
    bad = generator.model_copy(update={"model": str(changed_generator(blank))})
    dataset = run(tmp_path, labels, bad, config, shards=[0])
    assert len(dataset) == 0
    keys = [r.key for r in Plan(labels, config, 0)][:6]
    assert dataset.given_up == dict.fromkeys(keys, "blank after 5 redraws")
    rows = dataset.metadata().to_pylist()
    assert {(r["status"], r["redraws"], r["blank"], r["black"]) for r in rows} == {("given-up", 5, True, False)}
    assert not list(Artifact(tmp_path).damage())


def test_a_dataset_without_an_image_is_an_error_and_is_drawn_again(
    tmp_path, labels, generator, config, monkeypatch, caplog
):
    drawn = {}
    monkeypatch.setattr(DiffusersEngine, "draw", lambda self, requests: [drawn.get(r.class_id) for r in requests])
    with refused(12, "unsafe", "generate.prompts", kind=GenrobustError):
        run(tmp_path, labels, generator, config)
    drawn["guitar"] = drawn["rocket"] = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    made = run(tmp_path, labels, generator, config)
    assert len(made) == 8 and made.given_up.keys() == {f"camera-{number:06d}" for number in range(4)}
    assert "4 of 12" in caplog.text and "unsafe" in caplog.text
    assert "7 of 8" in caplog.text


def blank(pipeline):
    pipeline.vae.decoder.conv_out.weight.zero_()
    pipeline.vae.decoder.conv_out.bias.zero_()


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda pipeline: pipeline.unet.conv_out.weight.fill_(3e38), "nan"),
        (blank, "blank"),
    ],
    ids=["finite, and overflows", "blank"],
)
def test_a_hopeless_generator_is_stopped_early(tmp_path, labels, generator, changed_generator, config, spoil, fault):
    asked = config.model_copy(update={"per_class": 1000, "shard_size": 3000, "batch_size": 50})
    with refused(HOPELESS, fault, "generator.dtype", kind=GenrobustError):
        run(tmp_path, labels, generator.model_copy(update={"model": str(changed_generator(spoil))}), asked)
    assert list(contents(tmp_path)) == ["unfinished.json"]


def test_all_reasons_of_a_hopeless_generator_are_named(tmp_path, labels, generator, config, monkeypatch):
    """Even if the last image was refused by a safety checker."""
    gray = np.full((64, 64, 3), 128, dtype=np.uint8)
    monkeypatch.setattr(DiffusersEngine, "draw", lambda self, requests: [*[gray] * (len(requests) - 1), None])
    asked = config.model_copy(update={"per_class": 1000, "shard_size": 3000, "batch_size": 50})
    with refused("blank", "unsafe", "generator.dtype", kind=GenrobustError):
        run(tmp_path, labels, generator, asked)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"generator": {"steps": 3}}, "steps"),
        ({"config": {"per_class": 5}}, "plan"),
        ({"data_seed": 1}, "plan"),
    ],
)
def test_the_folder_of_another_recipe_is_refused(tmp_path, labels, generator, config, change, field):
    run(tmp_path, labels, generator, config, shards=[])
    before = contents(tmp_path)
    generator = generator.model_copy(update=change.get("generator", {}))
    config = config.model_copy(update=change.get("config", {}))
    with refused(tmp_path, f"\n  {field}: "):
        run(tmp_path, labels, generator, config, data_seed=change.get("data_seed", 0))
    assert contents(tmp_path) == before


def test_a_truncated_shard_is_told_before_anything_is_drawn(tmp_path, labels, generator, config):
    run(tmp_path, labels, generator, config, shards=[0])
    tar = tmp_path / "000000.tar"
    tar.write_bytes(tar.read_bytes()[:5000])
    with refused("000000.tar", "delete", kind=GenrobustError):
        run(tmp_path, labels, generator, config)
    assert sorted(contents(tmp_path)) == ["000000.json", "000000.parquet", "000000.tar", "unfinished.json"]
    (tmp_path / "000000.json").unlink()
    assert len(run(tmp_path, labels, generator, config)) == 12


def test_a_folder_in_use_is_told(tmp_path, labels, generator, config):
    with lock(tmp_path):
        with refused(tmp_path):
            run(tmp_path, labels, generator, config)
        assert contents(tmp_path) == {}
    run(tmp_path, labels, generator, config)
    with lock(tmp_path):
        run(tmp_path, labels, generator, config)  # nothing is left, which waits for no one


def test_a_place_that_cannot_be_written_is_told(tmp_path, labels, generator, config):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "out", tmp_path / "file"):
        with refused(out):
            run(out, labels, generator, config)
    assert (tmp_path / "file").read_text() == "mine"


def test_too_little_memory_is_reported_with_what_to_lower(tmp_path, labels, generator, config):
    size = 2**24  # its noise alone takes more than any address space
    with refused("generator.width", kind=OutOfMemory):
        run(tmp_path, labels, generator.model_copy(update={"width": size, "height": size}), config)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": "./nowhere"}, "generator.model"),
        ({"engine": "nothing"}, "'nothing'"),
    ],
)
def test_what_cannot_be_drawn_makes_no_folder(tmp_path, labels, generator, config, changes, named):
    with refused(named):
        run(tmp_path / "out", labels, generator.model_copy(update=changes), config)
    assert not (tmp_path / "out").exists()
