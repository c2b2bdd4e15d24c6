"""WebDataset tars from anywhere: each image once and with its class, or an error that names the tar and the member."""

import contextlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from PIL import Image

from genrobust.core import UserError
from genrobust.data.stored import open_stored
from genrobust.data.tars import list_tars


def png(value=0):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def member(name, kind=tarfile.REGTYPE, link="", size=None):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    if size is not None:
        info.size = size
    return info


def packed(members, format=tarfile.PAX_FORMAT):
    """The bytes of a tar of pairs of a name, or a TarInfo, and a content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for info, data in members:
            info = member(info) if isinstance(info, str) else info
            info.size = info.size or len(data)
            tar.addfile(info, io.BytesIO(data) if data else None)
    return buffer.getvalue()


GOOD = [("a.png", png()), ("a.cls", b"0"), ("b.png", png(9)), ("b.cls", b"1")]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    "more",
    [
        [],
        [(member("x", tarfile.DIRTYPE), b""), (member("x.png", tarfile.DIRTYPE), b"")],
        [("._a.png", b"resource fork"), (".png", b"hidden"), ("__MACOSX/._a.png", b"fork")],
        [("notes.txt", b"text"), (member("link.txt", tarfile.SYMTYPE, "/etc/passwd"), b"")],
        [("a.json", json.dumps({"label": 5}).encode())],  # .cls goes first
        [("a.depth.png", png(5)), ("a.mask.avif", b"more of the same sample"), ("about.json", b'{"label": 3}')],
    ],
)
def test_what_a_tar_may_hold_besides_images_is_left_alone(tmp_path, more, format):
    (tmp_path / "t.tar").write_bytes(packed([*GOOD, *more], format))
    listing = list_tars(tmp_path, [tmp_path / "t.tar"])
    assert (list(listing.keys), list(listing.groups)) == (["t/a", "t/b"], ["0", "1"])
    assert [listing.read(i).getpixel((0, 0))[0] for i in (0, 1)] == [0, 9]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([*GOOD, ("a.png", png())], "the key 'a' has a second image, 'a.png'"),
        ([*GOOD, ("a.jpg", png())], "the key 'a' has a second image, 'a.jpg'"),
        ([*GOOD, ("./a.PNG", png())], "the key 'a' has a second image, './a.PNG'"),
        ([*GOOD, ("a.cls", b"1")], "the key 'a' has a second .cls file"),
        ([*GOOD[:1], ("a.json", b'{"label": 1}'), ("a.json", b'{"label": 2}')], "a second .json file"),
        ([*GOOD, ("c.v2.png", png()), ("c.v2.cls", b"1")], r"'c\.v2\.png': no image of this key"),
        ([*GOOD, ("c.cls", b"1"), ("d.cls", b"1")], r"'c\.cls' and 1 others: no image of this key is read"),
        ([*GOOD, ("c.avif", b"an image"), ("c.json", b'{"label": 1}')], r"'c\.avif': no image of this key"),
        ([*GOOD, ("../c.png", png())], r"'\.\./c\.png' leads out of the tar"),
        ([*GOOD, ("x/../../c.png", png())], r"'x/\.\./\.\./c\.png' leads out"),
        ([*GOOD, ("/c.png", png())], r"'/c\.png' leads out"),
        ([*GOOD, (member("c.png", tarfile.SYMTYPE, "c.png"), b"")], "'c.png' is a link, to 'c.png'"),
        ([*GOOD, (member("c.png", tarfile.LNKTYPE, "a.png"), b"")], "'c.png' is a link, to 'a.png'"),
        ([*GOOD, (member("c.cls", tarfile.SYMTYPE, "/etc/passwd"), b"")], "'c.cls' is a link, to '/etc/passwd'"),
        ([*GOOD, (member("c.png", tarfile.FIFOTYPE), b"")], "'c.png' is no plain file"),
        ([*GOOD, (member("c.png", tarfile.CHRTYPE), b"")], "'c.png' is no plain file"),
        ([*GOOD, (member("c.png", tarfile.BLKTYPE), b"")], "'c.png' is no plain file"),
        ([("c.png", png())], "the image c has no class: it needs c.cls"),
        ([("c.png", png()), ("c.cls", b" \n")], "the image c has no class"),
        ([("c.png", png()), ("c.json", b'{"label": null}')], "the image c has no class"),
        ([("c.png", png()), ("c.json", b"[3]")], "the image c has no class"),
        ([("c.png", png()), ("c.json", b'{"label": 1.5}')], r"has the label '1\.5': it must be a name, or a number"),
        ([("c.png", png()), ("c.json", b'{"label": true}')], "has the label 'True'"),
        ([("c.png", png()), ("c.json", b'{"label": [1]}')], r"has the label '\[1\]'"),
        ([("c.png", png()), ("c.json", b'{"label": -1}')], "has the label '-1'"),
        ([("c.png", png()), ("c.cls", b"-1")], "has the label '-1'"),
        ([("c.png", png()), ("c.json", b'{"label": 0, "label": 1}')], "a key occurs twice: 'label'"),
        ([("c.png", png()), ("c.json", b'{"label": NaN}')], "NaN is no number"),
        ([("c.png", png()), ("c.json", b"[" * 100_000)], "nested too deeply"),
        ([("c.png", png()), ("c.json", b"{")], r"cannot read .*t\.tar"),
        ([("c.png", png()), ("c.cls", b"\xff")], r"cannot read .*t\.tar"),
        ([("c.png", png()), ("c.cls", b"9" * 5000)], "is called by no text of 1 to 255 letters"),
        ([("c.png", png()), ("c.cls", b"\x1b[2J")], r"the class '\\x1b\[2J' of .*t\.tar"),
        ([("c.png", png()), ("c.cls", b"Cat"), ("d.png", png()), ("d.cls", b"cat")], "differ by case"),
        ([("c.png", png()), ("c.cls", b"0" * (2**24 + 1))], "'c.cls' has 16,777,217 bytes"),
    ],
)
def test_what_is_wrong_in_a_tar_is_named(tmp_path, members, said):
    (tmp_path / "t.tar").write_bytes(packed(members))
    with pytest.raises(UserError, match=rf"(?=.*t\.tar).*{said}"):
        open_stored(tmp_path / "t.tar")


GOOD_TAR = packed(GOOD)
END = len(GOOD_TAR.rstrip(b"\0")) // 512 * 512 + 512  # of the last member's content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty file|cannot read"),
        (GOOD_TAR[:END], "is damaged or truncated at byte"),
        (GOOD_TAR[: END - 512], "cannot read|damaged"),
        (GOOD_TAR[: END - 1024 + 100], "damaged"),
        (GOOD_TAR[:100], "cannot read"),
        (GOOD_TAR[:END] + b"garbage" * 200, "is damaged or truncated at byte"),
        (GOOD_TAR + GOOD_TAR, "holds more after its end"),
        (GOOD_TAR + b"\0" * 512 + b"x", "holds more after its end"),
        (GOOD_TAR[:1024] + b"X" + GOOD_TAR[1025:], "damaged"),  # the name in a header, against its checksum
        (GOOD_TAR[:END] + member("c.png", size=-512).tobuf(tarfile.GNU_FORMAT), "damaged|cannot read"),
        (GOOD_TAR[:END] + member("c.png", size=2**70).tobuf(tarfile.GNU_FORMAT), "damaged|cannot read|bytes, more"),
        (GOOD_TAR[:END] + member("c.png", size=2**33).tobuf(tarfile.GNU_FORMAT), "bytes, more than"),
        (b"\x1f\x8b" + b"x" * 2000, "they are not compressed"),
        (b"PK\x03\x04" + b"x" * 2000, "cannot read"),
    ],
)
def test_a_damaged_tar_is_no_shorter_one(tmp_path, content, said):
    (tmp_path / "t.tar").write_bytes(content)
    with pytest.raises(UserError, match=said):
        open_stored(tmp_path / "t.tar")


def test_the_same_tar_twice_is_refused_and_keys_may_start_again_in_each(tmp_path):
    (tmp_path / "0.tar").write_bytes(packed(GOOD))
    (tmp_path / "1.tar").write_bytes(packed([("a.png", png(7)), ("a.cls", b"1")]))
    assert sorted(open_stored(tmp_path).listing([]).keys) == ["0/a", "0/b", "1/a"]
    shutil.copy(tmp_path / "0.tar", tmp_path / "0 copy.tar")
    with pytest.raises(UserError, match=r"0\.tar is the same as .*0 copy\.tar"):
        open_stored(tmp_path)


@given(data=st.data())
def test_a_changed_tar_gives_its_images_or_an_error_that_names_it(tmp_path_factory, data):
    content = bytearray(GOOD_TAR[: END + 1024])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("t") / "t.tar"
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), END, END - 700, 600]))])
    with contextlib.suppress(UserError):
        listing = open_stored(Path(path)).listing([])
        for i in range(len(listing.keys)):
            with contextlib.suppress(UserError):
                assert listing.read(i).mode == "RGB"


def test_a_byte_order_mark_is_no_part_of_a_class(tmp_path):
    marked = "\ufeff1".encode()
    (tmp_path / "0.tar").write_bytes(packed([("a.png", png(1)), ("a.cls", b"1"), ("b.png", png(2)), ("b.cls", marked)]))
    assert open_stored(tmp_path).groups == ("1",)
