#!/usr/bin/env python3
"""Linux's own NFS client on datastores of the daemon: files changed in every way and compared with
a model, an image, snapshots, quotas, shares, and the daemon killed under load. One guest for all of
it; it takes its tests in turn."""

import hashlib
import os
import random
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..")]

import tap  # noqa: E402
from nfs_guest import Guest, missing  # noqa: E402
from node import Node, until  # noqa: E402

MIB = 1 << 20
VERSIONS = ["3", "4.1", "4.2"]
OPERATIONS = 100000 if os.environ.get("VSTORE_SOAK") else 10000
SNAPSHOTS = 24
KILLS = 20 if os.environ.get("VSTORE_SOAK") else 2
seed = int(os.environ.get("VSTORE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
node = guest = None


def datastore(name, *options):
    node.vstore("datastore", "create", name, *options)
    node.vstore("datastore", "share", name, "--client", "127.0.0.1", "--squash", "none")


def digest_in_guest(path):
    return guest.say(f"sha256sum {path}").split()[0]


def test_files_are_what_was_done_to_them():
    for version in VERSIONS:
        datastore(f"files{version}")
        guest.mount(node, version, f"files{version}")
        said = guest.say(f"/file_load /mnt {seed} {OPERATIONS}")
        assert f"done {OPERATIONS} operations" in said, f"seed {seed}: {said}"
        # what was unlinked while it was open goes when the client has closed it
        until(lambda: guest.say("usleep 200000; ls -A /mnt") == "", lambda: guest.say("ls -A /mnt"))
        guest.say("umount /mnt")


def test_an_image_made_there_is_sound():
    for version in VERSIONS:
        name = f"images{version}"
        datastore(name)
        guest.mount(node, version, name)
        guest.sh("""qemu-img create -q -f qcow2 /mnt/disk.qcow2 64M
            dd if=/dev/urandom of=/tmp/noise bs=1M count=5 2> /dev/null
            qemu-img convert -n -f raw -O qcow2 --target-is-zero /tmp/noise /mnt/disk.qcow2
            qemu-img check -q /mnt/disk.qcow2
            umount /mnt""")
        out = os.path.join(node.state, f"disk{version}.qcow2")
        node.vstore("datastore", "get", f"{name}/disk.qcow2", out)
        os.unlink(out)


def test_what_is_put_and_what_is_written_are_the_same_files():
    version = VERSIONS[0]
    datastore("both")
    content = os.urandom(3 * MIB + 77)
    path = os.path.join(node.state, "content")
    with open(path, "wb") as f:
        f.write(content)
    guest.mount(node, version, "both")
    guest.say("mkdir /mnt/folder")
    node.vstore("datastore", "put", path, "both/folder/file")
    assert digest_in_guest("/mnt/folder/file") == hashlib.sha256(content).hexdigest()
    guest.say("head -c 1000001 /mnt/folder/file > /mnt/part && sync")
    node.vstore("datastore", "get", "both/part", path + ".back")
    with open(path + ".back", "rb") as f:
        assert f.read() == content[:1000001]
    names = {e["name"]: e for e in node.json("datastore", "ls", "both")}
    assert names["part"]["size"] == 1000001 and names["folder"]["type"] == "directory", names
    node.vstore("datastore", "rm", "both/part")
    until(lambda: guest.say("[ -e /mnt/part ] && echo there || true") == "", "it is still there")
    guest.say("umount /mnt")


def test_snapshots_are_read_only_folders():
    version = VERSIONS[0]
    datastore("kept")
    guest.mount(node, version, "kept")
    guest.sh("""mkdir /mnt/a
        echo before > /mnt/a/file
        sync""")
    node.vstore("datastore", "snapshot", "create", "kept@one")
    guest.sh("""echo after > /mnt/a/file
        echo new > /mnt/a/new
        sync""")
    assert guest.say("cat /mnt/.snapshots/one/a/file") == "before\n"
    guest.say("! [ -e /mnt/.snapshots/one/a/new ]")
    guest.say("echo x 2> /dev/null > /mnt/.snapshots/one/a/file", 1)
    assert guest.say("cat /mnt/a/file") == "after\n"
    node.vstore("datastore", "snapshot", "rollback", "kept@one")
    until(lambda: guest.say("cat /mnt/a/file") == "before\n", "the rollback is not seen")
    guest.say("umount /mnt")
    node.vstore("datastore", "clone", "kept@one", "copy")
    node.vstore("datastore", "share", "copy", "--client", "127.0.0.1", "--squash", "none")
    guest.mount(node, version, "copy")
    assert guest.say("cat /mnt/a/file") == "before\n"
    guest.say("umount /mnt")


def round_of(folder):
    """How far nfs_instant has come there; also when what it says is wrong."""
    return int(guest.say(f"/nfs_instant {folder} || true").split()[1])


def test_a_snapshot_while_a_client_writes_is_one_instant():
    """What nfs_instant says of a folder holds in each snapshot, each of another round, and not in
    files that are read one after the other while it works."""
    for version in (VERSIONS[0], VERSIONS[-1]):
        name = f"instant{version}"
        datastore(name)
        guest.mount(node, version, name)
        guest.say("rm -f /tmp/stop; mkdir /mnt/f")
        guest.say("/nfs_instant /mnt/f /tmp/stop > /tmp/instant 2>&1 &")
        until(lambda: guest.say("usleep 100000; cat /tmp/instant") == "running\n", "no writer")
        for i in range(SNAPSHOTS):
            node.vstore("datastore", "snapshot", "create", f"{name}@s{i}")
            before = round_of("/mnt/f")
            until(lambda: round_of("/mnt/f") > before, "the writer stands still")
            time.sleep(0.01 * (i % 7))  # at all points of a round
        until(lambda: guest.say("/nfs_instant /mnt/f > /tmp/said; echo $?") == "1\n",
              "the check finds nothing wrong with any files")
        guest.say("touch /tmp/stop; wait")
        assert "ended after" in (said := guest.say("cat /tmp/instant")), said
        guest.say("/nfs_instant /mnt/f")
        rounds = set()
        for i in range(SNAPSHOTS):
            said = guest.say(f"/nfs_instant /mnt/.snapshots/s{i}/f || echo wrong")
            assert "wrong" not in said, f"snapshot {i} by {version}: {said}"
            rounds.add(int(said.split()[1]))
        assert len(rounds) == SNAPSHOTS, f"some are of one round: {rounds}"
        guest.say("umount /mnt")


def test_a_quota_is_the_size_that_clients_see():
    version = VERSIONS[0]
    datastore("small", "--quota", "8M")
    guest.mount(node, version, "small")
    total = int(guest.say("df -k /mnt | tail -1").split()[1])
    assert total == 8 << 10, total
    said = guest.say("dd if=/dev/urandom of=/mnt/big bs=64k count=400 conv=fsync 2>&1", 1)
    assert "No space left" in said or "Disk quota" in said, said
    node.vstore("datastore", "set", "small", "--quota", "64M")
    guest.sh("""rm /mnt/big
        dd if=/dev/urandom of=/mnt/big bs=64k count=400 conv=fsync 2> /dev/null
        umount /mnt""")


def test_only_those_it_is_shared_with_mount_it():
    version = VERSIONS[0]
    node.vstore("datastore", "create", "private")
    node.vstore("datastore", "share", "private", "--client", "192.0.2.0/24")
    guest.mount(node, version, "both", "/mnt")
    try:
        guest.mount(node, version, "private", "/tmp")
        raise RuntimeError("it was mounted")
    except AssertionError:
        pass
    node.vstore("datastore", "share", "private", "--client", "127.0.0.1", "--ro")
    guest.mount(node, version, "private", "/tmp")
    guest.say("echo x 2> /dev/null > /tmp/file", 1)
    node.vstore("datastore", "unshare", "private", "--client", "127.0.0.1")
    guest.say("ls /tmp/folder > /dev/null 2>&1", 1)
    guest.say("umount -l /tmp; umount /mnt")


def test_a_killed_daemon_is_a_pause():
    for version in VERSIONS:
        name = f"killed{version}"
        datastore(name)
        guest.mount(node, version, name)
        guest.say(f"/file_load /mnt {seed} {OPERATIONS // 6} > /tmp/load{version} 2>&1 &")
        for _ in range(KILLS):
            time.sleep(1.5)
            node.kill()
            node.start()
        said = until(lambda: re.match("done|failed|wrong", t := guest.say(
            f"usleep 300000; tail -1 /tmp/load{version}")) and t, "the load does not end")
        assert f"done {OPERATIONS // 6} operations" in said, f"seed {seed}: {said}"
        guest.say("umount /mnt")


def main():
    global node, guest
    print(f"# seed {seed}")
    why = missing()
    if why:
        print(f"1..0 # SKIP {why}")
        return
    with Node(nbd=False, iscsi=False, nfs=True) as node:
        folder = os.path.join(node.state, "guest")
        os.mkdir(folder)
        with Guest(folder) as guest:
            tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
