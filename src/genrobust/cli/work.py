"""Prints the work of a study: what is done, what is left, and how long it takes here."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:  # a command imports what it needs when it runs, so that --help answers at once
    from rich.console import Console

    from genrobust.study import Row


def print_work(rows: "Sequence[Row]", to: "Console", title: str | None = None) -> None:
    """Print done and remaining work, with the time that it takes and the disk space that it needs."""
    from genrobust.core import about
    from genrobust.study import disk, free, published_time, seconds_left

    context = rows[0].stage.context
    table = Table(title=title and escape(title))
    for heading in ("stage", "what", "done", "left here"):
        table.add_column(heading, overflow="fold")  # never cuts the name of an arm
    for row in rows:
        alone = row.stage.seconds(row.left)
        words = "nothing" if not row.left else "not measured yet" if alone is None else about(alone)
        table.add_row(row.stage.name, escape(row.name), f"{row.done:,} of {row.total:,} {row.unit}", words)
    to.print(table)
    for row in rows:
        if published := published_time(row):
            to.print(f"{escape(row.name)}: {escape(published)}")
    seconds, unknown = seconds_left(rows)
    if not seconds and not unknown:
        return
    workers = context.executor.workers()
    parts = ([about(seconds)] if seconds else []) + (["steps that are not measured yet"] if unknown else [])
    with_workers = f", with {workers} workers" if workers > 1 else ""
    need, room = disk(rows) / 1e9, free(context.out) / 1e9
    to.print(
        f"left: {' and '.join(parts)}{with_workers}; about {need:.2f} GB of {room:.0f} GB free for "
        f"{escape(str(context.out))}"
    )
    if need > room:
        to.print("[bold yellow]warning:[/] not enough disk space: free some, or choose another --runs")
