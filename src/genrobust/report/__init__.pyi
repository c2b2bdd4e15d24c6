from .accuracy_lanes import Lane as Lane, axis as axis
from .arm_looks import SHAPES as SHAPES
from .page_templates import (
    format_number as format_number,
    own_script as own_script,
    percent as percent,
    render as render,
    to_json_values as to_json_values,
)
from .renderers.report_markdown import escaped as escaped, fenced as fenced
from .renderers.terminal_table import terminal as terminal
from .report_files import write_report as write_report
from .report_folder import REPORT as REPORT, RESULTS as RESULTS, report_inputs as report_inputs
from .report_section import ReportSection as ReportSection, plain_table as plain_table
from .report_view import SECTIONS as SECTIONS, ReportView as ReportView
from .sections.image_quality import METRIC_HEADS as METRIC_HEADS, metric_texts as metric_texts
from .thumbnails import (
    Thumbnail as Thumbnail,
    contact_sheet as contact_sheet,
    data_uri as data_uri,
    make_thumbnail as make_thumbnail,
    media_type as media_type,
    thumbnail_bytes as thumbnail_bytes,
)
from .wording import (
    MISLABELED as MISLABELED,
    is_below_guessing as is_below_guessing,
    is_sure as is_sure,
    number as number,
    span as span,
)
