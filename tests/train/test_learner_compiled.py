"""Training with `compile: true`: the same up to rounding, resumed to the same bits; and a compiler that fails."""

import pytest
import torch
from safetensors.torch import load_file
from small_job import small_job

from genrobust.classifiers import saved_steps
from genrobust.core import GenrobustError

FEW = {"steps": 6, "save_every": 3, "validate_every": 6}


class Stopped(Exception):
    pass


def stop(step, metrics):
    if step == 6:
        raise Stopped


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.mark.thorough
def test_it_trains_to_the_same_weights_up_to_rounding_and_resumes_to_the_same_bits(tmp_path):
    job = small_job()
    plain = weights(job.run(tmp_path / "plain", **FEW))
    compiled = weights(job.run(tmp_path / "compiled", compile=True, **FEW))
    with pytest.raises(Stopped):
        job.run(tmp_path / "resumed", compile=True, watch=stop, **FEW)
    assert saved_steps(tmp_path / "resumed")
    resumed = weights(job.run(tmp_path / "resumed", compile=True, **FEW))
    assert plain.keys() == compiled.keys() == resumed.keys()
    for name, tensor in plain.items():
        apart = (tensor.float() - compiled[name].float()).abs()
        # Adam makes a whole step of a gradient that is rounding alone, and two networks may then step apart
        assert apart.mean() < 1e-3 and apart.max() < 3e-2, name
        assert torch.equal(compiled[name], resumed[name]), name


@pytest.mark.thorough
def test_a_compiler_that_fails_is_an_error_that_names_the_key(tmp_path):
    from torch._inductor import config, utils

    torch._dynamo.reset()  # what this process has compiled before
    broken = config.patch({"cpp.cxx": ("no-such-compiler",)})
    with (
        broken,
        utils.fresh_inductor_cache(),
        pytest.raises(GenrobustError, match=r"train\.compile: "),
    ):
        small_job().run(tmp_path / "failed", compile=True, **FEW)
