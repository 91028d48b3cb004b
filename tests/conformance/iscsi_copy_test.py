#!/usr/bin/env python3
"""Copies that the iSCSI target makes itself, by EXTENDED COPY(LID1) and by token, for an initiator
that says anything at all."""

import contextlib
import os
import random
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, ".."), HERE]

import tap  # noqa: E402
from node import Node  # noqa: E402
from iscsi_wire import *  # noqa: E402,F403

MIB = 1 << 20
SIZE = 64 * MIB
IQN = "iqn.2026-11.org.example:copies"
OTHERS = "iqn.2026-11.org.example:others"
# LUNs of IQN; the last two are a's volume once more, read-only, and one without deduplication
A, B, K4, RO, PRIVATE = range(5)
ILLEGAL, PROTECT, ABORTED = 5, 7, 0xa
LENGTH, FIELD, CDB = 0x1a00, 0x2600, 0x2400
THIS_LU = 0xffff
node = None
naa = {}


def session(target=IQN, **more):
    return Session(node.listen["iscsi"], target, **more)


def ready(target=IQN, luns=(A, B, K4, RO, PRIVATE), **more):
    s = session(target, **more)
    for lun in luns:
        s.ready(lun)
    return s


@contextlib.contextmanager
def together(s):
    """What is sent meanwhile goes out as one, so nothing ends in between."""
    parts, send = [], s.send
    s.send = parts.append
    yield
    s.send = send
    s.send(b"".join(parts))


def noise(length, seed):
    return random.Random(seed).randbytes(length)


def identifier(s, lun):
    page = s.good(struct.pack(">BBBHB", 0x12, 1, 0x83, 255, 0), length=255, lun=lun)
    assert page[4:8] == b"\x01\x03\x00\x08"
    return page[8:16]


def used(s=None):
    if s:
        s.good(struct.pack(">BBIBHB", 0x35, 0, 0, 0, 0, 0))  # what is open in the log counts
    df = node.json("df")
    return df["unique_content_bytes"]


def cscd(identifier, sector=512, kind=0xe4, device=0, designator=3, code_set=1):
    return struct.pack(">BBHBBBB8s12sBBH", kind, device, 0, code_set, designator, 0, 8, identifier,
                       b"", 0, sector >> 16, sector & 0xffff)


def segment(source, destination, blocks, source_lba, lba, kind=2, flags=0, length=0x18, zero=0):
    return struct.pack(">BBHHHHHQQ", kind, flags, length, source, destination, zero, blocks,
                       source_lba, lba)


def copy_list(cscds, segments, list_id=1, usage=0, cscd_bytes=None, segment_bytes=None, inline=b"",
              flags=0, zero=0):
    c, s = b"".join(cscds), b"".join(segments)
    return struct.pack(">BBHIII", list_id, usage << 3 | flags,
                       len(c) if cscd_bytes is None else cscd_bytes, zero,
                       len(s) if segment_bytes is None else segment_bytes,
                       len(inline)) + c + s + inline


def extended_copy(length, sa=0):
    return struct.pack(">BB8xIBB", 0x83, sa, length, 0, 0)


def xcopy(s, data, lun=A, length=None):
    length = len(data) if length is None else length
    return s.call(extended_copy(length), data, lun=lun)


def copied(s, data, lun=A):
    r = xcopy(s, data, lun)
    assert r.status == GOOD, r


def refused(r, key, asc):
    assert r.status == CHECK_CONDITION and (r.key, r.asc) == (key, asc), r


def units(*luns):
    return [cscd(naa[lun], 4096 if lun == K4 else 512) for lun in luns]


def results(s, action, list_id=1, lun=A, length=512):
    return s.call(struct.pack(">BBB7xIBB", 0x84, action, list_id, length, 0, 0), length=length,
                  lun=lun)


def status_of(s, list_id=1, lun=A):
    """Copy manager status, segments processed, bytes."""
    r = results(s, 0, list_id, lun)
    assert r.status == GOOD and len(r.data) == 12 and r.data[7] == 0, r
    return r.data[4], *struct.unpack(">H", r.data[5:7]), *struct.unpack(">I", r.data[8:])


# ---- what copies do


def test_a_copy_shares_what_the_source_holds():
    data = noise(4 * MIB, 1)
    with ready() as s:
        s.write(0, data[:MIB])
        for i in range(1, 4):
            s.write(i * 2048, data[i * MIB:(i + 1) * MIB])
        before = used(s)
        copied(s, copy_list(units(A, B), [segment(0, 1, 8192, 0, 16384)]))
        assert used(s) == before
        assert b"".join(s.read(16384 + i * 2048, 2048, lun=B) for i in range(4)) == data
        assert status_of(s) == (1, 1, 4 * MIB)
        s.write(0, bytes(MIB))  # the copy keeps what was there
        assert s.read(16384, 2048, lun=B) == data[:MIB]
        # between the same units by the identifier that means "this one", without a list identifier
        copied(s, copy_list([], [segment(THIS_LU, THIS_LU, 2048, 2048, 65536)], 0, 3))
        assert s.read(65536, 2048) == data[MIB:2 * MIB]


