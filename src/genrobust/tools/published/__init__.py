"""The command that computes effective robustness from published accuracies: a line, a table and a JSON file."""

from pathlib import Path
from typing import Annotated

from rich.markup import escape

from genrobust.cli import COMMANDS, USE, Overwrite, argument, err_console, in_group, option, out_console

IdColumn = Annotated[str, option("--id COLUMN", "ID accuracy: COLUMN, or FILE:COLUMN.")]
ShiftColumn = Annotated[str, option("--shift COLUMN", "Shifted accuracy: COLUMN, or FILE:COLUMN.")]
AccuracyTable = Annotated[Path | None, argument("TABLE", "A CSV file with one row for each model.")]
KeyColumns = Annotated[
    str, option("--key A,B", "Columns that name a model and join two files; default: the first column.")
]
Baselines = Annotated[
    str | None, option("--baselines FILE|REGEX", "Models that the line is fitted on: a file of names, or a regex.")
]
Exclude = Annotated[str | None, option("--exclude FILE|REGEX", "Models that the line is not fitted on.")]
Transform = Annotated[str, option("--transform SCALE", "Scale of the fit: logit, probit or linear.")]
MinId = Annotated[
    float, option("--min-id ACC", "Do not fit on models with an ID accuracy below ACC %.", min=0, max=100)
]
JsonFile = Annotated[Path | None, option("--json FILE.json", "Write all numbers to this file.")]


@COMMANDS.register("effective-robustness")
@in_group(USE)
def effective_robustness(
    id_column: IdColumn,
    shift: ShiftColumn,
    table: AccuracyTable = None,
    key: KeyColumns = "",
    baselines: Baselines = None,
    exclude: Exclude = None,
    transform: Transform = "logit",
    min_id: MinId = 0,
    json: JsonFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Compute effective robustness from a published table of accuracies.

    Example: genrobust effective-robustness table.csv --id ImageNet --shift ImageNet-R
    """
    from genrobust.robustness import score_published
    from genrobust.tools.published.accuracy_table import read_published
    from genrobust.tools.published.baseline_choice import choose_baselines
    from genrobust.tools.published.scores_output import describe, left_out_notes, terminal_table, write_json

    keys = [column.strip() for column in key.split(",")] if key else []
    models = read_published(table, id_column, shift, keys)
    chosen, notes = choose_baselines(models, baselines, exclude)
    result = score_published(models, chosen, transform, min_id)
    if json is not None:
        inputs = [*models.files, table, baselines, exclude]
        write_json(result, json, [Path(path) for path in inputs if path], overwrite)
    for note in (*models.notes, *notes, *left_out_notes(result)):
        err_console.print(f"note: {escape(note)}")
    for warning in result.doubts:
        err_console.print(f"[bold yellow]warning:[/] {escape(warning)}")
    # Standard output contains only the JSON if it goes there.
    console = err_console if json == Path("-") else out_console
    console.print(escape(describe(result.line)))
    console.print(terminal_table(result))
