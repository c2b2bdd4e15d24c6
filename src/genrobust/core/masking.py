"""Masks the passwords and tokens of URLs, wherever text leaves the program."""

from __future__ import annotations

import re

# Of two letters or more, as C:/ is a disk; a Path has made one slash of two. It ends at what no URL holds unquoted.
_URL = re.compile(r"""(?<![\w+.-])([A-Za-z][\w+.-]+:/)([^\s"'<>`]+)""")
_PASSWORD = re.compile(r"^(/*)[^/@:?#]*:(?!\d+(?:[/?#]|$)).*@")  # which may hold slashes; only digits are a port
# Of the web, where a token may stand alone; abfs://container@account is an address.
_USER = re.compile(r"^(/*)[^/@?#]+@")
_TOKEN = re.compile(
    r"(?i)([?&;#](?:[^=&;#]*(?:token|signature|secret|password|passwd|credential|key|keyid)|sig|auth|pwd)=)"
    r"[^&;#]+?(?=[.,:;)\]}]*(?:[&;#]|$))"  # without the punctuation of a sentence
)


def mask_secrets(text: str) -> str:
    """Return `text` with ``***`` for each user and password, token and signature in a URL.

    ``https://user:password@host/x?token=1`` becomes ``https://***@host/x?token=***``.
    """
    return _URL.sub(_mask_url, text)


def _mask_url(url: re.Match[str]) -> str:
    scheme, rest = url.groups()
    before_host = _USER if re.search("https?:/$", scheme) and not _PASSWORD.match(rest) else _PASSWORD
    return scheme + _TOKEN.sub(r"\1***", before_host.sub(r"\1***@", rest))
