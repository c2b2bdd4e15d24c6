"""Effective robustness: shifted accuracy beyond what the baseline line predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from genrobust.core import BaselineModel, Line
from genrobust.robustness.baseline_lines import (
    draw_lines,
    find_extrapolated,
    move_inside,
    predict_shifted,
    refit_lines,
)
from genrobust.robustness.measured import Expected, Measured
from genrobust.robustness.metric import EXPLAINED, METRICS, Metric
from genrobust.robustness.study_answers import StudyAnswers


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

        Replicates resample the clean images and the baseline models by name, the same for all shifts. A line without
        baselines is a published one: it is drawn by its own error, as if the lines of different shifts had independent
        errors. Replicates also move the study's network off the line, as far as standard models are off it: the same
        for all arms, which share the network, and on all shifts, because a network is usually off in one direction.
        """
        measured = {}
        clean_draws = study.draw_clean()
        model_weights = study.draw_baselines()
        off_line = study.rng.standard_normal(study.bootstrap)
        for shift, draws in clean_draws.items():
            line = study.lines[shift]
            models = [model for model in study.baselines if model.test_set == shift]
            if models:
                over = "baselines and the scatter about their line"
                intercepts, slopes = _refit(models, model_weights, line)
            else:
                over = "the line's error and scatter"
                slopes, intercepts = draw_lines(line, study.bootstrap, study.rng)
            intercepts = intercepts + line.residual_sd * off_line
            clean = study.measured["top1", study.paired[shift]]
            point_inside = move_inside(clean.point, clean.n, line.transform)
            draws_inside = move_inside(draws, clean.n, line.transform)
            expected = Expected(
                point=predict_shifted(line.slope, line.intercept, line.transform, point_inside),
                draws=predict_shifted(slopes[:, None, None], intercepts[:, None, None], line.transform, draws_inside),
                over=over,
                extrapolated=find_extrapolated(clean.point, clean.n, line.lo, line.hi),
                clean_groups=study.sets[study.paired[shift]].groups,
                line_freedom=line.n - 2,
            )
            robustness = study.measured["top1", shift].minus_expected(expected)
            measured[shift] = replace(robustness, in_mean=line.r2 >= EXPLAINED)
        return measured


def _refit(models: list[BaselineModel], weights: Mapping[str, np.ndarray], line: Line) -> tuple[np.ndarray, np.ndarray]:
    """Return intercepts [B] and slopes [B] of the line of `models`, with the `weights` [B] of each by its name."""
    clean = np.array([model.clean for model in models])
    shifted = np.array([model.shifted for model in models])
    of_models = np.stack([weights[model.model] for model in models], axis=1)
    return refit_lines(clean, shifted, of_models, line.transform)
