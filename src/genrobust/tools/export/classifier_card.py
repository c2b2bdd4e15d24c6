"""The card of an exported classifier, README.md: its training, its scores, and how it is loaded."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from genrobust.classifiers import CheckpointInfo, protocol
from genrobust.core import REAL, UserError, slug
from genrobust.recipe import is_recipe
from genrobust.report import StudyResults, number, read_results, span
from genrobust.tools.export.card import render_card, stated_license
from genrobust.tools.export.format import ClassifierFormat


def classifier_card(
    name: str, form: ClassifierFormat, info: CheckpointInfo, results: Path | None, arm: str, license: str
) -> str:
    """Write the card of the classifier `info`, exported under `name`, as Markdown with the hub's header.

    It has the scores of `arm` in the results.json of a study if that has this checkpoint.
    """
    training = {**(info.training.get("config") or {}), **info.training}
    counts, init = training.get("counts") or {}, str(training.get("init") or "")
    study, scores = _find_study(results, info, arm), []
    if study is not None:
        find, seed = study.summary.find, info.training["seed"]
        scores = [(test, find("top1", arm, test, seed), find("er", arm, test, seed)) for test in study.summary.tests]
    return render_card(
        "classifier_card.md.j2",
        ModelCardData(
            license=license,
            library_name=form.library,
            pipeline_tag="image-classification",
            tags=["image-classification", form.library, "genrobust"],
            model_name=name if scores else None,
            eval_results=[
                EvalResult("image-classification", slug(test), test, "accuracy", round(top1.value, 2))
                for test, top1, _ in scores
                if top1
            ]
            or None,
        ),
        name=name,
        usage=form.usage(info).replace("FOLDER", name),
        info=info,
        license=license,
        # a network's name, without the folders of this machine: "clip:/models/vit" is "clip:vit"
        init=re.sub(r"(^|[:@])(?:[A-Za-z]:)?[/\\~.][^@]*[/\\]", r"\1", init),
        init_license="" if init.startswith("arm:") or is_recipe(init.rpartition(":")[0]) else stated_license(init),
        protocol=protocol(info.image_size, interpolation=info.interpolation),
        training=training,
        images=" + ".join(f"{n:,} {source}" for source, n in sorted(counts.items(), key=lambda part: part[0] != REAL)),
        not_real=[source for source in counts if source != REAL],
        study=study,
        arm=arm,
        scores=scores,
        number=number,
        span=span,
    )


def _find_study(results: Path | None, info: CheckpointInfo, arm: str) -> StudyResults | None:
    """Read the results.json of the study that trained `info` as `arm`; None where it did not."""
    if results is not None:
        with suppress(UserError):
            study, run = read_results(results), info.training.get("run")
            trained = [of.trained.get(str(info.training.get("seed"))) for of in study.arms if of.name == arm]
            if run and run in trained:
                return study
    return None
