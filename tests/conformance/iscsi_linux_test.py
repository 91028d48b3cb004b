#!/usr/bin/env python3
"""Linux's own initiator against the daemon's iSCSI target: discovery, CHAP both ways, a file
system, what fstrim gives back, a resize seen while mounted, and the daemon killed under its load
and under that of QEMU's initiator. One guest for all of it; it takes its tests in turn."""

import hashlib
import os
import random
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..")]

import tap  # noqa: E402
from iscsi_guest import INITIATOR, Guest, Load, missing  # noqa: E402
from node import Node, run, until  # noqa: E402

MIB = 1 << 20
IQN = "iqn.2026-11.org.example:linux"
QEMU_IQN = "iqn.2026-11.org.example:qemu"
SECRET, MUTUAL = "a secret of some length", "another of some length"
LOAD_MIB = 4
KILLS = 20 if os.environ.get("VSTORE_SOAK") else 2
CHAP = {
    "node.session.auth.authmethod": "CHAP", "node.session.auth.username": "user",
    "node.session.auth.password": SECRET, "node.session.auth.username_in": "target",
    "node.session.auth.password_in": MUTUAL, "node.session.auth.chap_algs": "SHA3-256",
}
DIGESTS = {"node.conn[0].iscsi.HeaderDigest": "CRC32C", "node.conn[0].iscsi.DataDigest": "CRC32C"}
# Slow machines: a bound on waiting, not what is tested. How long I/O may wait for a session to come
# back is: 120 s is what open-iscsi comes with.
PATIENCE = {"node.conn[0].timeo.login_timeout": "120", "node.conn[0].timeo.noop_out_timeout": "120"}
seed = int(os.environ.get("VSTORE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
node = guest = record = None


def private(name, text):
    path = os.path.join(node.state, name)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
        f.write(text)
    return path


def log_in():
    guest.say(f"{record} --login > /dev/null")
    guest.say("while ! [ -b /dev/sda ]; do usleep 50000; done")


def log_out():
    guest.say(f"{record} --logout > /dev/null")
    guest.say("while [ -b /dev/sda ]; do usleep 50000; done")


def read_number(path):
    return int(guest.say(f"cat {path}"))


def test_discovery_finds_the_target():
    global record
    said = guest.say(f"iscsiadm -m discovery -t sendtargets -p {node.portal}")
    assert f"{node.listen['iscsi']},1 {IQN}" in said, said
    record = guest.node(IQN, f"{node.portal},1", CHAP | DIGESTS | PATIENCE)


def test_each_side_proves_itself():
    # statuses of iscsiadm(8): refused by the target, given up by the initiator
    for key, wrong, status in (("node.session.auth.password", "not this secret", 24),
                               ("node.session.auth.password_in", "nor this secret", 19)):
        guest.update(record, {key: wrong})
        guest.say(f"{record} --login > /dev/null 2>&1", status)
        guest.update(record, {key: CHAP[key]})
        assert not node.json("target", "show", IQN)["sessions"]
    log_in()
    session, = node.json("target", "show", IQN)["sessions"]
    assert session["initiator"] == INITIATOR and session["authenticated"], session
    for digest in ("header_digest", "data_digest"):
        assert read_number(f"/sys/class/iscsi_connection/*/{digest}") == 1, digest
    assert SECRET not in node.log_text() and MUTUAL not in node.log_text()


def test_the_disk_is_what_it_says():
    assert read_number("/sys/block/sda/size") == 256 * MIB // 512
    assert read_number("/sys/block/sda/queue/discard_max_bytes") > 0
    assert guest.say("cat /sys/block/sda/queue/write_cache") == "write back\n"
    assert guest.say("cat /sys/class/scsi_disk/*/thin_provisioning") == "1\n"


def test_fstrim_frees_space_in_the_store():
    guest.sh("""mkfs.ext4 -q /dev/sda && mount -t ext4 /dev/sda /mnt
        yes 'a line that is written again and again' | head -c 2000000 > /mnt/kept
        dd if=/dev/urandom of=/mnt/gone bs=1M count=12 2> /dev/null
        sync""")
    full = node.json("volume", "show", "disk")["logical_bytes"]
    assert full > 13 * MIB, full
    guest.say("rm /mnt/gone && sync && fstrim /mnt")
    until(lambda: node.json("volume", "show", "disk")["logical_bytes"] < full - 11 * MIB,
          lambda: f"{node.json('volume', 'show', 'disk')}, {full} before")
    until(lambda: node.json("df")["logical_used_bytes"] < full - 11 * MIB,
          lambda: f"{node.json('df')}, {full} before")


def test_a_resize_is_seen_while_mounted():
    node.vstore("volume", "resize", "disk", "--size", "320M")
    guest.say(f"{record} -R > /dev/null")
    assert read_number("/sys/block/sda/size") == 320 * MIB // 512
    guest.say("resize2fs /dev/sda > /dev/null 2>&1")
    blocks = int(guest.say("df -m /mnt | tail -n 1").split()[1])
    assert blocks > 280, blocks
    guest.say("dd if=/dev/sda of=/dev/null bs=1M skip=319 iflag=direct 2> /dev/null")


def test_another_session_finds_the_data():
    line = b"a line that is written again and again\n"
    kept = hashlib.sha256((line * (2000000 // len(line) + 1))[:2000000]).hexdigest()
    guest.say("umount /mnt")
    log_out()
    assert not node.json("target", "show", IQN)["sessions"]
    log_in()
    guest.say("mount -t ext4 /dev/sda /mnt")
    assert guest.say("sha256sum /mnt/kept").split()[0] == kept
    guest.say("umount /mnt")
    copy = os.path.join(node.state, "copy.raw")
    node.vstore("volume", "export", "disk", copy)
    run("e2fsck", "-fn", copy)
    os.unlink(copy)


def test_acknowledged_writes_survive_kills_without_an_error():
    """Direct writes, few of them flushed, through Linux's initiator (sda) and QEMU's (vda)."""
    chance = random.Random(seed)
    assert re.search(r"^120$", guest.say("cat /sys/class/iscsi_session/*/recovery_tmo"), re.M)
    loads = [Load(guest, disk, LOAD_MIB) for disk in ("/dev/sda", "/dev/vda")]
    done = [load.verify() for load in loads]
    for number in range(KILLS):
        time.sleep(chance.uniform(0, 1.5))
        node.kill()
        time.sleep(chance.uniform(0, 1))  # initiators find nobody there
        node.start()
        for load in loads:
            load.ask()
        for i, load in enumerate(loads):
            before, done[i] = done[i], load.verified()
            assert done[i] > before, f"kill {number}, VSTORE_SEED={seed}: no write after it"
    for load in loads:
        assert load.flushes > 0, f"VSTORE_SEED={seed}: nothing was flushed"
        load.quit()
    assert guest.say("dmesg | grep -iE 'i/o error|offline|rejecting'", status=1) == ""


def test_check_finds_nothing():
    guest.say(f"{record} --logout > /dev/null")
    guest.end()
    node.stop()
    node.check()


def main():
    global node, guest
    why = missing(modules=["ext4", "virtio_blk"])
    if why:
        print(f"1..0 # SKIP {why}")
        return
    with Node(nbd=False) as node:
        node.vstore("volume", "create", "disk", "--size", "256M")
        node.vstore("volume", "create", "qemu", "--size", f"{LOAD_MIB}M")
        node.vstore("target", "create", IQN, "--volume", "disk:0", "--initiator", INITIATOR,
                    "--chap-user", "user", "--chap-secret-file", private("secret", SECRET),
                    "--mutual-user", "target", "--mutual-secret-file", private("mutual", MUTUAL))
        node.vstore("target", "create", QEMU_IQN, "--volume", "qemu:0")
        node.portal = node.listen["iscsi"].replace("127.0.0.1", "10.0.2.2")
        disk = {"driver": "iscsi", "transport": "tcp", "portal": node.listen["iscsi"],
                "target": QEMU_IQN, "lun": 0, "cache": {"direct": True}}
        with Guest(node.state, ["ext4", "virtio_blk"], disks=[disk]) as guest:
            tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
