from .exporting import ExportOptions as ExportOptions, export as export
from .format import FORMATS as FORMATS, Format as Format
from .model_card import measured as measured
from .model_export import check_target as check_target, export_model as export_model
from .parts import Origin as Origin
from .pushing import files_of as files_of, push as push, require_repo_id as require_repo_id
