from .audit_files import (
    BY_IMAGE as BY_IMAGE,
    DISTANCE as DISTANCE,
    NEAREST as NEAREST,
    PROBABILITY as PROBABILITY,
    TAKEN_FOR as TAKEN_FOR,
    audit_folder as audit_folder,
    read_by_image as read_by_image,
)
from .baseline_tables import (
    clip_accuracies as clip_accuracies,
    column_index as column_index,
    count_names as count_names,
    read_accuracy as read_accuracy,
    read_baselines as read_baselines,
    suggestion as suggestion,
)
from .broken import Broken as Broken, leave_out as leave_out, without_broken as without_broken
from .class_naming import readable_names as readable_names
from .class_subset import relabeled as relabeled
from .classes import FolderClasses as FolderClasses, classes_of as classes_of
from .data_source import DataSource as DataSource, load_data as load_data, with_derived as with_derived
from .filters import (
    below as below,
    kept_indices as kept_indices,
    lowest_of_each_class as lowest_of_each_class,
    read_filter as read_filter,
    write_filter as write_filter,
    write_reviewed as write_reviewed,
)
from .grouping import APART as APART, Names as Names, names_if_known as names_if_known
from .hub_sets import as_written as as_written, is_on_hub as is_on_hub
from .image_files import describe_broken as describe_broken, read_image as read_image, walk_images as walk_images
from .image_kinds import Reader as Reader, published_line as published_line
from .imagenet_classes import imagenet_numbers as imagenet_numbers
from .imagenet_sets import LINE_CLASSES as LINE_CLASSES, LINE_SOURCE as LINE_SOURCE
from .labeled_images import by_style as by_style, open_images as open_images
from .memory import MemoryImages as MemoryImages
from .quality.diversity import (
    by_class as by_class,
    common_counts as common_counts,
    first_of_each_class as first_of_each_class,
)
from .quality.labels import (
    Agreement as Agreement,
    agreement as agreement,
    confidence as confidence,
    least_agreeing as least_agreeing,
)
from .quality.realism import halves as halves
from .quality.sources import SourceEmbeddings as SourceEmbeddings, qualities as qualities
from .readers.domain_sets import domains_in as domains_in
from .retrieval import filled_quotas as filled_quotas, retrieve as retrieve
from .reviews import Review as Review, decide as decide, read_review as read_review, review_of as review_of
from .search_results import (
    SEARCHED_BY as SEARCHED_BY,
    FoundImages as FoundImages,
    best_classes as best_classes,
    nearest_of_classes as nearest_of_classes,
    read_search as read_search,
    write_search as write_search,
)
from .shard_files import OK as OK, write_shard as write_shard
from .shards import (
    NAMES as NAMES,
    USED as USED,
    ShardDataset as ShardDataset,
    begin_dataset as begin_dataset,
    discard_shards as discard_shards,
    done_shards as done_shards,
    finish_dataset as finish_dataset,
    is_dataset as is_dataset,
    making as making,
    missing_shards as missing_shards,
)
from .stored_images import (
    open_stored as open_stored,
    require_no_images as require_no_images,
    require_outside as require_outside,
    require_there as require_there,
)
from .withholding import Cell as Cell, list_cells as list_cells, withheld_cells as withheld_cells, withhold as withhold
