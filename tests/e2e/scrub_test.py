#!/usr/bin/env python3
"""Scrub through the daemon: damage done behind its back is found, named, said, and healed."""

import os
import random
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node import CommandFailed, Node, sha256, until  # noqa: E402

import tap  # noqa: E402

BLOCK = 4096
BLOCKS = 2048
NODE = None
FOLDER = None
RANDOM = random.Random(5)


def image(name, blocks=BLOCKS):
    """Noise, so that each block lies in the store as it is."""
    path = os.path.join(FOLDER, name)
    with open(path, "wb") as f:
        f.write(RANDOM.randbytes(blocks * BLOCK))
    return path


def block(path, number):
    with open(path, "rb") as f:
        f.seek(number * BLOCK)
        return f.read(BLOCK)


def damage(data):
    """One bit of the only place in the store where these bytes lie."""
    at, tail, base = -1, b"", 0
    with open(NODE.store, "r+b") as f:
        while at < 0:
            piece = f.read(1 << 22)
            assert piece, "the block is not in the store"
            at = (tail + piece).find(data)
            base, tail, at = base + len(piece), piece[-BLOCK:], (
                base - len(tail) + at if at >= 0 else -1)
        f.seek(at + 1000)
        byte = f.read(1)[0]
        f.seek(at + 1000)
        f.write(bytes([byte ^ 4]))


def events(kind):
    return [e["message"] for e in NODE.json("event", "list") if e["kind"] == kind]


def export(volume):
    path = os.path.join(FOLDER, "out")
    NODE.vstore("volume", "export", volume, path, "--force")
    return sha256(path)


def test_a_sound_store():
    status = NODE.json("scrub", "status")
    assert status["state"] == "never" and status["counts"] is None, status
    NODE.vstore("volume", "import", image("one"), "one")
    NODE.vstore("snapshot", "one@then")
    done = NODE.json("scrub", "start")
    assert done["state"] == "done" and done["errors"] == [], done
    own = done["total_blocks"] - BLOCKS  # what the node itself keeps in the store
    assert done["checked_blocks"] == done["total_blocks"] and 0 < own < 64, done
    assert done["checked_pages"] > 0 and done["finished"] and done["counts"] == "right", done
    assert NODE.json("scrub", "status") == done
    assert any("scrub done" in e for e in events("scrub")), events("scrub")


def test_damage_without_a_repository():
    path = os.path.join(FOLDER, "one")
    damage(block(path, 77))
    line = NODE.refused("scrub", "start")
    assert "damaged" in line and "restore a backup" in line, line
    status = NODE.json("scrub", "status")
    found = {(e["volume"], e["snapshot"], e["offset"], e["length"], e["healed"])
             for e in status["errors"]}
    assert found == {("one", None, 77 * BLOCK, BLOCK, False),
                     ("one", "then", 77 * BLOCK, BLOCK, False)}, found
    assert any("one@then: 4096 bytes at 315392 are damaged" in e for e in events("scrub")), \
        events("scrub")
    assert "one" in NODE.vstore("scrub", "status")
    assert "damaged" in NODE.refused("volume", "export", "one", os.path.join(FOLDER, "bad"))


def test_a_restart_remembers():
    NODE.stop()
    NODE.start()
    status = NODE.json("scrub", "status")
    assert status["state"] == "done" and len(status["errors"]) == 2, status
    # the same bytes written again are not taken for the damaged ones
    NODE.vstore("volume", "import", os.path.join(FOLDER, "one"), "again")
    assert export("again") == sha256(os.path.join(FOLDER, "one"))


def test_healed_from_a_repository():
    repo = os.path.join(FOLDER, "repo")
    NODE.vstore("repo", "add", "r", "dir://" + repo)
    NODE.vstore("backup", "again", "--repo", "r")  # it holds what `one` has lost
    done = NODE.json("scrub", "start")
    assert done["state"] == "done", done
    assert {(e["volume"], e["snapshot"], e["offset"], e["length"], e["healed"])
            for e in done["errors"]} == {("one", None, 77 * BLOCK, BLOCK, True),
                                         ("one", "then", 77 * BLOCK, BLOCK, True)}, done
    assert export("one") == export("one@then") == sha256(os.path.join(FOLDER, "one"))
    done = NODE.json("scrub", "start")
    assert done["errors"] == [] and done["counts"] == "right", done


def started_and_stopped():
    """What stopping a scrub said, or None where it had ended before."""
    NODE.vstore("scrub", "start", "--detach")
    try:
        NODE.vstore("scrub", "start")
        return None
    except CommandFailed as e:
        assert "running" in e.err, e
    try:
        said = NODE.json("scrub", "stop")
    except CommandFailed as e:
        assert "no scrub is running" in e.err, e
        return None
    return said if said["state"] == "stopped" else None


def test_stop_and_go_on():
    NODE.vstore("volume", "import", image("two", 8 * BLOCKS), "two")
    stopped = until(started_and_stopped, "it always ends before it is stopped")
    assert stopped["finished"], stopped
    assert "no scrub is running" in NODE.refused("scrub", "stop")
    done = NODE.json("scrub", "start")
    assert done["state"] == "done" and done["started"] == stopped["started"], done
    assert done["checked_blocks"] >= 9 * BLOCKS, done


def test_goes_on_after_the_daemon_died():
    NODE.vstore("scrub", "start", "--detach")
    NODE.kill()
    NODE.start()
    until(lambda: NODE.json("scrub", "status")["state"] == "done",
          lambda: NODE.json("scrub", "status"))
    status = NODE.json("scrub", "status")
    assert status["errors"] == [] and status["counts"] == "right", status
    assert [t for t in NODE.json("task", "list") if t["kind"] == "scrub"][-1]["state"] == "done"


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=os.environ.get("VSTORE_TMP", "/var/tmp")) as FOLDER:
        with Node(size="1G", iscsi=False, nbd=False) as NODE:
            tap.run(*TESTS)
