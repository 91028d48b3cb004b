#!/usr/bin/env python3
"""Copies that the iSCSI target makes itself: EXTENDED COPY(LID1) and RECEIVE COPY RESULTS, from an
initiator that says anything at all."""

import os
import random
import struct
import sys

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
        for i in range(16):
            s.write(i * 2048, noise(MIB, 100 + i), lun=PRIVATE)
        data = copy_list(units(PRIVATE), [segment(0, 0, 32768, 1, 65536)] * 16)  # 256 MiB, by bytes
        itt = s.start(extended_copy(len(data)), data, lun=PRIVATE)
        running = results(s, 0, lun=PRIVATE)
        assert running.status == GOOD and running.data[4] == 0, running
        refused(xcopy(s, data, lun=PRIVATE), ILLEGAL, 0x0016)
        assert other.read(0, 8, lun=PRIVATE) == s.read(0, 8, lun=PRIVATE)
        tag = s.task_request(ABORT_TASK, lun=PRIVATE, ref_itt=itt)
        p = s.receive()
        assert p.opcode == TASK_RESPONSE and p.itt == tag and p.header[2] == 0, p
        refused(results(s, 0, lun=PRIVATE), ILLEGAL, CDB)
        copied(s, copy_list(units(PRIVATE), [segment(0, 0, 8, 0, 65536)]), lun=PRIVATE)


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
        for i in range(40, 56):  # sixteen are kept
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
        assert parts[0x0008][:3] == b"\x02\x02\xe4" and parts[0x000c][:4] == b"\0\2\xff\xff"
        assert struct.unpack(">HHI", parts[0x0004][4:12]) == (8, 16, 704)


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
