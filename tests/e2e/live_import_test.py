#!/usr/bin/env python3
"""Volumes that are used while their blocks are fetched from a LUN of another array: read, written,
snapshotted, cloned and deleted meanwhile, with the node and the array killed in the middle. The
array is a second node, or tgt, behind a path that lets so many bytes through as a test wants."""

import json
import os
import random
import socket
import stat
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "conformance")]

import nbd_wire as nbd  # noqa: E402
import node as vs  # noqa: E402
import tap  # noqa: E402
from tgt import Tgt  # noqa: E402

MIB = 1 << 20
SIZE = 192 * MIB
EXTENT = 16 * MIB
DATA = 7 * MIB
SECRET = "a secret of enough bytes"
CHAP_IQN = "iqn.2026-11.org.example:chap"

array = vs.Node(size="4G", nbd=False)
node = vs.Node(size="4G")


class Path:
    """The way to the array. Of what comes back, each connection lets `limit` bytes through."""

    def __init__(self, to):
        self.to, self.limit, self.changed = to, 0, threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.full = 0  # connections that have had their bytes
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near = self.listener.accept()[0]
            host, port = self.to.rsplit(":", 1)
            try:
                far = socket.create_connection((host, int(port)))
            except OSError:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.forward, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self.forward, args=(far, near, True), daemon=True).start()

    def forward(self, source, dest, limited):
        passed = 0
        try:
            while data := source.recv(256 << 10):
                passed += len(data)
                if limited:
                    self.wait(passed)
                dest.sendall(data)
        except OSError:
            pass
        for end in (source, dest):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def wait(self, passed):
        with self.changed:
            if passed > self.limit:
                self.full += 1
                self.changed.wait_for(lambda: passed <= self.limit)

    def let(self, limit):
        with self.changed:
            self.limit, self.full = limit, 0
            self.changed.notify_all()

    def url(self, iqn=vs.IQN, lun=0):
        return f"iscsi://{self.address}/{iqn}/{lun}"


def make_image():
    chance = random.Random(2)
    image = bytearray(SIZE)
    for at in range(0, SIZE, EXTENT):
        begin = at + 4096 * chance.randrange(64)
        image[begin:begin + DATA] = chance.randbytes(DATA)
    image[-4096:] = chance.randbytes(4096)
    with open(os.path.join(array.state, "disk.raw"), "wb") as f:
        f.write(image)
    return image


