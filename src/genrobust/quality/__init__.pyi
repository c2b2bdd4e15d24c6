from .diversity import by_class as by_class, common_counts as common_counts, first_of_each_class as first_of_each_class
from .labels import (
    Agreement as Agreement,
    agreement as agreement,
    confidence as confidence,
    least_agreeing as least_agreeing,
)
from .realism import NEIGHBORS as NEIGHBORS, Fidelity as Fidelity, fidelity as fidelity, halves as halves
from .sources import SourceEmbeddings as SourceEmbeddings, qualities as qualities