def test_copies_that_do_not_align():
    data = noise(MIB, 2)
    with ready() as s:
        s.write(0, data)
        s.write(0, data, lun=B)
        want = bytearray(data)
        for source, to, blocks in ((1, 9, 100), (3, 4, 1000), (0, 7, 7), (15, 0, 1), (8, 8, 16)):
            copied(s, copy_list(units(A, B), [segment(0, 1, blocks, source, to)]))
            want[to * 512:(to + blocks) * 512] = data[source * 512:(source + blocks) * 512]
        assert s.read(0, 2048, lun=B) == bytes(want)


def test_ranges_that_overlap_are_copied_as_they_were():
    data = noise(2 * MIB, 3)
    with ready() as s:
        for source, to, blocks in ((0, 8, 3000), (8, 0, 3000), (0, 3, 2500), (5, 1, 2500)):
            s.write(0, data[:MIB])
            s.write(2048, data[MIB:])
            copied(s, copy_list(units(A), [segment(0, 0, blocks, source, to)]))
            got = s.read(0, 2048) + s.read(2048, 2048)
            want = bytearray(data)
            want[to * 512:(to + blocks) * 512] = data[source * 512:(source + blocks) * 512]
            assert got == want, (source, to)


def test_several_segments_are_copied_in_their_order():
    data = noise(8192, 4)
    with ready() as s:
        s.write(0, data)
        copied(s, copy_list(units(A, B), [segment(0, 1, 16, 0, 100), segment(1, 0, 16, 100, 500),
                                          segment(0, 1, 0, 0, 0), segment(0, 1, 8, 500, 200)], 9))
        assert s.read(500, 16) == data and s.read(200, 8, lun=B) == data[:4096]
        assert status_of(s, 9)[:2] == (1, 4)


def test_units_of_different_block_lengths():
    data = noise(65536, 5)
    with ready() as s:
        s.write(0, data)
        copied(s, copy_list(units(A, K4), [segment(0, 1, 128, 0, 10)]))
        assert s.read(10, 16, 4096, lun=K4) == data
        # DC: the number is one of the destination's blocks
        copied(s, copy_list(units(A, K4), [segment(0, 1, 4, 8, 50, flags=2)]))
        assert s.read(50, 4, 4096, lun=K4) == data[4096:20480]
        refused(xcopy(s, copy_list(units(A, K4), [segment(0, 1, 9, 0, 0)])), ABORTED, 0x260a)
        refused(xcopy(s, copy_list([cscd(naa[A]), cscd(naa[K4], 512)], [segment(0, 1, 8, 0, 0)])),
                ILLEGAL, FIELD)


def test_private_content_is_copied_by_its_bytes():
    data = noise(MIB, 6)
    with ready() as s:
        s.write(0, data, lun=PRIVATE)
        before = used(s)
        copied(s, copy_list(units(PRIVATE, B), [segment(0, 1, 2048, 0, 40960)]), lun=PRIVATE)
        assert s.read(40960, 2048, lun=B) == data
        assert used(s) == before + MIB


# ---- who may


def test_only_units_that_the_session_sees_can_be_copied():
    with ready(OTHERS, (0,)) as s:
        foreign = identifier(s, 0)
        s.write(0, noise(65536, 7))
    with ready() as s:
        for pair in ((0, 1), (1, 0)):
            r = xcopy(s, copy_list([cscd(foreign), cscd(naa[B])], [segment(*pair, 8, 0, 0)]))
            refused(r, ABORTED, 0x0d02)
        # a descriptor that no segment uses is nobody's business
        copied(s, copy_list([cscd(foreign), cscd(naa[B])], [segment(1, 1, 8, 0, 8)]))


def test_a_unit_that_is_read_only_is_a_source_only():
    data = noise(4096, 8)
    with ready() as s:
        s.write(64, data)
        ro, b = cscd(identifier(s, RO)), cscd(naa[B])
        copied(s, copy_list([ro, b], [segment(0, 1, 8, 64, 0)]), lun=RO)
        assert s.read(0, 8, lun=B) == data
        refused(xcopy(s, copy_list([b], [segment(0, THIS_LU, 8, 0, 0)]), lun=RO), ABORTED, 0x2700)
        # the same volume by its other LUN may be written, whichever got the command
        copied(s, copy_list([b, ro], [segment(0, 1, 8, 0, 128)]), lun=RO)
        assert s.read(128, 8) == data


