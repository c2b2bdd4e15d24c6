from .crops import RESIZING as RESIZING
from .loop import STATE as STATE, Watch as Watch, train as train
from .mixture import Mixture as Mixture, Part as Part, prefix as prefix
from .packed import PACKING as PACKING, PackedImages as PackedImages, to_pack as to_pack
from .team import team_of as team_of
