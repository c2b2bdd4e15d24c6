"""What the system and libraries raise ends as an error of the user's or a failure, and never commands a terminal."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import Result

from genrobust.cli.program import _explained, _short, err_console


def nest(depth: int) -> list:
    return [nest(depth + 1)]


RAISED: list[tuple[Callable[[], object], int, str]] = [
    (lambda: Path("none/below").read_bytes(), 2, "none/below: No such file"),
    (lambda: Path("/proc/self/mem").read_bytes(), 1, "fix this and rerun"),
    (lambda: os.read(99999, 1), 1, "Bad file descriptor"),
    (lambda: b"\xff".decode(), 2, "utf-8"),
    (lambda: nest(0), 2, "cannot be read"),
    (lambda: torch.empty(2**55), 1, "out of memory"),
    (lambda: bytes(2**62), 1, "out of memory"),
    (lambda: __import__("no_such_package"), 1, "no_such_package"),
    (lambda: sys.exit(3), 1, "ended the program"),
]


@pytest.mark.parametrize(("act", "code", "said"), RAISED)
def test_an_error_of_the_system_or_a_library_is_explained(act: Callable[[], object], code: int, said: str) -> None:
    with pytest.raises(BaseException) as raised:
        act()
    told = _explained(raised.value)
    assert told is not None and told.exit_code == code
    assert said in str(told)


def test_a_fault_of_the_program_stays_unexpected() -> None:
    for error in (KeyError("x"), ZeroDivisionError(), AssertionError(), TypeError(), RuntimeError("x")):
        assert _explained(error) is None
    full = _explained(OSError(errno.ENOSPC, "No space left on device", "out"))
    assert full is not None and "free some space" in str(full)


def test_an_error_has_three_lines_at_most() -> None:
    assert _short("a\nb\nc") == "a\nb\nc"
    assert _short("a\nb\nc\nd") == "a\nb\n... and 2 more lines"
    assert max(map(len, _short("x" * 10**6).splitlines())) < 1100


FOREIGN = ["\x1b[2Jcleared", "\x1b]0;title\x07", "a\x08b", "\x9b31m", "\u202egnp.exe", "caf\udce9", "\x00", "\x7f"]


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_texts_do_not_command_a_terminal(text: str) -> None:
    with err_console.capture() as shown:
        err_console.print(text)
        err_console.print({"key": text})
    assert not set(shown.get()) & {"\x1b", "\x07", "\x08", "\x9b", "\u202e", "\udce9", "\x00", "\x7f"}


def test_texts_of_any_language_are_shown_as_they_are() -> None:
    with err_console.capture() as shown:
        err_console.print("naïve 猫 👩‍🔬\tx")
    assert shown.get().split() == ["naïve", "猫", "👩‍🔬", "x"]


@pytest.mark.parametrize("name", [b"caf\xe9.yaml", b"\x1b[31m.yaml", b"x" * 300])
@pytest.mark.parametrize("command", ["show {}", "verify {}", "predict x {}", "audit {} --clip {}"])
def test_odd_names_of_files_are_mistakes(genrobust: Callable[..., Result], command: str, name: bytes) -> None:
    done = genrobust(*(os.fsdecode(name) if word == "{}" else word for word in command.split()))
    assert done.exit_code in (1, 2), done.output
    assert "unexpected" not in done.stderr and not {"\x1b", "\udce9"} & {*done.output}


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    shell = f"{sys.executable} -m genrobust list | true"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ""
