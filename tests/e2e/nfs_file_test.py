#!/usr/bin/env python3
"""Files of NFS servers of others: found, imported, exported to, and as the store of a node that goes
on while the server is killed and comes back. The server is nfs-ganesha."""

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
from far_store import FarNode, Load  # noqa: E402
from ganesha import Export, Ganesha  # noqa: E402

MIB = 1 << 20
SIZE = 96 * MIB + 1000  # not a whole number of blocks

node = vs.Node(size="4G")
folder = node.state
share, squashed, closed, ours = (os.path.join(folder, name)
                                 for name in ("share", "squashed", "closed", "ours"))


def make_image(path):
    """Data here and there."""
    chance = random.Random(1)
    with open(path, "wb") as f:
        f.truncate(SIZE)
        for at in range(0, SIZE - MIB, 16 * MIB):
            f.seek(at + 512 * chance.randrange(64))
            f.write(chance.randbytes(3 * MIB))
        f.seek(SIZE - 700)
        f.write(b"\x99" * 700)
    return vs.sha256(path)


def volumes():
    return [v["name"] for v in node.json("volume", "list")]


def content(name):
    """Digest of the first SIZE bytes; the rest of the last block is zeros."""
    dest = os.path.join(folder, "out.raw")
    node.vstore("volume", "export", name, dest)
    with open(dest, "r+b") as f:
        f.seek(SIZE)
        rest = f.read()
        assert len(rest) < 4096 and not rest.strip(b"\0"), rest
        f.truncate(SIZE)
    found = vs.sha256(dest)
    os.unlink(dest)
    return found


