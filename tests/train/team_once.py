"""Trains small jobs one after another, each by processes of its own: ``team_once.py JOBS``.

JOBS is a list in JSON: the folder, how many processes, the step at which they die (-1: none), and what the
configuration changes.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch.multiprocessing as mp
from conftest import Job
from torch import distributed

from genrobust.train import loop
from genrobust.train.mixture import Mixture, Part
from genrobust.train.team import team_of


def take_part(rank: int, meeting: str, folder: str, size: int, dies: int, changes: dict[str, Any]) -> None:
    if size > 1:
        distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    step = loop._Run._step

    def stop(self: Any, number: int, *batch: Any) -> Any:
        if number == dies:
            os._exit(0)
        return step(self, number, *batch)

    loop._Run._step = stop  # type: ignore[method-assign]
    config = job.config.model_copy(update={**changes, "workers": size})
    parts = [Part("real", job.real, 1), Part("generated", job.wild, 2)]
    mixture = Mixture(parts, config.batch_size, config.image_size)
    loop.train(mixture, job.val, job.labels, config, 0, Path(folder), device="cpu", threads=1, team=team_of(size))


job = Job()
for folder, size, dies, changes in json.loads(sys.argv[1]):
    with tempfile.TemporaryDirectory() as at:
        arguments = (f"{at}/meeting", folder, size, dies, changes)
        mp.start_processes(take_part, arguments, size, start_method="fork")  # torch is loaded once
