"""A class model learns from its images, ends in the same folder whatever stops it, and is what diffusers loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiTPipeline
from pydantic import ValidationError
from safetensors.torch import load_file

from genrobust.core.errors import UserError
from genrobust.core.images import ClassLabel, ImageSet, LabelSpace, Subset
from genrobust.generate.modes import MODES
from genrobust.generate.pipeline import load_generator
from genrobust.generate.plan import plan_of
from genrobust.generate.sample import Sampler
from genrobust.generate.train.class_model import NULL, _ClassTraining, _load, train_class_model
from genrobust.generate.train.objective import ClassCondition, losses
from genrobust.recipe.diffusion import ClassModelConfig
from genrobust.recipe.generate import GenerateConfig, GeneratorConfig

CPU = torch.device("cpu")
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
SMALL = {"depth": 2, "width": 16, "heads": 2, "steps": 6, "batch_size": 4, "warmup_steps": 1, "save_every": 2}


def settings(**changes: Any) -> ClassModelConfig:
    return ClassModelConfig.model_validate({**SMALL, "learning_rate": 1e-2, "precision": "float32", **changes})


def run(base: Path, images: ImageSet, labels: LabelSpace, out: Path, **changes: Any) -> Path:
    generator = GeneratorConfig(model=str(base))
    return train_class_model(generator, images, labels, settings(**changes), 0, out, device="cpu", threads=1)


def training(base: Path, images: ImageSet, out: Path, **changes: Any) -> _ClassTraining:
    config = settings(**changes)
    generator = _load(GeneratorConfig(model=str(base)), config, CPU)
    return _ClassTraining(generator, images, 3, config, 0, out, {})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def three() -> LabelSpace:
    names = (("camera", "Camera", "camera"), ("crane", "Crane", "crane bird"), ("rocket", "Rocket", "rocket"))
    return LabelSpace(tuple(ClassLabel(*name) for name in names))


@pytest.fixture(scope="module")
def made(generator_folder: Path, real: ImageSet, three: LabelSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    return run(generator_folder, real, three, tmp_path_factory.mktemp("made") / "out")


# ------------------------------------------------------------------------------------------- what is saved


def test_the_folder_is_a_plain_dit_pipeline_with_the_autoencoder_of_the_base(
    generator_folder: Path, made: Path
) -> None:
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        assert (made / "vae" / name).read_bytes() == (generator_folder / "vae" / name).read_bytes()
    pipeline = DiTPipeline.from_pretrained(made, use_safetensors=True)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.beta_schedule == "squaredcos_cap_v2"  # the base's
    assert pipeline.scheduler.config.clip_sample is False
    assert pipeline.get_label_ids(["Crane", "crane bird", "rocket"]) == [1, 1, 2]
    assert {w.dtype for w in load_file(made / WEIGHTS).values()} == {torch.float32}
    pipeline.set_progress_bar_config(disable=True)
    images = [
        pipeline([0, 2], guidance, torch.Generator().manual_seed(0), num_inference_steps=2, output_type="np").images
        for guidance in (1.0, 4.0)
    ]
    assert images[0].shape == (2, 64, 64, 3)
    assert np.abs(images[0] - images[1]).max() > 1e-4  # its own guidance finds the class that means none


def test_the_class_mode_draws_with_it(made: Path, three: LabelSpace, real: ImageSet) -> None:
    config = GeneratorConfig(mode="class", model=str(made), steps=2, dtype="float32")
    generator = load_generator(config, CPU)
    assert (generator.width, generator.height) == (64, 64)
    requests = list(plan_of(config, GenerateConfig(per_class=1), three, real, 0))
    drawn = Sampler(generator, MODES["class"](generator, three, None), 0).draw(requests)
    images = [drawing.image for drawing in drawn]
    assert all(image is not None and image.shape == (64, 64, 3) for image in images)
    other = LabelSpace(tuple(reversed(three.classes)))  # it knows its classes by name, in any order
    assert MODES["class"](generator, other, None)._numbers == [2, 1, 0]  # type: ignore[attr-defined]


def test_the_record_says_what_it_was_made_from(made: Path, real: ImageSet) -> None:
    text = (made / "class_model.json").read_text()
    record = json.loads(text)
    assert (record["images"], record["images_fingerprint"], record["classes"]) == (12, real.fingerprint, 3)
    assert (record["depth"], record["width"], record["steps"]) == (2, 16, 6)
    assert record["torch_version"] == torch.__version__
    assert "/" not in text


# ---------------------------------------------------------------------------------------- how it is trained


def test_a_finished_run_is_left_alone_and_another_is_refused(
    generator_folder: Path, real: ImageSet, three: LabelSpace, made: Path
) -> None:
    before = contents(made)
    run(generator_folder, real, three, made, save_every=5)
    with pytest.raises(UserError, match=r"holds another class model.*\n  depth: there 2, asked for 3$"):
        run(generator_folder, real, three, made, depth=3)
    assert contents(made) == before


def test_it_begins_as_nothing_and_learns_what_it_is_shown(
    generator_folder: Path, real: ImageSet, tmp_path: Path
) -> None:
    run_of = training(generator_folder, real, tmp_path, steps=60, batch_size=8)

    def unseen_loss() -> float:
        with torch.no_grad():
            batches = [run_of.examples.batch(1, step) for step in range(4)]
            return float(torch.cat([losses(run_of.model, run_of.schedule, b, 5.0) for b in batches]).mean())

    some = run_of.examples.batch(0, 0)
    with torch.no_grad():
        assert run_of.model(some.latents, some.timesteps, some.context).sample.abs().max() == 0
    before = unseen_loss()
    run_of.work()
    run_of.averaged()
    assert unseen_loss() < 0.9 * before


def test_images_come_with_their_class_or_with_none(real: ImageSet) -> None:
    which = torch.arange(12).repeat(40)

    def drawn(share: float) -> torch.Tensor:
        return ClassCondition(real, NULL, share).draw(which, torch.Generator().manual_seed(0))

    own = torch.from_numpy(np.asarray(real.labels))[which]
    assert torch.equal(drawn(0), own)
    assert set(drawn(1).tolist()) == {NULL}
    some = drawn(0.25)
    assert torch.equal(some[some != NULL], own[some != NULL])
    assert 86 <= int((some == NULL).sum()) <= 154  # 120 of 480 in the mean, plus or minus 3.5 standard deviations


def test_the_model_itself_drops_no_class(generator_folder: Path, real: ImageSet, tmp_path: Path) -> None:
    run_of = training(generator_folder, real, tmp_path)
    run_of._gradient(0)
    run_of._update()
    run_of._gradient(1)
    run_of._update()
    some = run_of.examples.batch(0, 0)
    torch.manual_seed(0)
    with torch.no_grad():
        answers = [run_of.model(some.latents, some.timesteps, some.context).sample for _ in range(4)]
    assert all(torch.equal(answers[0], other) for other in answers[1:])


# ------------------------------------------------------------------------------------------------ bad input


def test_a_class_without_images_is_named(
    generator_folder: Path, real: ImageSet, three: LabelSpace, tmp_path: Path
) -> None:
    few = Subset(real, [i for i in range(len(real)) if real.labels[i] != 1])
    with pytest.raises(UserError, match=r"holds no image of the class 'Crane' to learn from"):
        run(generator_folder, few, three, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "changes", "own", "says"),
    [
        ("sd3", {}, {}, "needs a plain AutoencoderKL, and .* has one with shifted latents"),
        ("sd", {"width": 128}, {}, "square images; the generator's are 128 x 64 pixels"),
        ("sd", {}, {"patch_size": 3}, "class_model.patch_size is 3, and the latents of .* are 8 x 8"),
    ],
)
def test_a_base_that_does_not_fit_is_named(
    folder_of: Callable[[str], Path],
    real: ImageSet,
    three: LabelSpace,
    tmp_path: Path,
    kind: str,
    changes: dict[str, Any],
    own: dict[str, Any],
    says: str,
) -> None:
    generator = GeneratorConfig.model_validate({"model": str(folder_of(kind)), **changes})
    with pytest.raises(UserError, match=says):
        train_class_model(generator, real, three, settings(**own), 0, tmp_path / "out", device="cpu", threads=1)


@pytest.mark.parametrize("kind", ["sdxl", "variation", "dit"])
def test_other_bases_lend_their_autoencoder_too(
    folder_of: Callable[[str], Path], real: ImageSet, three: LabelSpace, tmp_path: Path, kind: str
) -> None:
    mode = {"sdxl": "labels", "variation": "images", "dit": "class"}[kind]
    generator = GeneratorConfig.model_validate({"model": str(folder_of(kind)), "mode": mode})
    config = settings(steps=2)
    out = train_class_model(generator, real, three, config, 0, tmp_path / "out", device="cpu", threads=1)
    drawn = load_generator(GeneratorConfig(mode="class", model=str(out), dtype="float32"), CPU)
    own = load_generator(generator.model_copy(update={"dtype": "float32"}), CPU).pipeline.vae.state_dict()
    lent = drawn.pipeline.vae.state_dict()
    assert own.keys() == lent.keys()
    assert all(torch.equal(own[name], lent[name]) for name in own)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"width": 100, "heads": 3}, r"width is 100: it must be a multiple of heads \(3\)"),
        ({"width": 18, "heads": 3}, "and of 4"),
        ({"steps": 5, "warmup_steps": 5}, "lower it, or raise steps"),
        ({"depth": 0}, "depth\n  Input should be greater than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ClassModelConfig.model_validate(changes)
