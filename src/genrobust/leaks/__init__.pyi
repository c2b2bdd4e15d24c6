from .alignment import NEAR as NEAR
from .image_names import apart_from_tests as apart_from_tests, describe_same_names as describe_same_names
from .near_copies import Neighbors as Neighbors, find_near_copies as find_near_copies, nearest as nearest
from .removal import (
    ContentsOf as ContentsOf,
    Copies as Copies,
    NearCopiesOf as NearCopiesOf,
    copies_of_tests as copies_of_tests,
    hash_contents as hash_contents,
    without_copies as without_copies,
    without_leaks as without_leaks,
    without_withheld as without_withheld,
)
from .thumbnails import thumbnail as thumbnail, thumbnails as thumbnails
