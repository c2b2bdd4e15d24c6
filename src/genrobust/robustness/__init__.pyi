from .accuracy import top1 as top1
from .benchmarking import (
    Benchmark as Benchmark,
    HardImage as HardImage,
    ModelScores as ModelScores,
    Pair as Pair,
    benchmark as benchmark,
)
from .effective import fit_lines as fit_lines
from .figure import Figure as Figure, figure_called as figure_called, list_figures as list_figures
from .imagenet_lines import CLASSES as CLASSES, SOURCE as SOURCE, published_line as published_line
from .multi_id import finite_rows as finite_rows
from .scales import to_scale as to_scale
from .summary import Comparison as Comparison, score_baselines as score_baselines, summarize as summarize
from .table import (
    TableScores as TableScores,
    doubts as doubts,
    score_table as score_table,
    score_table_over as score_table_over,
)
