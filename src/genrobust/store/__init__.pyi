from .artifact import (
    Artifact as Artifact,
    artifact_folder as artifact_folder,
    artifacts as artifacts,
    fetch_artifacts as fetch_artifacts,
    link as link,
)
from .file_hashes import (
    HEX_DIGITS as HEX_DIGITS,
    hash_file as hash_file,
    hash_files as hash_files,
    hash_folder as hash_folder,
    hash_once as hash_once,
)
from .files import (
    MANIFEST as MANIFEST,
    leftovers as leftovers,
    lock as lock,
    make_folder as make_folder,
    refusal as refusal,
    remove_leftovers as remove_leftovers,
    replacing as replacing,
)
from .hub import (
    download as download,
)
from .made_by import (
    CODE as CODE,
    SOURCE as SOURCE,
    Maker as Maker,
    made_by as made_by,
    made_by_others as made_by_others,
    plugins_of as plugins_of,
)
from .manifest import (
    Manifest as Manifest,
    is_ours as is_ours,
)
from .named_files import (
    OutputFile as OutputFile,
    expand_home as expand_home,
)
from .page_files import (
    PAGES as PAGES,
    REWRITE as REWRITE,
    page_json as page_json,
    read_page_json as read_page_json,
    write_files as write_files,
)
from .parts import (
    PART as PART,
    PARTS as PARTS,
    Advance as Advance,
    Arrays as Arrays,
    KeptParts as KeptParts,
    no_progress as no_progress,
)
from .remote import (
    address as address,
    local_folder as local_folder,
    remote_of as remote_of,
)
