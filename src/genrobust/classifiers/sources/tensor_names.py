"""Compare the names and shapes of tensors in a file with timm's network, and rename them in their order."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

# Last names that frameworks share. Tensors of one shape, such as the weight and the bias of a batch norm, differ in it.
KINDS = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def rename_in_order(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give `tensors` the names in `wanted`, in the order of both."""
    if len(tensors) != len(wanted):
        raise ValueError(f"the file has {len(tensors)} tensors, and timm's network {len(wanted)}")
    renamed = {}
    for (name, tensor), (wanted_name, wanted_tensor) in zip(tensors.items(), wanted.items(), strict=True):
        kinds = {name.rpartition(".")[2], wanted_name.rpartition(".")[2]}
        if tensor.shape != wanted_tensor.shape or (kinds <= KINDS and len(kinds) > 1):
            raise ValueError(
                f"tensors differ in shape or kind: file: {name} {list(tensor.shape)}, "
                f"timm: {wanted_name} {list(wanted_tensor.shape)}"
            )
        renamed[wanted_name] = tensor
    return renamed


def describe_misfit(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Say how the names or shapes of `tensors`, from a file, differ from timm's network, `wanted`."""
    unknown = [name for name in tensors if name not in wanted]
    missing = [name for name in wanted if name not in tensors]
    if unknown or missing:
        first = f"file: {next(iter(unknown), 'none')}, timm: {next(iter(missing), 'none')}"
        return f"{len(unknown)} of its tensors are not in timm's network, and {len(missing)} are missing ({first})"
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            return f"{name} has the shape {list(tensor.shape)} in the file and {list(wanted[name].shape)} in timm"
    return "its names and shapes fit, but its values cannot be loaded"