def test_reservations_of_both_units_are_respected():
    reserve = struct.pack(">BBBBBIB", 0x5f, 1, 3, 0, 0, 24, 0)
    register = struct.pack(">BBBBBIB", 0x5f, 0, 0, 0, 0, 24, 0)
    with ready() as s, ready(isid=b"\x80\0\0\0\0\2") as other:
        other.good(register, struct.pack(">QQ8x", 0, 7), lun=B)
        other.good(reserve, struct.pack(">QQ8x", 7, 0), lun=B)
        try:
            for pair in ((0, 1), (1, 0)):
                refused(xcopy(s, copy_list(units(A, B), [segment(*pair, 8, 0, 0)])), ABORTED,
                        0x0d01)
            r = xcopy(s, copy_list(units(A, B), [segment(0, 1, 8, 0, 0)]), lun=B)
            assert r.status == RESERVATION_CONFLICT, r
            copied(other, copy_list(units(A, B), [segment(0, 1, 8, 0, 0)]))
        finally:
            other.good(register, struct.pack(">QQ8x", 7, 0), lun=B)
        other.good(bytes([0x16, 0, 0, 0, 0, 0]), lun=B)  # RESERVE(6)
        refused(xcopy(s, copy_list(units(A, B), [segment(0, 1, 8, 0, 0)])), ABORTED, 0x0d01)
        other.good(bytes([0x17, 0, 0, 0, 0, 0]), lun=B)
        s.ready(B)
        copied(s, copy_list(units(A, B), [segment(0, 1, 8, 0, 0)]))


def test_a_reservation_that_comes_meanwhile_keeps_the_rest_of_a_copy_out():
    register = struct.pack(">BBBBBIB", 0x5f, 0, 0, 0, 0, 24, 0)
    with ready() as s, ready(isid=b"\x80\0\0\0\0\2") as other:
        for i in range(32):
            s.write(i * 2048, noise(MIB, 600 + i), lun=PRIVATE)
        s.write(0, b"\x11" * 4096)
        data = copy_list(units(PRIVATE, A), [segment(0, 0, 65535, 1, 65536)] * 15 +
                         [segment(0, 1, 8, 0, 0)], 77)
        with together(s):
            itt = s.start(extended_copy(len(data)), data, lun=PRIVATE)
            status = s.start(struct.pack(">BBB7xIBB", 0x84, 0, 77, 12, 0, 0), length=12,
                             lun=PRIVATE)
        assert s.finish(status).data[4] == 0  # it has been let begin
        other.good(register, struct.pack(">QQ8x", 0, 7))
        other.good(struct.pack(">BBBBBIB", 0x5f, 1, 3, 0, 0, 24, 0), struct.pack(">QQ8x", 7, 0))
        refused(s.finish(itt), ABORTED, 0x0d01)
        other.good(register, struct.pack(">QQ8x", 7, 0))
        assert status_of(s, 77, PRIVATE)[:2] == (2, 15)
        assert s.read(0, 8) == b"\x11" * 4096


# ---- resets


def test_a_reset_that_finds_a_task_more_than_once_answers_it_once():
    """With TAS: of a unit behind two LUNs, and of both units of a copy."""
    def tas(s, on):
        for lun in (A, PRIVATE):
            page = s.good(struct.pack(">BBBB3xHB", 0x5a, 8, 0x0a, 0, 64, 0), length=64, lun=lun)
            page = page[:13] + bytes([page[13] & ~0x40 | (0x40 if on else 0)]) + page[14:]
            out = bytes(8) + page[8:]
            s.good(struct.pack(">BB5xHB", 0x55, 0x10, len(out), 0), out, lun=lun)

    with ready() as s, ready(isid=b"\x80\0\0\0\0\2", InitialR2T="Yes",
                             ImmediateData="No") as other:
        tas(s, True)
        other.ready(A)
        other.ready(PRIVATE)
        data = copy_list(units(PRIVATE, A), [segment(0, 1, 65535, 1, 1)] * 16)
        copy = other.start(extended_copy(len(data)), data, lun=PRIVATE, immediate_data=0)
        p = other.receive()
        other.data_out(copy, p.ttt, data, 0, len(data))
        write = other.start(write10(0, 8), bytes(4096), immediate_data=0)
        assert other.receive().opcode == R2T
        s.task_request(WARM_RESET)
        assert s.receive().opcode == TASK_RESPONSE
        answers = {p.itt: p.header[3] for p in (other.receive(), other.receive())}
        assert answers == {copy: 0x40, write: 0x40}, answers
        for lun in (A, B, K4, RO, PRIVATE):
            s.ready(lun)
            other.ready(lun)
        tas(s, False)


