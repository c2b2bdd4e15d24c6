import subprocess
import sys
import threading

import pytest

from genrobust.core.errors import GenrobustError, UserError
from genrobust.core.files import lock, make_folder, remove_leftovers, replacing


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "a.bin"
    with replacing(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_failed_block_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        file.write(bytes(1 // 0))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from genrobust.errors import GenrobustError
from genrobust.files import replacing
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with replacing(Path(sys.argv[1])) as file:
        file.write(bytes(20_000))
except GenrobustError as error:
    print(error.exit_code, error)
"""


def test_a_file_that_does_not_fit_leaves_nothing_and_says_where(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    run = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.startswith(f"1 cannot write to {tmp_path}: File too large: free some space")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_folder_that_cannot_be_is_the_users_to_choose(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    below = tmp_path / "file" / "below"
    for attempt in (lambda: make_folder(below), lambda: lock(below).__enter__(), lambda: replacing(below).__enter__()):
        with pytest.raises(UserError, match=r"cannot write to .*: Not a directory: choose a folder"):
            attempt()
    assert (tmp_path / "file").read_bytes() == b""


def test_a_full_device_is_told(tmp_path):
    with pytest.raises(GenrobustError, match="No space left"), replacing(tmp_path / "a") as file:
        with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 (a device)
            full.write(b"x")
        file.write(b"never")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_kill_are_removed_and_nothing_else(tmp_path):
    for name in (".000001.tar.0a1b2c3d.part", ".lock", "000000.tar", "notes.part"):
        (tmp_path / name).write_bytes(b"x")
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "000000.tar", "notes.part"]


def test_leftovers_below_are_those_of_folders_with_locks_of_their_own(tmp_path):
    (tmp_path / "unet").mkdir()
    part = tmp_path / "unet" / ".weights.0a1b2c3d.part"
    part.write_bytes(b"x")
    remove_leftovers(tmp_path)
    assert part.exists()
    remove_leftovers(tmp_path, below=True)
    assert not part.exists()


HOLD = """
import sys
from pathlib import Path
from genrobust.files import lock
with lock(Path(sys.argv[1]), shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds the folder until it is killed."""
    held = []

    def hold(how):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        held.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield hold
    for process in held:
        process.kill()
        process.communicate()


def test_a_second_process_is_told_and_a_killed_one_gives_back(tmp_path, holder):
    process = holder("alone")
    for shared in (False, True):
        with pytest.raises(UserError, match=f"another process is writing to {tmp_path}"), lock(tmp_path, shared):
            pass
    process.kill()
    process.wait()
    with lock(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_one_who_waits_goes_on_when_the_other_is_gone(tmp_path, holder):
    process = holder("alone")
    gone = threading.Event()

    def end():
        gone.set()
        process.kill()

    threading.Timer(0.2, end).start()
    with lock(tmp_path, wait=True):
        assert gone.is_set()


def test_workers_share_a_folder_and_keep_others_out(tmp_path, holder):
    holder("shared")
    with lock(tmp_path, shared=True):
        pass
    with pytest.raises(UserError, match="another process"), lock(tmp_path):
        pass
