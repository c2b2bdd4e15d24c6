from .auditing import (
    audit as audit,
    by_classifier as by_classifier,
    by_clip as by_clip,
    filter_dataset as filter_dataset,
)
from .benchmarking import run_benchmark as run_benchmark
from .calibrating import calibrate as calibrate
from .cost import (
    disk as disk,
    free as free,
    published as published,
    room_told as room_told,
    seconds_left as seconds_left,
)
from .elsewhere import predictions_of as predictions_of
from .executors.open import open_executor as open_executor
from .executors.processes import Processes as Processes
from .init import read_folders as read_folders, write_recipe as write_recipe
from .named_models import arm_called as arm_called, names_recipe as names_recipe, trained as trained
from .origins import origin_of as origin_of
from .rates import measured_rate as measured_rate
from .study import Study as Study
from .trained_generators import finetuned as finetuned
from .training_runs import TrainingRun as TrainingRun
from .work import Step as Step, planned as planned, steps as steps
