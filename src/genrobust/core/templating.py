"""The package's templates; an unknown name in a template is an error, not an empty text."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2


@cache
def templates(folder: str, **options: Any) -> jinja2.Environment:
    """Return an environment that reads templates from a `folder` of the package; `options` are those of jinja2.

    A template elsewhere in the package is named with its path from there, such as ``tools/audit/audit.html.j2``.

    It keeps what it compiled, which takes longer than to render a report.
    """
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("genrobust", place) for place in (folder, ".")]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )
