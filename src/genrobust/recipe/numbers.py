"""The numbers that keys take: each kind with its bounds, and why no others make sense."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_DECIMAL = re.compile(
    r"[-+]?(0|[1-9][0-9]*|(?=\.[0-9]))(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?"
)  # as 1e-3, a text in YAML 1.1


@dataclass(frozen=True, slots=True)
class Between:
    """Accepts numbers from `least` to `most`, also as text; refuses booleans, NaN and any other text.

    Attributes:
        why: Why no other numbers make sense, for messages.
        above: Whether to refuse `least` itself; `below` does the same for `most`.
    """

    least: float
    most: float
    why: str
    above: bool = False
    below: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = core_schema.no_info_before_validator_function(_require_number, handler(source))
        return core_schema.no_info_after_validator_function(self._check_bounds, number)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        number = handler(schema)
        return {
            **number,
            "type": [number["type"], "string"],
            "pattern": f"^{_DECIMAL.pattern}$",  # of a text
            "exclusiveMinimum" if self.above else "minimum": self.least,
            "exclusiveMaximum" if self.below else "maximum": self.most,
        }

    def __str__(self) -> str:
        """Return the bounds in words: "from 1 to 1,024", "above 0, up to 1"."""
        least, most = (f"{int(n):,}" if n == int(n) and abs(n) < 1e19 else f"{n:g}" for n in (self.least, self.most))
        if self.above:
            return f"above {least} and below {most}" if self.below else f"above {least}, up to {most}"
        return f"from {least} to below {most}" if self.below else f"from {least} to {most}"

    def _check_bounds(self, value: float) -> float:
        low = self.least < value or (value == self.least and not self.above)
        high = value < self.most or (value == self.most and not self.below)
        if not (low and high):  # so is NaN
            # pydantic fills braces in
            raise PydanticCustomError(
                "out_of_bounds", "give a number {bounds}: {why}", {"bounds": str(self), "why": self.why}
            )
        return value


def _require_number(value: Any) -> Any:
    """Refuse what pydantic would make a number of: ``yes``, 1_000 or 010 in quotes, digits of other scripts."""
    if isinstance(value, bool) or (isinstance(value, str) and not (len(value) < 40 and _DECIMAL.fullmatch(value))):
        raise PydanticCustomError("no_number", "give a number")
    return value


YEARS = "a training of more steps takes years"
MEMORY = "more at once fit no device's memory"
LARGER = "larger images fit no device's memory"
FINITE = "float32 holds no others"
CORES = "no machine has more"

Seed = Annotated[int, Between(0, 10**18, "random generators take no others")]
Threads = Annotated[int, Between(1, 1024, "no machine has more cores")]
WorkerCount = Annotated[int, Between(1, 4096, "no cluster has room for more")]
Steps = Annotated[int, Between(1, 10**9, YEARS)]
WarmupSteps = Annotated[int, Between(0, 10**9, YEARS)]
Epochs = Annotated[float, Between(0, 100_000, "a training of more epochs takes years", above=True)]
Batch = Annotated[int, Between(1, 65_536, MEMORY)]
Pixels = Annotated[int, Between(1, 4096, LARGER)]
PerClass = Annotated[int, Between(1, 1_000_000, "a million images of each class are 10 TB for 100 classes")]
Count = Annotated[int, Between(1, 10**9, "no data has more images")]
Fraction = Annotated[float, Between(0, 1, "it is a share")]
PositiveFraction = Annotated[float, Between(0, 1, "it is a share", above=True)]
Rate = Annotated[float, Between(0, 1e30, FINITE, above=True)]
Decay = Annotated[float, Between(0, 1000, "more leaves nothing of a weight")]
Average = Annotated[float, Between(0, 1, "an average that keeps all of the first weights never learns", below=True)]
