"""The types of numbers in a recipe. Their bounds refuse numbers that no program could count or store."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt

Seed = Annotated[StrictInt, Field(ge=0, le=10**18)]
Threads = Annotated[StrictInt, Field(ge=1, le=1024)]
WorkerCount = Annotated[StrictInt, Field(ge=1, le=4096)]
Steps = Annotated[StrictInt, Field(ge=1, le=10**9)]
WarmupSteps = Annotated[StrictInt, Field(ge=0, le=10**9)]
Epochs = Annotated[StrictFloat, Field(gt=0, le=100_000)]
Batch = Annotated[StrictInt, Field(ge=1, le=65_536)]
Pixels = Annotated[StrictInt, Field(ge=1, le=4096)]
PerClass = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Count = Annotated[StrictInt, Field(ge=1, le=10**9)]
Fraction = Annotated[StrictFloat, Field(ge=0, le=1)]
PositiveFraction = Annotated[StrictFloat, Field(gt=0, le=1)]
Rate = Annotated[StrictFloat, Field(gt=0, le=1e30)]  # float32 overflows above
Decay = Annotated[StrictFloat, Field(ge=0, le=1000)]
Average = Annotated[StrictFloat, Field(ge=0, lt=1)]  # 1 would keep the first weights
Margin = Annotated[StrictFloat, Field(gt=0, le=1e6)]
