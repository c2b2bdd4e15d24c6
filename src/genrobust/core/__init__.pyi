from .assets import (
    EMBEDDED as EMBEDDED,
    embedded as embedded,
    find_clip as find_clip,
)
from .devices import (
    SAFE_PATH as SAFE_PATH,
    available_devices as available_devices,
    compiler_options as compiler_options,
    device_kind as device_kind,
    keep_freed_memory as keep_freed_memory,
    repeatable as repeatable,
    resolve_device as resolve_device,
    room_for_code as room_for_code,
    set_threads as set_threads,
    waiting_of_threads as waiting_of_threads,
    worker_environment as worker_environment,
)
from .errors import (
    Busy as Busy,
    DiskFull as DiskFull,
    GenrobustError as GenrobustError,
    NewerVersion as NewerVersion,
    NoColumn as NoColumn,
    OutOfMemory as OutOfMemory,
    UserError as UserError,
    is_out_of_memory as is_out_of_memory,
    one_line as one_line,
    reading as reading,
    require_packages as require_packages,
    some_of as some_of,
)
from .feeding import (
    feed as feed,
    reading_pool as reading_pool,
)
from .images import (
    FLAT_IMAGE as FLAT_IMAGE,
    NOT_GENERATED as NOT_GENERATED,
    REAL as REAL,
    RETRIEVED as RETRIEVED,
    RETRIEVED_ALL as RETRIEVED_ALL,
    RETRIEVED_BY_CLASS as RETRIEVED_BY_CLASS,
    RETRIEVED_BY_SEARCH as RETRIEVED_BY_SEARCH,
    RETRIEVED_WITHHELD as RETRIEVED_WITHHELD,
    ClassLabel as ClassLabel,
    ImageSet as ImageSet,
    JoinedImages as JoinedImages,
    LabelSpace as LabelSpace,
    Request as Request,
    Sample as Sample,
    StudyData as StudyData,
    Subset as Subset,
    check_not_empty as check_not_empty,
    count_taken as count_taken,
    fair_in_kinds as fair_in_kinds,
    fair_order as fair_order,
    prefix as prefix,
    with_attributes as with_attributes,
)
from .interrupts import (
    INTERRUPTED as INTERRUPTED,
    interrupt as interrupt,
    is_interrupted as is_interrupted,
    raise_at_signals as raise_at_signals,
    report_interrupt as report_interrupt,
)
from .keys import (
    DEVICES as DEVICES,
    digest as digest,
    file_name as file_name,
    hashed_seed as hashed_seed,
    key_hash as key_hash,
    slug as slug,
)
from .machine import (
    cores as cores,
    free_memory as free_memory,
    user_cache as user_cache,
)
from .masking import (
    mask_secrets as mask_secrets,
)
from .names import (
    bare_name as bare_name,
    count as count,
    did_you_mean as did_you_mean,
    near_names as near_names,
    perhaps as perhaps,
)
from .parsing import (
    parse_json as parse_json,
    parse_yaml as parse_yaml,
)
from .precision import (
    FLOAT32 as FLOAT32,
    PREFERRED as PREFERRED,
    Hardware as Hardware,
    hardware as hardware,
    in_common as in_common,
)
from .predictions import (
    Predictions as Predictions,
)
from .progress import (
    Bar as Bar,
    about as about,
    counting as counting,
    progress_bar as progress_bar,
)
from .registry import (
    VIEWS as VIEWS,
    Registry as Registry,
    is_own as is_own,
    warn_of_plugins as warn_of_plugins,
)
from .scores import (
    ALL_SHIFTS as ALL_SHIFTS,
    MEAN_OF_SHIFTS as MEAN_OF_SHIFTS,
    MIN_GROUPS as MIN_GROUPS,
    WIDEST_INTERVAL as WIDEST_INTERVAL,
    ZERO_SHOT as ZERO_SHOT,
    BaselineModel as BaselineModel,
    ClassReport as ClassReport,
    Confusion as Confusion,
    Line as Line,
    MissedImage as MissedImage,
    Score as Score,
    ScoreKey as ScoreKey,
    Summary as Summary,
    group_reference as group_reference,
)
from .study_record import (
    ArmRecord as ArmRecord,
    Cells as Cells,
    Claim as Claim,
    Curve as Curve,
    DisputedPicture as DisputedPicture,
    MadeBy as MadeBy,
    MissedPicture as MissedPicture,
    Picture as Picture,
    SourceQuality as SourceQuality,
    StageRecord as StageRecord,
    StudyRecord as StudyRecord,
)
from .templating import (
    templates as templates,
)
from .text_files import (
    csv_line as csv_line,
    escape_unprintable as escape_unprintable,
    is_missing as is_missing,
    plain_number as plain_number,
    read_csv as read_csv,
    read_lines as read_lines,
)
from .unlabeled import (
    EstimatorErrors as EstimatorErrors,
    Unlabeled as Unlabeled,
    UnlabeledSet as UnlabeledSet,
)
