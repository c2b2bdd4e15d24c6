from .core import GenrobustError as GenrobustError, Score as Score, Summary as Summary, UserError as UserError
from .data import DataSource as DataSource, MemoryImages as MemoryImages, Reader as Reader
from .generate import Engine as Engine, EngineConfig as EngineConfig, Mode as Mode
from .recipe import (
    Augmentation as Augmentation,
    Recipe as Recipe,
    load_recipe as load_recipe,
    parse_recipe as parse_recipe,
)
from .release import Format as Format
from .robustness import ImageFigure as ImageFigure
from .study import Processes as Processes, Study as Study

__version__: str
