"""Classifiers from elsewhere on the test sets of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from genrobust.classifiers import predict_sets
from genrobust.core import Predictions, digest
from genrobust.study.named_models import named_models, open_all, studies_in
from genrobust.study.study import Study


def predictions_of(
    study: Study, models: Sequence[str], labels: Sequence[str] = (), say: Callable[[str], None] = lambda line: None
) -> Iterator[tuple[str, Mapping[str, Predictions]]]:
    """Yield the name of each model and the predictions of each of its checkpoints on every test set of `study`.

    `models` and `labels` are as `named_models` takes them. Logits are those of the study's classes alone, matched by
    id. Raises UserError as that does, and for a model that does not know one of the classes, before any is loaded.
    """
    study_of = studies_in(study.out, say, study.recipe.device)
    opened = [(name, m) for name, same in open_all(named_models(models, study_of, labels)).items() for m in same]
    for _, model in opened:
        model.columns(study.data.labels)
    sets = {name: study.data.tests[name] for name in study.tests}
    for name, model in opened:
        out = study.out / "predictions" / digest([model.weights, model.prepared])
        how = study.recipe.evaluate.batch_size, study.recipe.device
        yield name, predict_sets({out: model}, sets, study.data.labels, *how)[out]
