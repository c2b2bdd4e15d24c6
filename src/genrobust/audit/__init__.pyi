from .agreement import confidence as confidence
from .diversity import first_of_each_class as first_of_each_class
from .duplicates import Duplicates as Duplicates
from .fingerprint import NEAR as NEAR
from .measuring import (
    PLAIN_TEMPLATE as PLAIN_TEMPLATE,
    Audit as Audit,
    Judgement as Judgement,
    Models as Models,
    Sets as Sets,
    measure as measure,
)
from .quality import Seen as Seen, qualities as qualities
