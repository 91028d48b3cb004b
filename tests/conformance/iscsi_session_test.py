#!/usr/bin/env python3
"""Who gets into the daemon's iSCSI targets, what they see there, and how their sessions end."""

import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, ".."), HERE]

import tap  # noqa: E402
from node import Node  # noqa: E402
from iscsi_wire import *  # noqa: E402,F403

MIB = 1 << 20
IQN = "iqn.2026-11.org.example:disks"
FRIEND = "iqn.1994-05.org.example:friend"
node = None


def session(target=IQN, **more):
    return Session(node.listen["iscsi"], target, **more)


def ready(target=IQN, lun=0, **more):
    return session(target, **more).ready(lun)


def report_luns(s):
    data = s.good(struct.pack(">BBBBBBIBB", 0xa0, 0, 0, 0, 0, 0, 4096, 0, 0), b"", 4096)
    assert struct.unpack(">I", data[:4])[0] == len(data) - 8
    return [data[at + 1] for at in range(8, len(data), 8)]


def naa(s, lun):
    return s.good(bytes([0x12, 1, 0x83, 0, 255, 0]), b"", 255, lun=lun)[8:16].hex()


# ---- what an initiator sees


def test_an_initiator_with_luns_of_its_own_sees_exactly_those():
    naas = {x["volume"]: x["naa"].removeprefix("naa.")
            for x in node.json("target", "show", IQN)["luns"]}
    with ready() as other, ready(initiator=FRIEND) as friend:
        other.ready(1)
        assert report_luns(other) == report_luns(friend) == [0, 1]
        node.vstore("target", "map", IQN, "--initiator", FRIEND, "--volume", "b:0")
        node.vstore("target", "map", IQN, "--initiator", FRIEND, "--volume", "a:7", "--read-only")
        # another unit is there now, and the list is another
        assert [friend.call(bytes(6)).asc for _ in range(3)] == [0x2900, 0x3f0e, 0]
        friend.ready().ready(7)
        assert report_luns(friend) == [0, 7]
        assert naa(friend, 0) == naas["b"] and naa(friend, 7) == naas["a"]
        assert friend.call(bytes(6), lun=1).asc == 0x2500
        friend.write(0, b"\1" * 512)
        r = friend.call(write10(0, 1), bytes(512), lun=7)
        assert (r.key, r.asc) == (7, 0x2700), r
        # nothing changed for the other: it is told nothing, and sees what the friend wrote
        assert other.call(bytes(6)).status == other.call(bytes(6), lun=1).status == GOOD
        assert report_luns(other) == [0, 1]
        assert other.read(0, 1, lun=1) == b"\1" * 512
        node.vstore("target", "unmap", IQN, "--initiator", FRIEND, "--volume", "b:0")
        node.vstore("target", "unmap", IQN, "--initiator", FRIEND, "--volume", "a:7")
        friend.ready().ready(1)
        assert report_luns(friend) == [0, 1] and naa(friend, 0) == naas["a"]
        assert other.call(bytes(6)).status == GOOD


def test_a_changed_lun_is_told_to_whom_it_concerns_and_once():
    with ready() as s:
        s.ready(1)
        node.vstore("target", "map", IQN, "--volume", "b:9")
        for lun in (0, 1):
            r = s.call(bytes(6), lun=lun)
            assert (r.status, r.key, r.asc) == (CHECK_CONDITION, 6, 0x3f0e), r
            assert s.call(bytes(6), lun=lun).status == GOOD
        node.vstore("target", "unmap", IQN, "--volume", "b:9")
        assert s.call(bytes(6)).asc == 0x3f0e
        report_luns(s)  # clears it on the other LUN (SPC-4, 6.33)
        assert s.call(bytes(6), lun=1).status == GOOD


def test_one_volume_is_one_unit_under_each_of_its_luns():
    """A reservation holds against an initiator that sees the volume under another number."""
    node.vstore("target", "map", IQN, "--initiator", FRIEND, "--volume", "a:5")
    with ready() as s, ready(initiator=FRIEND, lun=5) as friend:
        s.good(bytes([0x16, 0, 0, 0, 0, 0]))  # RESERVE(6)
        assert friend.call(write10(0, 1), bytes(512), lun=5).status == RESERVATION_CONFLICT
        s.good(bytes([0x17, 0, 0, 0, 0, 0]))
        assert friend.call(write10(0, 1), bytes(512), lun=5).status == GOOD
        friend.task_request(LUN_RESET, lun=5)
        assert friend.receive().header[2] == 0
        assert s.call(bytes(6)).asc == 0x2903
    node.vstore("target", "unmap", IQN, "--initiator", FRIEND, "--volume", "a:5")


def test_luns_of_one_initiator_survive_a_restart():
    node.vstore("target", "map", IQN, "--initiator", FRIEND, "--volume", "b:3")
    node.stop()
    node.start()
    with ready(initiator=FRIEND, lun=3) as friend, ready() as other:
        assert report_luns(friend) == [3] and report_luns(other) == [0, 1]
    node.vstore("target", "unmap", IQN, "--initiator", FRIEND, "--volume", "b:3")


def main():
    global node
    with Node(nbd=False) as node:
        for name in ("a", "b"):
            node.vstore("volume", "create", name, "--size", str(64 * MIB))
        node.vstore("target", "create", IQN, "--volume", "a:0", "--volume", "b:1")
        tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
