"""Mode class: the number of the class, in a style or in none, for a class-conditional diffusion model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from genrobust.core import ClassLabel, LabelSpace, Request, UserError, near_names, perhaps
from genrobust.data import imagenet_numbers
from genrobust.generate.mode import MODES, Generator, Mode
from genrobust.generate.pipeline_config import DiffusersConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# Schedulers that add no noise while denoising, which DiTPipeline would draw from torch's global generator, and that
# start with noise of standard deviation 1: it does not scale the noise, as Euler needs.
FITTING = {"DPMSolverMultistepScheduler", "DDIMScheduler", "UniPCMultistepScheduler"}


class ClassNumberConfig(DiffusersConfig):
    """The number of the class, for a class-conditional model.

    `styles` names styles that a class model has learned (see `class_model`), which are drawn equally often. None is all
    that it learns, for a dataset that is `from_scratch`, and else no style.
    """

    # The plan holds the styles that are drawn.
    unsampled = (*DiffusersConfig.unsampled, "styles")

    scheduler: Literal["dpmsolver++", "ddim", "unipc"] | None = "dpmsolver++"
    styles: tuple[str, ...] | None = None


@MODES.register("class")
class ClassNumber(Mode):
    """Draws by the generator's number of the class."""

    loader = "DiTPipeline"
    kinds = frozenset({"DiTPipeline"})
    needs = "a DiTPipeline"
    options = ClassNumberConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        scheduler = self.generator.pipeline.scheduler
        name = type(scheduler).__name__
        algorithm = scheduler.config.get("algorithm_type") or ""
        adds_noise = algorithm.startswith("sde")
        if name not in FITTING or adds_noise:
            raise UserError(
                f"generator.scheduler: a DiTPipeline does not draw with its own {name}, since it neither scales the "
                "noise at the start nor takes a seed for noise at later steps: set ddim, dpmsolver++ or unipc"
            )
        # Numbers of the classes by style.
        self._numbers = {"": class_numbers(self.generator, self.labels)}
        if self.generator.config.guidance_scale > 1:
            _use_own_null_class(self.generator.pipeline.transformer)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        numbers = []
        for request in requests:
            if request.style not in self._numbers:
                self._numbers[request.style] = class_numbers(self.generator, self.labels, request.style)
            numbers.append(self._numbers[request.style][request.label])
        return {"class_labels": numbers}


def names_in_style(class_label: ClassLabel, style: str) -> str:
    """Return the names of a class of a class model in `style`, "" for none: "dog (sketch), hound (sketch)"."""
    return ", ".join(_in_style(name, style) for name in class_label.spellings)


def _in_style(name: str, style: str) -> str:
    return f"{name} ({style})" if style else name


def class_numbers(generator: Generator, labels: LabelSpace, style: str = "") -> list[int]:
    """Return the generator's number of each class of `labels` in `style`, "" for none.

    If the folder names its classes (`id2label`: the names of a number, separated by commas), a class is found by its
    id, name or prompt name; see `_ClassNames.match`. Without names, the generator must have as many classes as the
    study, and they are taken to be in the same order.
    """
    count = _null_class(generator.pipeline.transformer)
    if generator.id2label is None and not style:
        if count != len(labels):
            raise UserError(
                f"the generator {generator.id} has {count} classes and does not name them, and the study has "
                f"{len(labels)}: write an id2label into its model_index.json, number to name"
            )
        return list(range(count))
    names = _ClassNames(generator, count, labels, style)
    found: dict[int, str] = {}
    for class_label in labels.classes:
        number = names.find(class_label)
        if number in found:
            raise UserError(
                f"the classes {found[number]!r} and {class_label.name!r} are one class of the generator "
                f"{generator.id}: {number}"
            )
        found[number] = class_label.name
    return list(found)


class _ClassNames:
    """The class names of a generator, to find its number of a class in one style."""

    def __init__(self, generator: Generator, count: int, labels: LabelSpace, style: str) -> None:
        self._generator_id, self._style = generator.id, style
        id2label = generator.id2label or {}
        self._texts = {number: text for number, text in id2label.items() if 0 <= number < count}
        self._by_name: dict[str, set[int]] = {}
        for number, text in self._texts.items():
            # A name may itself contain commas.
            for name in (*text.split(","), text):
                self._by_name.setdefault(name.strip().casefold(), set()).add(number)
        # Names of ImageNet's classes differ, as CLIP's do. WordNet ids find them if the folder's names are ImageNet's.
        self._by_wnid: dict[str, int] = {}
        if not style:
            self._by_wnid = imagenet_numbers(labels.ids, self._texts)

    def find(self, class_label: ClassLabel) -> int:
        matches = self.match(class_label)
        if not matches:
            raise self._missing(class_label)
        if len(matches) > 1:
            raise UserError(
                f"the generator {self._generator_id} has several classes called {class_label.name!r} "
                f"({sorted(matches)}): give the class one of their full names"
            )
        (number,) = matches
        return number

    def match(self, class_label: ClassLabel) -> set[int]:
        """Return the numbers that match any spelling of a class, or its WordNet id.

        Of several numbers, prefer the one that a class model of this study gave exactly these names, then the one that
        has all spellings, then the one of the WordNet id.
        """
        by_spelling = []
        for spelling in class_label.spellings:
            name = _in_style(spelling, self._style).casefold()
            by_spelling.append(self._by_name.get(name, set()))
        by_wnid = set()
        if class_label.id in self._by_wnid:
            by_wnid = {self._by_wnid[class_label.id]}
        matches = by_wnid.union(*by_spelling)

        own_text = names_in_style(class_label, self._style)
        with_own_text = {number for number in matches if self._texts[number] == own_text}
        with_all_spellings = set.intersection(*by_spelling)
        for preferred in (with_own_text, with_all_spellings, by_wnid):
            if matches & preferred:
                matches = matches & preferred
        return matches

    def _missing(self, class_label: ClassLabel) -> UserError:
        name = _in_style(class_label.name, self._style)
        hint = perhaps(near_names(name, sorted(self._by_name)))
        subject = f"the generator {self._generator_id} has"
        if self._style:
            return UserError(f"generator.styles: {subject} no {name!r}{hint}: name styles that it has learned")
        return UserError(
            f"{subject} no class called {name!r} ({class_label.label_name!r} in the data){hint}: name the class as its "
            "id2label does"
        )


def _null_class(network: Any) -> int:
    """Return the number for "no class", which is also the number of classes: of a DiTTransformer2DModel or UNet2DModel.

    It follows the number of the last class.
    """
    config = network.config
    if "num_class_embeds" in config:
        return int(config.num_class_embeds - 1)
    return int(config.num_embeds_ada_norm)


def _use_own_null_class(transformer: Any) -> None:
    """Let the guidance of DiTPipeline find "no class" in a network that does not have 1,000 classes.

    The pipeline passes the number 1000 in the second half of the batch. Replace it by the network's own number.
    """
    import torch

    null = _null_class(transformer)

    def replace_null(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        numbers: Tensor = kwargs["class_labels"]  # int64 [2 B]
        conditional = numbers[: len(numbers) // 2]
        unconditional = torch.full_like(conditional, null)
        return args, {**kwargs, "class_labels": torch.cat([conditional, unconditional])}

    transformer.register_forward_pre_hook(replace_null, with_kwargs=True)
