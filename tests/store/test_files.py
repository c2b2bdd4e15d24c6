"""Files that appear whole or not at all, and one writer a folder, also when processes are killed."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from genrobust.core import Busy, DiskFull, GenrobustError, UserError
from genrobust.store import lock, make_folder, remove_leftovers, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "a.bin"
    with replacing(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_a_failed_block_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        file.write(bytes(1 // 0))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from genrobust.core import (Busy, DiskFull)
from genrobust.store import replacing
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with replacing(Path(sys.argv[1])) as file:
        file.write(bytes(20_000))
except DiskFull as error:
    print(error.exit_code, error)
"""


def test_a_file_that_does_not_fit_leaves_nothing_and_says_where(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    run = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.startswith(f"1 cannot write to {tmp_path}: File too large: free some space")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (errno.ENOSPC, DiskFull, "free some space"),
        (errno.EDQUOT, DiskFull, "free some space"),
        (errno.EROFS, UserError, "choose a folder"),
        (errno.EACCES, UserError, "choose a folder"),
        (errno.EIO, GenrobustError, "fix this and rerun"),
    ],
)
def test_what_the_system_refuses_says_what_to_do(tmp_path, code, kind, advice):
    message = f"cannot write to {tmp_path}: .*{advice}"
    with pytest.raises(GenrobustError, match=message) as error, replacing(tmp_path / "a") as file:
        file.write(b"half")
        raise OSError(code, os.strerror(code))
    assert type(error.value) is kind
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_is_the_users_to_choose(tmp_path):
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "below"
    for attempt in (lambda: make_folder(below), lambda: lock(below).__enter__(), lambda: replacing(below).__enter__()):
        with pytest.raises(UserError, match=r"cannot write to .*: Not a directory: choose a folder"):
            attempt()


def test_leftovers_of_a_kill_are_removed_and_nothing_else(tmp_path):
    part = tmp_path / "unet" / ".weights.0a1b2c3d.part"
    part.parent.mkdir()
    part.write_bytes(b"x")
    own = [".photo.part", ".photo.0A1B2C3D.part", ".photo.0a1b2c3.part", "..part", "photo.0a1b2c3d.part", "notes.part"]
    for name in (".000001.tar.0a1b2c3d.part", ".lock", "000000.tar", *own):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".link.0a1b2c3d.part").symlink_to(tmp_path / "notes.part")
    (tmp_path / ".folder.0a1b2c3d.part").mkdir()
    remove_leftovers(tmp_path, names=["000002.tar"])
    assert (tmp_path / ".000001.tar.0a1b2c3d.part").exists()
    remove_leftovers(tmp_path)
    kept = [*own, ".lock", "000000.tar", ".link.0a1b2c3d.part", ".folder.0a1b2c3d.part", "unet"]
    assert names(tmp_path) == sorted(kept)
    assert part.exists(), "a folder with a lock of its own"
    remove_leftovers(tmp_path, below=True)
    assert not part.exists()


HOLD = """
import sys
from pathlib import Path
from genrobust.store import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path):
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(Busy, match=str(tmp_path)), lock(tmp_path):
            raise AssertionError
        threading.Timer(0.2, process.kill).start()
        with lock(tmp_path, wait=True):
            assert process.wait(10) == -9


def test_what_is_no_file_is_not_renamed_away(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = names(tmp_path)
    for name in ("link", "broken", "folder", "pipe"):
        with pytest.raises(UserError, match=f"{name} is a link, a folder or a device"), replacing(tmp_path / name):
            pass
    assert names(tmp_path) == before
    assert (tmp_path / "file").read_bytes() == b"old"
