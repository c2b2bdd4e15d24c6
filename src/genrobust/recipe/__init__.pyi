from .arms import ArmConfig as ArmConfig, MixturePart as MixturePart
from .augmentation import AUGMENTATIONS as AUGMENTATIONS, Augmentation as Augmentation, Color as Color, Policy as Policy
from .checks import check_recipe as check_recipe
from .data import (
    SOURCES as SOURCES,
    CellShare as CellShare,
    ClassSample as ClassSample,
    DataConfig as DataConfig,
    GroupRule as GroupRule,
    ImageRule as ImageRule,
    WithoutConfig as WithoutConfig,
)
from .evaluate import (
    EvaluateConfig as EvaluateConfig,
    QualityConfig as QualityConfig,
    RobustnessConfig as RobustnessConfig,
    ZeroShotConfig as ZeroShotConfig,
)
from .fine_tuning import FROM_SCRATCH as FROM_SCRATCH, METHODS as METHODS
from .generate import (
    ENGINES as ENGINES,
    GENERATED as GENERATED,
    DatasetConfig as DatasetConfig,
    FilterConfig as FilterConfig,
    GenerateConfig as GenerateConfig,
    GeneratorConfig as GeneratorConfig,
    PromptConfig as PromptConfig,
    count_dropped as count_dropped,
)
from .generator_training import (
    HEAD as HEAD,
    PATCH as PATCH,
    ClassModelConfig as ClassModelConfig,
    FinetuneConfig as FinetuneConfig,
    GeneratorTraining as GeneratorTraining,
)
from .idle_keys import idle_keys as idle_keys
from .images import READERS as READERS, Images as Images, ImagesConfig as ImagesConfig
from .load import (
    is_recipe as is_recipe,
    load_recipe as load_recipe,
    parse_recipe as parse_recipe,
    recipe_names as recipe_names,
    recipe_yaml as recipe_yaml,
)
from .names import study_name as study_name
from .numbers import (
    Pixels as Pixels,
    PositiveFraction as PositiveFraction,
    Threads as Threads,
    WorkerCount as WorkerCount,
)
from .paths import locate_specs as locate_specs, located as located, paths_from as paths_from
from .recipe import (
    EXECUTORS as EXECUTORS,
    ExecuteConfig as ExecuteConfig,
    Recipe as Recipe,
)
from .section import (
    Place as Place,
    PlainValues as PlainValues,
    Section as Section,
    checked as checked,
    set_value as set_value,
    short_for as short_for,
    shown as shown,
)
from .train import COMBINED as COMBINED, TrainConfig as TrainConfig
from .tune import DATASET as DATASET, TRAIN as TRAIN, WEIGHT as WEIGHT, TuneConfig as TuneConfig
