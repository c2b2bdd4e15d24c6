"""The nouns: what one stage hands to the next. All frozen; none knows torch or a disk.

``Recipe -> Request -> shards -> mixture -> checkpoint -> Predictions -> Score -> report``
"""

from genrobust.data.images import (
    NOT_GENERATED,
    REAL,
    RETRIEVED,
    RETRIEVED_BY_CLASS,
    ClassLabel,
    ImageSet,
    LabelSpace,
    Request,
    Sample,
    StudyData,
    Subset,
)
from genrobust.data.keys import digest, hashed_seed, slug
from genrobust.data.record import ArmRecord, Claim, Picture, SourceQuality, StageRecord, StudyRecord
from genrobust.data.results import (
    MEAN_OF_SHIFTS,
    ZERO_SHOT,
    BaselineModel,
    Cell,
    Difference,
    Group,
    Line,
    MultiID,
    Plane,
    Predictions,
    Score,
    Summary,
)

__all__ = [
    "MEAN_OF_SHIFTS",
    "NOT_GENERATED",
    "REAL",
    "RETRIEVED",
    "RETRIEVED_BY_CLASS",
    "ZERO_SHOT",
    "ArmRecord",
    "BaselineModel",
    "Cell",
    "Claim",
    "ClassLabel",
    "Difference",
    "Group",
    "ImageSet",
    "LabelSpace",
    "Line",
    "MultiID",
    "Picture",
    "Plane",
    "Predictions",
    "Request",
    "Sample",
    "Score",
    "SourceQuality",
    "StageRecord",
    "StudyData",
    "StudyRecord",
    "Subset",
    "Summary",
    "digest",
    "hashed_seed",
    "slug",
]
