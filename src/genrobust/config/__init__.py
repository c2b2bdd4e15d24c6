"""The sections of a recipe, typed; an unknown key is refused. `recipe.py` puts them together and reads the files."""

from genrobust.config.classify import (
    ArmConfig,
    EvaluateConfig,
    MixturePart,
    RobustnessConfig,
    TrainConfig,
    ZeroShotConfig,
)
from genrobust.config.data import DataConfig, ShiftConfig
from genrobust.config.diffusion import ClassModelConfig, DiffusionTraining, FinetuneConfig
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
    "UNUSED_BY_MODE",
    "ArmConfig",
    "ClassModelConfig",
    "DataConfig",
    "DatasetConfig",
    "DiffusionTraining",
    "EvaluateConfig",
    "FilterConfig",
    "FinetuneConfig",
    "Fraction",
    "GenerateConfig",
    "GeneratorConfig",
    "LoraConfig",
    "MixturePart",
    "Positive",
    "PromptConfig",
    "RobustnessConfig",
    "Section",
    "ShiftConfig",
    "TrainConfig",
    "ZeroShotConfig",
]
