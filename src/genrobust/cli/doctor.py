"""The command that shows the machine: versions, devices, disk space and caches."""

import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from genrobust.cli.options import OUT, OutFolder
from genrobust.cli.program import START, command, out_console

PACKAGES = (
    "genrobust", "torch", "torchvision", "timm", "diffusers", "transformers", "safetensors", "pyarrow",
    "datasets", "ray",
)  # fmt: skip
GIGABYTE = 1e9


@command(rich_help_panel=START)
def doctor(out: OutFolder = Path(OUT)) -> None:
    """Show versions, devices, disk space and caches.

    Example: genrobust doctor
    """
    from genrobust.core import local_folder

    table = Table(show_header=False, box=None)
    for name, value in _describe_environment(local_folder(out)):
        table.add_row(escape(name), escape(value))
    out_console.print(table)


def _describe_environment(out: Path) -> Iterator[tuple[str, str]]:
    """Names and values, in order; a missing optional package is "not installed"."""
    from genrobust.core import cores, device_kind, hardware

    yield "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    for name in PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "not installed"
    import torch
    from huggingface_hub.constants import HF_HUB_CACHE

    yield "CPU", f"{cores()} cores, {torch.get_num_threads()} threads used by torch"
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            yield f"cuda:{index}", f"{device.name}, {device.total_memory / GIGABYTE:.0f} GB"
    else:
        yield "CUDA", "no device"
    yield "MPS", "available" if torch.backends.mps.is_available() else "no device"
    auto_device = hardware(device_kind("auto"))
    yield "precision", f"auto is {auto_device.best} on {auto_device.kind} ({auto_device.why})"
    existing = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    usage = shutil.disk_usage(existing)
    yield "disk for " + str(out), f"{usage.free / GIGABYTE:.0f} GB free of {usage.total / GIGABYTE:.0f} GB"
    yield "hub cache", HF_HUB_CACHE
