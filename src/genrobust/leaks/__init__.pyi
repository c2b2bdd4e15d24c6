from .alignment import NEAR as NEAR
from .file_hashes import hash_contents as hash_contents
from .image_names import apart_from_tests as apart_from_tests, describe_same_names as describe_same_names
from .near_copies import (
    Neighbors as Neighbors,
    find_near_copies as find_near_copies,
    nearest as nearest,
)
from .notices import Copies as Copies, LabelConflict as LabelConflict
from .study_sets import (
    NEAR_VERSION as NEAR_VERSION,
    ContentsOf as ContentsOf,
    NearCopiesOf as NearCopiesOf,
    copies_of_tests as copies_of_tests,
    without_copies as without_copies,
    without_labeled_images as without_labeled_images,
    without_leaks as without_leaks,
    without_withheld as without_withheld,
)
from .thumbnails import thumbnail as thumbnail, thumbnails as thumbnails
