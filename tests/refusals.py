"""Errors as users see them: of the right kind, and naming the key, the file or the value that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from genrobust.core import UserError


@contextmanager
def refused(*named: object, kind: type[Exception] = UserError) -> Iterator[None]:
    """Expect an error in the block whose message names each of `named`."""
    with pytest.raises(kind) as error:
        yield
    message = str(error.value)
    for name in named:
        assert str(name) in message
