"""The sections of a recipe, typed; an unknown key is refused. `recipe.py` puts them together and reads the files."""

from genrobust.config.asked import ClaimConfig, QualityConfig
from genrobust.config.classify import (
    COMBINED,
    ArmConfig,
    EvaluateConfig,
    MixturePart,
    RobustnessConfig,
    TrainConfig,
    ZeroShotConfig,
)
from genrobust.config.data import DataConfig, ShiftConfig
from genrobust.config.diffusion import ClassModelConfig, DiffusionTraining, FinetuneConfig
from genrobust.config.execute import ExecuteConfig
from genrobust.config.generate import (
    UNUSED_BY_MODE,
    DatasetConfig,
    FilterConfig,
    GenerateConfig,
    GeneratorConfig,
    LoraConfig,
    PromptConfig,
)
from genrobust.config.section import Fraction, Positive, Section

__all__ = [
    "COMBINED",
    "UNUSED_BY_MODE",
    "ArmConfig",
    "ClaimConfig",
    "ClassModelConfig",
    "DataConfig",
    "DatasetConfig",
    "DiffusionTraining",
    "EvaluateConfig",
    "ExecuteConfig",
    "FilterConfig",
    "FinetuneConfig",
    "Fraction",
    "GenerateConfig",
    "GeneratorConfig",
    "LoraConfig",
    "MixturePart",
    "Positive",
    "PromptConfig",
    "QualityConfig",
    "RobustnessConfig",
    "Section",
    "ShiftConfig",
    "TrainConfig",
    "ZeroShotConfig",
]
