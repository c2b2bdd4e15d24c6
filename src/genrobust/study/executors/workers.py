"""The loop that hands calls to other processes, shows their progress and retries them."""

from __future__ import annotations

import logging
import pickle
import sys
import tempfile
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from genrobust.core import Bar, GenrobustError, is_out_of_memory, one_line, progress_bar, some_of
from genrobust.study.executors.calls import Call, Channel, Files, Result, WorkerDied
from genrobust.study.executors.executor import Executor
from genrobust.study.executors.work import Item, Work

TRIES = 3  # per item
LISTED = 20  # failed items, in a message
log = logging.getLogger(__name__)

Submit = Callable[[Sequence[Call]], Iterable[Future[Result]]]


class Progress:
    """The progress of all calls, shown by `bar` as one."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._shown: dict[int, tuple[int, int]] = {}

    def show(self, number: int, done: int, found: int | None = None) -> None:
        """Show that so much of a call is `done`, and `found` as before if None; less if the call starts again."""
        done_before, found_before = self._shown.get(number, (0, 0))
        found = min(done, found_before if found is None else found)
        self._shown[number] = done, found
        self._bar.advance(found - found_before, found=True)
        self._bar.advance(done - done_before - (found - found_before))


class Workers(Executor):
    """Other processes make the items: one per call, or a share of them if that is cheaper.

    Attributes:
        most_calls: The most calls that one work may make.
        look_every_s: How often the state of calls is read.
        shared: The folder that workers share with the command; None for a temporary folder.
        retried: Failures after which an item is tried again, in addition to full memory.
    """

    most_calls = sys.maxsize
    look_every_s = 0.1
    shared: Path | None = None
    retried: tuple[type[Exception], ...] = (WorkerDied,)
    _threads: int

    @abstractmethod
    def pool(self, work: Work) -> AbstractContextManager[Submit]:
        """Open workers, and kill them at the end. Yields what starts calls.

        A call whose worker dies raises any error; a call that fails returns its error.
        """

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """Open the channel by which calls report."""
        if self.shared is not None:
            self.shared.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.shared, ignore_cleanup_errors=True) as folder:
            yield Files(Path(folder))

    def run(self, work: Work) -> None:
        """Make all items of `work`. An item whose worker dies or runs out of memory is tried again."""
        if work.alone or not work.items:
            Executor().run(work)
            return
        shares = work.shares(self.workers(), self.most_calls)
        with progress_bar(work.title, work.size, work.unit) as bar, self.channel() as channel:
            call = Call(
                load=pickle.dumps(work.load),
                unit=work.unit,
                keys=(),
                number=0,
                channel=channel,
                threads=self._threads,
                folder=str(Path.cwd()),
            )
            with self.pool(work) as submit:
                failed = self._finish(work, shares, call, submit, Progress(bar))
        if failed:
            raise GenrobustError(
                f"{work.title}: {len(failed)} of the jobs failed:\n" + some_of(failed, LISTED, "\n") + "\n"
                "completed jobs are kept: rerun to do the others; if memory ran out, lower --workers or batch_size"
            )

    def _finish(
        self, work: Work, shares: Sequence[Sequence[Item]], call: Call, submit: Submit, progress: Progress
    ) -> list[str]:
        """Make `shares`, each in a call of its number; return a line for each item that failed in all its tries."""
        running: dict[int, Future[Result]] = {}
        todo = list(range(len(shares)))
        tries = Counter[int]()
        failed: list[str] = []
        while todo or running:
            calls: list[Call] = []
            for number in todo:
                keys = tuple(item.key for item in shares[number])
                calls.append(replace(call, number=number, keys=keys))
            if calls:
                running.update(zip(todo, submit(calls), strict=True))
            tries.update(todo)
            todo.clear()
            time.sleep(self.look_every_s)
            for number, done, found in call.channel.receive(running):
                progress.show(number, done, found)
            ended = [number for number, future in running.items() if future.done()]
            for number in ended:
                share = shares[number]
                result = _result(running.pop(number))
                if isinstance(result, float):
                    progress.show(number, sum(item.size for item in share))
                    work.ended(share, result if tries[number] == 1 else None)
                    continue
                progress.show(number, 0, 0)
                if not isinstance(result, self.retried) and not is_out_of_memory(result):
                    raise result
                if tries[number] < TRIES:
                    log.warning("%s: %s; it is tried again", share[0].name, one_line(result))
                    todo.append(number)
                else:
                    failed += [f"  {item.name}: {one_line(result)} (tries: {TRIES})" for item in share]
        return failed


def _result(future: Future[Result]) -> Result:
    """Return the result of a call. If it raised, its worker died."""
    try:
        return future.result()
    except Exception as error:
        if isinstance(error, WorkerDied):
            return error
        return WorkerDied(f"its worker died: {one_line(error)}")
