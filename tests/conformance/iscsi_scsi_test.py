#!/usr/bin/env python3
"""The SCSI side of the iSCSI target where initiators' interests meet: atomic commands, removable
medium, SANITIZE, and counters in blocks that several of them raise at once."""

import contextlib
import os
import random
import struct
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, ".."), HERE]

import tap  # noqa: E402
from node import Node, until  # noqa: E402
import nbd_wire  # noqa: E402
from iscsi_wire import *  # noqa: E402,F403

MIB = 1 << 20
SEED = 20261130
IQN = "iqn.2026-11.org.example:scsi"
LUN, LUN_4K, LUN_REMOVABLE, LUN_READ_ONLY, LUN_LARGE = range(5)
TEST_UNIT_READY = bytes(6)
node = None


def session(who=1, **more):
    """Of initiator port number who."""
    return Session(node.listen["iscsi"], IQN, isid=b"\x80\0\0\0\1" + bytes([who]), **more)


def ready(lun=LUN, who=1, **more):
    return session(who, **more).ready(lun)


def at_once(*calls):
    """Runs calls on threads of their own; the first that raises fails the test."""
    failed = []

    def go(call):
        try:
            call()
        except BaseException as e:  # noqa: BLE001: told below
            failed.append(e)

    threads = [threading.Thread(target=go, args=(c,)) for c in calls]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


def refused(result, key, asc):
    assert (result.status, result.key, result.asc) == (CHECK_CONDITION, key, asc), result


# ---- atomic commands


def write_atomic(lba, blocks, boundary=0):
    return struct.pack(">BBQHHBB", 0x9c, 0, lba, boundary, blocks, 0, 0)