def secret_file(name, text):
    path = os.path.join(node.state, name)
    with open(path, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write(text)
    return path


def origin(name="live"):
    return node.json("volume", "show", name)["origin"]


def fetches(state):
    return [t for t in node.json("task", "list") if t["kind"] == "fetch" and t["state"] == state]


def documents():
    """What the catalogue knows of origins."""
    return len(node.catalogue()["origin"])


def content(name):
    dest = os.path.join(node.state, "out.raw")
    node.vstore("volume", "export", name, dest)
    with open(dest, "rb") as f:
        found = f.read()
    os.unlink(dest)
    return found


def client():
    return nbd.Client(node.listen["nbd"]).go("live")


def scribble(c, model, seed, times):
    """Writes of blocks and of parts of blocks that are whole by then, anywhere."""
    chance = random.Random(seed)
    for _ in range(times):
        at, length = 4096 * chance.randrange(len(model) // 4096 - 32), 4096 * chance.randint(1, 32)
        data = chance.randbytes(length)
        c.write(at, data)
        model[at:at + length] = data
        c.write(at + 512, data[:1024])
        model[at + 512:at + 1536] = data[:1024]


def look(c, model, seed, times):
    chance = random.Random(seed)
    for _ in range(times):
        at, length = 512 * chance.randrange(len(model) // 512 - 128), 512 * chance.randint(1, 128)
        assert c.read(at, length) == model[at:at + length], f"other bytes at {at}"


def test_a_volume_is_used_while_it_is_fetched():
    model = bytearray(image)
    path.let(12 * MIB)
    begin = time.monotonic()
    made = node.json("volume", "import", path.url(), "live", "--live")
    took = time.monotonic() - begin
    assert made["size"] == SIZE and made["task"]["kind"] == "fetch" and took < 5, made
    assert made["origin"]["url"] == path.url(), made
    node.vstore("nbd", "export", "live")
    vs.until(lambda: path.full, "nothing is fetched")
    vs.until(lambda: 0 < origin()["bytes_left"] < SIZE, "it is not said how much is left")
    text = vs.run(vs.VSTORE, "--socket", node.socket, "volume", "show", "live")
    assert path.url() in text and "left" in text, text
    with client() as c:
        # the array says nothing now: writes, snapshots and clones do not wait for it
        scribble(c, model, 3, 40)
        node.vstore("snapshot", "create", "live@s")
        then = bytes(model)
        node.vstore("volume", "clone", "live@s", "clone")
        scribble(c, model, 4, 40)
        assert origin("clone") == "live@s"
        # a read of what is not here waits, and comes before the rest
        at = SIZE - 4096
        asked = c.request(nbd.READ, at, 4096)
        path.let(path.limit + 6 * MIB)
        assert c.wait(asked).bytes(at, 4096) == model[at:]
        assert origin()["bytes_left"] > 32 * MIB, origin()

    node.kill()
    node.start()
    assert len(fetches("running")) == 1 and origin()["url"] == path.url()
    with client() as c:
        path.let(path.limit + 6 * MIB)
        look(c, model, 5, 20)
        vs.until(lambda: path.full, "it does not go on")
        array.kill()
        path.let(path.limit + 12 * MIB)
        asked = c.request(nbd.READ, SIZE - 40 * MIB + 512, 65536)
        array.start()
        at = SIZE - 40 * MIB + 512
        assert c.wait(asked).bytes(at, 65536) == model[at:at + 65536]
        look(c, model, 6, 10)
        assert origin()["bytes_left"] > 0
        path.let(1 << 40)
        look(c, model, 7, 50)
        scribble(c, model, 8, 10)
        vs.until(lambda: origin() is None, "it does not end")
    assert not fetches("running") and documents() == 0
    assert fetches("done")[-1]["bytes_done"] == SIZE
    assert content("live") == model, "the volume is another one"
    assert content("live@s") == then and content("clone") == then, "the snapshot is another one"
    node.vstore("nbd", "unexport", "live")
    node.stop()
    node.check()
    node.start()
    assert origin() is None and origin("clone") == "live@s"


def chap_target(volume):
    array.vstore("target", "create", CHAP_IQN, "--volume", f"{volume}:0", "--chap-user", "joe",
                 "--chap-secret-file", os.path.join(node.state, "right"))


def test_a_secret_is_kept_and_never_shown():
    right = secret_file("right", SECRET)
    array.vstore("volume", "create", "other", "--size", str(SIZE))
    chap_target("disk")
    path.let(4 * MIB)
    url = path.url(CHAP_IQN)
    made = node.json("volume", "import", url.replace("//", "//joe@"), "far", "--live",
                     "--chap-secret-file", right)
    assert made["origin"]["url"] == url, made
    vs.until(lambda: path.full, "nothing is fetched")
    assert "cannot be cancelled" in node.refused("task", "cancel", str(made["task"]["id"]))
    node.vstore("nbd", "export", "far")
    with nbd.Client(node.listen["nbd"]).go("far") as c:
        # a stop does not wait for what an array does not give
        c.request(nbd.READ, SIZE - 20 * MIB, 4096)
        begin = time.monotonic()
        node.stop()
        assert time.monotonic() - begin < 15, "the stop takes long"
    array.vstore("target", "delete", CHAP_IQN)
    chap_target("other")
    path.let(1 << 40)
    node.start()
    vs.until(lambda: "another one is there now" in json.dumps(node.json("event", "list")),
             "another LUN of that name is not seen")
    assert origin("far")["bytes_left"] > 0
    array.vstore("target", "delete", CHAP_IQN)
    chap_target("disk")
    vs.until(lambda: origin("far") is None, "it does not go on")
    assert content("far") == image
    shown = json.dumps([node.json("volume", "list"), node.json("task", "list"),
                        node.json("event", "list"), made])
    assert SECRET not in shown and SECRET not in node.log_text()
    assert SECRET not in json.dumps(node.catalogue()), "the secret outlives its use"
    assert stat.S_IMODE(os.stat(node.store).st_mode) == 0o600


def test_a_lun_that_is_not_thin_and_ends_within_a_block():
    size = 5 * MIB + 512
    data = random.Random(9).randbytes(2 * MIB) + bytes(size - 3 * MIB) + random.Random(10).randbytes(MIB)
    peer = Tgt(node.state, size)
    try:
        with open(peer.file, "r+b") as f:
            f.write(data)
        made = node.json("volume", "import", peer.url, "odd", "--live", "--sector", "4096")
        assert (made["size"], made["sector"]) == (size + 3584, 4096), made
        vs.until(lambda: origin("odd") is None, "it does not end")
        assert content("odd") == data + bytes(3584)
    finally:
        peer.close()


def test_some_at_once_and_each_can_be_deleted():
    path.let(3 * MIB)
    names = [f"n{i}" for i in range(8)]
    for name in names:
        node.vstore("volume", "import", path.url(), name, "--live")
    assert "8 volumes" in node.refused("volume", "import", path.url(), "n8", "--live")
    assert len(fetches("running")) == 8
    for name in names:
        node.vstore("volume", "delete", name)
    path.let(1 << 40)
    vs.until(lambda: not fetches("running") and documents() == 0, "something is left")
    node.vstore("volume", "import", path.url(), "n8", "--live")
    vs.until(lambda: origin("n8") is None, "it does not end")
    node.vstore("volume", "delete", "n8")


def test_an_array_that_does_not_come_back():
    """What was made of it can be deleted, also by a node that never reached it."""
    path.let(3 * MIB)
    node.vstore("volume", "import", path.url(), "gone", "--live")
    node.stop()
    array.kill()
    node.start()
    assert origin("gone")["bytes_left"] > 0 and documents() == 1
    node.vstore("volume", "delete", "gone")
    vs.until(lambda: not fetches("running") and documents() == 0, "something is left")
    array.start()


def test_an_import_does_not_wait_to_be_cancelled():
    """One that is not live, while the array has stopped in the middle."""
    path.let(8 * MIB)
    answer = node.api("POST", "/v1/imports", {"source": path.url(), "name": "none"})
    vs.until(lambda: path.full, "nothing is read")
    task = answer[1]["task"]["id"]
    node.vstore("task", "cancel", str(task))
    ended = node.api("GET", f"/v1/tasks/{task}?wait=10")[1]
    assert ended["state"] == "cancelled", ended
    assert "none" not in [v["name"] for v in node.json("volume", "list")]
    path.let(1 << 40)


def test_what_cannot_be_imported_leaves_nothing():
    before = sorted(v["name"] for v in node.json("volume", "list"))
    wrong, closed = secret_file("wrong", "another secret, longer"), vs.Port()
    file = os.path.join(array.state, "disk.raw")
    for source, words, *options in (
            (path.url(CHAP_IQN), "CHAP"),
            (path.url(CHAP_IQN), "wrong CHAP user or secret", "--chap-user", "joe",
             "--chap-secret-file", wrong),
            (path.url(vs.IQN + "x"), "no such target"),
            (path.url(lun=7), "no such LUN"),
            (f"iscsi://{closed.address}/{vs.IQN}/0", "Connection refused"),
            (path.url(), "raw", "--format", "qcow2"),
            (file, "--live"), ("-", "--live"), ("nbd://host/path", "--live")):
        said = node.refused("volume", "import", source, "none", "--live", *options)
        assert words in said and SECRET not in said, said
    closed.close()
    assert "exists" in node.refused("volume", "import", path.url(), "live", "--live")
    status, answer = node.api("POST", "/v1/imports", {"source": file, "name": "none",
                                                      "live": True})
    assert status == 400 and "iscsi://" in answer["error"]["message"], answer
    assert sorted(v["name"] for v in node.json("volume", "list")) == before
    assert documents() == 0 and not fetches("running")


with array, node:
    image = make_image()
    path = Path(array.listen["iscsi"])
    array.vstore("volume", "import", os.path.join(array.state, "disk.raw"), "disk")
    array.target("disk")
    tap.run(test_a_volume_is_used_while_it_is_fetched, test_a_secret_is_kept_and_never_shown,
            test_a_lun_that_is_not_thin_and_ends_within_a_block,
            test_some_at_once_and_each_can_be_deleted, test_an_array_that_does_not_come_back,
            test_an_import_does_not_wait_to_be_cancelled,
            test_what_cannot_be_imported_leaves_nothing)
