from .format import Format as Format
