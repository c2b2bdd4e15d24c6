"""The plan: which images a generated dataset asks for, as a pure function of the recipe."""

from __future__ import annotations

from collections.abc import Iterator

from genrobust.config import PromptConfig
from genrobust.data import LabelSpace, Request, digest, hashed_seed
from genrobust.errors import UserError
from genrobust.prompts.templates import Template, templates_of


class Plan:
    """`per_class` requests of each class of `labels`, classes interleaved, computed when asked for.

    Request i is number i // K of class i % K, K classes; its key is ``{class id}-{i // K:06d}`` and its seed a hash of
    (`data_seed`, key). So a plan of n a class holds the same requests as the first n of each class of a larger one.
    Templates are dealt to each class in an order of its own in which styles alternate.
    """

    def __init__(self, labels: LabelSpace, prompts: PromptConfig, per_class: int, data_seed: int) -> None:
        """Raises UserError where `per_class` is not positive or the templates are not usable."""
        if per_class < 1:
            raise UserError(f"generate.per_class must be 1 or more, got {per_class}")
        self.labels = labels
        self.per_class = per_class
        self.data_seed = data_seed
        self.templates = templates_of(prompts)
        self._negative_prompt = prompts.negative_prompt
        self._hands = [deal(self.templates, data_seed, c.id) for c in labels.classes]

    def __len__(self) -> int:
        return self.per_class * len(self.labels)

    def __getitem__(self, index: int) -> Request:
        if not -len(self) <= index < len(self):
            raise IndexError(f"request {index} of a plan of {len(self)}")
        number, label = divmod(index % len(self), len(self.labels))
        wanted = self.labels.classes[label]
        hand = self._hands[label]
        template = hand[number % len(hand)]
        key = f"{wanted.id}-{number:06d}"
        return Request(
            key=key,
            label=label,
            class_id=wanted.id,
            prompt=template.fill(wanted.prompt),
            template=template.text,
            negative_prompt=self._negative_prompt,
            style=template.style,
            seed=hashed_seed(self.data_seed, key),
        )

    def __iter__(self) -> Iterator[Request]:
        return (self[index] for index in range(len(self)))

    @property
    def fingerprint(self) -> str:
        """Changes whenever any request does."""
        classes = [(c.id, c.prompt) for c in self.labels.classes]
        return digest((classes, self.templates, self._negative_prompt, self.per_class, self.data_seed))

    def shards(self, shard_size: int) -> list[range]:
        """The indices of each shard: `shard_size` requests, fewer in the last."""
        if shard_size < 1:
            raise UserError(f"generate.shard_size must be 1 or more, got {shard_size}")
        return [range(start, min(start + shard_size, len(self))) for start in range(0, len(self), shard_size)]


def deal(templates: tuple[Template, ...], data_seed: int, class_id: str) -> tuple[Template, ...]:
    """`templates` in the order in which class `class_id` takes them.

    Rounds take one template of each style that still has one, so that any prefix holds the styles evenly. Sorting by
    a hash instead of drawing from a generator keeps the order the same in every version of every library.
    """
    by_style: dict[str, list[Template]] = {}
    for template in sorted(templates, key=lambda t: hashed_seed(data_seed, class_id, t.text)):
        by_style.setdefault(template.style, []).append(template)
    hand = []
    for turn in range(max(len(group) for group in by_style.values())):
        styles = [style for style, group in by_style.items() if turn < len(group)]
        hand += [by_style[s][turn] for s in sorted(styles, key=lambda s: hashed_seed(data_seed, class_id, turn, s))]
    return tuple(hand)
