#!/usr/bin/env python3
"""LUNs of other arrays: found, imported, exported to, and as the store of a node that goes on while
its array is killed and comes back. The arrays are a second node and tgt."""

import json
import os
import random
import socket
import subprocess
import time

import node as vs

import tap
from far_store import FarNode, Load
from tgt import Tgt

MIB = 1 << 20
SIZE = 256 * MIB
SECRET = "a secret of enough bytes"
CHAP_IQN = "iqn.2026-11.org.example:chap"

array = vs.Node(size="4G", nbd=False)
node = vs.Node(size="4G")
folder = array.state


def path(name):
    return os.path.join(folder, name)


def make_image():
    """Data here and there, in 48 of 256 MiB."""
    chance = random.Random(1)
    with open(path("disk.raw"), "wb") as f:
        f.truncate(SIZE)
        for at in range(0, SIZE, 16 * MIB):
            f.seek(at + 4096 * chance.randrange(64))
            f.write(chance.randbytes(3 * MIB))
    return vs.sha256(path("disk.raw"))


def secret_file(name, text):
    with open(path(name), "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(text)
    return path(name)


def volumes(of):
    return [v["name"] for v in of.json("volume", "list")]


def digest(name):
    dest = os.path.join(node.state, "out.raw")
    node.vstore("volume", "export", name, dest)
    found = vs.sha256(dest)
    os.unlink(dest)
    return found


def test_import_from_a_node():
    array.vstore("volume", "import", path("disk.raw"), "disk")
    array.target("disk")
    result = node.json("volume", "import", array.iscsi_url(), "one")
    assert result["size"] == SIZE, result
    # what is not mapped is not read: 4 KiB blocks with data and no more
    assert result["bytes_read"] == 16 * 3 * MIB, result
    assert digest("one") == disk_sha256


def test_import_with_chap():
    wrong, right = secret_file("wrong", "another secret, longer"), secret_file("right", SECRET)
    array.vstore("target", "create", CHAP_IQN, "--volume", "disk:3", "--chap-user", "joe",
                 "--chap-secret-file", right)
    url = array.iscsi_url(3, CHAP_IQN)
    for options, words in (
            ((), "CHAP"),
            (("--chap-user", "joe", "--chap-secret-file", wrong), "wrong CHAP user or secret"),
            (("--chap-user", "jim", "--chap-secret-file", right), "wrong CHAP user or secret")):
        said = node.refused("volume", "import", url, "two", *options)
        assert words in said and SECRET not in said, said
    node.vstore("volume", "import", url.replace("//", "//joe@"), "two", "--chap-secret-file", right)
    assert digest("two") == disk_sha256
    assert SECRET not in node.log_text() and SECRET not in json.dumps(node.json("task", "list"))


def test_import_from_tgt():
    peer.retry("--lld", "iscsi", "--op", "new", "--mode", "account", "--user", "joe",
               "--password", SECRET)
    peer.retry("--lld", "iscsi", "--op", "bind", "--mode", "account", "--tid", "1", "--user", "joe")
    result = node.json("volume", "import", peer.url, "three", "--chap-user", "joe",
                       "--chap-secret-file", path("right"))
    # it is not thin: everything has to be read
    assert result["bytes_read"] == SIZE, result
    assert digest("three") == disk_sha256
    assert node.json("volume", "show", "three")["logical_bytes"] == 16 * 3 * MIB


def test_what_cannot_be_imported_leaves_nothing():
    url, closed = array.iscsi_url(), vs.Port()
    for source, words in (
            (url.replace(vs.IQN, vs.IQN + "x"), "no such target"),
            (url[:-1] + "7", "no such LUN"),
            (f"iscsi://{closed.address}/{vs.IQN}/0", "Connection refused"),
            ("iscsi://no-such-host.invalid/" + vs.IQN + "/0", "cannot find host"),
            ("iscsi://joe%secret@127.0.0.1/" + vs.IQN + "/0", "in a file"),
            ("iscsi://127.0.0.1/" + vs.IQN, "names no")):
        said = node.refused("volume", "import", source, "none")
        assert words in said, said
    closed.close()
    node.refused("volume", "import", url, "one")
    node.refused("volume", "import", url, "none", "--format", "qcow2")
    assert sorted(volumes(node)) == ["one", "three", "two"], volumes(node)


def test_an_import_can_be_cancelled():
    """While the other side takes the connection and says nothing."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"iscsi://127.0.0.1:{mute.getsockname()[1]}/{vs.IQN}/0"
        answer = node.api("POST", "/v1/imports", {"source": url, "name": "none"})
        connection = mute.accept()[0]
        node.vstore("task", "cancel", str(answer[1]["task"]["id"]))
        assert node.task(answer)["state"] == "cancelled"
        connection.close()
    assert "none" not in volumes(node)


def test_discover():
    found = {t["target"]: t for t in node.json("discover", f"iscsi://{array.listen['iscsi']}")}
    assert set(found) == {vs.IQN, CHAP_IQN}, found
    lun, = found[vs.IQN]["luns"]
    assert (lun["lun"], lun["size"], lun["sector"]) == (0, SIZE, 512), lun
    assert lun["url"] == array.iscsi_url() and "CHAP" in found[CHAP_IQN]["error"], found
    text = vs.run(vs.VSTORE, "--socket", node.socket, "discover",
                  f"iscsi://joe@{array.listen['iscsi']}", "--chap-secret-file", path("right"))
    assert "256.0 MiB" in text and CHAP_IQN in text, text
    said = node.refused("discover", "iscsi://127.0.0.1:1")
    assert "refused" in said, said


def test_export():
    """Onto a thin LUN full of other data, and onto tgt's: afterwards they are the volume."""
    array.vstore("volume", "create", "dest", "--size", str(SIZE))
    url, = array.target("dest", iqn=vs.IQN + "d")
    vs.load("fill", url, "--sequential", "--block", "1M", "--depth", "8", "--span", str(64 * MIB),
            "--count", "64")
    result = node.json("volume", "export", "one", url)
    assert result["bytes_written"] == 16 * 3 * MIB, result
    vs.run("qemu-img", "compare", "-f", "raw", "-F", "raw", path("disk.raw"), url)
    assert array.json("volume", "show", "dest")["logical_bytes"] == 16 * 3 * MIB

    with open(peer.file, "r+b") as f:  # behind its back, so nothing is cached
        f.write(b"\xff" * (32 * MIB))
    node.vstore("volume", "export", "one", peer.url, "--chap-user", "joe", "--chap-secret-file",
                path("right"))
    assert vs.sha256(peer.file) == disk_sha256


def test_what_cannot_be_exported():
    array.vstore("volume", "create", "small", "--size", "1M")
    small, = array.target("small", iqn=vs.IQN + "s")
    assert "1048576 bytes" in node.refused("volume", "export", "one", small)
    node.refused("volume", "export", "one", array.iscsi_url(), "--format", "qcow2")
    node.refused("volume", "export", "none", array.iscsi_url())
    assert node.json("snapshot", "list") == []


def test_a_store_on_a_lun():
    array.vstore("volume", "create", "store", "--size", "2G", "--sector", "4096")
    array.vstore("target", "create", vs.IQN + "t", "--volume", "store:0", "--chap-user", "joe",
                 "--chap-secret-file", path("right"))
    url = array.iscsi_url(0, vs.IQN + "t").replace("//", "//joe@")
    secret = ("--chap-secret-file", path("right"))
    assert "CHAP" in vs.refused(vs.VSTORE, "init", url)
    vs.run(vs.VSTORE, "init", url, *secret)
    vs.run(vs.VSTORE, "check", url, *secret)
    with FarNode(url, "--store-secret-file", path("right")) as far:
        assert "in use by another process" in vs.refused(vs.VSTORE, "check", url, *secret)
        far.vstore("volume", "create", "v", "--size", "128M")
        load = Load(*far.target("v"), path("away"))
        time.sleep(0.5)
        for _ in range(2):  # held, no error, and it goes on
            array.kill()
            time.sleep(0.7)
            array.start()
            time.sleep(1)
        far.kill()
        result = load.result()
        assert result["connection_lost"] and not result["failed"], result
        assert result["flushes"] and "the path is back" in far.log_text(), result
        far.start()
        load.verify()
        array.vstore("volume", "resize", "store", "--size", "3G")
        vs.until(lambda: far.json("store", "grow")["grown_bytes"] > 900 * MIB, "it does not grow")
    vs.run(vs.VSTORE, "check", url, *secret)


def test_an_array_that_stays_away():
    url = array.iscsi_url(0, vs.IQN + "t").replace("//", "//joe@")
    with FarNode(url, "--store-secret-file", path("right"), "--store-hold", "1") as far:
        far.vstore("volume", "create", "w", "--size", "128M")
        assert [t["iqn"] for t in far.json("target", "list")] == [vs.IQN]  # it was in the store
        load = Load(*far.target("w", iqn=vs.IQN + "w"), path("gone"))
        time.sleep(0.3)
        array.kill()
        vs.until(lambda: far.json("store", "show")["state"] == "failed",
                 "nothing is said of it")
        assert "requests fail until" in far.log_text()
        array.start()
        far.kill()
        load.result()
        far.start()
        load.verify()
        assert far.json("store", "show")["state"] == "ok"


with array, node:
    peer = None
    try:
        disk_sha256 = make_image()
        peer = Tgt(folder, SIZE)
        subprocess.run(["cp", "--sparse=never", path("disk.raw"), peer.file], check=True)
        tap.run(test_import_from_a_node, test_import_with_chap, test_import_from_tgt,
                test_what_cannot_be_imported_leaves_nothing, test_an_import_can_be_cancelled,
                test_discover, test_export,
                test_what_cannot_be_exported, test_a_store_on_a_lun, test_an_array_that_stays_away)
    finally:
        if peer:
            peer.close()
