"""The nouns that stages hand to each other, and what every room needs: errors, files, devices, progress."""

import logging

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# Where torchao is installed (the extra `quantize`), diffusers, transformers and peft import it, and these warn of
# kernels that are for other GPUs. What a recipe asks of it and this machine lacks is an error of genrobust's own.
for _logger in ("torchao", "torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer"):
    logging.getLogger(_logger).addFilter(lambda record: record.levelno >= logging.ERROR)  # torch sets levels itself
