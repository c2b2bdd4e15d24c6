"""The number of the class, in a style or in none, for a class-conditional diffusion model."""

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

# Schedulers that add no noise while they denoise, which DiTPipeline would take from torch's own source and not from the
# image's, and that begin with noise of standard deviation 1: it does not scale it, as Euler's needs.
FITTING = {"DPMSolverMultistepScheduler", "DDIMScheduler", "UniPCMultistepScheduler"}


class ClassNumberConfig(DiffusersConfig):
    """The number of the class, for a class-conditional model.

    `styles` names styles that a class model has learned (see `class_model`), which are drawn equally often. None is all
    that it learns, for a dataset that is `from_scratch`, and else no style.
    """

    unsampled = (*DiffusersConfig.unsampled, "styles")  # those that are drawn are in the plan

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
        config = self.generator.pipeline.scheduler.config
        scheduler, draws = type(self.generator.pipeline.scheduler).__name__, config.get("algorithm_type") or ""
        if scheduler not in FITTING or draws.startswith("sde"):
            raise UserError(
                f"generator.scheduler: a DiTPipeline does not draw with its own {scheduler}, since it neither scales "
                "the noise at the start nor takes a seed for noise at later steps: set ddim, dpmsolver++ or unipc"
            )
        self._numbers = {"": class_numbers(self.generator, self.labels)}
        if self.generator.config.guidance_scale > 1:
            _use_own_null_class(self.generator.pipeline.transformer)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        for style in {request.style for request in requests} - self._numbers.keys():
            self._numbers[style] = class_numbers(self.generator, self.labels, style)
        return {"class_labels": [self._numbers[request.style][request.label] for request in requests]}


def names_in_style(class_label: ClassLabel, style: str) -> str:
    """Return what a class model calls a class in `style`, "" for none: "dog (sketch), hound (sketch)"."""
    return ", ".join(_in_style(name, style) for name in class_label.spellings)


def _in_style(name: str, style: str) -> str:
    return f"{name} ({style})" if style else name


def class_numbers(generator: Generator, labels: LabelSpace, style: str = "") -> list[int]:
    """Return the generator's number of each class of `labels` in `style`, "" for none.

    By name where the folder names its classes (`id2label`: a number's names, with commas between): a class's id, name
    or prompt name is one of them. A class of ImageNet's is found by its WordNet id, too, where the folder's names are
    ImageNet's: CLIP's are others. Of several such numbers it is the one that a class model of the study names so, or
    else that has all of the class's names, or else that of its WordNet id. Without names, a generator of as many
    classes as the study is taken to have them in the study's order.

    Raises:
        UserError: A class is missing or not clear, two are one, or the numbers of classes differ.
    """
    count = _null_class(generator.pipeline.transformer)
    if generator.id2label is None and not style:
        if count != len(labels):
            raise UserError(
                f"the generator {generator.id} has {count} classes and does not name them, and the study has "
                f"{len(labels)}: write an id2label into its model_index.json, number to name"
            )
        return list(range(count))
    texts = {number: text for number, text in (generator.id2label or {}).items() if 0 <= number < count}
    by_name: dict[str, set[int]] = {}
    for number, text in texts.items():
        for name in (*text.split(","), text):
            by_name.setdefault(name.strip().casefold(), set()).add(number)
    by_wnid = {} if style else {id: {number} for id, number in imagenet_numbers(labels.ids, texts).items()}

    subject, found = f"the generator {generator.id} has", dict[int, str]()
    for class_label in labels.classes:
        of_names = [by_name.get(_in_style(name, style).casefold(), set()) for name in class_label.spellings]
        of_wnid = by_wnid.get(class_label.id, set())
        matches = of_wnid.union(*of_names)
        own = names_in_style(class_label, style)  # a name may have commas, and end as another is
        so_named = {number for number in matches if texts[number] == own}
        for better in (so_named, set.intersection(*of_names), of_wnid):
            matches = matches & better or matches
        if not matches:
            name = _in_style(class_label.name, style)
            hint = perhaps(near_names(name, sorted(by_name)))
            if style:
                raise UserError(f"generator.styles: {subject} no {name!r}{hint}: name styles that it has learned")
            raise UserError(
                f"{subject} no class called {name!r} ({class_label.label_name!r} in the data){hint}: name the class as "
                "its id2label does"
            )
        if len(matches) > 1:
            raise UserError(
                f"{subject} several classes called {class_label.name!r} ({sorted(matches)}): give the class one of "
                "their full names"
            )
        (number,) = matches
        if number in found:
            raise UserError(
                f"the classes {found[number]!r} and {class_label.name!r} are one class of the generator "
                f"{generator.id}: {number}"
            )
        found[number] = class_label.name
    return list(found)


def _null_class(network: Any) -> int:
    """The number that means no class, one more than that of the last: of a DiTTransformer2DModel or a UNet2DModel."""
    config = network.config
    return int(config.num_class_embeds - 1 if "num_class_embeds" in config else config.num_embeds_ada_norm)


def _use_own_null_class(transformer: Any) -> None:
    """Let the guidance of DiTPipeline find the "no class" of a network of other than 1,000 classes.

    The pipeline asks for number 1000, in the second half of the batch; a network's own is its number of classes.
    """
    import torch

    null = _null_class(transformer)

    def replace_null(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        numbers: Tensor = kwargs["class_labels"]
        real = numbers[: len(numbers) // 2]
        return args, {**kwargs, "class_labels": torch.cat([real, torch.full_like(real, null)])}

    transformer.register_forward_pre_hook(replace_null, with_kwargs=True)
