"""A store's disks bring the node's configuration along: another machine, which has nothing but them,
serves what the first one served. And what an earlier vstored kept in a file of the state folder moves
into the store, whenever it is killed on the way."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import time

import guest
import node as vs

import tap

IQN = "iqn.2026-11.org.example:moved"
SECRET = "a-secret-of-14"
GREETING = b"this is sector one"
node = vs.Node(size="2G", nfs=True)

# As the file was when it held everything.
BEFORE = """
CREATE TABLE object(kind TEXT NOT NULL, name TEXT NOT NULL, doc TEXT NOT NULL,
  PRIMARY KEY(kind,name)) WITHOUT ROWID;
CREATE TABLE object_volume(kind TEXT NOT NULL, name TEXT NOT NULL, volume BLOB NOT NULL,
  PRIMARY KEY(volume,kind,name)) WITHOUT ROWID;
CREATE INDEX object_volume_by_name ON object_volume(kind,name);
CREATE TABLE task(id INTEGER PRIMARY KEY AUTOINCREMENT, doc TEXT NOT NULL,
  state TEXT NOT NULL, created INTEGER NOT NULL);
CREATE INDEX task_by_state ON task(state);
CREATE TABLE event(id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL,
  severity TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, message TEXT NOT NULL);
PRAGMA user_version=1;
"""


def path(name):
    return os.path.join(node.state, name)


def another_machine():
    """The state folder is a new one, of which only the store's file is left."""
    for name in os.listdir(node.state):
        if name not in ("store.img", "vstored.log", "secret"):
            if os.path.isdir(path(name)):
                shutil.rmtree(path(name))
            else:
                os.unlink(path(name))


def nfs_url(name):
    port = node.listen["nfs"].rsplit(":", 1)[1]
    return f"nfs://127.0.0.1/{name}?nfsport={port}&mountport={port}"


def handle_of(name):
    """What MOUNT gives clients to come back with."""
    return json.dumps(node.catalogue()["nfs"], sort_keys=True)


def set_up():
    with open(path("secret"), "w") as f:
        f.write(SECRET)
    os.chmod(path("secret"), 0o600)
    image = path("boot.img")
    with open(image, "wb") as f:
        f.write((guest.boot_sector(power_off=False) + GREETING).ljust(1 << 20, b"\0"))
    node.vstore("volume", "import", image, "boot")
    node.vstore("volume", "create", "data", "--size", "64M")
    node.vstore("target", "create", IQN, "--volume", "data", "--chap-user", "joe",
                "--chap-secret-file", path("secret"))
    node.vstore("nbd", "export", "data")
    node.vstore("datastore", "create", "isos", "--quota", "100M")
    node.vstore("datastore", "share", "isos", "--client", "127.0.0.1/32", "--rw", "--squash", "none")
    node.vstore("datastore", "put", image, "isos/boot.iso")
    node.vstore("vm", "create", "machine", "--cpus", "1", "--memory", "64M", "--disk", "boot")
    os.unlink(image)


def everything():
    shown = {what: node.json(*what.split()) for what in
             ("target list", "nbd list", "datastore list", "vm list", "volume list")}
    shown["share"] = node.json("datastore", "show", "isos")["shares"]
    for vm in shown["vm list"]:
        vm.pop("pid", None)
        vm.pop("reason", None)  # of the last stop: the daemon knew it
    return shown


def logs_in(secret):
    user = ["-i", "iqn.2026-11.org.example:me", f"iscsi://joe%{secret}@{node.listen['iscsi']}/{IQN}/0"]
    return subprocess.run(["iscsi-inq", *user], capture_output=True, text=True).returncode == 0


def serves_it():
    assert logs_in(SECRET), "the initiator is refused"
    assert not logs_in("another-secret-1"), "any secret will do"
    listed = vs.run("nfs-ls", nfs_url("isos"))
    assert "boot.iso" in listed, listed
    node.vstore("vm", "start", "machine")
    console = node.console("machine")
    console.wait_for(GREETING.decode())
    console.close()
    node.vstore("vm", "stop", "machine")
    node.wait_vm("machine", "stopped")


def test_nothing_of_it_is_outside_the_store():
    set_up()
    for name in os.listdir(node.state):
        if name not in ("store.img", "secret") and os.path.isfile(path(name)):
            with open(path(name), "rb") as f:
                assert SECRET.encode() not in f.read(), f"{name} has the secret"
    assert stat.S_IMODE(os.stat(node.store).st_mode) == 0o600


def moves(leave):
    before, key = everything(), handle_of("isos")
    leave()
    another_machine()
    node.start()
    now = everything()
    assert now == before, [(a, b) for a, b in zip(now.items(), before.items()) if a != b]
    assert handle_of("isos") == key, "clients' handles are stale"
    serves_it()


