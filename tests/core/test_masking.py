"""No password or token of a URL is shown, and all else is."""

from __future__ import annotations

import pytest

from genrobust.core import mask_secrets

URLS = [  # before and after
    ("https://user:SECRET@host/x", "https://***@host/x"),
    ("/home/me/https:/user:SECRET@host/x: no such folder", "/home/me/https:/***@host/x: no such folder"),
    ("NAME=https://SECRET@host:80", "NAME=https://***@host:80"),
    ("sftp://me:SEC@RET@host/a@b", "sftp://***@b"),
    ("s3://KEY:SEC/RET@bucket:22/runs", "s3://***@bucket:22/runs"),
    ("'https://u:SECRET@h', 'https://v:SECRET@h'", "'https://***@h', 'https://***@h'"),
    ("(https://host/x?a=1&token=SECRET).", "(https://host/x?a=1&token=***)."),
    (
        "https:/h/x?X-Amz-Credential=SECRET&X-Amz-Signature=SECRET&b",
        "https:/h/x?X-Amz-Credential=***&X-Amz-Signature=***&b",
    ),
    ("https://h/x?sv=1&amp;sig=SECRET%3D&amp;se=2", "https://h/x?sv=1&amp;sig=***&amp;se=2"),
    ("https://h/#access_token=SECRET: gone", "https://h/#access_token=***: gone"),
    ("https://u:SECRET@h/x?api_key=SECRET", "https://***@h/x?api_key=***"),
]
PLAIN = [
    *("https://host:8080/a@b?design=5&monkeys=2", "s3://bucket/a@b", "hf://datasets/me/icons@main/train"),
    *(
        "me@host and https://host",
        "C:/Users/me@work",
        "file:///home/me@work/x",
        "a?key=b:c",
        "memory://runs",
        "abfs://runs@account/a",
        "",
    ),
]


@pytest.mark.parametrize(("text", "shown"), [*URLS, *((text, text) for text in PLAIN)])
def test_only_secrets_are_masked(text: str, shown: str) -> None:
    assert mask_secrets(text) == shown
    assert mask_secrets(shown) == shown
