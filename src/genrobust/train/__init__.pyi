from .loop import Watch as Watch, train as train
from .mixed_images import Source as Source
from .mixture import Mixture as Mixture
from .packed import PACKING as PACKING, PackedImages as PackedImages, to_pack as to_pack
from .random_crops import RESIZING as RESIZING
from .training_job import TrainingJob as TrainingJob
