"""Effective robustness: shifted accuracy beyond what the baseline line predicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genrobust.robustness.effective import drawn_lines, moved_in, outside, predict, refit_lines
from genrobust.robustness.metric import BASELINES, EXPLAINED, METRICS, Metric
from genrobust.robustness.resampling import Measured
from genrobust.robustness.sets import StudyAnswers


@METRICS.register("er")
class EffectiveRobustness(Metric):
    title = "Effective robustness"
    note = (
        "shifted accuracy minus what the line of the baseline models predicts from clean accuracy (Taori et al., 2020)"
    )
    unit = "points"
    signed = True
    needs_lines = True
    section = 1

    def measure(self, study: StudyAnswers) -> dict[str, Measured]:
        """Measure it on every shift with a line.

        Replicates also resample the baseline models by name, the same for all shifts. A line without baselines is a
        published one: it is drawn by its own error, as if the lines of different shifts erred independently. And they
        place the study's network off the line, as far as standard models lie: the same for all of its arms, which
        share the network, and on all shifts, where a network is off in the same direction more often than not.
        """
        measured, draws = {}, study.baseline_draws
        off = study.rng.standard_normal(study.bootstrap)
        for shift, clean in draws.clean.items():
            line, rows = study.lines[shift], [b for b in study.baselines if b.test_set == shift]
            if rows:
                over = BASELINES
                ids, shifted = np.array([b.clean for b in rows]), np.array([b.shifted for b in rows])
                picks = draws.picks_of([b.model for b in rows])
                intercept, slope = refit_lines(ids, shifted, picks, line.transform)
            else:
                over = "the line's error and scatter"
                slope, intercept = drawn_lines(line, study.bootstrap, study.rng)
            point, drawn = (moved_in(p, draws.images[shift], line.transform) for p in (clean, draws.drawn[shift]))
            expected = predict(line.slope, line.intercept, line.transform, point)
            intercept = intercept + line.residual_sd * off
            drawn = predict(slope[:, None, None], intercept[:, None, None], line.transform, drawn)
            beyond = outside(clean, draws.images[shift], line.lo, line.hi)
            top1, groups = study.measured["top1", shift], study.sets[study.paired[shift]].groups
            er = top1.beyond(expected, drawn, over, beyond, groups, fit=line.n - 2)
            measured[shift] = replace(er, in_mean=line.r2 >= EXPLAINED)
        return measured
