from .entry import app as app, main as main
from .local_server import NO_SNIFF as NO_SNIFF, local_app as local_app, serve as serve
from .opening import (
    list_work as list_work,
    open_named as open_named,
    with_studies as with_studies,
    with_study as with_study,
)
from .options import (
    CLASSIFIER as CLASSIFIER,
    MODELS as MODELS,
    MOST_AT_ONCE as MOST_AT_ONCE,
    OUT as OUT,
    Against as Against,
    Classifier as Classifier,
    ClassifierLabels as ClassifierLabels,
    Clip as Clip,
    DatasetSpec as DatasetSpec,
    Device as Device,
    Overwrite as Overwrite,
    argument as argument,
    option as option,
)
from .program import (
    COMMANDS as COMMANDS,
    DATA as DATA,
    START as START,
    STUDY as STUDY,
    USE as USE,
    err_console as err_console,
    in_group as in_group,
    out_console as out_console,
    say as say,
    tell as tell,
    words_of as words_of,
)
