#!/usr/bin/env python3
"""vstore init and vstore check: what they make, refuse, find, and what they leave behind."""

import json
import os
import shutil
import struct
import subprocess
import tempfile

from node import VSTORE, Node, refused, run
import tap

FOLDER = tempfile.mkdtemp(prefix="vstore-", dir=os.environ.get("VSTORE_TMP", "/var/tmp"))


def path(name):
    return os.path.join(FOLDER, name)


def usage(*args):
    done = subprocess.run([VSTORE, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, (args, done)
    return done.stderr


def checked(store, *args, status=0):
    """The check's report; status 1 goes with differences."""
    done = subprocess.run([VSTORE, "--json", "check", store, *args], capture_output=True, text=True,
                          check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout)


def test_init_makes_a_store_that_check_likes():
    made = json.loads(run(VSTORE, "--json", "init", path("a"), "--size", "1G"))
    assert made["device"] == path("a") and made["size"] == os.path.getsize(path("a")) == 1 << 30
    assert os.stat(path("a")).st_blocks * 512 < 64 << 20, "the file is not thin"
    report = checked(path("a"))
    assert report["problems"] == 0 and report["volumes"] == 0 and report["lines"] == []
    assert run(VSTORE, "check", path("a"), "--read-data").startswith(path("a") + ": nothing wrong")


def test_init_with_options():
    run(VSTORE, "init", path("b"), "--size", "256M", "--segment", "256K", "--compression", "none")
    assert checked(path("b"))["problems"] == 0


def test_init_refuses_what_holds_data():
    with open(path("c"), "wb") as f:
        f.truncate(1 << 30)
        f.seek((1 << 30) - 4096)
        f.write(b"precious")
    line = refused(VSTORE, "init", path("c"))
    assert "--force" in line, line
    with open(path("c"), "rb") as f:
        f.seek((1 << 30) - 4096)
        assert f.read(8) == b"precious"
    assert "--force" in refused(VSTORE, "init", path("a"))
    run(VSTORE, "init", path("c"), "--force")
    assert checked(path("c"))["problems"] == 0


def test_init_that_fails_leaves_nothing():
    for args in (["--size", "256M", "--segment", "3M"], ["--size", "256M", "--segment", "1G"],
                 ["--size", "4K"], ["--size", "1000"]):
        line = refused(VSTORE, "init", path("d"), *args)
        assert not os.path.exists(path("d")), (args, line)
    refused(VSTORE, "init", path("no/such/folder"), "--size", "1G")
    refused(VSTORE, "init", FOLDER)
    refused(VSTORE, "init", "/dev/null")
    with open(path("short"), "wb") as f:
        f.truncate(8192)
    refused(VSTORE, "init", path("short"))
    assert os.path.getsize(path("short")) == 8192


def test_init_usage():
    assert "--size" in usage("init", path("e"))
    assert "--size" in usage("init", path("a"), "--size", "1G")
    usage("init")
    usage("init", path("e"), "--size", "1G", "--compression", "gzip")
    usage("check")
    assert not os.path.exists(path("e"))


def test_check_refuses_what_is_no_store():
    with open(path("noise"), "wb") as f:
        f.write(os.urandom(4 << 20))
        f.truncate(64 << 20)
    before = os.stat(path("noise")).st_mtime_ns
    assert "vstore init" in refused(VSTORE, "check", path("noise"))
    assert before == os.stat(path("noise")).st_mtime_ns
    refused(VSTORE, "check", path("missing"))
    refused(VSTORE, "check", FOLDER)
    with open(path("empty"), "wb"):
        pass
    refused(VSTORE, "check", path("empty"))


def test_check_changes_nothing_and_reads_what_is_there():
    node = Node(init=False, nbd=False, iscsi=False)
    run(VSTORE, "init", node.store, "--size", "96M", "--segment", "1M")
    with node:
        content = path("content")
        with open(content, "wb") as f:
            f.write(os.urandom(4 << 20))
        node.vstore("volume", "import", content, "v")
        node.vstore("snapshot", "v@s")
        node.vstore("volume", "clone", "v@s", "w")
        line = refused(VSTORE, "check", node.store)
        assert "use" in line, line
        line = refused(VSTORE, "init", node.store, "--force")
        assert "use" in line, line
        assert len(node.json("volume", "list")) == 2
        node.stop()
        before = (os.stat(node.store).st_mtime_ns, run("sha256sum", node.store))
        report = checked(node.store, "--read-data")
        assert report["problems"] == 0, report
        assert (report["volumes"], report["snapshots"]) == (2, 1), report
        assert report["contents"] >= 1024 and report["stored_bytes"] >= 4 << 20, report
        assert before == (os.stat(node.store).st_mtime_ns, run("sha256sum", node.store))
        shutil.copy(node.store, path("damaged"))


def test_check_finds_damage():
    with open(path("content"), "rb") as f:
        needle = f.read(4096)[:64]
    with open(path("damaged"), "r+b") as f:
        at = f.read().find(needle)
        assert at > 0, "the content is not where it was written plainly"
        f.seek(at)
        f.write(bytes(64))
    report = checked(path("damaged"), "--read-data", status=1)
    assert report["problems"] >= 1 and len(report["lines"]) >= 1, report
    done = subprocess.run([VSTORE, "check", path("damaged"), "--read-data"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1 and done.stdout and len(done.stderr.splitlines()) == 1, done


def page_of_places(store):
    """Where the only page of the table of places lies: FORMAT.md, read on its own."""
    best = (0, 0, 0)
    with open(store, "rb") as f:
        for slot in (0, 4096):
            f.seek(slot)
            super_block = f.read(4096)
            number, = struct.unpack_from("<Q", super_block, 72)
            size, = struct.unpack_from("<I", super_block, 12)
            segment, offset = struct.unpack_from("<II", super_block, 256)
            best = max(best, (number, super_block[256 + 40], 65536 + (segment - 1) * size + offset))
    assert best[1] == 1, "not one page"
    return best[2]


def overwrite(store, at, data):
    with open(store, "r+b") as f:
        f.seek(at)
        f.write(data)


def test_repair():
    noise = os.urandom(100 * 4096)
    with open(path("noise100"), "wb") as f:
        f.write(noise)
    node = Node(init=False, nbd=False, iscsi=False)
    run(VSTORE, "init", node.store, "--size", "96M", "--segment", "1M")
    with node:
        node.vstore("volume", "import", path("noise100"), "v")
        assert "is in use" in refused(VSTORE, "check", node.store, "--repair")
        node.stop()
        shutil.copy(node.store, path("sound"))
        report = checked(node.store, "--repair")
        assert report["problems"] == report["repaired"] == 0, report
        assert report["contents"] >= 100, report
        contents = report["contents"]  # with what the node itself keeps in the store
        place = page_of_places(node.store)
        overwrite(node.store, place, os.urandom(4096))
        checked_fails(node.store)
        report = checked(node.store, "--repair")
        assert report["problems"] == 0 and report["repaired"] > 0 and report["lines"], report
        report = checked(node.store, "--read-data")
        assert report["problems"] == 0 and report["contents"] == contents, report
        node.start()
        node.vstore("volume", "export", "v", path("out100"))
        assert open(path("out100"), "rb").read() == noise


def checked_fails(store):
    done = subprocess.run([VSTORE, "check", store], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done


def test_repair_that_would_lose_data():
    store = path("sound")
    with open(store, "rb") as f, open(path("noise100"), "rb") as noise:
        at = f.read().find(noise.read(4096))
    assert at > 0
    overwrite(store, at + 7, b"never written by anyone")
    overwrite(store, page_of_places(store), os.urandom(4096))
    with open(store, "rb") as f:
        before = f.read()
    done = subprocess.run([VSTORE, "check", store, "--repair"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and "is lost" in done.stdout, done
    assert len(done.stderr.splitlines()) == 1 and "backup" in done.stderr, done.stderr
    with open(store, "rb") as f:
        after = f.read()
    assert before[:8192] == after[:8192] and before[12288:] == after[12288:], "something was written"


if __name__ == "__main__":
    try:
        tap.run(test_init_makes_a_store_that_check_likes,
                test_init_with_options,
                test_init_refuses_what_holds_data,
                test_init_that_fails_leaves_nothing,
                test_init_usage,
                test_check_refuses_what_is_no_store,
                test_check_changes_nothing_and_reads_what_is_there,
                test_check_finds_damage,
                test_repair,
                test_repair_that_would_lose_data)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