def test_what_a_copy_still_writes_when_it_is_aborted_comes_before_what_others_write():
    """The copy is sent to its source; the destination's other user resets it and writes."""
    at, new = 8192 - 128, b"\x77" * 65536  # what a piece of 4 MiB writes last
    with ready() as s, ready(isid=b"\x80\0\0\0\0\2") as other:
        for i in range(9):
            other.write(i * 2048, noise(MIB, 500 + i), lun=PRIVATE)
        data = copy_list(units(PRIVATE, B), [segment(0, 1, 8192, 2048 + i % 2 * 7, 0)
                                             for i in range(16)])
        for _ in range(20):
            other.start(extended_copy(len(data)), data, lun=PRIVATE)
            s.task_request(LUN_RESET, lun=B)
            assert s.receive().opcode == TASK_RESPONSE
            s.ready(B)
            s.write(at, new, lun=B)
            probe = other.start(bytes(6), lun=PRIVATE)
            while other.receive().itt != probe:  # the copy is not answered (TAS 0)
                pass
            other.ready(B)
            other.read(0, 1, lun=PRIVATE)  # waits for the end of what was aborted
            assert s.read(at, 128, lun=B) == new


# ---- what is refused


def test_parameter_lists_that_are_wrong():
    good = segment(0, 1, 8, 0, 0)
    two = units(A, B)
    with ready() as s:
        for data, asc in (
                (copy_list(units(*[A] * 9), [good]), 0x2606),
                (copy_list([cscd(naa[A], kind=0xe0)], [good]), 0x2607),
                (copy_list(two, [good] * 17), 0x2608),
                (copy_list(two, [segment(0, 1, 8, 0, 0, kind=3)]), 0x2609),
                (copy_list(two, [good], inline=bytes(8)), 0x260b),
                (copy_list(two, [segment(0, 1, 8, 0, 0, length=0x17)]), FIELD),
                (copy_list(two, [segment(0, 1, 8, 0, 0, flags=4)]), FIELD),
                (copy_list(two, [segment(0, 1, 8, 0, 0, zero=1)]), FIELD),
                (copy_list(two, [good], usage=1), FIELD),
                (copy_list(two, [good], usage=3), FIELD),
                (copy_list(two, [good], flags=0x40), FIELD),
                (copy_list(two, [good], zero=1), FIELD),
                (copy_list(two, [good], cscd_bytes=63), LENGTH),
                (copy_list(two, [good], segment_bytes=29), LENGTH),
                (copy_list(two, [good], segment_bytes=0xffffffff), LENGTH),
                (copy_list(two, [good], cscd_bytes=0xffff), LENGTH),
                (bytes(16 + 8 * 32 + 16 * 28 + 1), LENGTH)):
            refused(xcopy(s, data), ILLEGAL, asc)
        for data, asc in (
                (copy_list(two, [segment(0, 2, 8, 0, 0)]), 0x0804),
                (copy_list(two, [segment(0xf800, 1, 8, 0, 0)]), 0x0804),
                (copy_list([cscd(naa[A]), cscd(naa[B], device=1)], [good]), 0x0d03),
                (copy_list([cscd(naa[A]), cscd(naa[B], designator=1)], [good]), 0x0d02),
                (copy_list([cscd(naa[A]), cscd(naa[B], code_set=2)], [good]), 0x0d02),
                (copy_list(two, [segment(0, 1, 2, SIZE // 512 - 1, 0)]), 0),
                (copy_list(two, [segment(0, 1, 2, 0, SIZE // 512 - 1)]), 0),
                (copy_list(two, [segment(0, 1, 1, 2**64 - 1, 0)]), 0)):
            refused(xcopy(s, data), ABORTED, asc)
        refused(s.call(extended_copy(0, sa=0x1e), b""), ILLEGAL, CDB)
        assert xcopy(s, b"").status == GOOD


def test_every_truncation_is_refused_and_copies_nothing():
    with ready() as s:
        s.write(0, b"\x11" * 4096)
        s.write(0, b"\x22" * 4096, lun=B)
        whole = copy_list(units(A, B), [segment(0, 1, 4, 0, 0), segment(0, 1, 4, 4, 4)])
        for n in range(1, len(whole)):
            refused(xcopy(s, whole[:n]), ILLEGAL, LENGTH)
        # fewer bytes come than the CDB says
        refused(xcopy(s, whole[:-1], length=len(whole)), ILLEGAL, LENGTH)
        assert s.read(0, 8, lun=B) == b"\x22" * 4096
        copied(s, whole)
        assert s.read(0, 8, lun=B) == b"\x11" * 4096


# ---- long copies, and what they came to


def test_a_copy_that_is_aborted_ends_and_holds_nobody_up():
    with ready() as s, ready(isid=b"\x80\0\0\0\0\2") as other:
        for i in range(32):
            s.write(i * 2048, noise(MIB, 100 + i), lun=PRIVATE)
        data = copy_list(units(PRIVATE), [segment(0, 0, 65535, 1, 65536)] * 16)  # 512 MiB, by bytes
        with together(s):
            itt = s.start(extended_copy(len(data)), data, lun=PRIVATE)
            status = s.start(struct.pack(">BBB7xIBB", 0x84, 0, 1, 12, 0, 0), length=12, lun=PRIVATE)
            again = s.start(extended_copy(len(data)), data, lun=PRIVATE)
        running = s.finish(status)
        assert running.status == GOOD and running.data[4] == 0, running
        refused(s.finish(again), ILLEGAL, 0x0016)
        assert other.read(0, 8, lun=PRIVATE) == s.read(0, 8, lun=PRIVATE)
        tag = s.task_request(ABORT_TASK, lun=PRIVATE, ref_itt=itt)
        p = s.receive()
        assert p.opcode == TASK_RESPONSE and p.itt == tag and p.header[2] == 0, p
        refused(results(s, 0, lun=PRIVATE), ILLEGAL, CDB)
        copied(s, copy_list(units(PRIVATE), [segment(0, 0, 8, 0, 65536)]), lun=PRIVATE)


def test_a_copy_that_fills_the_store_says_so():
    with Node(size="768M", nbd=False) as small:
        small.vstore("volume", "create", "p", "--size", "1G", "--dedup", "off")
        small.vstore("target", "create", IQN, "--volume", "p:0")
        with Session(small.listen["iscsi"], IQN) as s:
            s.ready()
            for i in range(64):
                s.write(i * 2048, noise(MIB, 300 + i))
            n = 65528  # blocks of 512 bytes in each of 16 segments
            parts = [segment(THIS_LU, THIS_LU, n, i % 2 * n, 131072 + i * n) for i in range(16)]
            refused(xcopy(s, copy_list([], parts, 3)), ABORTED, 0x2707)
            status, segments, copied_bytes = status_of(s, 3)
            assert status == 2 and 4 < segments < 16
            assert segments * n * 512 <= copied_bytes < (segments + 1) * n * 512
            assert results(s, 4, 3).data[72:74] == b"\x27\x07"
            assert s.read(0, 2048) == noise(MIB, 300) == s.read(131072, 2048)
            s.logout()


def test_results_are_kept_as_the_initiator_wants():
    with ready() as s:
        refused(results(s, 0, 33), ILLEGAL, CDB)
        data = [segment(0, 1, 8, 0, 0)]
        copied(s, copy_list(units(A, B), data, 33))
        assert status_of(s, 33) == (1, 1, 4096)
        refused(results(s, 0, 33, lun=B), ILLEGAL, CDB)
        copied(s, copy_list(units(A, B), data, 34, usage=2))
        refused(results(s, 0, 34), ILLEGAL, CDB)
        assert results(s, 4, 33).data == bytes(4)
        refused(xcopy(s, copy_list(units(A, B), data + [segment(0, 5, 8, 0, 0)], 35)), ABORTED,
                0x0804)
        assert status_of(s, 35) == (2, 0, 0)
        failed = results(s, 4, 35).data
        assert failed[56] == CHECK_CONDITION and failed[62] == ABORTED and len(failed) == 78
        for i in range(40, 104):  # 64 are kept
            copied(s, copy_list(units(A, B), data, i))
        refused(results(s, 0, 33), ILLEGAL, CDB)
        assert status_of(s, 40)[0] == 1
        with ready(isid=b"\x80\0\0\0\0\2") as other:
            refused(results(other, 0, 40), ILLEGAL, CDB)
        p = results(s, 3).data
        assert struct.unpack(">HHI", p[8:16]) == (8, 16, 704) and p[43:] == b"\x02\x02\xe4"
        assert results(s, 3, length=8).data == p[:8]


def test_inquiry_says_what_can_be_copied():
    with ready() as s:
        assert s.good(struct.pack(">BBBHB", 0x12, 0, 0, 96, 0), length=96)[5] & 0x08
        page = s.good(struct.pack(">BBBHB", 0x12, 1, 0x8f, 1024, 0), length=1024)
        assert struct.unpack(">H", page[2:4])[0] == len(page) - 4
        parts, at = {}, 4
        while at < len(page):
            kind, length = struct.unpack(">HH", page[at:at + 4])
            parts[kind] = page[at + 4:at + 4 + length]
            at += 4 + length
            assert at % 4 == 0
        assert at == len(page) and list(parts) == sorted(parts)
        ranges, longest, usual, most, best = struct.unpack(">HIIQQ", parts[0][6:32])
        assert (ranges, longest, usual, most * 512, best * 512) == (16, 600, 60, 1 << 30, 1 << 28)
        assert parts[0x0001][0] == 11 and b"\x83\3\0\x10\x11" in parts[0x0001]
        assert parts[0x0108][4:8] == b"\0\x80\0\0" and parts[0x0108][68:72] == b"\xff\xff\0\1"
        assert parts[0x0008][:3] == b"\x02\x02\xe4" and parts[0x000c][:4] == b"\0\2\xff\xff"
        assert struct.unpack(">HHI", parts[0x0004][4:12]) == (8, 16, 704)


# ---- tokens

UNKNOWN, REVOKED, EXPIRED, DELETED = 0x2304, 0x2306, 0x2307, 0x2309
ZEROS = struct.pack(">IHH", 0xffff0001, 0, 504) + bytes(504)


def ranges(*pairs):
    out = b"".join(struct.pack(">QI4x", lba, blocks) for lba, blocks in pairs)
    return struct.pack(">H", len(out)) + out


def populate_list(*pairs, timeout=0, flags=0, rod_type=0, length=None):
    tail = ranges(*pairs)
    n = 12 + len(tail) if length is None else length
    return struct.pack(">HBBII2x", n, flags, 0, timeout, rod_type) + tail


def use_list(token, *pairs, offset=0, flags=0, length=None):
    tail = ranges(*pairs)
    n = 532 + len(tail) if length is None else length
    return struct.pack(">HB5xQ512s6x", n, flags, offset, token) + tail


def token_command(s, action, data, lun, list_id, length=None):
    length = len(data) if length is None else length
    return s.call(struct.pack(">BB4xIIBB", 0x83, action, list_id, length, 0, 0), data, lun=lun)


def information(s, list_id, lun, length=1024):
    return s.call(struct.pack(">BBI4xIBB", 0x84, 7, list_id, length, 0, 0), length=length, lun=lun)


def populate(s, *pairs, lun=A, list_id=1, **more):
    """The token of the ranges."""
    r = token_command(s, 0x10, populate_list(*pairs, **more), lun, list_id)
    assert r.status == GOOD, r
    d = information(s, list_id, lun).data
    assert struct.unpack(">I", d[:4])[0] == len(d) - 4 == 546 and d[4:6] == b"\x10\1"
    assert d[15] == 0xf1 and struct.unpack(">Q", d[16:24])[0] == sum(n for _, n in pairs)
    assert d[32:38] == struct.pack(">IH", 514, 0)
    token = d[38:]
    assert token[:8] == struct.pack(">IHH", 0x00800000, 0, 504)
    return token


def use(s, token, *pairs, lun=B, list_id=2, **more):
    return token_command(s, 0x11, use_list(token, *pairs, **more), lun, list_id)


def used_token(s, token, *pairs, lun=B, list_id=2, **more):
    r = use(s, token, *pairs, lun=lun, list_id=list_id, **more)
    assert r.status == GOOD, r
    d = information(s, list_id, lun).data
    assert len(d) == 36 and d[4:6] == b"\x11\1" and d[32:] == bytes(4)
    assert struct.unpack(">Q", d[16:24])[0] == sum(n for _, n in pairs)


def test_a_token_shares_what_the_source_held():
    data = noise(2 * MIB, 20)
    with ready() as s:
        s.write(0, data[:MIB])
        s.write(2048, data[MIB:])
        before = used(s)
        token = populate(s, (0, 4096))
        used_token(s, token, (8192, 4096))
        assert used(s) == before
        assert s.read(8192, 2048, lun=B) + s.read(10240, 2048, lun=B) == data


def test_a_token_holds_what_was_there_whoever_writes():
    data, other = noise(MIB, 21), noise(MIB, 22)
    with ready() as s, ready(isid=b"\x80\0\0\0\0\2") as writer:
        s.write(0, data)
        token = populate(s, (0, 2048))
        writer.write(0, other[:MIB // 2])
        writer.good(struct.pack(">BBQIBB", 0x93, 1, 1024, 1024, 0, 0))  # WRITE SAME, no data
        used_token(s, token, (0, 2048))
        assert s.read(0, 2048, lun=B) == data
        assert s.read(0, 2048) == other[:MIB // 2] + bytes(MIB // 2)
        used_token(writer, token, (0, 2048), lun=A)  # and back to where it came from
        assert s.read(0, 2048) == data


def test_ranges_of_tokens_are_taken_as_one():
    data = noise(MIB, 23)
    with ready() as s:
        s.write(0, data)
        token = populate(s, (3, 100), (1000, 7), (512, 0), (200, 33))
        want = b"".join(data[a * 512:(a + n) * 512] for a, n in ((3, 100), (1000, 7), (200, 33)))
        used_token(s, token, (50, 90), (1000, 50))
        assert s.read(50, 90, lun=B) + s.read(1000, 50, lun=B) == want
        used_token(s, token, (5000, 20), offset=95)
        assert s.read(5000, 20, lun=B) == want[95 * 512:115 * 512]
        for offset, n in ((140, 1), (0, 141), (2**64 - 1, 1), (2**56, 1)):
            refused(use(s, token, (0, n), offset=offset), ILLEGAL, FIELD)
        used_token(s, populate(s, (0, 64)), (2, 8), lun=K4)
        assert s.read(2, 8, 4096, lun=K4) == data[:32768]


def test_a_token_of_private_content():
    data = noise(MIB, 24)
    with ready() as s:
        s.write(0, data, lun=PRIVATE)
        token = populate(s, (0, 2048), lun=PRIVATE)
        s.write(0, bytes(MIB), lun=PRIVATE)
        used_token(s, token, (30000, 2048))
        assert s.read(30000, 2048, lun=B) == data


def test_the_token_of_zeros():
    with ready() as s:
        s.write(0, noise(65536, 25), lun=B)
        used_token(s, ZEROS, (1, 63), (64, 32))
        got = s.read(0, 128, lun=B)
        assert got[512:49152] == bytes(48640) and any(got[:512]) and any(got[49152:])


def test_tokens_that_are_not():
    with ready() as s:
        token = populate(s, (0, 64), timeout=1)
        for i in (*range(8, 16), 24, 63, 99, 256, 287, 511):
            forged = bytearray(token)
            forged[i] ^= 1
            refused(use(s, bytes(forged), (0, 8)), ILLEGAL, UNKNOWN)
        refused(use(s, struct.pack(">IHH", 0x00800000, 0, 504) + bytes(504), (0, 8)), ILLEGAL,
                UNKNOWN)
        refused(use(s, struct.pack(">IHH", 0x00010000, 0, 504) + bytes(504), (0, 8)), ILLEGAL,
                0x2301)
        refused(use(s, token[:6] + b"\1\0" + token[8:], (0, 8)), ILLEGAL, 0x230a)
        used_token(s, token, (0, 8))
        time.sleep(1.2)  # its timeout is one second
        refused(use(s, token, (0, 8)), ILLEGAL, EXPIRED)
        assert len(information(s, 1, A).data) == 36  # nothing is handed out any more
        token = populate(s, (0, 64))
        used_token(s, token, (0, 8), flags=2)  # DEL_TKN
        refused(use(s, token, (0, 8)), ILLEGAL, DELETED)


def test_a_token_is_for_those_who_see_its_unit():
    with ready(OTHERS, (0,)) as other, ready() as s:
        token = populate(s, (0, 64))
        refused(use(other, token, (0, 64), lun=0), ILLEGAL, REVOKED)
        refused(use(s, populate(other, (0, 64), lun=0), (0, 64)), ILLEGAL, REVOKED)
        refused(use(s, token, (0, 64), lun=RO), PROTECT, 0x2700)
        with ready(initiator="iqn.1994-05.org.example:cluster") as second:
            used_token(second, token, (0, 64))


def test_tokens_are_bounded_and_their_space_comes_back():
    data = noise(MIB, 26)
    with ready(initiator="iqn.1994-05.org.example:many") as s:
        s.write(0, data)
        before = used(s)
        tokens = [populate(s, (0, 2048), timeout=600) for _ in range(64)]
        refused(token_command(s, 0x10, populate_list((0, 8)), A, 9), ILLEGAL, 0x550d)
        s.write(0, bytes(MIB))
        for token in tokens[:-1]:
            used_token(s, token, (0, 8), flags=2)
        used_token(s, tokens[-1], (4096, 2048), flags=2)
        assert s.read(4096, 2048, lun=B) == data
        s.write(4096, bytes(MIB), lun=B)
        for _ in range(200):
            if used(s) <= before - MIB:
                return
            time.sleep(0.1)
        raise AssertionError("what tokens held stays")


def test_token_lists_that_are_wrong():
    with ready() as s:
        token = populate(s, (0, 64))
        for data, asc in (
                (populate_list((0, 8), (4, 8)), FIELD),
                (populate_list((0, 0)), FIELD),
                (populate_list((0, 8), timeout=601), FIELD),
                (populate_list((0, 8), flags=2, rod_type=0x00010000), FIELD),
                (populate_list((0, 8), length=29), FIELD),
                (populate_list(), FIELD),
                (populate_list((SIZE // 512 - 1, 2)), 0x2100),
                (populate_list((2**64 - 1, 2)), 0x2100),
                (populate_list(*((i * 8, 8) for i in range(17))), LENGTH)):
            refused(token_command(s, 0x10, data, A, 5), ILLEGAL, asc)
        refused(use(s, token, (0, 8), (7, 8)), ILLEGAL, FIELD)
        refused(use(s, token, (SIZE // 512 - 1, 2)), ILLEGAL, 0x2100)
        refused(use(s, token, (0, 8), length=540), ILLEGAL, FIELD)
        for action, whole in ((0x10, populate_list((0, 8), (16, 8))),
                              (0x11, use_list(token, (0, 8), (16, 8)))):
            for n in range(1, len(whole)):
                r = token_command(s, action, whole[:n], B, 6)
                refused(r, ILLEGAL, LENGTH)
            assert token_command(s, action, b"", B, 6).status == GOOD
        refused(information(s, 6, B), ILLEGAL, CDB)


def test_an_aborted_token_is_none():
    with ready() as s:
        for i in range(32):
            s.write(i * 2048, noise(MIB, 200 + i), lun=PRIVATE)
        data = populate_list((0, 65536))
        with together(s):
            itt = s.start(struct.pack(">BB4xIIBB", 0x83, 0x10, 7, len(data), 0, 0), data,
                          lun=PRIVATE)
            status = s.start(struct.pack(">BBI4xIBB", 0x84, 7, 7, 36, 0, 0), length=36, lun=PRIVATE)
            tag = s.task_request(ABORT_TASK, lun=PRIVATE, ref_itt=itt)
        running = s.finish(status)
        assert running.status == GOOD and running.data[5] == 0x11, running
        p = s.receive()
        assert p.opcode == TASK_RESPONSE and p.itt == tag and p.header[2] == 0, p
        refused(information(s, 7, PRIVATE), ILLEGAL, CDB)


def test_sanitizing_a_unit_ends_its_tokens_and_copies():
    erase = struct.pack(">BB5xHB", 0x48, 2, 0, 0)
    with ready() as s, ready(isid=b"\x80\0\0\0\0\2") as other:
        s.write(0, noise(65536, 28), lun=K4, sector=4096)
        token = populate(s, (0, 16), lun=K4)
        s.good(erase, lun=K4)
        refused(use(s, token, (0, 8)), ILLEGAL, DELETED)
        # what another session copies to the unit, by a command to another one, ends as well
        for i in range(32):
            other.write(i * 2048, noise(MIB, 400 + i), lun=PRIVATE)
        data = copy_list(units(PRIVATE, K4), [segment(0, 1, 65528, 0, 0)] * 16)
        itt = other.start(extended_copy(len(data)), data, lun=PRIVATE)
        s.good(erase, lun=K4)
        assert s.read(0, 16, 4096, lun=K4) == bytes(65536)
        probe = other.start(bytes(6), lun=PRIVATE)
        while (p := other.receive()).itt != probe:  # an aborted task is not answered (TAS 0)
            assert p.itt == itt and p.header[3] == CHECK_CONDITION, p
        r = results(other, 0, lun=PRIVATE)
        assert r.status == CHECK_CONDITION or r.data[4] == 2, r
        time.sleep(0.2)
        assert s.read(0, 16, 4096, lun=K4) == bytes(65536)


def test_a_killed_daemon_leaves_nothing_of_tokens():
    before = len(node.json("volume", "list"))
    with ready() as s:
        s.write(0, noise(MIB, 27))
        token = populate(s, (0, 2048), timeout=600)
        node.kill()
    node.start()
    assert len(node.json("volume", "list")) == before
    with ready() as s:
        refused(use(s, token, (0, 8)), ILLEGAL, UNKNOWN)


def main():
    global node
    with Node(nbd=False) as node:
        volumes = {"a": (), "b": (), "k4": ("--sector", "4096"), "p": ("--dedup", "off"), "o": ()}
        for name, more in volumes.items():
            node.vstore("volume", "create", name, "--size", str(SIZE), *more)
        node.vstore("target", "create", IQN, "--volume", "a:0", "--volume", "b:1", "--volume",
                    "k4:2", "--volume", "p:4")
        node.vstore("target", "map", IQN, "--volume", "a:3", "--read-only")
        node.vstore("target", "create", OTHERS, "--volume", "o:0")
        with ready() as s:
            naa.update({lun: identifier(s, lun) for lun in (A, B, K4, PRIVATE)})
        tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
