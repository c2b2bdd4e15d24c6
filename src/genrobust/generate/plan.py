"""The plan: which images a generated dataset asks for, as a pure function of the recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from genrobust.core import ImageSet, LabelSpace, Request, UserError, digest, hashed_seed
from genrobust.generate.templates import Template, class_templates
from genrobust.recipe import GenerateConfig, GeneratorConfig, PromptConfig

NO_TEXT = (Template(""),)


def plan_of(
    generator: GeneratorConfig,
    generate: GenerateConfig,
    labels: LabelSpace,
    real: ImageSet,
    data_seed: int,
    styles: Sequence[str] = (),
) -> Plan:
    """Return the plan of a recipe's sections, with prompts and source images where the generator's mode reads them.

    Source images are those of `real`, the real images of the split that is generated, and of no other. A generator that
    reads no text draws in `styles`, if there are any.

    Raises:
        UserError: Templates are not usable, or a class has no source image.
    """
    return Plan(
        labels,
        generate.prompts if generator.reads_text else None,
        generate.per_class,
        data_seed,
        sources=real if generator.reads_images else None,
        split=generate.split,
        styles=styles,
    )


class Plan:
    """`per_class` requests of each class of `labels`, classes interleaved, computed when asked for.

    Request i is number i // K of class i % K, K classes; its key is ``{class id}-{i // K:06d}`` and its seed a hash of
    (`data_seed`, key). So a plan of n a class holds the same requests as the first n of each class of a larger one.
    In the keys of the `split` "val", ``-val`` follows the class id: of one class it shares no key with "train", and so
    no seed.
    Templates are dealt to each class in an order of its own in which styles alternate. `prompts` None is a plan without
    text, in `styles` or in none. Of `sources`, each request gets an image of its class: all of them in a shuffled order
    before any comes again, then in another order.
    """

    def __init__(
        self,
        labels: LabelSpace,
        prompts: PromptConfig | None,
        per_class: int,
        data_seed: int,
        sources: ImageSet | None = None,
        split: str = "train",
        styles: Sequence[str] = (),
    ) -> None:
        """Raises UserError for unusable templates, and a class without an image in `sources`."""
        self.labels = labels
        self.per_class = per_class
        self.data_seed = data_seed
        self._middle = "-" if split == "train" else f"-{split}-"
        without_text = tuple(Template("", style) for style in dict.fromkeys(styles)) or NO_TEXT
        self._templates = [without_text] * len(labels) if prompts is None else class_templates(prompts, labels)
        self._negative_prompt = prompts.negative_prompt if prompts else ""
        self._template_order = cache(lambda i: deal(self._templates[i], data_seed, labels.classes[i].id))
        self._sources = None if sources is None else _SourceDealer(sources, labels, data_seed)

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
        """Changes whenever any request does, or a source image."""
        classes = [(c.id, c.prompt) for c in self.labels.classes]
        same = len(set(self._templates)) == 1
        templates = self._templates[0] if same else self._templates
        more = [] if self._sources is None else [self._sources.fingerprint]
        more += [] if self._middle == "-" else [self._middle]
        return digest((classes, templates, self._negative_prompt, self.per_class, self.data_seed, *more))

    def shards(self, shard_size: int) -> Sequence[range]:
        """Return the indices of each shard: `shard_size` requests, fewer in the last."""
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
        self._last_order: dict[int, tuple[int, list[str]]] = {}  # the last turn of each class and its order, by label

    def key(self, label: int, number: int) -> str:
        """Return the key of the image that request `number` of class `label` begins from."""
        turn, position = divmod(number, len(self._keys[label]))
        last_turn, order = self._last_order.get(label, (-1, []))
        if last_turn != turn:
            seed = (self._data_seed, self._ids[label], "source", turn)
            order = sorted(self._keys[label], key=lambda key: hashed_seed(*seed, key))
            self._last_order[label] = turn, order
        return order[position]


def deal(templates: tuple[Template, ...], data_seed: int, class_id: str) -> tuple[Template, ...]:
    """Return `templates` in the order in which class `class_id` takes them.

    Rounds take one template of each style that still has one, so that any prefix holds the styles evenly. Sorting by
    a hash instead of drawing from a generator keeps the order the same in every version of every library.
    """
    by_style: dict[str, list[Template]] = {}
    for template in sorted(templates, key=lambda t: hashed_seed(data_seed, class_id, t.text)):
        by_style.setdefault(template.style, []).append(template)
    order = []
    for turn in range(max(len(group) for group in by_style.values())):
        styles = [style for style, group in by_style.items() if turn < len(group)]
        order += [by_style[s][turn] for s in sorted(styles, key=lambda s: hashed_seed(data_seed, class_id, turn, s))]
    return tuple(order)
