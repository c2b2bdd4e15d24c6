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
from .folders import (
    FolderClasses as FolderClasses,
    load_generated as load_generated,
    open_images as open_images,
    read_classes as read_classes,
)
from .generation_log import USED as USED, making as making
from .imagenet_classes import label_space as label_space
from .load import load_data as load_data
from .naming import readable_names as readable_names
from .places import class_folders as class_folders, open_place as open_place
from .published import (
    Published as Published,
    choose as choose,
    listing as listing,
    near as near,
    read_published as read_published,
)
from .reading import check_images as check_images, image_files as image_files, read_image as read_image
from .retrieval import retrieve as retrieve
from .shards import (
    MANIFEST as MANIFEST,
    OK as OK,
    SCHEMA as SCHEMA,
    ShardDataset as ShardDataset,
    claim as claim,
    done_shards as done_shards,
    missing_shards as missing_shards,
    read_manifest as read_manifest,
    shard_rows as shard_rows,
    write_shard as write_shard,
)
from .tar_writer import TarWriter as TarWriter
from .verifying import describe_verdict as describe_verdict, verify as verify
