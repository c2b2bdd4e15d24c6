"""Classifiers from elsewhere on the test sets of a study, for the command evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from genrobust.classifiers import columns_of, predict_existing
from genrobust.core import Predictions, digest
from genrobust.recipe import load_recipe
from genrobust.study.executors.processes import Processes
from genrobust.study.named_models import named_models, open_all
from genrobust.study.study import Study


def predictions_of(
    study: Study, models: Sequence[str], labels: Sequence[str] = (), say: Callable[[str], None] = lambda line: None
) -> Iterator[tuple[str, Mapping[str, Predictions]]]:
    """The predictions of each checkpoint of `models` on every test set of `study`, after the model's name.

    `models` and `labels` are as `named_models` takes them. Logits are those of the study's classes alone, matched by
    id. Raises UserError as that does, and for a model that does not know one of the classes, before any is asked.
    """

    @cache
    def study_of(name: str) -> Study:
        recipe = load_recipe(name, [f"device={study.recipe.device}"])
        return Study(recipe, study.out, say=say, executor=Processes(recipe))

    opened = [(name, m) for name, same in open_all(named_models(models, study_of, labels)).items() for m in same]
    for _, model in opened:
        columns_of(model.place, model.classes, study.data.labels)
    sets = {name: study.data.tests[name] for name in study.tests}
    for name, model in opened:
        kept = study.out / "predictions" / digest([model.weights, model.prepared])
        yield name, predict_existing(model, sets, study.data.labels, kept, study.recipe.device)
