"""Masks the passwords and tokens of URLs, wherever text leaves the program."""

from __future__ import annotations

import re

# The scheme has two letters or more, because C:/ is a disk. Path turns two slashes into one. The URL ends at characters
# that must be quoted in it.
_URL = re.compile(r"""(?<![\w+.-])([A-Za-z][\w+.-]+:/)([^\s"'<>`]+)""")
# USER:PASSWORD@. The password may contain slashes. A part of digits alone is a port.
_PASSWORD = re.compile(r"^(/*)[^/@:?#]*:(?!\d+(?:[/?#]|$)).*@")
# TOKEN@ in a URL of the web. In other URLs, such as abfs://container@account, it is an address.
_USER = re.compile(r"^(/*)[^/@?#]+@")
_TOKEN = re.compile(
    r"(?i)([?&;#](?:[^=&;#]*(?:token|signature|secret|password|passwd|credential|key|keyid)|sig|auth|pwd)=)"
    # Leave out punctuation at the end, which belongs to the sentence around the URL.
    r"[^&;#]+?(?=[.,:;)\]}]*(?:[&;#]|$))"
)


def mask_secrets(text: str) -> str:
    """Return `text` with ``***`` for each user and password, token and signature in a URL.

    ``https://user:password@host/x?token=1`` becomes ``https://***@host/x?token=***``.
    """
    return _URL.sub(_mask_url, text)


def _mask_url(url: re.Match[str]) -> str:
    scheme, rest = url.groups()
    is_web = re.search("https?:/$", scheme) is not None
    credentials = _USER if is_web and not _PASSWORD.match(rest) else _PASSWORD
    masked = credentials.sub(r"\1***@", rest)
    return scheme + _TOKEN.sub(r"\1***", masked)
