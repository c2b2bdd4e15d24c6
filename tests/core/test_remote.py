"""Only what can be written to is taken for a URL of output, and a mistake in one makes no folder."""

import pytest

from genrobust.core import GenrobustError, local_folder

MISTAKES = [
    *("s3x://b/x", "http://127.0.0.1:1/x", "https://host/x", "https://", "s3://", "s3:///", "memory://", "://", "://x"),
    *("x://y", "C://x", "S3://b/x", "FILE:///tmp/x", "file://rel", "file://localhost/tmp/x", "file:/tmp/x", "file://"),
    *("s3:/b/x", "zip://x", "tar://x", "zip://a.zip::s3://b/x", "simplecache::s3://b/x", "dir::memory://x"),
    *("github://o:r@main/x", "git://x", "data://x", "reference://x", "generic://x", "cached://x", "jlab://x"),
    *("s3://b/../x", "memory://a/../../b", "s3://b\0/x", "memory://a\nb", "memory://\x1b[2J", "ftp://127.0.0.1:1/x"),
]


@pytest.mark.parametrize("url", MISTAKES)
def test_what_cannot_be_written_to_is_refused(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENROBUST_COPIES", str(tmp_path / "copies"))
    with pytest.raises(GenrobustError) as error:
        local_folder(url)
    assert error.value.exit_code == (1 if url.startswith("ftp") else 2)
    assert url in str(error.value) or ascii(url) in str(error.value)
    assert not list(tmp_path.iterdir())
