from .accuracy import top1_score as top1_score
from .answers import read_answers as read_answers
from .claims import EXPLORATORY as EXPLORATORY, CheckedClaim as CheckedClaim, check_claims as check_claims
from .effective import (
    effective_robustness as effective_robustness,
    fit_line as fit_line,
    fit_lines as fit_lines,
    to_scale as to_scale,
)
from .grouping import Groups as Groups
from .metric import (
    EXPLAINED as EXPLAINED,
    METRICS as METRICS,
    ImageMetric as ImageMetric,
    Metric as Metric,
    find_metric as find_metric,
    image_metric as image_metric,
    list_metrics as list_metrics,
)
from .resampling import (
    ANY as ANY,
    Measured as Measured,
    freedom_of_sum as freedom_of_sum,
    interval_over_sets as interval_over_sets,
    mean_of as mean_of,
    measure_accuracy as measure_accuracy,
    seed_weights as seed_weights,
    spread as spread,
)
from .summary import Comparison as Comparison, score_baselines as score_baselines, summarize as summarize
from .table import (
    Published as Published,
    PublishedScores as PublishedScores,
    copies as copies,
    doubts_of as doubts_of,
    score_published as score_published,
)
