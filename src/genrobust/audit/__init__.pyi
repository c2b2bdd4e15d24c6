from .agreement import confidence as confidence
from .measuring import Models as Models, measure as measure
from .quality import SourceEmbeddings as SourceEmbeddings, qualities as qualities
from .resumable import embed_in_parts as embed_in_parts, logits_in_parts as logits_in_parts