def test_write_atomic_takes_what_the_block_limits_say_and_nothing_else():
    for lun, sector in ((LUN, 512), (LUN_4K, 4096)):
        with ready(lun) as s:
            limits = s.good(bytes([0x12, 1, 0xb0, 0, 64, 0]), b"", 64, lun)
            most, align, step, *boundary = struct.unpack(">5I", limits[44:64])
            assert (most, align, step) == (MIB // 8 // sector, 4096 // sector, 4096 // sector)
            assert boundary == [0, 0]
            rng = random.Random(SEED)
            for first in (0, 31 * step, 257 * step):  # also across aligned 128 KiB
                for n in (step, most // 2, most - step, most):
                    data = rng.randbytes(n * sector)
                    s.good(write_atomic(first, n), data, lun=lun)
                    assert s.read(first, n, sector, lun) == data, (first, n)
            s.good(write_atomic(0, 0), lun=lun)
            data = bytes((most + step) * sector)
            refused(s.call(write_atomic(0, most + step), data, lun=lun), 5, 0x2400)
            refused(s.call(write_atomic(0, step, 1), data[:step * sector], lun=lun), 5, 0x2400)
            if step > 1:
                refused(s.call(write_atomic(1, step), data[:4096], lun=lun), 5, 0x2400)
                refused(s.call(write_atomic(0, 1), data[:512], lun=lun), 5, 0x2400)
            refused(s.call(write_atomic(1 << 40, step), data[:4096], lun=lun), 5, 0x2100)
    with ready(InitialR2T="Yes", ImmediateData="No", MaxBurstLength="4096") as s:
        data = random.Random(1).randbytes(MIB // 8)
        s.good(write_atomic(8, 256), data)
        assert s.read(8, 256) == data
        s.start(write_atomic(8, 256), bytes(MIB // 8), immediate_data=0)  # and no data comes
        assert s.receive().opcode == R2T
        s.task_request(ABORT_TASK_SET)
        assert s.receive().opcode == TASK_RESPONSE
        assert s.read(8, 256) == data


def test_orwrite_of_several_initiators_loses_no_bit():
    """Each sets its own bits in the same blocks, in an order of its own."""
    blocks, writers = 192, 4

    def orwrite(lba, n):
        return struct.pack(">BBQIBB", 0x8b, 0, lba, n, 0, 0)

    def set_bits(who):
        rng = random.Random(who)
        with ready(who=who) as s:
            for bit in rng.sample(range(who % 4, 8 * 512, 4), 40):
                one = bytearray(512)
                one[bit // 8] = 1 << bit % 8
                s.good(orwrite(0, blocks), bytes(one) * blocks)

    with ready() as s:
        s.write(0, bytes(blocks * 512))
        at_once(*(lambda w=w: set_bits(w) for w in range(2, 2 + writers)))
        want = bytearray(512)
        for who in range(2, 2 + writers):
            for bit in random.Random(who).sample(range(who % 4, 8 * 512, 4), 40):
                want[bit // 8] |= 1 << bit % 8
        assert s.read(0, blocks) == bytes(want) * blocks
        s.good(orwrite(3, 1), b"\xff" * 512)
        assert s.read(2, 3) == bytes(want) + b"\xff" * 512 + bytes(want)


# ---- two initiators and one counter


def raise_by_compare_and_write(who, lba, offset, times):
    """A counter of 8 bytes at a place of a block; who loses the race reads and tries again."""
    cdb = struct.pack(">BBQ3xBBB", 0x89, 0, lba, 1, 0, 0)
    with ready(who=who) as s:
        for _ in range(times):
            while True:
                old = s.read(lba, 1)
                new = bytearray(old)
                struct.pack_into(">Q", new, offset, struct.unpack_from(">Q", old, offset)[0] + 1)
                r = s.call(cdb, old + bytes(new))
                if r.status == GOOD:
                    break
                assert (r.key, r.asc) == (0xe, 0x1d00), r


def test_a_counter_raised_by_compare_and_write_loses_nothing():
    with ready() as s:
        s.write(5, bytes(512))
        at_once(*(lambda w=w: raise_by_compare_and_write(w, 5, 64, 60) for w in (2, 3)))
        assert struct.unpack_from(">Q", s.read(5, 1), 64)[0] == 120


def test_compare_and_write_is_atomic_beside_writes_over_nbd():
    """A counter in one sector, by two initiators, and another one by NBD writes in the next: both
    lie in one block of the store."""
    stop = []

    def write_over_nbd():
        with nbd_wire.Client(node.listen["nbd"]) as n:
            n.go("plain")
            for i in range(1, 1 << 30):
                n.write(8 * 512, struct.pack(">Q", i) + bytes(504))
                if stop:
                    return stop.append(i)

    def raise_it(who):
        try:
            raise_by_compare_and_write(who, 9, 0, 50)
        finally:
            if who == 3:
                stop.append(True)

    with ready() as s:
        s.write(8, bytes(4096))
        at_once(write_over_nbd, lambda: raise_it(2), lambda: raise_it(3))
        assert struct.unpack(">Q", s.read(9, 1)[:8])[0] == 100
        assert struct.unpack(">Q", s.read(8, 1)[:8])[0] == stop[1] > 0
        assert s.read(10, 6) == bytes(6 * 512)


# ---- persistent reservations

REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE, MOVE = range(8)
WRITE_EXCLUSIVE, EXCLUSIVE_ACCESS, WE_REGISTRANTS, EA_REGISTRANTS = 1, 3, 5, 6
SPEC_I_PT, ALL_TG_PT, APTPL = 8, 4, 1


def pr_out(s, action, key=0, sa_key=0, kind=0, flags=0, lun=LUN, more=b"", **args):
    out = struct.pack(">QQ4xB3x", key, sa_key, flags) + more
    return s.call(struct.pack(">BBB2xIB", 0x5f, action, kind, len(out), 0), out, lun=lun, **args)


def pr_in(s, action, lun=LUN):
    return s.good(struct.pack(">BB5xHB", 0x5e, action, 8192, 0), b"", 8192, lun)


def pr_good(*args, **more):
    r = pr_out(*args, **more)
    assert r.status == GOOD, r


def transport_id(who, initiator=INITIATOR):
    name = f"{initiator},i,0x8000000001{who:02x}".encode()
    name += bytes(4 - len(name) % 4)
    return struct.pack(">BBH", 0x45, 0, len(name)) + name


def forget(lun=LUN):
    """Nobody is registered any more."""
    with ready(lun, 99) as s:
        pr_good(s, REGISTER_AND_IGNORE, 0, 99, lun=lun)
        pr_good(s, CLEAR, 99, lun=lun)


def test_a_counter_guarded_by_a_reservation_loses_nothing():
    """READ and WRITE, by whoever holds the reservation; strangers are kept out all the time."""
    lba, times = 77, 25

    def raise_it(who, kind):
        with ready(who=who) as s:
            pr_good(s, REGISTER, 0, who)
            for _ in range(times):
                while (r := pr_out(s, RESERVE, who, kind=kind)).status != GOOD:
                    assert r.status == RESERVATION_CONFLICT, r
                old = s.read(lba, 1)
                s.write(lba, struct.pack(">Q", struct.unpack(">Q", old[:8])[0] + 1) + bytes(504))
                pr_good(s, RELEASE, who, kind=kind)
            pr_good(s, REGISTER, who, 0)

    def intrude():
        """Writes nonsense whenever it is let; it must not be while somebody counts."""
        with ready(who=9) as s:
            for _ in range(3 * times):
                assert s.call(write10(lba, 1), b"\xff" * 512).status in (GOOD, RESERVATION_CONFLICT)

    for kind in (EXCLUSIVE_ACCESS, WRITE_EXCLUSIVE):
        with ready() as s:
            s.write(lba, bytes(512))
            at_once(lambda: raise_it(2, kind), lambda: raise_it(3, kind))
            assert struct.unpack(">Q", s.read(lba, 1)[:8])[0] == 2 * times, kind
            pr_good(s, REGISTER, 0, 1)
            pr_good(s, RESERVE, 1, kind=kind)
            before = s.read(lba, 1)
            at_once(intrude)
            assert s.read(lba, 1) == before
        forget()


def test_reservations_hold_for_every_target_that_shows_the_volume():
    other = IQN + "-other"
    node.vstore("target", "create", other, "--volume", "plain:7")
    with ready() as s, Session(node.listen["iscsi"], other).ready(7) as o:
        page = bytes([0x12, 1, 0x83, 0, 255, 0])
        assert s.good(page, b"", 255)[4:16] == o.good(page, b"", 255, 7)[4:16]  # the same unit
        pr_good(s, REGISTER, 0, 1)
        pr_good(s, RESERVE, 1, kind=EXCLUSIVE_ACCESS)
        assert o.call(read10(0, 1), b"", 512, 7).status == RESERVATION_CONFLICT
        pr_good(o, REGISTER, 0, 2, lun=7)
        pr_good(o, PREEMPT, 2, 1, EXCLUSIVE_ACCESS, lun=7)
        refused(s.call(TEST_UNIT_READY), 6, 0x2a05)  # registrations preempted
        assert s.call(read10(0, 1), b"", 512).status == RESERVATION_CONFLICT
    forget()
    node.vstore("target", "delete", other)


def test_unit_attentions_tell_what_became_of_reservations():
    with ready() as a, ready(who=2) as b:
        pr_good(a, REGISTER, 0, 1)
        pr_good(b, REGISTER, 0, 2)
        pr_good(a, RESERVE, 1, kind=WE_REGISTRANTS)
        pr_good(a, RELEASE, 1, kind=WE_REGISTRANTS)
        refused(b.call(TEST_UNIT_READY), 6, 0x2a04)  # reservations released
        pr_good(a, CLEAR, 1)
        refused(b.call(TEST_UNIT_READY), 6, 0x2a03)  # reservations preempted


def test_preempt_and_abort_answers_when_the_preempted_tasks_are_over():
    late = dict(InitialR2T="Yes", ImmediateData="No")
    with ready() as a, ready(who=2, **late) as b:
        pr_good(a, REGISTER, 0, 1)
        pr_good(b, REGISTER, 0, 2)
        for _ in range(5):
            b.start(write10(40, 8), b"\xbb" * 4096, immediate_data=0)
        waiting = [b.receive() for _ in range(5)]
        assert all(p.opcode == R2T for p in waiting), waiting
        pr_good(a, PREEMPT_AND_ABORT, 1, 2, EXCLUSIVE_ACCESS)
        a.write(40, b"\xaa" * 4096)
        for p in waiting:  # too late
            b.data_out(p.itt, p.ttt, b"\xbb" * 4096, 0, 4096)
        refused(b.call(TEST_UNIT_READY), 6, 0x2a05)
        assert a.read(40, 8) == b"\xaa" * 4096
    forget()


def test_registering_others_and_moving_the_reservation():
    with ready() as a, ready(who=2) as b:
        ids = transport_id(2) + transport_id(3)
        pr_good(a, REGISTER, 0, 5, flags=SPEC_I_PT, more=struct.pack(">I", len(ids)) + ids)
        keys = pr_in(a, 0)
        assert struct.unpack(">II3Q", keys) == (struct.unpack(">I", keys[:4])[0], 24, 5, 5, 5)
        for bad in (ids, ids[:-4], b"\x05" + ids[1:]):  # one is registered; cut; no ISID
            r = pr_out(a, REGISTER, 5, 6, flags=SPEC_I_PT, more=struct.pack(">I", len(bad)) + bad)
            refused(r, 5, 0x2600)
        pr_good(b, RESERVE, 5, kind=EXCLUSIVE_ACCESS)
        assert a.call(read10(0, 1), b"", 512).status == RESERVATION_CONFLICT
        move = struct.pack(">BBHI", 0, 2, 1, len(transport_id(1))) + transport_id(1)  # UNREG
        out = struct.pack(">QQ", 5, 8) + move
        b.good(struct.pack(">BBB2xIB", 0x5f, MOVE, 0, len(out), 0), out)
        assert len(a.read(0, 1)) == 512
        assert b.call(read10(0, 1), b"", 512).status == RESERVATION_CONFLICT
        status = pr_in(a, 3)
        assert struct.unpack(">Q", status[8:16])[0] == 8 and status[20:22] == bytes([1, 3]), status
        assert transport_id(1) in status and transport_id(3) in status
        assert transport_id(2) not in status
    forget()


def test_reservations_survive_a_kill_when_that_is_asked_for():
    for kept in (True, False):
        with ready() as s:
            assert pr_in(s, 2)[2] & 1  # PTPL_C
            pr_good(s, REGISTER, 0, 1, flags=APTPL if kept else 0)
            pr_good(s, RESERVE, 1, kind=EXCLUSIVE_ACCESS)
            before = pr_in(s, 3)[8:]
            assert pr_in(s, 2)[3] & 1 == kept  # PTPL_A
            node.kill()
        node.start()
        with ready() as s, ready(who=2) as other:
            assert pr_in(s, 3)[8:] == (before if kept else b""), kept
            conflict = other.call(read10(0, 1), b"", 512).status == RESERVATION_CONFLICT
            assert conflict == kept
            assert len(s.read(0, 1)) == 512
        forget()
    node.kill()
    node.start()
    with ready() as s:  # what was cleared stays so
        assert pr_in(s, 3)[4:8] == bytes(4)


# ---- pages and ports


def inquiry(s, page, lun=LUN):
    return s.good(bytes([0x12, 1, page, 4, 0, 0]), b"", 1024, lun)


def designators(s, lun=LUN):
    page, out, at = inquiry(s, 0x83, lun), {}, 4
    while at < len(page):
        out[page[at + 1] & 0x3f] = page[at + 4:at + 4 + page[at + 3]]
        at += 4 + page[at + 3]
    return out


def test_every_path_is_active_and_has_its_names():
    with ready() as s:
        assert s.good(bytes([0x12, 0, 0, 0, 96, 0]), b"", 96)[5] & 0x30 == 0x10  # TPGS: implicit
        found = designators(s)
        assert found[0x14] == found[0x15] == b"\0\0\0\1"  # relative port 1, group 1
        assert found[0x18].rstrip(b"\0") == f"{IQN},t,0x0001".encode()
        assert found[0x28].rstrip(b"\0") == IQN.encode()
        assert all(len(found[k]) % 4 == 0 and found[k].endswith(b"\0") for k in (0x18, 0x28))
        for form, head in ((0, b""), (0x20, b"\x10\0\0\0")):
            groups = s.good(struct.pack(">BB4xIBB", 0xa3, form | 0x0a, 255, 0, 0), b"", 255)
            body = head + struct.pack(">BBHBBBBHH", 0, 1, 1, 0, 0, 0, 1, 0, 1)
            assert groups == struct.pack(">I", len(body)) + body, groups.hex()
        refused(s.call(struct.pack(">BB4xIBB", 0xa4, 0x0a, 0, 0, 0)), 5, 0x2000)


def test_names_stay_when_the_node_restarts_and_the_volume_is_renamed():
    with ready(LUN_4K) as s:
        before = designators(s, LUN_4K)
    node.vstore("volume", "rename", "large-blocks", "renamed")
    node.stop()
    node.start()
    with ready(LUN_4K) as s:
        assert designators(s, LUN_4K) == before


def mode_sense(s, page, sub=0, pc=0, lun=LUN):
    return s.good(struct.pack(">BBBB3xHB", 0x5a, 8, pc << 6 | page, sub, 4096, 0), b"", 4096, lun)[8:]


def mode_select(s, page, lun=LUN):
    out = bytes(8) + page
    return s.call(struct.pack(">BB5xHB", 0x55, 0x10, len(out), 0), out, lun=lun)


def test_mode_pages_say_what_may_change_and_others_are_told():
    with ready() as s, ready(who=2) as other:
        pages, at = mode_sense(s, 0x3f, 0xff), 0
        seen = []
        while at < len(pages):
            sub = pages[at] & 0x40
            seen.append((pages[at] & 0x3f, pages[at + 1] if sub else 0))
            at += (struct.unpack_from(">H", pages, at + 2)[0] + 4) if sub else pages[at + 1] + 2
        assert seen == [(1, 0), (8, 0), (0xa, 0), (0xa, 1), (0x1c, 0), (0x1c, 2)], seen
        for page, sub in seen:
            now, may = mode_sense(s, page, sub), mode_sense(s, page, sub, 1)
            assert now == mode_sense(s, page, sub, 2), "not as by default"
            assert mode_select(s, now).status == GOOD
            for i in range(4, len(now)):
                wrong = bytearray(now)
                wrong[i] ^= ~may[i] & 0xff
                if may[i] != 0xff:
                    refused(mode_select(s, bytes(wrong)), 5, 0x2600)
        assert other.call(TEST_UNIT_READY).status == GOOD  # nothing has changed so far
        control = bytearray(mode_sense(s, 0xa))
        control[2] |= 4  # D_SENSE
        assert mode_select(s, bytes(control)).status == GOOD
        r = other.call(TEST_UNIT_READY)
        assert r.sense[:4] == b"\x72\6\x2a\1", r.sense  # MODE PARAMETERS CHANGED
        r = s.call(struct.pack(">BBIBHB", 0x2f, 2, 0, 0, 1, 0), s.read(0, 1)[:511] + b"\xee")
        assert r.sense[:4] == b"\x72\x0e\x1d\0" and r.sense[7:11] == b"\x0c\0\x0a\x80", r.sense
        control[2] &= ~4
        assert mode_select(s, bytes(control)).status == GOOD


def test_tasks_that_another_initiator_ends_are_answered_when_tas_is_set():
    with ready() as s, ready(who=2, InitialR2T="Yes", ImmediateData="No") as other:
        control = bytearray(mode_sense(s, 0xa))
        control[5] |= 0x40
        assert mode_select(s, bytes(control)).status == GOOD
        other.ready()
        itt = other.start(write10(0, 8), bytes(4096), immediate_data=0)
        assert other.receive().opcode == R2T
        s.task_request(LUN_RESET)
        assert s.receive().opcode == TASK_RESPONSE
        p = other.receive()
        assert (p.opcode, p.itt, p.header[3]) == (RESPONSE, itt, 0x40), p
        other.ready()
        s.ready()
        control[5] &= ~0x40
        assert mode_select(s, bytes(control)).status == GOOD


def log_sense(s, page, sub=0):
    return s.good(struct.pack(">BBBB3xHB", 0x4d, 0, 0x40 | page, sub, 255, 0), b"", 255)


def test_thresholds_of_a_store_that_fills_are_told_to_all():
    with ready() as s, ready(who=2) as other:
        assert log_sense(s, 0) == bytes([0, 0, 0, 3, 0, 0x0c, 0x2f])
        assert log_sense(s, 0, 0xff)[4:] == bytes([0, 0, 0, 0xff, 0x0c, 0, 0x2f, 0])
        assert log_sense(s, 0x2f) == bytes([0x2f, 0, 0, 8, 0, 0, 3, 4, 0, 0, 0xff, 0])
        assert inquiry(s, 0xb2)[4] == 11  # units of 2^11 blocks, 1 MiB

        def counts():
            page = log_sense(s, 0x0c)
            assert page[4:8] == b"\0\1\3\x08" and page[12] == 2 and page[16:20] == b"\0\2\3\x08"
            return struct.unpack(">I", page[8:12])[0], struct.unpack(">I", page[20:24])[0]

        available, used = counts()
        df = node.json("df")
        assert abs(available - (df["capacity_bytes"] - df["physical_used_bytes"]) // MIB) < 64
        page = bytearray(mode_sense(s, 0x1c, 2))
        page[16] |= 0x80
        struct.pack_into(">I", page, 20, available - 64)
        assert mode_select(s, bytes(page)).status == GOOD
        refused(other.call(TEST_UNIT_READY), 6, 0x2a01)
        rng = random.Random(SEED)
        s.ready(LUN_LARGE)
        for i in range(32):  # 96 MiB that cannot be compressed
            s.write(i * 3 * MIB // 512, rng.randbytes(3 * MIB), lun=LUN_LARGE)
        for t in (s, other):
            r = until(lambda t=t: (r := t.call(TEST_UNIT_READY)).status != GOOD and r,
                      "nobody is told of the threshold", 60)
            refused(r, 6, 0x3807)
        time.sleep(3)  # once, not at every look
        assert s.call(TEST_UNIT_READY).status == GOOD
        assert counts()[0] <= available - 64 and counts()[1] > used


# ---- removable medium


def start_stop(start, load):
    return bytes([0x1b, 0, 0, 0, (2 if load else 0) | (1 if start else 0), 0])


def prevent(on):
    return bytes([0x1e, 0, 0, 0, 1 if on else 0, 0])


def test_a_removable_medium_is_ejected_for_all_and_loaded_again():
    lun = LUN_REMOVABLE
    with ready(lun) as s, ready(lun, 2) as other:
        assert s.good(bytes([0x12, 0, 0, 0, 96, 0]), b"", 96, lun)[1] & 0x80  # RMB
        s.write(0, b"\7" * 512, lun=lun)
        other.good(prevent(True), lun=lun)
        refused(s.call(start_stop(False, True), lun=lun), 5, 0x5302)
        other.good(prevent(False), lun=lun)
        s.good(start_stop(False, True), lun=lun)
        for t in (s, other):
            refused(t.call(TEST_UNIT_READY, lun=lun), 2, 0x3a00)
            refused(t.call(read10(0, 1), b"", 512, lun), 2, 0x3a00)
        s.good(start_stop(True, True), lun=lun)
        refused(other.call(TEST_UNIT_READY, lun=lun), 6, 0x2800)
        assert other.read(0, 1, lun=lun) == b"\7" * 512
        other.good(prevent(True), lun=lun)
        other.sock.close()  # the nexus is lost, and what it prevented
        for _ in range(100):
            if s.call(start_stop(False, True), lun=lun).status == GOOD:
                break
            time.sleep(0.05)
        refused(s.call(TEST_UNIT_READY, lun=lun), 2, 0x3a00)
        s.good(start_stop(True, True), lun=lun)
        refused(s.ready().call(start_stop(False, True)), 5, 0x2400)  # LUN 0 is not removable


# ---- units that are taken away


@contextlib.contextmanager
def seen_twice(name):
    """A volume that two sessions have as LUN 3 of a target each, and how to take it from the first."""
    first, second = f"{IQN}-{name}-1", f"{IQN}-{name}-2"
    late = dict(InitialR2T="Yes", ImmediateData="No")
    node.vstore("volume", "create", name, "--size", "1G")
    for iqn in (first, second):
        node.vstore("target", "create", iqn, "--volume", f"{name}:3")
    node.vstore("target", "map", first, "--volume", "plain:0")

    with Session(node.listen["iscsi"], first, **late).ready(3).ready(0) as a, \
            Session(node.listen["iscsi"], second).ready(3) as b:
        yield a, b, lambda: node.vstore("target", "unmap", first, "--volume", name)
    for iqn in (first, second):
        node.vstore("target", "delete", iqn)
    node.vstore("volume", "delete", name)


def test_data_that_comes_when_the_unit_is_taken_away_is_not_written():
    data = b"\xee" * 4096
    with seen_twice("late") as (a, b, unmap):
        waiting = [a.start(write10(0, 8), data, lun=3, immediate_data=0) for _ in range(3)]
        asked = [a.receive() for _ in waiting]
        assert all(p.opcode == R2T for p in asked), asked
        unmap()
        for itt, p in zip(waiting, asked):
            a.data_out(itt, p.ttt, data, 0, 4096)
            refused(a.finish(itt), 5, 0x2500)
        assert b.read(0, 8, lun=3) == bytes(4096)


def test_a_reservation_goes_with_the_unit():
    with seen_twice("held") as (a, b, unmap):
        a.good(bytes([0x16, 0, 0, 0, 0, 0]), lun=3)  # RESERVE(6)
        assert b.call(read10(0, 1), b"", 512, 3).status == RESERVATION_CONFLICT
        unmap()
        refused(a.call(TEST_UNIT_READY), 6, 0x3f0e)  # it has seen that its LUNs have changed
        assert len(b.read(0, 1, lun=3)) == 512


def test_who_waits_for_a_unit_that_is_taken_away_is_answered():
    with seen_twice("waits") as (a, b, unmap):
        zeros = overwrite_list(b"\0")
        itt = a.start(sanitize(OVERWRITE, length=len(zeros)), zeros, lun=3, immediate_data=0)
        p = a.receive()
        a.data_out(itt, p.ttt, zeros, 0, len(zeros))
        until(lambda: b.call(TEST_UNIT_READY, lun=3).asc == 0x041b, "it is not sanitized", 60)
        unmap()
        refused(a.finish(itt), 5, 0x2500)
        until(lambda: b.call(TEST_UNIT_READY, lun=3).status == GOOD, "sanitizing does not end", 60)


# ---- SANITIZE


def sanitize(action, immed=False, ause=False, length=0):
    return struct.pack(">BB5xHB", 0x48, (0x80 if immed else 0) | (0x20 if ause else 0) | action,
                       length, 0)


OVERWRITE, BLOCK_ERASE, EXIT_FAILURE_MODE = 1, 2, 0x1f


def overwrite_list(pattern, count=1, invert=False):
    return struct.pack(">BBH", (0x80 if invert else 0) | count, 0, len(pattern)) + pattern


def test_sanitized_blocks_read_as_the_standard_says_and_snapshots_stay():
    with ready() as s, ready(who=2) as other:
        s.write(100, b"\1" * 512)
        node.vstore("snapshot", "create", "plain@before")
        s.good(sanitize(BLOCK_ERASE))
        refused(other.call(TEST_UNIT_READY), 6, 0x2f00)  # its commands were cleared
        assert s.read(0, 2048) == bytes(MIB)
        status = s.good(struct.pack(">BBQIBB", 0x9e, 0x12, 0, 256, 0, 0), b"", 256)
        assert struct.unpack(">IIQIB", status[:21]) == (20, 0, 0, 64 * MIB // 512, 1)
        for pattern, count, invert, want in ((b"\xa5", 1, False, 0xa5), (b"\x0f" * 512, 3, True, 0x0f),
                                             (b"\x0f", 2, True, 0xf0)):
            out = overwrite_list(pattern, count, invert)
            s.good(sanitize(OVERWRITE, length=len(out)), out)
            for lba in (0, 64 * MIB // 512 - 8):
                assert s.read(lba, 8) == bytes([want]) * 4096, (lba, want)
        for bad in (overwrite_list(b"\1", 0), overwrite_list(b""), overwrite_list(b"\1" * 513)):
            assert s.call(sanitize(OVERWRITE, length=len(bad)), bad).key == 5
        s.good(sanitize(EXIT_FAILURE_MODE))
        refused(s.call(sanitize(OVERWRITE, length=5), overwrite_list(b"\1"), lun=LUN_READ_ONLY), 6,
                0x2900)
        refused(s.call(sanitize(BLOCK_ERASE), lun=LUN_READ_ONLY), 7, 0x2700)
    node.vstore("volume", "clone", "plain@before", "copy")
    node.vstore("target", "map", IQN, "--volume", "copy:20")
    with ready(20) as s:
        assert s.read(100, 1, lun=20) == b"\1" * 512


def test_sanitizing_goes_on_whatever_the_initiator_does():
    lun, zeros = LUN_LARGE, overwrite_list(b"\0")
    with ready(lun) as s, ready(lun, 2) as other:
        s.write(0, b"\1" * 512, lun=lun)
        waiting = s.start(sanitize(OVERWRITE, length=len(zeros)), zeros, lun=lun)
        said = set()  # in either order: the state is set before the others are told
        until(lambda: said.add(other.call(TEST_UNIT_READY, lun=lun).asc) or said >= {0x041b, 0x2f00},
              "it is not sanitized", 60)
        refused(other.call(read10(0, 1), b"", 512, lun), 2, 0x041b)
        sense = other.good(bytes([3, 0, 0, 0, 252, 0]), b"", 252, lun)
        assert sense[2] == 2 and sense[12:14] == b"\x04\x1b" and sense[15] == 0x80, sense
        assert other.good(bytes([0x12, 0, 0, 0, 36, 0]), b"", 36, lun)[0] == 0
        s.task_request(ABORT_TASK, lun=lun, ref_itt=waiting)
        assert s.receive().opcode == TASK_RESPONSE
        s.sock.close()
        refused(other.call(sanitize(BLOCK_ERASE), lun=lun), 2, 0x041b)
        progress = 0
        while True:
            sense = other.good(bytes([3, 0, 0, 0, 252, 0]), b"", 252, lun)
            if sense[2] == 0:
                break
            assert struct.unpack(">H", sense[16:18])[0] >= progress
            progress = struct.unpack(">H", sense[16:18])[0]
            time.sleep(0.1)
        assert other.read(0, 1, lun=lun) == bytes(512)


def test_a_unit_that_was_not_sanitized_to_the_end_shows_nothing_of_what_is_left():
    lun, zeros = LUN_LARGE, overwrite_list(b"\0")
    for kill, ause in ((True, False), (False, True)):
        with ready(lun) as s:
            s.good(sanitize(OVERWRITE, immed=True, ause=ause, length=len(zeros)), zeros, lun=lun)
            node.kill() if kill else node.stop()
        node.start()
        with session(who=1) as s:
            assert s.call(TEST_UNIT_READY, lun=lun).asc == 0x2900
            refused(s.call(TEST_UNIT_READY, lun=lun), 3, 0x3103)
            refused(s.call(read10(0, 1), b"", 512, lun), 3, 0x3103)
            r = s.call(sanitize(EXIT_FAILURE_MODE, ause=True), lun=lun)
            if ause:
                assert r.status == GOOD, r
            else:
                refused(r, 5, 0x2400)
                refused(s.call(sanitize(BLOCK_ERASE, ause=True), lun=lun), 5, 0x2400)
                s.good(sanitize(BLOCK_ERASE), lun=lun)
            assert len(s.read(0, 1, lun=lun)) == 512
        node.stop()
        node.start()
        with ready(lun) as s:  # nor does it come back
            assert len(s.read(0, 1, lun=lun)) == 512


def main():
    global node
    with Node() as node:
        node.vstore("target", "create", IQN)
        for lun, name, size, options, how in (
                (LUN, "plain", "64M", (), ()), (LUN_4K, "large-blocks", "64M", ("--sector", "4096"), ()),
                (LUN_REMOVABLE, "removable", "8M", (), ("--removable",)),
                (LUN_READ_ONLY, "read-only", "8M", (), ("--read-only",)),
                (LUN_LARGE, "large", "1G", (), ())):
            node.vstore("volume", "create", name, "--size", size, *options)
            node.vstore("target", "map", IQN, "--volume", f"{name}:{lun}", *how)
        node.vstore("nbd", "export", "plain")
        tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
