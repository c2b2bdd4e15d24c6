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
from .costs import MINUTE as MINUTE
from .markdown import escaped as escaped, fenced as fenced
from .page import (
    format_number as format_number,
    own_script as own_script,
    percent as percent,
    render as render,
    thumbnail as thumbnail,
    thumbnail_bytes as thumbnail_bytes,
)
from .published import (
    describe as describe,
    left_out_notes as left_out_notes,
    terminal_table as terminal_table,
    write_json as write_json,
)
from .results import (
    REPORT as REPORT,
    RESULTS as RESULTS,
    StudyResults as StudyResults,
    find_report as find_report,
    read_results as read_results,
    recipe_of as recipe_of,
)
from .tables import (
    Column as Column,
    Entry as Entry,
    difference_entry as difference_entry,
    figure_table as figure_table,
    mark_best as mark_best,
)
from .terminal import final_table as final_table
from .viewer import Viewer as Viewer, serve as serve
from .views.studies import show_study as show_study
from .wording import (
    EN_DASH as EN_DASH,
    MISLABELED as MISLABELED,
    count as count,
    gain as gain,
    is_below_guessing as is_below_guessing,
    is_sure as is_sure,
    marks as marks,
    mixture_in_words as mixture_in_words,
    number as number,
    robustness_over as robustness_over,
    row_name as row_name,
    span as span,
)
from .write import check_report_formats as check_report_formats, write_report as write_report
