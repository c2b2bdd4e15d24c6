from .accuracy import top1 as top1
from .benchmarking import (
    Benchmark as Benchmark,
    HardImage as HardImage,
    ModelScores as ModelScores,
    Pair as Pair,
    benchmark as benchmark,
)
from .effective import fit_lines as fit_lines
from .multi_id import finite_rows as finite_rows
from .scales import to_scale as to_scale
from .summary import summarize as summarize
from .table import (
    TableScores as TableScores,
    doubts as doubts,
    score_table as score_table,
    score_table_over as score_table_over,
)
