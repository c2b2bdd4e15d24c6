"""The plan of a generated dataset: its requests, as a pure function of the recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from genrobust.core import ImageSet, LabelSpace, Request, UserError, digest, hashed_seed
from genrobust.generate.prompt_templates import Template, class_templates
from genrobust.recipe import GenerateConfig, GeneratorConfig

# Requests without text in no style.
NO_STYLE = ("",)


def plan_of(
    generator: GeneratorConfig,
    generate: GenerateConfig,
    labels: LabelSpace,
    real: ImageSet,
    data_seed: int,
    styles: Sequence[str] = (),
) -> Plan:
    """Make the plan of a recipe's sections, with prompts and source images if the generator's mode reads them.

    Args:
        real: The real images of the split that is generated, and of no other. They are the source images.
        styles: Styles in which a generator that reads no text draws.
    """
    sources = real if generator.reads_images else None
    if generator.reads_text:
        return Plan(labels, generate, data_seed, sources)
    return Plan(labels, generate, data_seed, sources, styles or NO_STYLE)


class Plan:
    """The same number of requests for each class of `labels`, classes interleaved, computed when asked for.

    With K classes, request i is number i // K of class i % K. Its key is ``{class id}-{i // K:06d}``, its seed a hash
    of (`data_seed`, key). A plan of n per class therefore holds the first n requests of each class of a larger plan.
    """

    def __init__(
        self,
        labels: LabelSpace,
        generate: GenerateConfig,
        data_seed: int,
        sources: ImageSet | None = None,
        styles: Sequence[str] | None = None,
    ) -> None:
        """Plan requests.

        Args:
            generate: `per_class` requests for each class. Templates are dealt to each class in its own order, in which
                styles alternate. Other splits than "train" have their name in each key, so they share no key and no
                seed with it.
            sources: Each request gets an image of its class: all of them in a shuffled order before any comes again,
                then in another order.
            styles: The styles of requests without text. None: requests have text.
        """
        self.labels = labels
        self.per_class = generate.per_class
        self.data_seed = data_seed
        self._middle = "-" if generate.split == "train" else f"-{generate.split}-"
        self._negative_prompt = ""
        if styles is None:
            self._negative_prompt = generate.prompts.negative_prompt
            self._templates = class_templates(generate.prompts, labels)
        else:
            without_text = tuple(Template("", style) for style in dict.fromkeys(styles))
            self._templates = [without_text] * len(labels)
        self._sources = None if sources is None else _SourceDealer(sources, labels, data_seed)

        @cache
        def template_order(label: int) -> tuple[Template, ...]:
            return deal(self._templates[label], data_seed, labels.classes[label].id)

        self._template_order = template_order

    def __len__(self) -> int:
        return self.per_class * len(self.labels)

    def __getitem__(self, index: int) -> Request:
        number, label = divmod(index, len(self.labels))
        class_label = self.labels.classes[label]
        order = self._template_order(label)
        template = order[number % len(order)]
        key = f"{class_label.id}{self._middle}{number:06d}"
        return Request(
            key=key,
            label=label,
            class_id=class_label.id,
            prompt=template.fill(class_label.prompt),
            template=template.text,
            negative_prompt=self._negative_prompt,
            style=template.style,
            seed=hashed_seed(self.data_seed, key),
            source=None if self._sources is None else self._sources.key(label, number),
        )

    def __iter__(self) -> Iterator[Request]:
        return (self[index] for index in range(len(self)))

    @property
    def fingerprint(self) -> str:
        """Hash of all requests and source images."""
        classes = [(label.id, label.prompt) for label in self.labels.classes]
        templates: Any = self._templates
        # Hash templates that all classes share once.
        if len(set(self._templates)) == 1:
            templates = self._templates[0]
        # Plans without source images, and of "train", add nothing: they keep the hash of earlier versions.
        more = []
        if self._sources is not None:
            more.append(self._sources.fingerprint)
        if self._middle != "-":
            more.append(self._middle)
        return digest((classes, templates, self._negative_prompt, self.per_class, self.data_seed, *more))

    def shards(self, shard_size: int) -> Sequence[range]:
        """Return the indices of the requests of each shard: `shard_size`, fewer in the last."""
        return [range(start, min(start + shard_size, len(self))) for start in range(0, len(self), shard_size)]


class _SourceDealer:
    """Deals the images of each class to its requests, by key."""

    def __init__(self, images: ImageSet, labels: LabelSpace, data_seed: int) -> None:
        self.fingerprint = images.fingerprint
        self._ids, self._data_seed = labels.ids, data_seed
        self._keys: list[list[str]] = [[] for _ in labels.classes]
        for key, label in zip(images.keys, images.labels.tolist(), strict=True):
            self._keys[label].append(key)
        for class_label, keys in zip(labels.classes, self._keys, strict=True):
            if not keys:
                raise UserError(
                    f"{images.name} holds no image of the class {class_label.name!r} to generate from: add some"
                )
        # The number of the last turn of each class, and its order.
        self._last_turn: dict[int, tuple[int, list[str]]] = {}

    def key(self, label: int, number: int) -> str:
        """Return the key of the source image of request `number` of class `label`."""
        turn, position = divmod(number, len(self._keys[label]))
        last_turn, order = self._last_turn.get(label, (-1, []))
        if last_turn != turn:
            order = self._shuffle(label, turn)
            self._last_turn[label] = turn, order
        return order[position]

    def _shuffle(self, label: int, turn: int) -> list[str]:
        """Sort by a hash, so that the order is the same in every version of every library."""

        def rank(key: str) -> int:
            return hashed_seed(self._data_seed, self._ids[label], "source", turn, key)

        return sorted(self._keys[label], key=rank)


def deal(templates: tuple[Template, ...], data_seed: int, class_id: str) -> tuple[Template, ...]:
    """Return `templates` in the order in which class `class_id` takes them.

    Each turn takes one template of every style that has one left, so any prefix holds the styles evenly. The order is
    by hashes, so it is the same in every version of every library.
    """

    def rank_template(template: Template) -> int:
        return hashed_seed(data_seed, class_id, template.text)

    by_style: dict[str, list[Template]] = {}
    for template in sorted(templates, key=rank_template):
        by_style.setdefault(template.style, []).append(template)

    order: list[Template] = []
    turn = 0
    while len(order) < len(templates):
        styles = [style for style, members in by_style.items() if turn < len(members)]
        ranks = {style: hashed_seed(data_seed, class_id, turn, style) for style in styles}
        for style in sorted(styles, key=ranks.__getitem__):
            order.append(by_style[style][turn])
        turn += 1
    return tuple(order)
