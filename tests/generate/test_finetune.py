"""A fine-tune ends in the same weights whatever stops it, is what diffusers loads, and learns from what it is shown."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tuning_job
from diffusers import DDPMScheduler, PNDMScheduler, StableDiffusionPipeline
from pydantic import ValidationError
from safetensors.torch import load_file
from tiny import stable_diffusion
from tuning_job import captions, run, settings

from genrobust.core.errors import GenrobustError, UserError
from genrobust.core.images import ImageSet, Subset
from genrobust.generate.locate import embedded_generator
from genrobust.generate.pipeline import Generator, load_generator
from genrobust.generate.train import finetune as finetuning, objective
from genrobust.generate.train.finetune import finetune, finetune_job
from genrobust.generate.train.objective import (
    Batch,
    CaptionCondition,
    Examples,
    losses,
    noise_schedule,
    snr_weights,
    target,
    told_captions,
)
from genrobust.generate.train.tuning import Tuning
from genrobust.recipe.diffusion import FinetuneConfig
from genrobust.recipe.generate import GeneratorConfig

CPU = torch.device("cpu")
UNET = "unet/diffusion_pytorch_model.safetensors"
LORA = "pytorch_lora_weights.safetensors"
WEIGHTS = {"full": UNET, "lora": LORA}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return tuning_job.images()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny generator; its UNet, but no other part, in half precision on disk."""
    folder = tmp_path_factory.mktemp("base")
    pipeline = stable_diffusion()
    pipeline.unet.half()
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tuned(base: Path, images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Undisturbed fine-tunes, by method."""
    return {m: run(base, images, tmp_path_factory.mktemp("tuned") / m, method=m) for m in ("full", "lora")}


def loaded(folder: Path, **changes: Any) -> Generator:
    return load_generator(GeneratorConfig(model=str(folder), scheduler=None, dtype="float32", **changes), CPU)


def tuning(base: Path, images: ImageSet, out: Path, **changes: Any) -> Tuning:
    return Tuning(loaded(base), images, told_captions(images, captions), settings(**changes), 0, out, {})


def sample(pipeline: Any) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(0)
    return pipeline("outline of 1", num_inference_steps=3, generator=noise, output_type="np").images[0]


# ---------------------------------------------------------------------------------------------- the loss

# Signal shares of 0.64 and, after a second step, 0.64 x 0.5 = 0.32: signal-to-noise ratios of 16/9 and 8/17.
KNOWN = {"num_train_timesteps": 2, "trained_betas": [0.36, 0.5]}


@pytest.mark.parametrize(("kind", "wanted"), [("v_prediction", 0.8 * 2 - 0.6 * 3), ("epsilon", 2.0)])
def test_the_target_on_known_numbers(kind: str, wanted: float) -> None:
    schedule = DDPMScheduler(**KNOWN, prediction_type=kind)
    shape = (1, 1, 1, 1)
    batch = Batch(torch.full(shape, 3.0), torch.full(shape, 2.0), torch.tensor([0]), torch.zeros(1, 1, 1))
    assert target(schedule, batch).item() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "min_snr", "wanted"),
    [
        ("v_prediction", 5.0, [(16 / 9) / (25 / 9), (8 / 17) / (25 / 17)]),
        ("v_prediction", 1.0, [1 / (25 / 9), (8 / 17) / (25 / 17)]),
        ("epsilon", 5.0, [1, 1]),
        ("epsilon", 1.0, [9 / 16, 1]),
        ("epsilon", None, [1, 1]),
    ],
)
def test_min_snr_weights_are_those_of_the_formula(kind: str, min_snr: float | None, wanted: list[float]) -> None:
    schedule = DDPMScheduler(**KNOWN, prediction_type=kind)
    assert snr_weights(schedule, torch.tensor([0, 1]), min_snr).tolist() == pytest.approx(wanted, abs=1e-5)


def test_the_loss_is_the_weighted_error_of_the_velocity(base: Path) -> None:
    pipeline = loaded(base).pipeline
    schedule = noise_schedule(pipeline.scheduler.config)
    source = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(2, 12, 8, 8, generator=source) for _ in range(2))
    context = torch.randn(2, 77, 16, generator=source)
    time = torch.tensor([100, 900])
    with torch.no_grad():
        found = losses(pipeline.unet, schedule, Batch(x, noise, time, context), 5.0)
        # The squared-cosine schedule of Nichol and Dhariwal (2021), written down anew.
        level = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
        share = np.cumprod(1 - np.minimum(1 - level[1:] / level[:-1], 0.999))[time.numpy()]
        a, s = (torch.tensor(np.sqrt(v), dtype=torch.float32).view(2, 1, 1, 1) for v in (share, 1 - share))
        answer = pipeline.unet(a * x + s * noise, time, context).sample
    snr = share / (1 - share)
    wanted = ((answer - (a * noise - s * x)) ** 2).mean((1, 2, 3)).numpy() * np.minimum(snr, 5) / (snr + 1)
    assert found.numpy() == pytest.approx(wanted, rel=1e-4)


def test_stable_diffusion_15_has_the_schedule_that_it_was_trained_with() -> None:
    own = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True)
    schedule = noise_schedule(own.config)
    assert schedule.config.prediction_type == "epsilon"
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    assert schedule.alphas_cumprod.numpy() == pytest.approx(np.cumprod(1 - betas), rel=1e-4)


def test_another_kind_of_answer_is_refused(base: Path) -> None:
    config = {**loaded(base).pipeline.scheduler.config, "prediction_type": "sample"}
    with pytest.raises(UserError, match="prediction_type 'sample' cannot be fine-tuned"):
        noise_schedule(config)


# --------------------------------------------------------------------------------------------- a batch


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    """The tiny generator with an autoencoder that is sure of itself, so that latents tell which image they are of."""
    pipeline = stable_diffusion()
    with torch.no_grad():
        pipeline.vae.quant_conv.weight[12:] = 0
        pipeline.vae.quant_conv.bias[12:] = -30  # log variance
    folder = tmp_path_factory.mktemp("exact")
    pipeline.save_pretrained(folder)
    return loaded(folder)


def examples(generator: Generator, images: ImageSet, **changes: Any) -> Examples:
    config = settings(batch_size=32, **changes)
    return Examples(
        generator, images, CaptionCondition(generator, images, told_captions(images, captions), config), config
    )


def means(generator: Generator, images: ImageSet, mirrored: bool = False) -> torch.Tensor:
    pixels = np.stack([np.asarray(images.image(i))[:, :: -1 if mirrored else 1] for i in range(len(images))])
    with torch.no_grad():
        inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
        return generator.pipeline.vae.encode(inputs).latent_dist.mean * generator.pipeline.vae.config.scaling_factor


def nearest(latents: torch.Tensor, all_means: torch.Tensor) -> list[int]:
    distances = torch.cdist(latents.flatten(1), all_means.flatten(1))
    assert distances.min(1).values.max() < 1e-3
    return distances.argmin(1).tolist()


def context_of(generator: Generator, text: str) -> torch.Tensor:
    with torch.no_grad():
        return generator.pipeline.encode_prompt(text, CPU, 1, False)[0][0]


def test_an_image_comes_with_a_caption_of_its_own(exact: Generator, images: ImageSet) -> None:
    batch = examples(exact, images, caption_dropout=0).batch(0, 0)
    shown = nearest(batch.latents, means(exact, images))
    assert len(set(shown)) > 6
    told = set()
    for image, context in zip(shown, batch.context, strict=True):
        own = captions(int(images.labels[image]), images.styles[image])
        matching = [text for text in own if torch.allclose(context, context_of(exact, text), atol=1e-5)]
        assert len(matching) == 1
        told.add(matching[0])
    assert len(told) == 6  # three classes, two captions each


def test_dropped_captions_are_empty_and_as_many_as_asked_for(exact: Generator, images: ImageSet) -> None:
    empty = context_of(exact, "")

    def dropped(share: float) -> int:
        contexts = torch.cat([examples(exact, images, caption_dropout=share).batch(0, k).context for k in range(4)])
        return sum(torch.allclose(context, empty, atol=1e-5) for context in contexts)

    assert dropped(0) == 0
    assert dropped(1) == 128
    assert 15 <= dropped(0.25) <= 49  # 32 of 128 in the mean, plus or minus 3.5 standard deviations


def test_a_flip_mirrors_about_half_of_the_images(exact: Generator, images: ImageSet) -> None:
    views = torch.cat([means(exact, images), means(exact, images, mirrored=True)])
    shown = nearest(examples(exact, images, flip=True).batch(0, 0).latents, views)
    assert 6 <= sum(view >= len(images) for view in shown) <= 26
    plain = nearest(examples(exact, images).batch(0, 0).latents, views)
    assert max(plain) < len(images)


def test_a_batch_is_a_function_of_seed_and_step_alone(exact: Generator, images: ImageSet) -> None:
    some = examples(exact, images)
    first = some.batch(0, 7)
    some.batch(0, 8)
    again = examples(exact, images).batch(0, 7)
    for name in ("latents", "noise", "timesteps", "context"):
        assert torch.equal(getattr(first, name), getattr(again, name)), name
    assert not torch.equal(first.noise, some.batch(0, 8).noise)
    assert not torch.equal(first.noise, some.batch(1, 7).noise)


def test_what_does_not_fit_into_memory_is_encoded_when_asked_for(
    exact: Generator, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = examples(exact, images).batch(0, 0)
    monkeypatch.setattr(objective, "KEPT_BYTES", 0)
    monkeypatch.setattr(objective, "ENCODED_PIXELS", 5 * 64 * 64)
    monkeypatch.setattr(objective, "ENCODED_TEXTS", 5)
    fresh = examples(exact, images).batch(0, 0)
    assert torch.allclose(kept.latents, fresh.latents, atol=1e-4)
    assert torch.allclose(kept.context, fresh.context, atol=1e-5)
    assert torch.equal(kept.noise, fresh.noise)


@pytest.mark.parametrize("changes", [{"accumulate": 3}, {"gradient_checkpointing": True}])
def test_what_saves_memory_leaves_the_gradient_alone(
    base: Path, images: ImageSet, tmp_path: Path, changes: dict[str, Any]
) -> None:
    plain, thrifty = tuning(base, images, tmp_path), tuning(base, images, tmp_path, **changes)
    assert plain._gradient(0).tolist() == pytest.approx(thrifty._gradient(0).tolist(), rel=1e-4)
    for one, other in zip(plain.parameters, thrifty.parameters, strict=True):
        assert one.grad is not None and other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-6)


# ------------------------------------------------------------------------------------- stopped and resumed


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    base: Path, images: ImageSet, tuned: dict[str, Path], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(GenrobustError, match=r"cannot write to .*free some space and run the same command again"):
            run(base, images, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    run(base, images, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tuned["full"])


def test_a_place_that_cannot_be_written_is_named(base: Path, images: ImageSet, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*file"):
        run(base, images, tmp_path / "file" / "out")


def test_a_finished_run_is_left_alone(
    base: Path, images: ImageSet, tuned: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "Tuning", None)  # a second run would need it
    for method, folder in tuned.items():
        before = contents(folder)
        (folder / "state.safetensors").write_bytes(b"left")  # as if killed right after the record was written
        assert run(base, images, folder, method=method, save_every=5) == folder
        assert contents(folder) == before


# ----------------------------------------------------------------------------------------- what is saved


def test_a_full_fine_tune_is_the_base_with_another_unet(base: Path, tuned: dict[str, Path]) -> None:
    made, before = contents(tuned["full"]), contents(base)
    assert made.keys() == before.keys() | {"finetune.json", ".lock"}
    assert [name for name in before if made[name] != before[name]] == [UNET]
    new, old = load_file(tuned["full"] / UNET), load_file(base / UNET)
    assert new.keys() == old.keys()
    assert {weight.dtype for weight in new.values()} == {torch.float16}
    assert any(not torch.equal(new[name], old[name]) for name in old)


def test_it_loads_and_samples_as_any_generator(base: Path, tuned: dict[str, Path]) -> None:
    own = sample(loaded(tuned["full"]).pipeline)
    plain = sample(StableDiffusionPipeline.from_pretrained(tuned["full"], torch_dtype=torch.float32))
    assert own.shape == (64, 64, 3)
    assert np.array_equal(own, plain)
    assert np.abs(own - sample(loaded(base).pipeline)).max() > 1e-3


def test_a_lora_changes_the_images_and_at_scale_0_does_not(base: Path, tuned: dict[str, Path]) -> None:
    without = sample(loaded(base).pipeline)
    with_lora = sample(loaded(base, lora={"model": str(tuned["lora"])}).pipeline)
    assert np.abs(with_lora - without).max() > 1e-3
    assert np.allclose(
        sample(loaded(base, lora={"model": str(tuned["lora"]), "scale": 0}).pipeline), without, atol=1e-5
    )
    plain = StableDiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32)
    plain.load_lora_weights(tuned["lora"])
    assert np.allclose(sample(plain), with_lora, atol=1e-4)
    assert (tuned["lora"] / LORA).stat().st_size < (base / UNET).stat().st_size


def test_a_loaded_lora_is_the_unet_that_was_trained(base: Path, images: ImageSet, tmp_path: Path) -> None:
    trained: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        averaged = Tuning.averaged
        patch.setattr(Tuning, "averaged", lambda self: trained.append(averaged(self)) or trained[0])
        run(base, images, tmp_path / "out", method="lora")
    unet = loaded(base, lora={"model": str(tmp_path / "out")}).pipeline.unet
    inputs = (torch.randn(1, 12, 8, 8), torch.tensor([500]), torch.randn(1, 77, 16))
    with torch.no_grad():
        assert torch.allclose(unet(*inputs).sample, trained[0](*inputs).sample, atol=1e-4)


@pytest.mark.parametrize("ema_decay", [0.5, 0.999, 0.0])
def test_the_averaged_weights_are_those_saved(
    base: Path, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema_decay: float
) -> None:
    after: list[dict[str, torch.Tensor]] = []
    update = Tuning._update

    def keep(self: Tuning) -> None:
        update(self)
        after.append({name: value.detach().clone() for name, value in self.model.state_dict().items()})

    monkeypatch.setattr(Tuning, "_update", keep)
    out = run(base, images, tmp_path / "out", ema_decay=ema_decay)
    average = after[0]
    for number, weights in enumerate(after[1:], start=1):
        decay = min(ema_decay, (1 + number) / (10 + number))
        average = {name: decay * average[name] + (1 - decay) * value for name, value in weights.items()}
    for name, saved in load_file(out / UNET).items():
        assert torch.allclose(saved, average[name].half(), rtol=2e-3, atol=1e-6), name


def test_the_record_says_what_it_was_made_from(base: Path, images: ImageSet, tuned: dict[str, Path]) -> None:
    for method, folder in tuned.items():
        text = (folder / "finetune.json").read_text()
        record = json.loads(text)
        generator = GeneratorConfig(model=str(base))
        job = finetune_job(generator, images, captions, settings(method=method), 0, "cpu", 1)
        assert {name: record[name] for name in job} == job
        assert (record["base"], record["base_sha256"]) == (base.name, loaded(base).weights_sha256)
        assert (record["images"], record["images_fingerprint"], record["captions"]) == (12, images.fingerprint, 6)
        assert record["torch_version"] == torch.__version__
        assert "/" not in text


def test_files_of_a_variant_come_under_plain_names(images: ImageSet, tmp_path: Path) -> None:
    stable_diffusion().to(torch.float16).save_pretrained(tmp_path / "base", variant="fp16")
    generator = GeneratorConfig(model=str(tmp_path / "base"), variant="fp16")
    out = finetune(generator, images, captions, settings(), 0, tmp_path / "out", device="cpu", threads=1)
    pipeline = StableDiffusionPipeline.from_pretrained(out, torch_dtype=torch.float16, use_safetensors=True)
    assert pipeline.vae.dtype == pipeline.unet.dtype == torch.float16
    assert not list(out.rglob("*fp16*"))


def test_the_embedded_generator_is_fine_tuned_and_draws(images: ImageSet, tmp_path: Path) -> None:
    changes = {"precision": "bfloat16", "steps": 2, "learning_rate": 1e-4}
    out = run(embedded_generator(), images, tmp_path / "out", **changes)
    new, old = load_file(out / UNET), load_file(embedded_generator() / UNET)
    changed = [name for name in old if not torch.equal(new[name], old[name])]
    assert len(changed) > len(old) / 2
    assert max(float((new[n].float() - old[n].float()).abs().max()) for n in changed) < 1e-2
    sizes = [sum(p.stat().st_size for p in f.rglob("*.safetensors")) for f in (out, embedded_generator())]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-3)
    assert sample(StableDiffusionPipeline.from_pretrained(out)).shape == (64, 64, 3)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_it_learns_what_it_is_shown(base: Path, images: ImageSet, tmp_path: Path, method: str) -> None:
    run_of = tuning(base, images, tmp_path, method=method, steps=60, batch_size=8)

    def unseen_loss() -> float:
        with torch.no_grad():
            batches = [run_of.examples.batch(1, step) for step in range(4)]
            return float(torch.cat([losses(run_of.model, run_of.schedule, b, 5.0) for b in batches]).mean())

    before = unseen_loss()
    run_of.work()
    run_of.averaged()
    assert unseen_loss() < (0.8 if method == "full" else 0.97) * before


# ------------------------------------------------------------------------------------------------ bad input


def test_a_folder_of_another_fine_tune_is_refused_and_kept(
    base: Path, images: ImageSet, tuned: dict[str, Path]
) -> None:
    before = contents(tuned["full"])
    with pytest.raises(UserError, match=r"holds another fine-tune.*\n  learning_rate: there 0.01, asked for 0.001$"):
        run(base, images, tuned["full"], learning_rate=1e-3)
    with pytest.raises(UserError, match=r"images: there 12, asked for 3\n  images_fingerprint"):
        run(base, Subset(images, [0, 4, 8]), tuned["full"])
    assert contents(tuned["full"]) == before


def test_a_folder_of_other_files_such_as_the_base_itself_is_refused(base: Path, images: ImageSet) -> None:
    before = contents(base)
    with pytest.raises(UserError, match=r"holds other files \(model_index.json.*choose another folder"):
        run(base, images, base)
    assert {name: made for name, made in contents(base).items() if name != ".lock"} == before
    (base / ".lock").unlink()


def test_out_of_memory_says_what_to_lower(base: Path, images: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(GenrobustError, match=r"out of memory on cpu.*accumulate.*checkpointing.*lora.*batch_size"):
        run(base, images, tmp_path / "out", batch_size=10**15)  # beyond any address space


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("sdxl", {}, "is a StableDiffusionXLPipeline; only a StableDiffusionPipeline is fine-tuned"),
        ("variation", {"mode": "images"}, "generator.mode is images, which draws without text"),
        ("dit", {"mode": "class"}, "generator.mode is class, which draws without text"),
        ("dit", {}, "holds a DiTPipeline"),
        ("sd", {"lora": {"model": "some.safetensors"}}, "generator.lora is set"),
        ("sd", {"width": 63}, "generator.width is 63 pixels"),
    ],
)
def test_a_base_that_does_not_fit_is_named(
    folder_of: Callable[[str], Path], images: ImageSet, tmp_path: Path, kind: str, changes: dict[str, Any], says: str
) -> None:
    generator = GeneratorConfig.model_validate({"model": str(folder_of(kind)), **changes})
    with pytest.raises(UserError, match=says):
        finetune(generator, images, captions, settings(), 0, tmp_path / "out", device="cpu", threads=1)


def test_images_and_captions_must_be_there(base: Path, images: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"image set .* is empty"):
        run(base, Subset(images, []), tmp_path / "out")
    with pytest.raises(UserError, match=r"no caption for images of label 1 in the style 'outline'"):
        finetune(GeneratorConfig(model=str(base)), images, lambda label, style: (), settings(), 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": 0}, "steps\n  Input should be greater than 0"),
        ({"steps": 5, "warmup_steps": 5}, "lower it, or raise steps"),
        ({"min_snr": 0}, "min_snr\n  Input should be greater than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        FinetuneConfig.model_validate(changes)
