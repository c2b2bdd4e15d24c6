from .audit import (
    audit_folder as audit_folder,
    audit_verdict as audit_verdict,
    read_by_image as read_by_image,
    write_audit_page as write_audit_page,
)
from .benchmark import (
    Benchmarked as Benchmarked,
    benchmark_verdict as benchmark_verdict,
    write_benchmark_page as write_benchmark_page,
)
from .compare import compare_html as compare_html, ranking_table as ranking_table
from .nouns import ReportSection as ReportSection, plain_table as plain_table
from .page import (
    format_number as format_number,
    percent as percent,
    thumbnail as thumbnail,
    thumbnail_bytes as thumbnail_bytes,
)
from .published import (
    describe as describe,
    left_out_notes as left_out_notes,
    terminal_table as terminal_table,
    write_json as write_json,
)
from .ranking import find_results as find_results, rank as rank
from .renderers.markdown import escaped as escaped, fenced as fenced
from .renderers.terminal import terminal as terminal
from .results import find_report as find_report, read_results as read_results
from .view import SECTIONS as SECTIONS, ReportView as ReportView
from .viewer import Viewer as Viewer, serve as serve
from .views.studies import show_study as show_study
from .wording import (
    EN_DASH as EN_DASH,
    MISLABELED as MISLABELED,
    count as count,
    is_below_guessing as is_below_guessing,
    number as number,
    robustness_over as robustness_over,
    span as span,
)
from .write import check_report_formats as check_report_formats, write_report as write_report
