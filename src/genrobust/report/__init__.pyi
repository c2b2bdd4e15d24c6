from .nouns import ReportSection as ReportSection, plain_table as plain_table
from .page import (
    Thumbnail as Thumbnail,
    contact_sheet as contact_sheet,
    format_number as format_number,
    make_thumbnail as make_thumbnail,
    media_type as media_type,
    own_script as own_script,
    percent as percent,
    render as render,
    thumbnail_bytes as thumbnail_bytes,
    to_json_values as to_json_values,
)
from .plots import SHAPES as SHAPES, Lane as Lane, axis as axis
from .renderers.markdown import escaped as escaped, fenced as fenced
from .renderers.terminal import terminal as terminal
from .results import (
    REPORT as REPORT,
    report_inputs as report_inputs,
)
from .sections.images import METRIC_HEADS as METRIC_HEADS, metric_texts as metric_texts
from .view import SECTIONS as SECTIONS, ReportView as ReportView
from .wording import (
    MISLABELED as MISLABELED,
    is_below_guessing as is_below_guessing,
    is_sure as is_sure,
    number as number,
    span as span,
)
from .write import write_report as write_report
