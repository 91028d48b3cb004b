#!/usr/bin/env python3
"""Every command of vstore against a real daemon: once as it should be, once as it should not."""

import hashlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import tempfile

from node import IQN, VSTORE, Node, refused, run, sha256
import tap

NODE = None
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
MIB = 1 << 20


def usage(*args):
    """A command line that is wrong in itself: exit status 2 and one line."""
    done = subprocess.run([VSTORE, "--socket", NODE.socket, *args], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 2, (args, done.returncode, done.stderr)
    assert not done.stdout and len(done.stderr.splitlines()) == 1, (args, done.stderr)
    assert "--help'" in done.stderr, done.stderr
    return done.stderr


def failed(*args, says):
    """A command that the node refuses: exit status 1, one line that says why."""
    done = subprocess.run([VSTORE, "--socket", NODE.socket, "--json", *args], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 1, (args, done.returncode, done.stderr)
    assert not done.stdout and len(done.stderr.splitlines()) == 1, (args, done.stdout, done.stderr)
    assert done.stderr.startswith("vstore: "), done.stderr
    assert re.search(says, done.stderr), (args, done.stderr)


def shown(*args):
    """What people see on standard output."""
    return run(VSTORE, "--socket", NODE.socket, *args)


def pattern(path, size, seed=1):
    """A file of size bytes: a third noise, a third zeros, the rest text."""
    third = size // 3
    with open(path, "wb") as f:
        f.write(os.urandom(third) if seed else bytes(third))
        f.write(bytes(third))
        f.write((b"line %d of some text\n" % seed * (size // 16))[: size - 2 * third])
    return sha256(path)


def volume(name, size="8M"):
    return NODE.json("volume", "create", name, "--size", size)


def filled(name, path=None):
    """A volume with content, and that content's digest."""
    path = path or os.path.join(NODE.state, name + ".img")
    digest = pattern(path, 6 * MIB)
    NODE.vstore("volume", "import", path, name)
    os.unlink(path)
    return digest


def exported(name):
    """The digest of a volume's content, through a pipe."""
    path = os.path.join(NODE.state, "exported")
    with open(path, "wb") as out:
        pipe = subprocess.Popen([VSTORE, "--socket", NODE.socket, "volume", "export", name, "-"],
                                stdout=subprocess.PIPE)
        while piece := pipe.stdout.read(1 << 20):
            out.write(piece)
        assert pipe.wait() == 0
    digest = sha256(path)
    os.unlink(path)
    return digest


# ---- the node

def test_status_df_and_store():
    status = NODE.json("status")
    assert status["state"] == "running" and status["pid"] == NODE.process.pid
    assert {"iscsi", "nbd"} <= {f["kind"] for f in status["front_ends"]}
    df = NODE.json("df")
    assert 0 < df["physical_used_bytes"] < df["capacity_bytes"]
    assert NODE.json("df", "--drain").keys() == df.keys()
    assert NODE.json("store", "show")["device"].endswith("store.img")
    assert re.search(r"(?m)^state +running$", shown("status"))
    assert re.search(r"(?m)^capacity +[\d.]+ GiB$", shown("df"))
    assert re.search(r"(?m)^format version +\d", shown("store", "show"))
    usage("status", "now")
    usage("store")


def test_missing_socket_and_wrong_socket():
    for args in (["status"], ["volume", "list", "--json"], ["task", "wait", "1"]):
        line = refused(VSTORE, "--socket", "/nonexistent/sock", *args)
        assert "/nonexistent/sock" in line and "start vstored" in line, line
    line = refused(VSTORE, "--socket", "/" + "x" * 200, "status")
    assert "shorter" in line, line
    environment = dict(os.environ, VSTORE_SOCKET="/nonexistent/environment")
    assert "/nonexistent/environment" in refused(VSTORE, "status", env=environment)
    run(VSTORE, "--socket", NODE.socket, "status", env=environment)


def test_a_socket_that_speaks_no_http():
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(folder + "/s")
        server.listen(1)
        command = subprocess.Popen([VSTORE, "--socket", folder + "/s", "status"],
                                   stderr=subprocess.PIPE, text=True)
        client, _ = server.accept()
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        error = command.stderr.read()
        client.close()
        assert command.wait() == 1 and "no JSON" in error, error


def test_usage_errors_exit_2():
    usage("frobnicate")
    usage("volume", "frobnicate")
    usage("volume", "create")
    usage("volume", "create", "a", "b", "--size", "1M")
    usage("volume", "create", "a", "--size", "1X")
    usage("volume", "create", "a", "--size", "1M", "--colour", "red")
    usage("volume", "create", "a", "--size", "1M", "--sector", "513")
    usage("backup", "a")
    usage("volume", "create", b"\xff", "--size", "1M")
    usage("volume", "delete", "")
    usage("volume\nlist")
    assert run(VSTORE, status=2).startswith("usage: vstore")


# ---- volumes

def test_volume_create_show_list():
    made = volume("v1", "20G")
    assert made["name"] == "v1" and made["size"] == 20 << 30 and made["provisioning"] == "thin"
    assert re.fullmatch(TIME, made["created"]), made["created"]
    assert NODE.json("volume", "show", "v1") == made
    assert made in NODE.json("volume", "list")
    other = NODE.json("volume", "create", "v1.b_c-d", "--size", "4096", "--sector", "4096",
                      "--compression", "none")
    assert (other["size"], other["sector"], other["compression"]) == (4096, 4096, "none")
    assert re.search(r"(?m)^v1 +20\.0 GiB +0 B +0 ", shown("volume", "list"))
    assert re.search(r"(?m)^size +20\.0 GiB$", shown("volume", "show", "v1"))
    failed("volume", "create", "v1", "--size", "1M", says="v1.*(in use|exists)")
    failed("volume", "create", "v2", "--size", "1000", says="4096|4 KiB")
    failed("volume", "create", "v2", "--size", "0", says="size")
    failed("volume", "create", "v2", "--size", "1000T", says="size|128")
    failed("volume", "create", "../v2", "--size", "1M", says="name")
    failed("volume", "create", "x" * 64, "--size", "1M", says="name")
    failed("volume", "show", "nope", says="nope")
    failed("volume", "show", "a/../b?c#d", says="a/")
    failed("volume", "show", "v1@nope", says="v1@nope")
    failed("volume", "show", "..", says=r"\.\.")
    failed("volume", "create", "two\nlines", "--size", "1M", says="name")


def test_volume_rename():
    volume("old")
    assert NODE.json("volume", "rename", "old", "new")["name"] == "new"
    volume("old")
    failed("volume", "rename", "old", "new", says="new.*(in use|exists)")
    failed("volume", "rename", "nope", "other", says="nope")
    failed("volume", "rename", "old", "a b", says="name")


def test_volume_resize():
    volume("grow", "1M")
    assert NODE.json("volume", "resize", "grow", "--size", "2M")["size"] == 2 * MIB
    failed("volume", "resize", "grow", "--size", "5000", says="4096|4 KiB")
    failed("volume", "resize", "nope", "--size", "1M", says="nope")
    filled("shrink")
    failed("volume", "resize", "shrink", "--size", "4096", says="force|shrink|data")
    assert NODE.json("volume", "show", "shrink")["size"] == 6 * MIB
    assert NODE.json("volume", "resize", "shrink", "--size", "4096", "--force")["size"] == 4096


def test_volume_set():
    volume("set")
    assert NODE.json("volume", "set", "set", "--compression", "none")["compression"] == "none"
    assert NODE.json("volume", "show", "set")["dedup"] is True
    assert NODE.json("volume", "set", "set", "--dedup", "off")["dedup"] is False
    assert NODE.json("volume", "show", "set")["compression"] == "none"
    assert re.search(r"(?m)^dedup +no$", shown("volume", "show", "set"))
    assert NODE.json("volume", "set", "set", "--dedup", "on")["dedup"] is True
    made = NODE.json("volume", "create", "apart", "--size", "1M", "--dedup", "off")
    assert made["dedup"] is False
    usage("volume", "set", "set", "--dedup", "maybe")
    failed("volume", "set", "nope", "--dedup", "off", says="nope")
    usage("volume", "set", "set")
    usage("volume", "set", "set", "--compression", "best")
    failed("volume", "set", "nope", "--compression", "none", says="nope")


def test_volume_delete():
    volume("del")
    assert NODE.json("volume", "delete", "del") == {}
    failed("volume", "delete", "del", says="del")
    volume("del")
    NODE.vstore("snapshot", "del@a")
    failed("volume", "delete", "del", says="snapshot")
    usage("volume", "delete", "del", "--with-snapshots", "--keep-snapshots")
    NODE.vstore("volume", "delete", "del", "--keep-snapshots")
    assert [s["name"] for s in NODE.json("snapshot", "list")] == ["del@a"]
    NODE.vstore("volume", "clone", "del@a", "again")
    NODE.vstore("snapshot", "delete", "del@a")
    NODE.vstore("snapshot", "again@b")
    NODE.vstore("volume", "delete", "again", "--with-snapshots")
    assert NODE.json("snapshot", "list") == []


def test_deletion_asks_on_a_terminal():
    volume("asked")
    for answer, left in (("n\n", True), ("\n", True), ("y\n", False)):
        master, slave = os.openpty()
        command = subprocess.Popen(
            [VSTORE, "--socket", NODE.socket, "volume", "delete", "asked"], stdin=slave,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        os.write(master, answer.encode())
        _, error = command.communicate()
        os.close(master)
        os.close(slave)
        assert "Delete volume asked for good? [y/N]" in error, error
        assert command.returncode == (1 if left else 0), error
        assert ("asked" in [v["name"] for v in NODE.json("volume", "list")]) == left


# ---- import and export

def test_import_and_export_of_files():
    path = os.path.join(NODE.state, "in.img")
    digest = pattern(path, 10 * MIB)
    made = NODE.json("volume", "import", path, "img")
    assert made["name"] == "img" and made["size"] == 10 * MIB and made["seconds"] >= 0, made
    out = os.path.join(NODE.state, "out.img")
    done = NODE.json("volume", "export", "img", out)
    assert done["format"] == "raw" and sha256(out) == digest
    failed("volume", "export", "img", out, says="exist|(in use|exists)")
    NODE.vstore("volume", "export", "img", out, "--force", "--format", "qcow2")
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", path, out)
    NODE.vstore("volume", "import", out, "img2")
    assert exported("img2") == digest
    failed("volume", "import", path, "img", says="img.*(in use|exists)")
    failed("volume", "import", path + ".nope", "img3", says="nope")
    failed("volume", "export", "nope", out + "2", says="nope")
    failed("volume", "export", "img", "/nonexistent/x", says="/nonexistent")
    usage("volume", "import", path, "img3", "--size", "1M")
    usage("volume", "import", path, "img3", "--format", "iso")
    usage("volume", "import", "nbd://host/x", "img3")
    usage("volume", "export", "img", "nbd://host/x")
    with open(out, "r+b") as f:
        f.truncate(70000)
    failed("volume", "import", out, "img3", says="")
    assert "img3" not in [v["name"] for v in NODE.json("volume", "list")]
    os.unlink(path)
    os.unlink(out)


def test_relative_paths_are_the_callers():
    pattern(os.path.join(NODE.state, "here.img"), 1 * MIB)
    run(VSTORE, "--socket", NODE.socket, "volume", "import", "here.img", "here", cwd=NODE.state)
    run(VSTORE, "--socket", NODE.socket, "volume", "export", "here", "there.img", cwd=NODE.state)
    assert sha256(NODE.state + "/here.img") == sha256(NODE.state + "/there.img")


def test_streams_through_pipes():
    path = os.path.join(NODE.state, "stream.img")
    digest = pattern(path, 9 * MIB + 4096)
    with open(path, "rb") as f:  # a file: its length is known
        run(VSTORE, "--socket", NODE.socket, "volume", "import", "-", "s1", stdin=f)
    feed = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)  # a pipe: it is not
    made = json.loads(run(VSTORE, "--socket", NODE.socket, "--json", "volume", "import", "-", "s2",
                          stdin=feed.stdout))
    feed.stdout.close()
    assert feed.wait() == 0
    assert made["size"] == made["bytes_read"] == 9 * MIB + 4096 > made["bytes_written"], made
    assert exported("s1") == digest and exported("s2") == digest
    sparse = os.path.join(NODE.state, "sparse.img")
    with open(sparse, "wb") as f:
        subprocess.run([VSTORE, "--socket", NODE.socket, "volume", "export", "s2", "-"], stdout=f,
                       check=True)
    assert sha256(sparse) == digest
    assert os.stat(sparse).st_blocks < os.stat(path).st_blocks, "no holes"
    assert NODE.json("volume", "show", "s1")["exports"] == []


def stream(*args, data):
    done = subprocess.run([VSTORE, "--socket", NODE.socket, "volume", "import", "-", *args],
                          input=data, capture_output=True, check=False)
    assert len(done.stderr.splitlines()) == (0 if done.returncode == 0 else 1), done.stderr
    return done.returncode, done.stderr.decode()


def test_streams_that_fail_leave_nothing():
    assert stream("odd", data=b"x" * 5000)[0] == 0
    assert NODE.json("volume", "show", "odd")["size"] == 8192
    for args, data, status, says in (
            (["t1"], b"", 1, "empty"),
            (["t1", "--size", "1M"], b"x" * (MIB + 1), 1, "more than"),
            (["t1"], b"QFI\xfb" + bytes(4096), 1, "qcow2"),
            (["t1", "--format", "qcow2"], b"x", 2, "raw"),
            (["t1", "--detach"], b"x", 2, "--detach"),
            (["odd"], b"x", 1, "odd"),
            (["a/b"], b"x", 1, "name")):
        done = stream(*args, data=data)
        assert done[0] == status and says in done[1], (args, done)
    assert stream("t2", "--format", "raw", data=b"QFI\xfb" + bytes(4096))[0] == 0
    names = [v["name"] for v in NODE.json("volume", "list")]
    assert "t1" not in names and "t2" in names
    usage("volume", "export", "t2", "-", "--format", "qcow2")
    usage("volume", "export", "t2", "-", "--json")
    done = subprocess.run([VSTORE, "--socket", NODE.socket, "volume", "export", "nope", "-"],
                          capture_output=True, check=False)
    assert done.returncode == 1 and not done.stdout and b"nope" in done.stderr, done


def test_an_interrupted_stream_leaves_nothing():
    command = subprocess.Popen([VSTORE, "--socket", NODE.socket, "volume", "import", "-", "cut"],
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    command.stdin.write(os.urandom(8 * MIB))
    command.stdin.flush()
    assert "cut" in [v["name"] for v in NODE.json("volume", "list")]
    command.send_signal(signal.SIGINT)
    error = command.stderr.read()
    assert command.wait() == 1 and b"interrupted" in error, error
    assert "cut" not in [v["name"] for v in NODE.json("volume", "list")]


# ---- snapshots

def test_snapshots():
    before = filled("snap")
    volume("other")
    made = NODE.json("snapshot", "snap@a", "other@a")
    assert [s["name"] for s in made] == ["snap@a", "other@a"]
    assert re.fullmatch(TIME, made[0]["created"]) and made[0]["created"] == made[1]["created"]
    assert [s["name"] for s in NODE.json("snapshot", "list", "snap")] == ["snap@a"]
    assert "snap@a" in shown("snapshot", "list")
    assert "snap@a" in shown("volume", "show", "snap")
    failed("snapshot", "snap@a", says="snap@a.*(in use|exists)")
    failed("snapshot", "create", "other@b", "nope@b", says="nope")
    assert "other@b" not in [s["name"] for s in NODE.json("snapshot", "list")]
    failed("snapshot", "create", "snap", says="@|SNAP")
    failed("snapshot", "list", "nope", says="nope")
    failed("snapshot", "delete", "snap@nope", says="snap@nope")
    failed("snapshot", "rollback", "snap@nope", says="snap@nope")
    NODE.vstore("volume", "clone", "snap@a", "twin")
    assert exported("twin") == before
    assert NODE.json("volume", "show", "twin")["origin"] == "snap@a"
    failed("volume", "clone", "snap@a", "twin", says="twin.*(in use|exists)")
    failed("volume", "clone", "snap@nope", "twin2", says="snap@nope")
    failed("volume", "clone", "snap", "twin2", says="")
    NODE.vstore("volume", "resize", "snap", "--size", "4096", "--force")
    NODE.vstore("snapshot", "rollback", "snap@a")
    assert exported("snap") == before
    NODE.vstore("snapshot", "delete", "snap@a")
    assert NODE.json("snapshot", "list", "snap") == [] and exported("twin") == before


def test_diff():
    volume("diff", "1M")
    NODE.vstore("snapshot", "diff@a")
    assert NODE.json("snapshot", "diff", "diff@a", "diff@a") == []
    NODE.vstore("nbd", "export", "diff")
    run("qemu-io", "-f", "raw", "-c", "write -P 7 8k 12k", "-c", "write -P 0 64k 4k",
        NODE.nbd_url("diff"))
    NODE.vstore("nbd", "unexport", "diff")
    NODE.vstore("snapshot", "diff@b")
    expected = [{"offset": 8192, "length": 12288, "kind": "data"}]
    assert NODE.json("snapshot", "diff", "diff@a", "diff@b") == expected
    assert NODE.json("snapshot", "diff", "diff@a", "diff") == expected
    back = NODE.json("snapshot", "diff", "diff@b", "diff@a")
    assert [e["kind"] for e in back] == ["zero"], back
    assert re.search(r"(?m)^ +8192 +12288 +data$", shown("snapshot", "diff", "diff@a", "diff@b"))
    failed("snapshot", "diff", "diff@a", "diff@nope", says="diff@nope")
    usage("snapshot", "diff", "diff@a")


# ---- repositories, backups

def test_backup_and_restore():
    digest = filled("precious")
    folder = os.path.join(NODE.state, "repo")
    url = "dir://" + folder
    done = subprocess.run([VSTORE, "--socket", NODE.socket, "repo", "add", "r", url],
                          capture_output=True, text=True, check=True)
    assert "warning" in done.stderr and "not encrypted" in done.stderr, done.stderr
    failed("repo", "add", "r", url, says="r.*(in use|exists)")
    failed("repo", "add", "r2", "ftp://host/x", says="ftp|URL|url")
    failed("repo", "show", "nope", says="nope")
    assert [r["name"] for r in NODE.json("repo", "list")] == ["r"]
    first = NODE.json("backup", "precious", "--repo", "r", "--tag", "daily")
    assert first["volume"] == "precious" and first["blocks_sent"] > 0 and first["tag"] == "daily"
    second = NODE.json("backup", "create", "precious", "--repo", "r")
    assert second["blocks_sent"] == second["blocks_changed"] == 0, second
    failed("backup", "nope", "--repo", "r", says="nope")
    failed("backup", "precious", "--repo", "nope", says="nope")
    ids = [b["id"] for b in NODE.json("backup", "list", "precious", "--repo", "r")]
    assert set(ids) == {first["id"], second["id"]}, ids
    assert first["id"] in shown("backup", "list")
    assert NODE.json("backup", "show", first["id"])["blocks_sent"] == first["blocks_sent"]
    assert NODE.json("backup", "verify", first["id"])["problems"] == 0
    assert NODE.json("repo", "check", "r", "--read-data")["problems"] == 0
    number, out = first["id"].split(":")[1], os.path.join(NODE.state, "backup.img")
    done = NODE.json("backup", "export", first["id"], out)
    assert done["id"] == number and sha256(out) == digest, done
    failed("backup", "export", first["id"], out, says="exists")
    NODE.vstore("backup", "export", first["id"], out, "--force")
    failed("backup", "export", "r:nope", out + "2", says="nope")
    failed("backup", "export", first["id"], "/nonexistent/x", says="/nonexistent")
    assert not os.path.exists(out + "2") and os.listdir(NODE.state).count("backup.img") == 1
    without_a_daemon(url, number, digest)
    done = NODE.json("restore", first["id"], "back")
    assert done["volume"] == "back" and done["blocks_fetched"] == 0, done
    assert exported("back") == digest
    failed("restore", first["id"], "back", says="back.*(in use|exists)")
    failed("restore", "r:nope", "back2", says="nope")
    NODE.vstore("restore", first["id"], "back", "--overwrite")
    NODE.vstore("backup", "delete", first["id"])
    failed("backup", "delete", first["id"], says=number)
    failed("repo", "gc", "nope", says="nope")
    assert NODE.json("repo", "gc", "r")["freed_bytes"] == 0, "the second backup needs all of it"
    NODE.vstore("backup", "delete", second["id"])
    assert NODE.json("repo", "gc", "r")["freed_bytes"] >= 2 * MIB
    assert NODE.json("repo", "show", "r")["backups"] == 0
    NODE.vstore("repo", "remove", "r")
    failed("repo", "remove", "r", says="r")
    assert os.listdir(folder), "the repository's content is gone"


def without_a_daemon(url, number, digest):
    """A repository is enough to see what it has and to have it back."""
    def alone(*args, **more):
        return subprocess.run([VSTORE, "--socket", "/nonexistent", "--json", "backup", *args],
                              capture_output=True, check=False, **more)
    listed = json.loads(alone("list", "--repo-url", url).stdout)
    assert number in [b["id"] for b in listed], listed
    assert json.loads(alone("list", "nope", "--repo-url", url).stdout) == []
    shown_alone = json.loads(alone("show", number, "--repo-url", url).stdout)
    through = NODE.json("backup", "show", "r:" + number)
    assert shown_alone == dict(through, id=number, repo=url), (shown_alone, through)
    assert alone("show", "nope", "--repo-url", url).returncode == 1
    assert alone("list", "--repo-url", url + "/nope").returncode == 1
    assert alone("list", "--repo-url", url, "--repo", "r").returncode == 2
    piped = subprocess.run([VSTORE, "backup", "export", number, "-", "--repo-url", url],
                           stdout=subprocess.PIPE, check=True).stdout
    assert hashlib.sha256(piped).hexdigest() == digest


# ---- front ends

def test_targets():
    volume("lun0")
    volume("lun1")
    secret = os.path.join(NODE.state, "secret")
    with open(secret, "w", encoding="ascii") as f:
        f.write("a-long-enough-secret\n")
    os.chmod(secret, 0o600)
    made = NODE.json("target", "create", IQN, "--volume", "lun0:3", "--initiator", IQN + ":i",
                     "--chap-user", "u", "--chap-secret-file", secret)
    assert [(x["lun"], x["volume"]) for x in made["luns"]] == [(3, "lun0")]
    assert made["chap"] is True and made["open"] is False and "secret" not in json.dumps(made)
    NODE.vstore("target", "map", IQN, "--volume", "lun1:7", "--read-only")
    luns = NODE.json("target", "show", IQN)["luns"]
    assert (7, "lun1", True) in [(x["lun"], x["volume"], x["read_only"]) for x in luns], luns
    assert re.search(r"(?m)^ +7  lun1 ", shown("target", "show", IQN))
    failed("target", "map", IQN, "--volume", "lun1:7", says="7")
    failed("target", "map", IQN, "--volume", "nope", says="nope")
    usage("target", "map", IQN, "--volume", "lun1:x")
    failed("target", "unmap", IQN, "--volume", "lun1:3", says="not mapped")
    NODE.vstore("target", "unmap", IQN, "--volume", "lun1")
    assert len(NODE.json("target", "show", IQN)["luns"]) == 1
    own = ("--initiator", IQN + ":i")
    NODE.vstore("target", "map", IQN, *own, "--volume", "lun1:3")
    assert NODE.json("target", "show", IQN)["luns"][1] == {
        "lun": 3, "volume": "lun1", "read_only": False, "removable": False, "naa": luns[1]["naa"],
        "initiator": IQN + ":i"}
    assert re.search(r"(?m)^ +3  lun1 .*:i *$", shown("target", "show", IQN))
    failed("target", "map", IQN, *own, "--volume", "lun0:3", says="in use for")
    failed("target", "map", IQN, "--initiator", IQN + ":x", "--volume", "lun0", says="allow it first")
    failed("target", "unmap", IQN, "--volume", "lun1", says="not mapped")
    failed("target", "unmap", IQN, *own, "--volume", "lun0", says="not mapped for")
    NODE.vstore("target", "unmap", IQN, *own, "--volume", "lun1")
    assert [x["initiator"] for x in NODE.json("target", "show", IQN)["luns"]] == [None]
    opened = subprocess.run([VSTORE, "--socket", NODE.socket, "target", "set", IQN, "--no-chap",
                             "--any-initiator"], capture_output=True, text=True, check=True)
    assert "warning" in opened.stderr and "open to all" in opened.stderr
    assert NODE.json("target", "list")[0]["open"] is True
    usage("target", "set", IQN)
    usage("target", "set", IQN, "--permanent")
    usage("target", "set", IQN, "--redirect", "h:3260", "--no-redirect")
    usage("target", "set", IQN, "--chap-user", "u")
    os.chmod(secret, 0o644)
    failed("target", "set", IQN, "--chap-user", "u", "--chap-secret-file", secret, says="secret")
    failed("target", "create", IQN, says="(in use|exists)")
    failed("target", "create", "not an iqn", says="iqn|IQN|name")
    failed("target", "show", IQN + "x", says="x")
    assert NODE.json("target", "sessions") == NODE.json("target", "sessions", IQN) == []
    failed("volume", "delete", "lun0", says="lun0")
    NODE.vstore("target", "delete", IQN)
    assert NODE.json("target", "list") == []
    failed("target", "delete", IQN, says="test")
    NODE.vstore("volume", "delete", "lun0")


def test_nbd_exports():
    volume("net")
    NODE.vstore("nbd", "export", "net")
    NODE.vstore("snapshot", "net@s")
    NODE.vstore("nbd", "export", "net@s")
    listed = {e["name"]: e["read_only"] for e in NODE.json("nbd", "list")}
    assert listed == {"net": False, "net@s": True}, listed
    assert "net@s" in shown("nbd", "list")
    failed("nbd", "export", "net", says="net")
    failed("nbd", "export", "nope", says="nope")
    failed("nbd", "unexport", "nope", says="nope")
    failed("volume", "delete", "net", "--with-snapshots", says="net")
    NODE.vstore("nbd", "unexport", "net")
    NODE.vstore("nbd", "unexport", "net@s")
    assert NODE.json("nbd", "list") == []


def test_vms_are_defined():
    volume("boot")
    made = NODE.json("vm", "create", "m1", "--cpus", "2", "--memory", "256M", "--disk", "boot",
                     "--accel", "tcg")
    assert (made["state"], made["cpus"], made["memory"]) == ("stopped", 2, 256 * MIB)
    assert [d["volume"] for d in made["disks"]] == ["boot"] and made["pid"] is None
    assert re.search(r"(?m)^m1 +stopped +2 +256\.0 MiB +boot ", shown("vm", "list"))
    NODE.vstore("vm", "set", "m1", "--cpus", "1", "--autostart", "off")
    assert NODE.json("vm", "show", "m1")["cpus"] == 1
    failed("vm", "create", "m1", "--cpus", "1", "--memory", "1G", says="m1.*(in use|exists)")
    failed("vm", "create", "m2", "--cpus", "0", "--memory", "1G", says="(?i)cpu")
    failed("vm", "create", "m2", "--cpus", "1", "--memory", "1G", "--disk", "nope", says="nope")
    failed("vm", "create", "m2", "--cpus", "1", "--memory", "1G", "--disk", "boot", says="boot")
    usage("vm", "create", "m2", "--cpus", "1")
    usage("vm", "create", "m2", "--cpus", "1", "--memory", "1G", "--nic", "user,vlan=1")
    usage("vm", "set", "m1")
    for verb in ("start", "shutdown", "stop", "reset", "suspend", "resume", "console", "show"):
        failed("vm", verb, "nope", says="nope")
    failed("vm", "console", "m1", says="m1|running")
    failed("volume", "delete", "boot", says="boot")
    NODE.vstore("vm", "delete", "m1", "--with-disks")
    failed("vm", "delete", "m1", says="m1")
    assert "boot" not in [v["name"] for v in NODE.json("volume", "list")]


def test_a_vm_runs():
    NODE.vstore("vm", "create", "m3", "--cpus", "1", "--memory", "64M", "--accel", "tcg")
    assert NODE.json("vm", "start", "m3")["state"] in ("starting", "running")
    failed("vm", "start", "m3", says="m3")
    failed("vm", "delete", "m3", says="m3")
    console = subprocess.Popen([VSTORE, "--socket", NODE.socket, "vm", "console", "m3"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert "Ctrl-]" in console.stderr.readline()
    assert NODE.json("vm", "suspend", "m3")["state"] in ("suspended", "paused")
    assert NODE.json("vm", "resume", "m3")["state"] == "running"
    NODE.vstore("vm", "reset", "m3")
    NODE.vstore("vm", "stop", "m3")
    assert console.wait() == 0
    assert NODE.json("vm", "show", "m3")["state"] == "stopped"
    NODE.vstore("vm", "delete", "m3")


def test_console_detaches_at_ctrl_bracket():
    NODE.vstore("vm", "create", "m4", "--cpus", "1", "--memory", "64M", "--accel", "tcg")
    NODE.vstore("vm", "start", "m4")
    master, slave = os.openpty()
    console = subprocess.Popen([VSTORE, "--socket", NODE.socket, "vm", "console", "m4"],
                               stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b"Ctrl-]" in console.stderr.readline()
    os.write(master, b"typed\x1d")
    assert console.wait() == 0
    os.close(master)
    os.close(slave)
    assert NODE.json("vm", "show", "m4")["state"] == "running"
    NODE.vstore("vm", "stop", "m4")
    NODE.vstore("vm", "delete", "m4")


# ---- tasks, events, output

def test_tasks():
    path = os.path.join(NODE.state, "task.img")
    pattern(path, 4 * MIB)
    task = NODE.json("volume", "import", path, "tasked", "--detach")
    assert task["kind"] == "import" and task["state"] in ("queued", "running", "done"), task
    number = str(task["id"])
    done = NODE.json("task", "wait", number)
    assert done["state"] == "done" and done["progress"] == 1 and re.fullmatch(TIME, done["finished"])
    assert NODE.json("task", "show", number) == done
    assert done in NODE.json("task", "list")
    assert re.search(rf"(?m)^{number} +import +\S+ +done +100%", shown("task", "list"))
    printed = shown("volume", "export", "tasked", path + ".out", "--detach").strip()
    NODE.vstore("task", "wait", printed)
    assert NODE.json("task", "cancel", number)["state"] == "done"
    with open(path, "wb") as f:
        f.write(b"QFI\xfb")
    broken = NODE.json("volume", "import", path, "tasked2", "--format", "qcow2", "--detach")["id"]
    failed("task", "wait", str(broken), says="")
    assert NODE.json("task", "show", str(broken))["state"] == "failed"
    for verb in ("show", "wait", "cancel"):
        failed("task", verb, "999999", says="999999")
    usage("task", "show")


def test_events():
    volume("eventful")
    NODE.vstore("volume", "delete", "eventful")
    events = NODE.json("event", "list")
    assert events and all(re.fullmatch(TIME, e["time"]) for e in events), events
    assert {"severity", "kind", "subject", "message"} <= events[0].keys()
    assert NODE.json("event", "list", "--since", "7d") and shown("event", "list").startswith("TIME")
    assert NODE.json("event", "list", "--since", "2099-01-01T00:00:00Z") == []
    failed("event", "list", "--since", "yesterday", says="yesterday|since|time")


def test_event_follow_prints_what_happens():
    last = NODE.json("event", "list")[-1]
    follow = subprocess.Popen([VSTORE, "--socket", NODE.socket, "--json", "event", "list",
                               "--follow"], stdout=subprocess.PIPE, text=True)
    for line in follow.stdout:
        if json.loads(line)["id"] == last["id"]:
            break
    volume("followed")
    NODE.vstore("volume", "delete", "followed")
    event = json.loads(follow.stdout.readline())
    assert event["id"] > last["id"], event
    follow.kill()
    follow.wait()


def test_follow_begins_where_since_ends():
    follow = subprocess.Popen([VSTORE, "--socket", NODE.socket, "--json", "event", "list",
                               "--follow", "--since", "2099-01-01T00:00:00Z"],
                              stdout=subprocess.PIPE, text=True)
    number = 0
    while not select.select([follow.stdout], [], [], 0.1)[0]:  # until it listens and hears one
        number += 1
        volume(f"later{number}")
    assert "later" in json.loads(follow.stdout.readline())["subject"]
    follow.kill()
    follow.wait()


def test_progress_is_drawn_on_a_terminal_only():
    path = os.path.join(NODE.state, "progress.img")
    pattern(path, 48 * MIB)
    silent = subprocess.run([VSTORE, "--socket", NODE.socket, "volume", "import", path, "p1"],
                            capture_output=True, text=True, check=True)
    assert silent.stderr == "" and silent.stdout == "imported volume p1, 48.0 MiB\n", silent
    master, slave = os.openpty()
    with open(path, "rb") as f:
        command = subprocess.Popen([VSTORE, "--socket", NODE.socket, "volume", "import", "-", "p2"],
                                   stdin=f, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    drawn = b""
    try:
        while piece := os.read(master, 65536):
            drawn += piece
    except OSError:  # Linux: the other end is closed
        pass
    os.close(master)
    assert command.wait() == 0
    assert re.search(rb"\rp2  \[#*\.*\] +\d+%  [\d.]+ [KM]iB", drawn), drawn[:200]
    assert drawn.endswith(b"\r\x1b[K"), drawn[-40:]


def test_quiet_and_plain_output():
    done = subprocess.run([VSTORE, "--quiet", "--socket", NODE.socket, "volume", "create", "q",
                           "--size", "1M"], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""
    assert shown("volume", "create", "q2", "--size", "1M") == "created volume q2, 1.0 MiB\n"
    assert "\033" not in shown("volume", "list")
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([VSTORE, "--socket", NODE.socket, "volume", "list"], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "standard output" in done.stderr, done


TESTS = [value for name, value in list(globals().items()) if name.startswith("test_")]

if __name__ == "__main__":
    with Node(size="2G") as NODE:
        tap.run(*TESTS)
