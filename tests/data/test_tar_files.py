"""WebDataset tars from anywhere: each image once and with its class, or an error that names the tar and the member."""

import json
import tarfile

import pytest
from stored_files import gray, labeled_tar, member, png, tar

from genrobust.core import UserError
from genrobust.data import open_stored
from genrobust.data.tar_files import list_tars

GOOD = [("a.png", png()), ("a.cls", b"0"), ("b.png", png(9)), ("b.cls", b"1")]
GOOD_TAR = tar(*GOOD)
END = len(GOOD_TAR.rstrip(b"\0")) // 512 * 512 + 512  # of the last member's content


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_a_tar_may_hold_besides_images_is_left_alone(tmp_path, format):
    more = [
        *[(member("x", tarfile.DIRTYPE), b""), (member("x.png", tarfile.DIRTYPE), b"")],
        *[("._a.png", b"resource fork"), (".png", b"hidden"), ("__MACOSX/._a.png", b"fork")],
        *[("notes.txt", b"text"), (member("link.txt", tarfile.SYMTYPE, "/etc/passwd"), b"")],
        ("a.json", json.dumps({"label": 5}).encode()),  # .cls goes first
        *[("a.depth.png", png(5)), ("a.mask.avif", b"more of the same sample"), ("about.json", b'{"label": 3}')],
    ]
    (tmp_path / "t.tar").write_bytes(tar(*more, *GOOD, format=format))
    listing = list_tars(tmp_path, [tmp_path / "t.tar"])
    assert (list(listing.keys), list(listing.groups)) == (["t/a", "t/b"], ["0", "1"])
    assert [gray(listing.read(i)) for i in (0, 1)] == [0, 9]


@pytest.mark.parametrize(
    ("json", "group"),
    [
        (b'{"label": 3}', "3"),
        (b'{"label": "cat"}', "cat"),
    ],
)
def test_a_label_can_lie_in_json(tmp_path, json, group):
    (tmp_path / "t.tar").write_bytes(tar(("a.JPG", png()), ("a.json", json)))
    assert open_stored(tmp_path / "t.tar").groups == (group,)


def test_a_byte_order_mark_is_no_part_of_a_class(tmp_path):
    (tmp_path / "0.tar").write_bytes(tar(*GOOD, ("c.png", png(2)), ("c.cls", "\ufeff1".encode())))
    assert open_stored(tmp_path).groups == ("0", "1")


C = ("c.png", png())


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ([*GOOD, ("./a.PNG", png())], "'a' has a second image"),
        ([*GOOD, ("c.v2.png", png()), ("c.v2.cls", b"1")], r"'c\.v2\.png': no image"),
        ([*GOOD, ("c.cls", b"1"), ("d.cls", b"1")], r"'c\.cls' and 1 others"),
        ([*GOOD, ("x/../../c.png", png())], r"'x/\.\./\.\./c\.png' is no plain file"),
        ([*GOOD, (member("c.png", tarfile.LNKTYPE, "a.png"), b"")], r"'c\.png' is a link, to 'a\.png'"),
        ([*GOOD, (member("c.cls", tarfile.SYMTYPE, "/etc/passwd"), b"")], r"'c\.cls' is a link, to '/etc/passwd'"),
        ([C], r"c has no class: it needs c\.cls"),
        ([C, ("c.json", b'{"label": 1.5}')], r"label '1\.5'"),
        ([C, ("c.cls", b"\xff")], "cannot read"),
    ],
)
def test_what_is_wrong_in_a_tar_is_named(tmp_path, members, named):
    (tmp_path / "t.tar").write_bytes(tar(*members))
    with pytest.raises(UserError, match=rf"(?=.*t\.tar).*{named}"):
        open_stored(tmp_path / "t.tar")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "cannot read"),
        (GOOD_TAR[:END], "truncated at byte"),
        (GOOD_TAR[: END - 1024 + 100], "damaged"),
        (GOOD_TAR + GOOD_TAR, "more after its end"),
        (GOOD_TAR[:1024] + b"X" + GOOD_TAR[1025:], "damaged"),  # the name in a header, against its checksum
        (GOOD_TAR[:END] + member("c.png", size=2**33).tobuf(tarfile.GNU_FORMAT), "cannot read"),  # of 8 GiB
    ],
)
def test_a_damaged_tar_is_no_shorter_one(tmp_path, content, named):
    (tmp_path / "t.tar").write_bytes(content)
    with pytest.raises(UserError, match=rf"(?=.*t\.tar).*({named})"):
        open_stored(tmp_path / "t.tar")


def test_keys_may_start_again_in_each_tar(tmp_path):
    for name, labels in (("0", [0, 1]), ("1", [1, 0]), ("2", [0])):
        (tmp_path / f"{name}.tar").write_bytes(labeled_tar(labels))
    assert sorted(open_stored(tmp_path).listing([]).keys) == ["0/0000", "0/0001", "1/0000", "1/0001", "2/0000"]
