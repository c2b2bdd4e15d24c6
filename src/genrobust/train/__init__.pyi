from .loop import Watch as Watch, train as train
from .mixture import Mixture as Mixture, Source as Source, prefix as prefix
from .packed import to_pack as to_pack
from .team import team_of as team_of
