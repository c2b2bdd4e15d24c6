from .agreement import confidence as confidence
from .measuring import Models as Models, measure as measure
from .quality import Seen as Seen, qualities as qualities