def test_disks_of_a_node_that_stopped():
    moves(node.stop)


def test_disks_of_a_node_that_was_killed():
    node.vstore("volume", "create", "late", "--size", "1M")
    node.vstore("nbd", "export", "late")
    moves(node.kill)
    node.vstore("nbd", "unexport", "late")


def test_the_volume_is_no_ones():
    for words in (("volume", "show", ".catalogue"), ("volume", "delete", ".catalogue"),
                  ("snapshot", ".catalogue@s"), ("nbd", "export", ".catalogue"),
                  ("volume", "rename", "data", ".data")):
        vs.refused(vs.VSTORE, "--socket", node.socket, "--yes", *words)
    assert not [v for v in node.json("volume", "list") if v["name"].startswith(".")]
    node.stop()
    node.check()
    node.start()


def as_before(objects, with_tasks=True):
    """The state folder of an earlier vstored: a file with everything."""
    file = path("catalogue.db")
    with sqlite3.connect(file) as db:
        db.executescript(BEFORE)
        db.executemany("INSERT INTO object VALUES(?,?,?)", objects)
        if with_tasks:
            db.execute("INSERT INTO task VALUES(5,?,'done',1)",
                       (json.dumps({"kind": "import", "subject": "old", "state": "done"}),))
            db.execute("INSERT INTO event VALUES(9,1,'info','old.event','','as it was')")
    db.close()
    os.chmod(file, 0o600)


def repositories(n):
    return [("repo", f"r{i}", json.dumps({"name": f"r{i}", "url": f"dir:///nowhere/{i}"}))
            for i in range(n)]


def fresh_store():
    """No store has been given anything yet."""
    another_machine()
    os.unlink(node.store)
    vs.run(vs.VSTORE, "init", node.store, "--size", "1G")


def moved(n):
    assert len(node.catalogue()["repo"]) == n
    assert not os.path.exists(path("catalogue.db")), "the file is still there"
    assert node.json("task", "show", "5")["subject"] == "old"
    events = node.json("event", "list")
    assert [e for e in events if e["kind"] == "old.event"], events


def test_a_file_of_before_moves_into_the_store():
    node.stop()
    fresh_store()
    as_before(repositories(20))
    node.start()
    moved(20)
    node.stop()
    node.start()
    moved(20)


def test_killed_while_it_moves():
    killed_before_the_end = 0
    for after in (0.02, 0.05, 0.08, 0.12, 0.2):
        node.stop()
        fresh_store()
        as_before(repositories(400))
        process = subprocess.Popen(node.command(), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        vs.until(lambda: os.path.exists(path("witness")) or process.poll() is not None, "no start")
        time.sleep(after)
        process.kill()
        process.wait()
        killed_before_the_end += os.path.exists(path("catalogue.db"))
        node.start()
        moved(400)
    assert killed_before_the_end, "it was never killed on the way"


def test_a_store_with_a_configuration_of_its_own_counts():
    node.stop()
    as_before([("repo", "other", json.dumps({"name": "other", "url": "dir:///elsewhere"}))],
              with_tasks=False)
    node.start()
    assert len(node.catalogue()["repo"]) == 400
    aside = [e for e in node.json("event", "list") if e["kind"] == "catalogue.kept_aside"]
    assert aside and aside[0]["severity"] == "warning", aside
    kept = aside[0]["message"].split()[-1]
    assert stat.S_IMODE(os.stat(kept).st_mode) == 0o600
    with sqlite3.connect(kept) as db:
        assert db.execute("SELECT name FROM object").fetchall() == [("other",)]
    db.close()
    assert not os.path.exists(path("catalogue.db"))


def test_a_file_of_before_that_is_damaged_is_said():
    node.stop()
    with open(path("catalogue.db"), "wb") as f:
        f.write(b"not a database " * 1000)
    failed = subprocess.run(node.command(), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert failed.returncode != 0 and "catalogue.db" in failed.stderr.splitlines()[-1], failed.stderr
    os.unlink(path("catalogue.db"))
    node.start()
    assert len(node.catalogue()["repo"]) == 400


with node:
    tap.run(test_nothing_of_it_is_outside_the_store,
            test_disks_of_a_node_that_stopped,
            test_disks_of_a_node_that_was_killed,
            test_the_volume_is_no_ones,
            test_a_file_of_before_moves_into_the_store,
            test_killed_while_it_moves,
            test_a_store_with_a_configuration_of_its_own_counts,
            test_a_file_of_before_that_is_damaged_is_said)
