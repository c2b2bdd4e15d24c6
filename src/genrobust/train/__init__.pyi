from .crops import RESIZING as RESIZING
from .loop import Watch as Watch, train as train
from .mixture import Mixture as Mixture, Source as Source
from .packed import PACKING as PACKING, PackedImages as PackedImages, to_pack as to_pack
from .team import team_of as team_of
