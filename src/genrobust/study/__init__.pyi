from .auditing import (
    audit as audit,
    by_classifier as by_classifier,
    by_clip as by_clip,
    filter_dataset as filter_dataset,
)
from .benchmarking import run_benchmark as run_benchmark
from .dataset_origin import origin_of as origin_of
from .estimate import (
    disk as disk,
    explain_disk_full as explain_disk_full,
    free as free,
    generation_time as generation_time,
    needs_of as needs_of,
    published_time as published_time,
    requests_of as requests_of,
    seconds_left as seconds_left,
    time_here as time_here,
)
from .executors.open import EXECUTORS as EXECUTORS, open_executor as open_executor
from .executors.processes import Processes as Processes
from .init import write_recipe as write_recipe
from .measuring import measure_machine as measure_machine
from .named_models import predictions_of as predictions_of
from .outputs import describe_verified as describe_verified, verify_outputs as verify_outputs
from .provenance import describe_others as describe_others
from .stage import Row as Row
from .studies import Studies as Studies, arm_called as arm_called
from .study import Study as Study
from .training_runs import TrainingRun as TrainingRun, recipe_and_name as recipe_and_name
from .user_folders import read_folders as read_folders
