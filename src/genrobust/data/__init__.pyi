from .classes import FolderClasses as FolderClasses, classes_of as classes_of
from .file_list import Listing as Listing
from .filters import (
    PATTERN as PATTERN,
    below as below,
    check_share as check_share,
    filters_of as filters_of,
    kept as kept,
    kept_indices as kept_indices,
    lowest_of_each_class as lowest_of_each_class,
    read_filter as read_filter,
    write_filter as write_filter,
)
from .folders import held_out as held_out, open_images as open_images
from .imagenet_sets import LINE_CLASSES as LINE_CLASSES, LINE_SOURCE as LINE_SOURCE
from .memory import MemoryImages as MemoryImages
from .naming import readable_names as readable_names
from .published import choose_baselines as choose_baselines, listing as listing, read_published as read_published
from .reader import DataSource as DataSource, Reader as Reader, load_data as load_data, published_line as published_line
from .reading import check_images as check_images, image_files as image_files, read_image as read_image
from .retrieval import filled_quotas as filled_quotas, retrieve as retrieve
from .searches import (
    SEARCHED_BY as SEARCHED_BY,
    FoundImages as FoundImages,
    best_classes as best_classes,
    found_images as found_images,
    nearest as nearest,
    nearest_in_turn as nearest_in_turn,
    prompt_cosines as prompt_cosines,
    read_search as read_search,
    write_search as write_search,
)
from .shard_files import OK as OK, SCHEMA as SCHEMA, shard_rows as shard_rows, write_shard as write_shard
from .shards import (
    MANIFEST as MANIFEST,
    USED as USED,
    ShardDataset as ShardDataset,
    create_dataset as create_dataset,
    done_shards as done_shards,
    making as making,
    missing_shards as missing_shards,
    read_manifest as read_manifest,
)
from .stored import (
    StoredImages as StoredImages,
    class_folders as class_folders,
    open_stored as open_stored,
    require_outside as require_outside,
    require_there as require_there,
)
from .tar_writer import TarWriter as TarWriter
from .verifying import (
    Verdict as Verdict,
    describe_verdict as describe_verdict,
    is_dataset as is_dataset,
    set_aside as set_aside,
    verify as verify,
)
