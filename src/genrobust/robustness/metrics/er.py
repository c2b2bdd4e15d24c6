"""Effective robustness: shifted accuracy beyond what the baseline line predicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genrobust.robustness.effective import arms_outside, drawn_lines, moved_in, predict, refit_lines
from genrobust.robustness.metric import EXPLAINED, METRICS, Metric
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
        measured, of_clean, of_models = {}, study.draw_clean(), study.draw_baselines()
        off = study.rng.standard_normal(study.bootstrap)
        for shift, replicates in of_clean.items():
            line, rows = study.lines[shift], [b for b in study.baselines if b.test_set == shift]
            top1, clean = study.measured["top1", shift], study.measured["top1", study.paired[shift]]
            if rows:
                over = "baselines and the scatter about their line"
                ids, shifted = np.array([b.clean for b in rows]), np.array([b.shifted for b in rows])
                picks = np.stack([of_models[b.model] for b in rows], axis=1)
                intercept, slope = refit_lines(ids, shifted, picks, line.transform)
            else:
                over = "the line's error and scatter"
                slope, intercept = drawn_lines(line, study.bootstrap, study.rng)
            point, drawn = (moved_in(percents, clean.n, line.transform) for percents in (clean.point, replicates))
            expected = predict(line.slope, line.intercept, line.transform, point)
            intercept = intercept + line.residual_sd * off
            drawn = predict(slope[:, None, None], intercept[:, None, None], line.transform, drawn)
            extrapolated = arms_outside(clean.point, clean.n, line.lo, line.hi)
            groups = study.sets[study.paired[shift]].groups
            er = top1.beyond(expected, drawn, over, extrapolated, groups, fit=line.n - 2)
            measured[shift] = replace(er, in_mean=line.r2 >= EXPLAINED)
        return measured
