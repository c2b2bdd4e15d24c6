"""Workers of a real Ray cluster that find no memory or no room on the disk, since the system really gives them none."""

import logging
import os

import pytest
from scribe import work
from small import actors, limit, watching

from genrobust.core import GenrobustError
from genrobust.study.executors.local import Local
from genrobust.study.executors.pool import TRIES

pytestmark = pytest.mark.thorough

ROOM = {"memory": 200_000_000, "file_size": 1_000_000}  # bytes: enough for a scribe's "narrow" and "small" jobs


class Guard:
    """Sees the scribes that write into `folder`, once there is one on each node; those on `nodes` have ROOM alone."""

    def __init__(self, cluster, folder, nodes):
        self._cluster, self._folder, self._nodes = cluster, folder, nodes
        self._node_of = {}

    def look(self):
        ready = [int(path.name.removeprefix("ready-")) for path in self._folder.glob("ready-*")]
        new = set(ready) - self._node_of.keys()
        found = {pid: node for node, pids in enumerate(actors(self._cluster, "Worker")) for pid in pids if pid in new}
        if not self._node_of and set(found.values()) != {0, 1}:
            return
        for pid, node in found.items():
            if node in self._nodes:
                limit(pid, **ROOM)
            (self._folder / f"seen-{pid}").touch()
        self._node_of |= found

    def tried_on(self, name):
        """The nodes where the job of this name was tried, in turn."""
        return [self._node_of[int(path.read_text())] for path in sorted(self._folder.glob(f"try-*-{name}"))]


def made(folder):
    """What the jobs wrote, and what they left where they could not."""
    return {path.name: path.read_bytes() for path in [*folder.glob("made-*"), *folder.glob(".made-*")]}


@pytest.mark.parametrize("what", ["large", "wide"])
def test_without_room_on_one_node_a_job_is_made_on_the_other(what, on_ray, cluster, tmp_path, caplog):
    far, here = tmp_path / "far", tmp_path / "here"
    for folder in (far, here):
        folder.mkdir()
    guard, keys = Guard(cluster, far, nodes=(1,)), [f"{what}:{name}" for name in "ab"]
    with watching(guard.look), caplog.at_level(logging.WARNING):
        on_ray().run(work(far, *keys))
    assert sorted(guard.tried_on(name) for name in "ab") == [[0], [1, 0]]
    why = {"large": "File too large", "wide": "no memory left"}[what]
    assert [why in message and message.endswith("it is tried again") for message in caplog.messages] == [True]
    (here / f"seen-{os.getpid()}").touch()
    Local().run(work(here, *keys))
    assert made(far) == made(here)


def test_what_finds_no_room_anywhere_is_reported_and_the_rest_is_made(on_ray, cluster, tmp_path):
    guard = Guard(cluster, tmp_path, nodes=(0, 1))
    with watching(guard.look), pytest.raises(GenrobustError, match="writing: 2 of the jobs failed") as error:
        on_ray().run(work(tmp_path, "large:b", "wide:d", "small:a", "narrow:c", "small:e"))
    assert error.value.exit_code == 1
    large, wide = sorted(str(error.value).splitlines()[1:3])
    assert large.startswith(f"  job large:b: cannot write to {tmp_path}: File too large: free some space")
    assert wide.startswith("  job wide:d: no memory left")
    assert large.endswith(f"(tries: {TRIES})") and wide.endswith(f"(tries: {TRIES})")
    assert sorted(made(tmp_path)) == ["made-a", "made-c", "made-e"], "and nothing is half there"
