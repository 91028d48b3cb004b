"""The commands of datastores, that they work and how they fail; clients from outside (libnfs)
on what they make; nothing of it is lost when the daemon is killed."""

import hashlib
import os
import subprocess

import node as vs

import tap

node = vs.Node(iscsi=False, nbd=False, nfs=True)
MIB = 1 << 20


def path(name):
    return os.path.join(node.state, name)


def make(name, content):
    with open(path(name), "wb") as f:
        f.write(content)
    return path(name)


def read(name):
    with open(path(name), "rb") as f:
        return f.read()


def refused(*words):
    return vs.refused(vs.VSTORE, "--socket", node.socket, "--yes", *words)


def url(where):
    port = node.listen["nfs"].rsplit(":", 1)[1]
    return f"nfs://127.0.0.1/{where}?nfsport={port}&mountport={port}"


def names(where):
    return {e["name"]: e for e in node.json("datastore", "ls", where)}


def test_create_show_list():
    node.vstore("datastore", "create", "vms", "--quota", "1G")
    shown = node.json("datastore", "show", "vms")
    assert shown["name"] == "vms" and shown["quota"] == 1 << 30, shown
    assert shown["shares"] == [] and shown["snapshots"] == [] and shown["files"] <= 2, shown
    assert [d["name"] for d in node.json("datastore", "list")] == ["vms"]
    assert "vms" in node.vstore("datastore", "list")
    assert "exists" in refused("datastore", "create", "vms")
    assert "not a name" in refused("datastore", "create", "x/y")
    assert "no datastore" in refused("datastore", "show", "none")
    node.vstore("datastore", "set", "vms", "--quota", "2G")
    assert node.json("datastore", "show", "vms")["quota"] == 2 << 30


def test_a_datastore_is_no_volume():
    assert node.json("volume", "list") == []
    for words in (("volume", "show", "vms"), ("volume", "delete", "vms"), ("snapshot", "vms@s"),
                  ("volume", "resize", "vms", "--size", "1G"), ("volume", "rename", "vms", "x"),
                  ("volume", "set", "vms", "--thick"), ("volume", "export", "vms", path("out")),
                  ("vm", "create", "m", "--cpus", "1", "--memory", "64M", "--disk", "vms")):
        assert "datastore" in refused(*words), words
    node.vstore("volume", "create", "disk", "--size", "1M")
    assert "exists" in refused("datastore", "create", "disk")
    assert "no datastore" in refused("datastore", "show", "disk")
    node.vstore("volume", "delete", "disk")


def test_files_go_in_and_out():
    content = os.urandom(3 * MIB + 5) + bytes(2 * MIB) + b"end"
    make("in", content)
    node.vstore("datastore", "put", path("in"), "vms/file")
    assert names("vms")["file"]["size"] == len(content)
    assert names("vms")["file"]["used_bytes"] < len(content) - MIB, "its zeros take space"
    node.vstore("datastore", "get", "vms/file", path("out"))
    assert read("out") == content
    make("in", b"shorter")
    node.vstore("datastore", "put", path("in"), "vms/file")
    node.vstore("datastore", "get", "vms/file", path("out"))
    assert read("out") == b"shorter"
    assert set(names("vms")) == {"file"} | {n for n in names("vms") if n == ".snapshots"}
    assert "no such file" in refused("datastore", "get", "vms/none", path("out"))
    assert not os.path.exists(path("out.part"))
    assert "No such file" in refused("datastore", "put", path("none"), "vms/x")
    assert "no such file" in refused("datastore", "put", path("in"), "vms/none/x")
    assert "NAME/PATH" in refused("datastore", "put", path("in"), "vms")
    assert "no such file" in refused("datastore", "rm", "vms/none")
    node.vstore("datastore", "rm", "vms/file")
    assert "file" not in names("vms")


def test_clients_see_what_is_shared_with_them():
    make("in", b"for clients")
    node.vstore("datastore", "put", path("in"), "vms/shared")
    done = subprocess.run(["nfs-cat", url("vms/shared")], capture_output=True, text=True)
    assert done.returncode != 0, "it was not shared with anybody"
    node.vstore("datastore", "share", "vms", "--client", "127.0.0.0/8", "--squash", "none")
    assert vs.run("nfs-cat", url("vms/shared")) == "for clients"
    assert " shared" in vs.run("nfs-ls", url("vms"))
    content = os.urandom(2 * MIB + 7)
    make("in", content)
    vs.run("nfs-cp", path("in"), url("vms/copied"))
    node.vstore("datastore", "get", "vms/copied", path("out"))
    assert read("out") == content
    share, = node.json("datastore", "show", "vms")["shares"]
    assert share == {"client": "127.0.0.0/8", "read_only": False, "squash": "none"}, share
    node.vstore("datastore", "share", "vms", "--client", "127.0.0.0/8", "--ro")
    share, = node.json("datastore", "show", "vms")["shares"]
    assert share["read_only"] and share["squash"] == "root", share
    done = subprocess.run(["nfs-cp", path("in"), url("vms/more")], capture_output=True)
    assert done.returncode != 0 and "more" not in names("vms")
    assert "address" in refused("datastore", "share", "vms", "--client", "somebody")
    assert "not shared" in refused("datastore", "unshare", "vms", "--client", "192.0.2.1")
    node.vstore("datastore", "share", "vms", "--client", "127.0.0.0/8", "--squash", "none")


