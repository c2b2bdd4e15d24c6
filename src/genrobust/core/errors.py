"""Errors for the user: the library raises them, the command line prints them.

Bad input raises UserError. A damaged file, or a system that refuses, raises GenrobustError. Docstrings name further
exceptions only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any


class GenrobustError(Exception):
    """A failure (exit code 1). The message says what is wrong, where, and what to do next."""

    exit_code = 1


class UserError(GenrobustError):
    """A mistake in the user's input: an option, a recipe, a folder, an image (exit code 2)."""

    exit_code = 2


class NoColumn(UserError):
    """A set of images has no column of this name."""


class Busy(UserError):
    """Another process holds a lock that this one needs."""


class DiskFull(GenrobustError):
    """The disk is full; completed files are intact."""


class OutOfMemory(GenrobustError):
    """The device has too little memory."""


# Messages of torch on CUDA, MPS and CPUs, of CUDA's libraries, and of numpy.
_NO_MEMORY = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "Unable to allocate",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | OutOfMemory) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def some_of(things: Iterable[object], most: int = 10, separator: str = ", ") -> str:
    """Join the first `things` for a message, and count the others: "a, b, c and 4 more"."""
    texts = [str(thing) for thing in things]
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more


def require_packages(packages: Iterable[str], extra: str, why: str) -> None:
    """Raise UserError unless all optional `packages` of `extra` are installed. No package is loaded."""
    for package in packages:
        if find_spec(package) is None:
            install = f"pip install 'genrobust[{extra}]'"
            raise UserError(f"{why} needs the package {package}, which is not installed: {install}")


class NewerVersion(UserError):
    """A newer version of genrobust wrote a file."""


def one_line(error: BaseException) -> str:
    """Return the first 400 characters of the message of `error` on one line, or the name of its type."""
    message = " ".join(str(error).split())
    return message[:400] or type(error).__name__


@contextmanager
def reading(
    source: object, *errors: type[Exception], then: str = "", kind: type[GenrobustError] = UserError
) -> Iterator[None]:
    """Turn an OSError in the block, or one of `errors`, into a `kind`: "cannot read `source`", the reason, and `then`.

    RecursionError, which parsers raise for deep nesting, is included.
    """
    caught: tuple[type[Exception], ...] = (OSError, RecursionError, *errors)
    try:
        yield
    except caught as error:
        raise kind(f"cannot read {source}: {_reason(error)}{then}") from error


def _reason(error: Any) -> object:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if hasattr(error, "errors"):  # pydantic: the first mistake, with its keys
        fault = error.errors()[0]
        return f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
    if getattr(error, "strerror", None):
        return error.strerror
    # The message of a LookupError is only the key.
    return repr(error) if isinstance(error, LookupError) else error