def test_import():
    result = node.json("volume", "import", server.url(f"{share}/deep/er/disk.raw"), "one")
    assert result["size"] == -(-SIZE // 4096) * 4096 and result["format"] == "raw", result
    assert content("one") == image
    # zeros are found by looking
    assert node.json("volume", "show", "one")["logical_bytes"] < 20 * MIB
    # its port has NFS but not MOUNT: that is asked for
    node.vstore("volume", "import", server.url(f"{share}/deep/er/disk.raw", 2049), "two")
    assert content("two") == image


def test_what_cannot_be_imported():
    os.symlink("deep/er/disk.raw", f"{share}/link")
    with open(f"{share}/image.qcow2", "wb") as f:
        f.write(b"QFI\xfb" + bytes(4092))
    with open(f"{squashed}/secret", "wb") as f:
        f.write(bytes(4096))
    os.chmod(f"{squashed}/secret", 0o600)
    gone = vs.Port()
    for url, words in (
            (server.url(f"{share}/none"), "no such file"),
            (server.url(f"{share}/none/disk.raw"), "no folder 'none'"),
            (server.url("/nowhere/disk.raw"), "vstore discover nfs://"),
            (server.url(f"{closed}/disk.raw"), "admits this node to no export"),
            (server.url(f"{squashed}/secret"), "no_root_squash"),
            (server.url(share + "/deep"), "folder"),
            (server.url(share + "/link"), "symbolic link"),
            (server.url(share + "/image.qcow2"), "mount the export"),
            (f"nfs://{gone.address}/a/b", "refused"),
            ("nfs://no-such-host.invalid/a/b", "cannot find host"),
            (server.url(share + "/../x"), "names no file"),
            (server.url(share + "/disk.raw?uid=0"), "options")):
        said = node.refused("volume", "import", url, "none")
        assert words in said, said
    gone.close()
    url = server.url(share + "/image.qcow2")
    assert "mount the export" in node.refused("volume", "import", url, "none", "--format", "qcow2")
    assert sorted(volumes()) == ["one", "two"], volumes()
    node.vstore("volume", "import", url, "bytes", "--format", "raw")


def test_an_import_can_be_cancelled():
    """While the other side takes the connection and says nothing."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"nfs://127.0.0.1:{mute.getsockname()[1]}/export/disk"
        answer = node.api("POST", "/v1/imports", {"source": url, "name": "none"})
        connection = mute.accept()[0]
        node.vstore("task", "cancel", str(answer[1]["task"]["id"]))
        assert node.task(answer)["state"] == "cancelled"
        connection.close()
    assert "none" not in volumes()


def test_export():
    dest = f"{share}/out.raw"
    result = node.json("volume", "export", "one", server.url(dest))
    size = result["size"]
    assert os.stat(dest).st_size == size and result["bytes_written"] < 20 * MIB, result
    assert stat.S_IMODE(os.stat(dest).st_mode) == 0o600
    with open(dest, "r+b") as f:
        f.truncate(SIZE)
    assert vs.sha256(dest) == image
    assert "exists" in node.refused("volume", "export", "two", server.url(dest))
    node.vstore("volume", "export", "two", server.url(dest), "--force")
    assert os.stat(dest).st_size == size
    assert os.listdir(squashed) == ["secret"]
    assert "no_root_squash" in node.refused("volume", "export", "one", server.url(f"{squashed}/x"))
    assert "raw" in node.refused("volume", "export", "one", server.url(dest), "--format", "qcow2")
    assert "no folder" in node.refused("volume", "export", "one", server.url(f"{share}/none/x"))
    assert not [name for name in os.listdir(share) if ".part-" in name], os.listdir(share)
    assert node.json("snapshot", "list") == []


def test_discover():
    found = {e["export"]: e["clients"] for e in node.json("discover", server.url())}
    # ganesha does not tell of those that we may not use
    assert found == {share: [], squashed: [], ours: ["198.18.0.0/15"]}, found
    text = node.vstore("discover", server.url())
    assert "EXPORT" in text and share in text, text
    said = node.refused("discover", "nfs://127.0.0.1:1")
    assert "refused" in said, said
    assert "not of the form" in node.refused("discover", server.url(share))


def names(path):
    """What a program or library offers to those that it is loaded with."""
    listed = vs.run("nm", "-D", "--defined-only", path)
    return {line.split()[-1].split("@")[0] for line in listed.splitlines()}


def test_no_name_of_ours_is_libnfs_own():
    """It would call us instead of itself: our NFS server and it share a prefix."""
    loaded = vs.run("ldd", vs.VSTORED)
    library = next(line.split()[2] for line in loaded.splitlines() if "libnfs.so" in line)
    assert "rpc_service" in names(library)
    for program in (vs.VSTORED, vs.VSTORE):
        both = names(program) & names(library)
        assert not both, both


def test_a_live_import_outlives_its_server():
    """Killed while blocks are fetched; what is read meanwhile waits, and all of it arrives."""
    size, chance = 768 * MIB, random.Random(2)
    with open(f"{share}/big.raw", "wb") as f:
        f.truncate(size)
        for at in range(0, size, 64 * MIB):
            f.seek(at)
            f.write(chance.randbytes(MIB))
        f.seek(size - 4096)
        last = chance.randbytes(4096)
        f.write(last)
    url = server.url(f"{share}/big.raw")
    assert "mount the export" in node.refused(
        "volume", "import", server.url(f"{share}/image.qcow2"), "none", "--live")
    node.vstore("volume", "import", url, "live", "--live")
    server.kill()
    assert node.json("volume", "show", "live")["origin"]["url"] == url
    node.vstore("nbd", "export", "live")
    client = nbd.Client(node.listen["nbd"]).go("live")
    client.write(0, b"mine" * 1024)
    back = threading.Timer(0.7, server.start)
    back.start()
    assert client.read(size - 4096, 4096) == last
    back.join()
    node.kill()
    node.start()
    vs.until(lambda: not node.json("volume", "show", "live")["origin"], "it is not complete")
    with open(f"{share}/big.raw", "r+b") as f:
        f.write(b"mine" * 1024)
    dest = os.path.join(folder, "big.raw")
    node.vstore("volume", "export", "live", dest)
    vs.run("cmp", dest, f"{share}/big.raw")
    os.unlink(dest)


def test_a_store_on_a_file():
    url = server.url(f"{share}/store.img")
    for arguments, words in (
            ((url,), "no such file"),
            ((server.url(f"{share}/small.img"), "--size", "1M"), "too small"),
            ((server.url(f"{squashed}/store.img"), "--size", "1G"), "no_root_squash"),
            ((server.url(f"{share}/image.qcow2"), "--size", "1G"), "exists")):
        said = vs.refused(vs.VSTORE, "init", *arguments)
        assert words in said, said
    assert not os.path.exists(f"{share}/small.img") and os.path.exists(f"{share}/image.qcow2")
    vs.run(vs.VSTORE, "init", url, "--size", "2G")
    vs.run(vs.VSTORE, "check", url)
    with FarNode(url) as far:
        assert "in use by another process" in vs.refused(vs.VSTORE, "check", url)
        far.vstore("volume", "create", "v", "--size", "128M")
        load = Load(*far.target("v"), os.path.join(folder, "away"))
        time.sleep(0.3)
        for _ in range(2):  # held, no error, and it goes on
            server.kill()
            time.sleep(0.5)
            server.start()
            time.sleep(0.7)
        assert far.json("store", "show")["state"] == "ok"
        far.kill()
        result = load.result()
        assert result["connection_lost"] and not result["failed"], result
        assert result["flushes"] and "the path is back" in far.log_text(), result
        far.start()
        load.verify()
        os.truncate(f"{share}/store.img", 3 << 30)
        vs.until(lambda: far.json("store", "grow")["grown_bytes"] > 900 * MIB, "it does not grow")
        with open(f"{share}/mirror.img", "wb") as f:
            f.truncate(3 << 30)
        far.vstore("store", "add", server.url(f"{share}/mirror.img"), "--mirror-of", url)
        assert [d["state"] for d in far.json("store", "show")["devices"]] == ["in sync"] * 2
        far.vstore("store", "remove", server.url(f"{share}/mirror.img"))
        os.unlink(f"{share}/mirror.img")
    vs.run(vs.VSTORE, "check", url)


def test_a_server_that_stays_away():
    with FarNode(server.url(f"{share}/store.img"), "--store-hold", "1") as far:
        far.vstore("volume", "create", "w", "--size", "128M")
        assert [t["iqn"] for t in far.json("target", "list")] == [vs.IQN]  # it was in the store
        load = Load(*far.target("w", iqn=vs.IQN + "w"), os.path.join(folder, "gone"))
        time.sleep(0.3)
        server.kill()
        vs.until(lambda: far.json("store", "show")["state"] == "failed", "nothing is said of it")
        assert "requests fail until" in far.log_text()
        server.start()
        far.kill()
        load.result()
        far.start()
        load.verify()
        assert far.json("store", "show")["state"] == "ok"


with node:
    server = None
    try:
        server = Ganesha(folder, Export(share), Export(squashed, squash="Root_Squash"),
                         Export(closed, client="192.0.2.250"), Export(ours, client="198.18.0.0/15"))
        os.makedirs(f"{share}/deep/er")
        image = make_image(f"{share}/deep/er/disk.raw")
        tap.run(test_import, test_what_cannot_be_imported, test_an_import_can_be_cancelled, test_export,
                test_discover, test_no_name_of_ours_is_libnfs_own,
                test_a_live_import_outlives_its_server, test_a_store_on_a_file,
                test_a_server_that_stays_away)
    finally:
        if server:
            server.close()