def test_a_disk_and_a_file_share_their_content():
    """A disk that moves from a volume into a datastore, and back, takes no space again."""
    vs.run("qemu-img", "create", "-q", "-f", "raw", path("disk"), "24M")
    with open(path("disk"), "r+b") as f:
        f.seek(MIB)
        f.write(os.urandom(12 * MIB))
    node.vstore("volume", "import", path("disk"), "disk")
    before = node.json("df")["unique_content_bytes"]
    node.vstore("volume", "export", "disk", path("moved"))
    node.vstore("datastore", "put", path("moved"), "vms/disk")
    assert node.json("df")["unique_content_bytes"] - before < MIB // 2
    node.vstore("volume", "delete", "disk")
    node.vstore("datastore", "get", "vms/disk", path("back"))
    node.vstore("volume", "import", path("back"), "again")
    assert node.json("df")["unique_content_bytes"] - before < MIB // 2
    assert read("back") == read("disk")
    node.vstore("volume", "delete", "again")
    node.vstore("datastore", "rm", "vms/disk")


def test_snapshots_keep_all_files():
    make("in", b"one")
    node.vstore("datastore", "put", path("in"), "vms/changes")
    node.vstore("datastore", "snapshot", "create", "vms@first")
    assert "exists" in refused("datastore", "snapshot", "create", "vms@first")
    make("in", b"two")
    node.vstore("datastore", "put", path("in"), "vms/changes")
    assert [s["name"] for s in node.json("datastore", "snapshot", "list", "vms")] == ["first"]
    assert vs.run("nfs-cat", url("vms/.snapshots/first/changes")) == "one"
    assert vs.run("nfs-cat", url("vms/changes")) == "two"
    node.vstore("datastore", "get", "vms/.snapshots/first/changes", path("out"))
    assert read("out") == b"one"
    assert "snapshots" in refused("datastore", "delete", "vms")
    node.vstore("datastore", "clone", "vms@first", "copy")
    node.vstore("datastore", "get", "copy/changes", path("out"))
    assert read("out") == b"one"
    node.vstore("datastore", "snapshot", "rollback", "vms@first")
    assert vs.run("nfs-cat", url("vms/changes")) == "one"
    assert "no" in refused("datastore", "snapshot", "rollback", "vms@none")
    node.vstore("datastore", "snapshot", "delete", "vms@first")
    assert node.json("datastore", "snapshot", "list", "vms") == []
    node.vstore("datastore", "delete", "copy")


def test_a_killed_daemon_has_lost_nothing():
    files = {f"f{i}": os.urandom(100000 + i) for i in range(8)}
    for name, content in files.items():
        make("in", content)
        node.vstore("datastore", "put", path("in"), f"vms/{name}")
    node.kill()
    node.start()
    for name, content in files.items():
        node.vstore("datastore", "get", f"vms/{name}", path("out"))
        assert hashlib.sha256(read("out")).digest() == hashlib.sha256(content).digest(), name
    assert vs.run("nfs-cat", url("vms/shared")) == "for clients"


def put_under_way():
    """A put that takes minutes, once it works on its file; returns the task."""
    with open(path("in"), "wb") as f:
        f.write(os.urandom(MIB))
        f.truncate(1 << 40)
    status, body = node.api("POST", "/v1/datastores/vms/put", {"path": "big", "file": path("in")})
    assert status == 202, body
    vs.until(lambda: any(e["size"] == 1 << 40 for e in names("vms").values()), "nothing is made")
    return body["task"]["id"]


def test_a_put_that_does_not_end_leaves_nothing():
    make("in", b"a user's")
    for name in ("a", ".vstore-put-1"):
        node.vstore("datastore", "put", path("in"), f"vms/{name}")
    mine = names("vms")
    task = put_under_way()
    assert "a task works" in refused("datastore", "delete", "vms")
    node.vstore("task", "cancel", str(task))
    vs.until(lambda: names("vms") == mine, lambda: f"cancelled, it left {names('vms/d')}")
    put_under_way()
    node.kill()
    node.start()
    assert names("vms") == mine, "what the killed put made is still there, or more has gone"
    assert not [e for e in node.json("event", "list") if e["kind"] == "datastore.left"]


def test_a_clone_that_finds_no_place_is_gone():
    """And what it would have been beside works."""
    node.vstore("datastore", "snapshot", "create", "vms@s")
    clones = [f"clone{i}" for i in range(63)]
    for name in clones:
        node.vstore("datastore", "clone", "vms@s", name)
    for _ in range(2):  # the second would find what the first has left
        assert "64 datastores" in refused("datastore", "clone", "vms@s", "more")
        assert "64 datastores" in refused("datastore", "create", "more")
    node.kill()  # so many leave room for all else
    node.start()
    node.vstore("volume", "import", path("disk"), "disk")
    node.vstore("volume", "delete", "disk")
    node.vstore("datastore", "get", f"{clones[-1]}/a", path("out"))
    for name in clones:
        node.vstore("datastore", "delete", name)
    node.vstore("datastore", "snapshot", "delete", "vms@s")


def test_deleted_it_gives_its_space_back():
    node.vstore("datastore", "delete", "vms")
    assert node.json("datastore", "list") == []
    node.vstore("df", "--drain")
    assert node.json("df")["unique_content_bytes"] == 0
    node.stop()
    node.check()


if __name__ == "__main__":
    with node:
        tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))
