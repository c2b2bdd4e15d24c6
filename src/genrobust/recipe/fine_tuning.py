"""The keys of a training that starts from a pretrained network: which one, its head, and what is trained of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from genrobust.core import Registry
from genrobust.recipe.numbers import Fraction
from genrobust.recipe.section import Choice, later_key

if TYPE_CHECKING:  # torch takes seconds, and recipes are read without it
    from torch import nn

SCRATCH, ARM = "scratch", "arm:"  # as train.init names them
MOST_POINTS = 101  # of a curve


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, int | float | str) and not isinstance(value, bool) else value


def _in_order(alphas: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(alphas))


METHODS: Registry[type[FineTuning]] = Registry("method", "genrobust.methods", "genrobust.train.methods")
Alphas = Annotated[tuple[Fraction, ...], BeforeValidator(_as_list), AfterValidator(_in_order)]


class FineTuning(Choice):
    """Where the weights of a classifier start, and which of them are trained.

    `init` is `scratch`, `packaged:efficientnet-lite0` (ImageNet weights that are installed with genrobust),
    `clip:FOLDER` (the image tower of a CLIP; `clip:pictograms` is the embedded one), `arm:ARM` (the first seed's
    classifier of another arm), or any classifier that `genrobust predict` opens but a `RECIPE:ARM`, such as timm's
    `resnet50.a1_in1k`. Its network replaces `architecture`, `model_kwargs` and `blur_pool`, and
    prepares images in its own way. The last layer of a CLIP embeds the recipe's prompts of each class with its text
    tower; another network keeps its rows where it knows all classes, and else gets a new layer.

    `method` is `full` (all weights), `linear-probe`, `lp-ft`, or that of another package.

    `wise_ft` interpolates between the weights before (0) and after (1) fine-tuning (WiSE-FT: Wortsman et al., 2022).
    One number makes the arm the network at that point; with several the report shows the accuracy at each.
    """

    chosen_by = "method"
    registry = METHODS
    label: ClassVar[str] = "fine-tuned"  # the method in reports
    probes: ClassVar[Literal["first", "only"] | None] = None  # whether a linear probe comes first, or is all

    init: Annotated[str, Field(min_length=1, max_length=1000)] = later_key(SCRATCH)
    method: str = later_key("full")
    wise_ft: Alphas | None = later_key(None)

    @model_validator(mode="after")
    def _check_init(self) -> FineTuning:
        if self.init == SCRATCH:
            plain = {"method": "full", "wise_ft": None}
            if key := next((key for key, value in plain.items() if getattr(self, key) != value), None):
                raise ValueError(f"{key}: it needs a pretrained network, and init is scratch: set train.init")
        if self.wise_ft is not None and not 0 < len(set(self.wise_ft)) == len(self.wise_ft) <= MOST_POINTS:
            raise ValueError(f"wise_ft: give one number or up to {MOST_POINTS}, each once")
        return self

    def prepare(self, model: nn.Module) -> None:
        """Choose what of the `Classifier` is trained, and add what is trained beside it, before the first step."""

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from weights that were learned elsewhere."""
        return self.init != SCRATCH

    @property
    def origin_arm(self) -> str | None:
        """The arm of the same recipe that training starts from; None where it starts from something else."""
        return self.init.removeprefix(ARM) if self.init.startswith(ARM) else None

    @property
    def start_in_words(self) -> str:
        """Describe the start in words: "from clip:pictograms, linear probe", or "" from scratch."""
        if not self.is_pretrained:
            return ""
        return f"from {self.init}, {self.label}"


FROM_SCRATCH = {name: field.default for name, field in FineTuning.model_fields.items()}
