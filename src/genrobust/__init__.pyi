from .core import (
    BaselineModel as BaselineModel,
    Claim as Claim,
    GenrobustError as GenrobustError,
    Line as Line,
    Predictions as Predictions,
    Score as Score,
    Summary as Summary,
    UserError as UserError,
)
from .data import DataSource as DataSource, MemoryImages as MemoryImages, Reader as Reader
from .generate import Engine as Engine, EngineConfig as EngineConfig, Mode as Mode
from .recipe import (
    Augmentation as Augmentation,
    Recipe as Recipe,
    load_recipe as load_recipe,
    parse_recipe as parse_recipe,
)
from .report import ReportSection as ReportSection, ReportView as ReportView, plain_table as plain_table
from .robustness import (
    CheckedClaim as CheckedClaim,
    Comparison as Comparison,
    Estimator as Estimator,
    ImageMetric as ImageMetric,
    LabeledProbabilities as LabeledProbabilities,
    Metric as Metric,
    check_claims as check_claims,
    effective_robustness as effective_robustness,
    fit_line as fit_line,
    summarize as summarize,
)
from .store import Artifact as Artifact, Manifest as Manifest
from .study import Executor as Executor, ExecutorConfig as ExecutorConfig, Processes as Processes, Study as Study
from .tools import *  # noqa: F403

__version__: str
