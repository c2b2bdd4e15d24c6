"""Multi-ID effective robustness: shifted accuracy beyond what the accuracies on two in-distribution sets predict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genrobust.core import Summary
from genrobust.robustness.effective import moved_in, outside
from genrobust.robustness.metric import BASELINES, EXPLAINED, METRICS, Metric
from genrobust.robustness.multi_id import pair_up, plane_expected, plane_predict, refit_planes
from genrobust.robustness.resampling import Measured
from genrobust.robustness.sets import StudyAnswers


@METRICS.register("multi_er")
class MultiIDEffectiveRobustness(Metric):
    title = "Multi-ID effective robustness"
    note = (
        "shifted accuracy minus what the plane of the baseline models predicts from the accuracies on both "
        "in-distribution sets (Shi et al., 2023): it is fairer to arms with training data like the second set, which "
        "one line flatters"
    )
    unit = "points"
    signed = True
    needs = "planes"
    section = 2

    def heading(self, summary: Summary) -> str:
        return f"Multi-ID effective robustness ({summary.clean} and {summary.second_id})"

    def measure(self, study: StudyAnswers) -> dict[str, Measured]:
        """Measure it on every shift with a plane; replicates resample as those of effective robustness."""
        measured, draws, second = {}, study.baseline_draws, study.measured["top1", study.second]
        off = study.rng.standard_normal(study.bootstrap)
        for shift, plane in study.planes.items():
            models, ids, shifted = pair_up(study.baselines, shift, study.second)
            fits = refit_planes(ids, shifted, draws.picks_of(models), plane.transform)
            fits[:, 0] += plane.residual_sd * off
            n, raw = draws.images[shift], draws.clean[shift]
            clean, cleans = (moved_in(percent, n, plane.transform) for percent in (raw, draws.drawn[shift]))
            other, others = (moved_in(p, second.n, plane.transform) for p in (second.point, second.draws))
            expected = plane_expected(plane, np.stack([clean, other], axis=-1))
            drawn = plane_predict(fits[:, None, None], plane.transform, np.stack([cleans, others], axis=-1))
            sides = zip((raw, second.point), (n, second.n), plane.lo, plane.hi, strict=True)
            beyond = np.logical_or(*(outside(*side) for side in sides))
            top1, groups = study.measured["top1", shift], study.clean_groups(shift)
            er = top1.beyond(expected, drawn, BASELINES, beyond, groups, fit=plane.n - 3)
            er = replace(er, freedom=min(er.freedom, second.freedom), common=min(er.common, second.freedom))
            measured[shift] = replace(er, in_mean=plane.r2 >= EXPLAINED)
        return measured
