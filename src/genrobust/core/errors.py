"""Errors for the user: the library raises them, the command line prints them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class GenrobustError(Exception):
    """A failure (exit code 1). The message says what is wrong, where, and what to do next."""

    exit_code = 1


class UserError(GenrobustError):
    """A mistake in the user's input: an option, a recipe, a folder, an image (exit code 2)."""

    exit_code = 2


class DiskFull(GenrobustError):
    """The disk is full; completed files are intact."""


class OutOfMemory(GenrobustError):
    """The device has too little memory."""


class MissingPackage(UserError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, why: str) -> None:
        super().__init__(f"{why} needs the package {package}, which is not installed: pip install 'genrobust[{extra}]'")


@contextmanager
def reading(
    what: object, *errors: type[Exception], then: str = "", kind: type[GenrobustError] = UserError
) -> Iterator[None]:
    """Turn an OSError in the block, or one of `errors`, into a `kind`: "cannot read `what`", the reason, and `then`.

    Input nested too deeply for its parser raises that error too.
    """
    caught: tuple[type[Exception], ...] = (OSError, RecursionError, *errors)
    try:
        yield
    except caught as error:
        raise kind(f"cannot read {what}: {_reason(error)}{then}") from error


def _reason(error: Any) -> object:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if hasattr(error, "errors"):  # of pydantic: the first of its faults, with the keys that lead to it
        fault = error.errors()[0]
        return f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
    return getattr(error, "strerror", None) or (repr(error) if isinstance(error, LookupError) else error)
