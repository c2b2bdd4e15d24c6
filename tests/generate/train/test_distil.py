"""A student that draws in two steps what the guided generator draws in eight."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import EulerDiscreteScheduler, UniPCMultistepScheduler
from safetensors.torch import load_file
from small_training import CPU, LORA, UNET, loaded, objective, run

from genrobust.core import UserError, hashed_seed
from genrobust.generate.train.distil import distillation_losses, guesses
from genrobust.generate.train.objective import Batch, noise_schedule, target
from genrobust.recipe import GeneratorConfig

SCHEDULE = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 1000}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_guessing_as_told_leads_its_sampler_from_each_point_to_the_next(prediction):
    source = torch.Generator().manual_seed(0)
    points = [torch.randn(2, 3, 4, 4, generator=source) for _ in range(3)]
    schedule = noise_schedule({**SCHEDULE, "prediction_type": prediction})
    sampler = EulerDiscreteScheduler(**SCHEDULE, prediction_type=prediction, timestep_spacing="trailing")
    sampler.set_timesteps(2)
    told = guesses(schedule, sampler.timesteps.long(), points)
    latents = points[0] * sampler.init_noise_sigma
    for step, timestep in enumerate(sampler.timesteps):
        image, noise = told[:, step].unbind(1)
        batch = Batch(image, noise, timestep.long().expand(2), torch.zeros(2, 1, 1))
        assert torch.allclose(schedule.add_noise(image, noise, batch.timesteps), points[step], atol=1e-3)
        sampler.scale_model_input(latents, timestep)
        latents = sampler.step(target(schedule, batch), timestep, latents).prev_sample
    assert torch.allclose(latents, points[-1], atol=1e-2)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_is_that_of_the_velocity_whatever_the_network_predicts(prediction):
    schedule = noise_schedule({**SCHEDULE, "prediction_type": prediction})
    image, noise = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    batch = Batch(image, noise, torch.tensor([500]), torch.zeros(1, 1, 1))
    alpha, sigma = schedule.alphas_cumprod[500].sqrt(), (1 - schedule.alphas_cumprod[500]).sqrt()

    def network(noisy, timesteps, context):  # which guesses an image that is 0.1 too bright
        wrong = (noisy - alpha * (image + 0.1)) / sigma
        return SimpleNamespace(sample=wrong if prediction == "epsilon" else alpha * wrong - sigma * (image + 0.1))

    assert distillation_losses(schedule, network, batch).item() == pytest.approx(float((0.1 / sigma) ** 2), rel=1e-4)


def test_a_teacher_draws_what_its_pipeline_does(base):
    """Two of its images, of the first two prompts, with guidance, in eight steps; the last guess is the image."""
    task = objective(base, "distilled")
    _, _, drawn = task.start(CPU)
    pipeline = loaded(base).pipeline
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config, timestep_spacing="trailing")
    seeds = [hashed_seed(0, "distil", number) for number in (0, 1)]
    noise = torch.cat([torch.randn(1, 12, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    settings = {"num_inference_steps": 8, "guidance_scale": task.base.guidance_scale, "output_type": "latent"}
    wanted = pipeline(task.texts[:2], latents=noise, **settings).images
    found = drawn.drawn[torch.tensor([0, 1])][:, -1, 0]
    assert torch.allclose(found, wanted, atol=1e-3)


def test_it_is_a_lora_for_all_layers_or_a_whole_unet(base, trained, tmp_path):
    layers = [load_file(trained[kind] / LORA) for kind in ("lora", "distilled")]
    assert len(layers[1]) > 2 * len(layers[0])
    before = loaded(base).pipeline.unet.state_dict()
    after = loaded(base, lora={"model": str(trained["distilled"])}).pipeline.unet.state_dict()
    changed = [name for name, weight in before.items() if not weight.equal(after[name])]
    assert len(changed) == len(layers[1]) / 2, "each layer of the LoRA has changed the weight of another"
    assert (run(base, tmp_path / "full", "distilled", method="full") / UNET).exists()


@pytest.mark.parametrize(
    ("generator", "why"),
    [
        ({"guidance_scale": 1.0}, "generator.guidance_scale is 1, which guides nothing"),
        ({"lora": "another"}, "generator.lora is set"),
    ],
)
def test_what_cannot_be_distilled_is_refused(base, generator, why):
    with pytest.raises(UserError, match=why):
        objective(GeneratorConfig(model=str(base), **generator), "distilled")
