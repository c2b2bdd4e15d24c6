"""Fine-tunes in a process of its own that a test can kill: ``finetune_once.py BASE OUT STEPS``."""

import sys
from pathlib import Path

import tuning_job

base, out, steps = sys.argv[1:]
tuning_job.run(Path(base), tuning_job.images(), Path(out), steps=int(steps))
