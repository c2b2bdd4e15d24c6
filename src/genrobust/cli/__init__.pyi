from .completing import arms_of_recipes as arms_of_recipes, datasets_of_recipes as datasets_of_recipes
from .entry import app as app, main as main
from .kinds import KINDS as KINDS, Kind as Kind
from .opening import open_named as open_named, with_studies as with_studies
from .options import (
    MODELS as MODELS,
    MOST_AT_ONCE as MOST_AT_ONCE,
    Against as Against,
    Classifier as Classifier,
    ClassifierLabels as ClassifierLabels,
    Clip as Clip,
    DatasetSpec as DatasetSpec,
    Device as Device,
    License as License,
    ModelLabels as ModelLabels,
    Overwrite as Overwrite,
    argument as argument,
    option as option,
)
from .program import (
    COMMANDS as COMMANDS,
    err_console as err_console,
    out_console as out_console,
    say as say,
    tell as tell,
)
