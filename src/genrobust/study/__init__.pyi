from .commands.audit import audit as audit
from .commands.benchmarking import run_benchmark as run_benchmark
from .commands.dataset_origin import origin_of as origin_of
from .commands.filter import by_classifier as by_classifier, by_clip as by_clip, filter_dataset as filter_dataset
from .commands.init import write_recipe as write_recipe
from .commands.tune import Tuned as Tuned, Tuning as Tuning, effects as effects
from .commands.user_folders import read_folders as read_folders
from .commands.view import filter_yaml as filter_yaml, view_dataset as view_dataset
from .estimates.estimate import (
    disk as disk,
    explain_disk_full as explain_disk_full,
    free as free,
    generation_time as generation_time,
    measure_machine as measure_machine,
    needs_of as needs_of,
    published_time as published_time,
    requests_of as requests_of,
    seconds_left as seconds_left,
    time_here as time_here,
)
from .executors.jobs import ExecutorConfig as ExecutorConfig, open_executor as open_executor
from .executors.local import Local as Local
from .executors.processes import Processes as Processes
from .named_models import predictions_of as predictions_of
from .results.outputs import describe_verified as describe_verified, verify_outputs as verify_outputs
from .results.provenance import describe_others as describe_others
from .stages.stage import Row as Row
from .studies import Studies as Studies
from .study import Study as Study
from .training_runs import TrainingRun as TrainingRun, recipe_and_name as recipe_and_name
