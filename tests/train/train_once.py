"""Trains the small job into a folder, as a process of its own that a test can kill: ``train_once.py FOLDER``."""

import sys
from pathlib import Path

from conftest import Job

from genrobust.train.loop import train

job = Job()
config = job.config.model_copy(update={"steps": int(sys.argv[2])})
train(job.mixture(), job.val, job.labels, config, 0, Path(sys.argv[1]), device="cpu", threads=1)
