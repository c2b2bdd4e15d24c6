"""Classifiers on data of other classes than they know: logits matched by id, images prepared as each wants them."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from genrobust.classifiers.opening import OpenClassifier
from genrobust.core import ImageSet, LabelSpace, UserError

NAMED = 5  # classes that an error names one by one


class Prepared:
    """The images of a set as a classifier prepares them."""

    def __init__(self, images: ImageSet, classifier: OpenClassifier) -> None:
        self._images, self._classifier = images, classifier
        self.name, self.fingerprint = images.name, images.fingerprint
        self.labels, self.keys, self.styles = images.labels, images.keys, images.styles

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self._classifier.prepare(self._images.image(index)))


def columns_of(place: str, classes: Sequence[str], labels: LabelSpace) -> list[int]:
    """Which logits of the classifier called `place`, which knows `classes`, are those of `labels`, in their order.

    Raises UserError for a class without one.
    """
    at = {id: column for column, id in enumerate(classes)}
    unknown = [id for id in labels.ids if id not in at]
    if unknown:
        some = ", ".join(unknown[:NAMED]) + (" ..." if len(unknown) > NAMED else "")
        own = ", ".join(classes[:NAMED]) + (" ..." if len(classes) > NAMED else "")
        raise UserError(
            f"the model {place} does not know {len(unknown)} of the {len(labels)} classes of this data: {some}. Its "
            f"own are {own}; leave the model out, or take data of its classes"
        )
    return [at[id] for id in labels.ids]
