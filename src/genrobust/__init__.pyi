from .core import GenrobustError as GenrobustError, Score as Score, Summary as Summary, UserError as UserError
from .generate import Engine as Engine
from .recipe import Recipe as Recipe, load_recipe as load_recipe, parse_recipe as parse_recipe
from .study import Processes as Processes, Study as Study

__version__: str
