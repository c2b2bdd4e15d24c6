"""The keys of a training that starts from a pretrained network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from genrobust.core import Registry
from genrobust.recipe.numbers import Fraction
from genrobust.recipe.section import Choice, later_key

# Importing torch takes seconds, and a recipe is loaded without it.
if TYPE_CHECKING:
    from torch import nn

SCRATCH, ARM = "scratch", "arm:"  # values of train.init, and how one begins
REPLACED = ("architecture", "model_kwargs", "blur_pool")  # keys that a pretrained network replaces
# Keys with the values for a training from scratch.
NEEDS_PRETRAINED = {"method": "full", "wise_ft": None, "freeze_batch_norm": False}
MOST_POINTS = 101  # of a curve


def _as_list(value: Any) -> Any:
    """Accept a number instead of a list."""
    is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
    return [value] if is_number else value


def _in_order(alphas: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(alphas))


METHODS: Registry[type[FineTuning]] = Registry("method", "genrobust.methods", "genrobust.train.methods")
Alphas = Annotated[tuple[Fraction, ...], BeforeValidator(_as_list), AfterValidator(_in_order)]


class FineTuning(Choice):
    """The weights that a classifier starts from, and the weights that are trained.

    `init` is `scratch` or a pretrained network: `packaged:efficientnet-lite0` (ImageNet weights that are installed with
    genrobust), `clip:FOLDER` (the image tower of a CLIP; `clip:pictograms` is the embedded one), `arm:ARM` (the
    classifier of another arm, with its first seed), or any classifier that `genrobust predict` opens except
    `RECIPE:ARM`, such as timm's `resnet50.a1_in1k`. The network replaces `architecture`, `model_kwargs` and
    `blur_pool`, and prepares images in its own way. The last layer of a CLIP embeds the recipe's prompts of each class
    with its text tower. Another network keeps its last layer if it knows all classes, and gets a new one if not.

    `method` is `full` (train all weights), `linear-probe`, `lp-ft`, or a method of another package.

    `wise_ft` interpolates between the weights before (0) and after (1) fine-tuning (WiSE-FT: Wortsman et al., 2022).
    With one number, the arm is the network at that point. With several, the report shows the accuracy at each.

    `freeze_batch_norm` keeps the means and variances of the pretrained network's batch norms, also while training, as
    DomainBed does. Otherwise each batch has its own, so the network and its linear probe start from other features.
    """

    chosen_by = "method"
    registry = METHODS
    label: ClassVar[str] = "fine-tuned"  # in reports
    probes: ClassVar[Literal["first", "only"] | None] = None  # a linear probe first, or only

    init: Annotated[str, Field(min_length=1, max_length=1000)] = later_key(SCRATCH)
    method: str = later_key("full")
    wise_ft: Alphas | None = later_key(None)
    freeze_batch_norm: bool = later_key(False)

    @model_validator(mode="after")
    def _check_init(self) -> FineTuning:
        for key, plain in NEEDS_PRETRAINED.items():
            if self.init == SCRATCH and getattr(self, key) != plain:
                raise ValueError(f"{key}: it needs a pretrained network, and init is scratch: set train.init")
        if self.wise_ft is not None:
            is_distinct = len(set(self.wise_ft)) == len(self.wise_ft)
            if not is_distinct or not 0 < len(self.wise_ft) <= MOST_POINTS:
                raise ValueError(f"wise_ft: give one number or up to {MOST_POINTS}, each once")
        return self

    def prepare(self, model: nn.Module) -> None:
        """Choose the weights of the `Classifier` to train, and add others, before the first step."""

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from pretrained weights."""
        return self.init != SCRATCH

    @property
    def origin_arm(self) -> str | None:
        """The arm of the same recipe that training starts from. None if it starts from anything else."""
        if self.init.startswith(ARM):
            return self.init.removeprefix(ARM)
        return None

    @property
    def start_in_words(self) -> str:
        """Describe the start: "from clip:pictograms, linear probe", or "" for a training from scratch."""
        if not self.is_pretrained:
            return ""
        return f"from {self.init}, {self.label}"


FROM_SCRATCH = {name: field.default for name, field in FineTuning.model_fields.items()}
