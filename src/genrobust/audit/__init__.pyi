from .agreement import confidence as confidence
from .measuring import Models as Models, measure as measure
from .quality import Seen as Seen, qualities as qualities
from .seeing import embed_in_parts as embed_in_parts, logits_in_parts as logits_in_parts
