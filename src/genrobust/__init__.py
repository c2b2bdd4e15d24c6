"""Robust image classifiers from generated datasets.

The public names are in `__init__.pyi`, and in `public.pyi` of each tool that is installed. They are stable; the modules
below may change. Each is imported when it is first asked for, so that `import genrobust` loads nothing heavy.
"""

import ast
from pathlib import Path

import lazy_loader


def _read_public_names() -> dict[str, list[str]]:
    """Return the public names by the module that defines them, relative to this package."""
    package = Path(__file__).parent
    names: dict[str, list[str]] = {}
    for stub in (package / "__init__.pyi", *sorted(package.glob("tools/*/public.pyi"))):
        folder = stub.parent.relative_to(package).parts
        for node in ast.parse(stub.read_bytes()).body:
            # A star stands for the names of the tools, which their own stubs list.
            if isinstance(node, ast.ImportFrom) and node.names[0].name != "*":
                names[".".join([*folder, str(node.module)])] = [alias.name for alias in node.names]
    return names


__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_read_public_names())
__version__ = "0.2.0"
