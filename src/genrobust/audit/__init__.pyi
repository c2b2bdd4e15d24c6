from .agreement import confidence as confidence
from .diversity import first_of_each_class as first_of_each_class
from .measuring import Models as Models, measure as measure
from .quality import Seen as Seen, qualities as qualities
