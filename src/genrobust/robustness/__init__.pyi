from .accuracy import top1_score as top1_score
from .accuracy_estimates import (
    EstimatedStudy as EstimatedStudy,
    confidences as confidences,
    estimate_accuracies as estimate_accuracies,
)
from .answers import read_answers as read_answers
from .baseline_lines import (
    effective_robustness as effective_robustness,
    fit_line as fit_line,
    fit_lines as fit_lines,
    to_scale as to_scale,
)
from .breakdown import confident_mistakes as confident_mistakes
from .claim_checks import EXPLORATORY as EXPLORATORY, CheckedClaim as CheckedClaim, check_claims as check_claims
from .comparison import Comparison as Comparison
from .degrees_of_freedom import freedom_of_sum as freedom_of_sum, variance_of_mean as variance_of_mean
from .estimator import ESTIMATORS as ESTIMATORS, Estimator as Estimator, LabeledProbabilities as LabeledProbabilities
from .image_groups import Groups as Groups
from .measured import (
    ANY as ANY,
    Measured as Measured,
    interval_over_sets as interval_over_sets,
    mean_of as mean_of,
    measure_accuracy as measure_accuracy,
)
from .metric import (
    EXPLAINED as EXPLAINED,
    METRICS as METRICS,
    ImageMetric as ImageMetric,
    Metric as Metric,
    find_metric as find_metric,
    image_metric as image_metric,
    list_metrics as list_metrics,
)
from .published_table import (
    Published as Published,
    PublishedScores as PublishedScores,
    find_doubts as find_doubts,
    find_repeated as find_repeated,
    score_published as score_published,
)
from .resampling import seed_weights as seed_weights
from .sequential import Labeled as Labeled, interval_at_every_look as interval_at_every_look
from .summary import score_baselines as score_baselines, summarize as summarize
