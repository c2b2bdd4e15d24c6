from .census import Census as Census
from .executors.executor import Executor as Executor, ExecutorConfig as ExecutorConfig, open_executor as open_executor
from .executors.local_processes import Processes as Processes
from .finished_runs import finished_runs as finished_runs
from .image_sets import AuditSets as AuditSets, open_sets as open_sets
from .kept_parts import open_kept_parts as open_kept_parts
from .named_models import (
    Named as Named,
    named_models as named_models,
    note_unknown as note_unknown,
    open_all as open_all,
    predicted_by as predicted_by,
    predictions_of as predictions_of,
    warn_of_seen as warn_of_seen,
)
from .provenance import describe_others as describe_others
from .results.outputs import describe_verified as describe_verified, verify_outputs as verify_outputs
from .studies import Studies as Studies
from .study import Study as Study
from .training_runs import TrainingRun as TrainingRun, recipe_and_name as recipe_and_name
from .work_list import Row as Row, disk as disk, list_rows as list_rows, seconds_left as seconds_left
