#!/usr/bin/env python3
"""The daemon's iSCSI target against libiscsi's tools, QEMU's initiator, and initiators that say
anything at all. libiscsi's conformance suite is in iscsi_suite_test.py."""

import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, ".."), HERE]

import tap  # noqa: E402
from node import Node, run, until  # noqa: E402
from iscsi_wire import *  # noqa: E402,F403

MIB = 1 << 20
SIZE = 256 * MIB
SEED = 20261120
IQN = "iqn.2026-11.org.example:disks"
BYSTANDER = "iqn.2026-11.org.example:bystander"
SECRET, MUTUAL = "twelve bytes or more", "another twelve bytes"
node = None


def session(target=IQN, **more):
    return Session(node.listen["iscsi"], target, **more)


def ready(target=IQN, lun=0, **more):
    return session(target, **more).ready(lun)


def alive():
    """The target still serves, and what a bystander wrote before is still there."""
    with ready(BYSTANDER, initiator="iqn.1994-05.org.example:bystander") as s:
        assert s.read(0, 8) == b"\x5a" * 4096
        s.logout()


def pattern(length, seed):
    return random.Random(seed).randbytes(length)


def qemu_io(url, *commands, more=()):
    out = run("qemu-io", *(more or ("-f", "raw")), *(x for c in commands for x in ("-c", c)), url)
    assert "Pattern verification failed" not in out and "failed" not in out, out


# ---- discovery and names


def test_discovery_shows_the_address_that_the_initiator_came_by():
    out = run("iscsi-ls", f"iscsi://{node.listen['iscsi']}")
    assert f"Target:{IQN} Portal:{node.listen['iscsi']},1" in out, out


def test_discovery_shows_nobody_what_is_not_for_them():
    with session(None) as s:
        assert "TargetName=iqn.2026-11.org.example:private" not in s.text(
            {"SendTargets": "All"}).data.decode()
    with session(None, initiator="iqn.1994-05.org.example:friend") as s:
        assert b"TargetName=iqn.2026-11.org.example:private\0" in s.text(
            {"SendTargets": "All"}).data
    assert session("iqn.2026-11.org.example:private").status == 0x0202
    assert session("iqn.2026-11.org.example:private",
                   initiator="iqn.1994-05.org.example:friend").status == 0
    assert session("iqn.2026-11.org.example:none").status == 0x0203


def test_send_targets_within_a_session_names_its_own():
    with session() as s:
        answer = s.text({"SendTargets": ""}).data
        assert answer.count(b"TargetName=") == 1 and IQN.encode() in answer
        assert s.text({"SendTargets": "All"}).opcode == REJECT


def test_inquiry_shows_the_identifier_that_vstore_shows():
    lun = node.json("target", "show", IQN)["luns"][0]
    with ready() as s:
        page = s.good(bytes([0x12, 1, 0x83, 0, 255, 0]), b"", 255)
        assert page[8:16].hex() == lun["naa"].removeprefix("naa.")
        assert s.good(bytes([0x12, 1, 0, 0, 255, 0]), b"", 255)[4:] == bytes(
            [0, 0x80, 0x83, 0x86, 0x8f, 0xb0, 0xb1, 0xb2])
    out = run("iscsi-inq", "-e", "1", "-c", "128", node.iscsi_url(0, IQN))
    assert re.search(r"Unit Serial Number:\[[0-9a-f]{32}\]", out), out


def test_report_luns_and_luns_that_are_not_there():
    with ready() as s:
        luns = s.good(struct.pack(">BBBBBBIBB", 0xa0, 0, 0, 0, 0, 0, 64, 0, 0), b"", 64)
        assert luns[:4] == b"\0\0\0\x10" and luns[8:24] == bytes(8) + b"\0\1" + bytes(6)
        r = s.call(bytes(6), lun=9)
        assert (r.status, r.key, r.asc) == (CHECK_CONDITION, 5, 0x2500)
        assert s.good(bytes([0x12, 0, 0, 0, 36, 0]), b"", 36, lun=9)[0] == 0x7f


# ---- CHAP


def test_chap_lets_in_only_who_knows_the_secret():
    assert session("iqn.2026-11.org.example:locked").status == 0x0201
    for secret, good in ((SECRET, True), ("wrong secret here", False)):
        with open(os.path.join(node.state, "qemu-secret"), "w") as f:
            f.write(secret)
        options = ("driver=raw,file.driver=iscsi,file.transport=tcp,file.lun=0,file.user=user,"
                   f"file.portal={node.listen['iscsi']},file.password-secret=s,"
                   "file.target=iqn.2026-11.org.example:locked")
        done = subprocess.run(["qemu-io", "--object",
                               f"secret,id=s,file={node.state}/qemu-secret", "--image-opts",
                               "-c", "read 0 4k", options], capture_output=True, text=True)
        assert (done.returncode == 0) is good, done.stdout + done.stderr
    assert SECRET not in node.log_text()


# ---- QEMU's initiator


def test_qemu_writes_reads_zeroes_and_discards():
    # not on 4096 byte blocks: there QEMU 7.2 asks itself for the status of a range that is no
    # multiple of them, and aborts
    qemu_io(node.iscsi_url(0, IQN), "write -P 5 0 20M", "read -P 5 0 20M",
            "write -P 6 1028k 512k", "read -P 5 1M 4k", "read -P 6 1028k 512k",
            "write -z 4M 8M", "read -P 0 4M 8M", "discard 12M 1M", "read -P 0 12M 1M",
            "read -P 5 13M 7M", "write -f -P 9 100M 33M", "read -P 9 100M 33M", "flush")
    qemu_io(node.iscsi_url(0, IQN), "write -P 7 3584 1024", "read -P 7 3584 1024",
            "read -P 5 0 3584")


def test_qemu_with_header_digests():
    for digest in ("CRC32C", "CRC32C-NONE", "NONE-CRC32C", "NONE"):
        options = (f"driver=raw,file.driver=iscsi,file.transport=tcp,file.lun=0,file.target={IQN},"
                   f"file.portal={node.listen['iscsi']},file.header-digest={digest.lower()}")
        qemu_io(options, "write -P 3 0 2M", "read -P 3 0 2M", more=("--image-opts",))


def test_images_copied_in_and_out_are_the_same():
    path = os.path.join(node.state, "image.raw")
    with open(path, "wb") as f:
        for i in range(16):
            f.seek(i * 15 * MIB)
            f.write(pattern(MIB + 512, SEED + i))
        f.truncate(SIZE)
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", path, node.iscsi_url(0, IQN))
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", path, node.iscsi_url(0, IQN))
    os.unlink(path)


# ---- the ways that data takes


def transfer(s, sector=512, lun=0):
    rng = random.Random(SEED)
    for size in (512, 4096, 8192, 65024, 65536, 66048, 262144, 1 << 20, 3 * MIB + 512):
        size = -(-size // sector) * sector
        data, lba = rng.randbytes(size), rng.randrange(1000)
        s.write(lba, data, sector, lun, fua=size == 8192)
        assert s.read(lba, size // sector, sector, lun) == data, size


def test_all_combinations_of_data_keys():
    for r2t in ("Yes", "No"):
        for immediate in ("Yes", "No"):
            for burst, first in (("512", "512"), ("65536", "4096"), ("16776192", "262144")):
                with ready(InitialR2T=r2t, ImmediateData=immediate, MaxBurstLength=burst,
                           FirstBurstLength=first) as s:
                    assert s.keys["InitialR2T"] == r2t and s.keys["ImmediateData"] == immediate
                    size = 8192 if burst == "512" else 200 * 512
                    data = pattern(size, len(burst))
                    s.write(5, data)
                    assert s.read(5, size // 512) == data


def test_digests():
    for header, data in (("CRC32C", "None"), ("None", "CRC32C"), ("CRC32C", "CRC32C")):
        with ready(HeaderDigest=header, DataDigest=data) as s:
            assert s.header_digest == (header == "CRC32C")
            payload = pattern(70 * 512, 9)
            s.write(1, payload)
            assert s.read(1, 70) == payload


def test_transfers_of_many_sizes():
    with ready(MaxRecvDataSegmentLength="262144", InitialR2T="No") as s:
        transfer(s)
    with ready(MaxRecvDataSegmentLength="512") as s:
        transfer(s)
    with ready(lun=1, MaxRecvDataSegmentLength="262144") as s:
        transfer(s, 4096, 1)


def test_unsolicited_data_in_several_pdus():
    with ready(InitialR2T="No", ImmediateData="Yes", FirstBurstLength="65536") as s:
        data = pattern(200 * 512, 4)
        itt = s.start(write16(0, 200), data, immediate_data=4096, final=False)
        s.data_out(itt, NO_TAG, data, 4096, 65536 - 4096)
        assert s.finish(itt, data).status == GOOD
        assert s.read(0, 200) == data
        itt = s.start(write16(0, 200), data[::-1], immediate_data=0, final=False)
        s.data_out(itt, NO_TAG, data[::-1], 0, 65536, piece=1024)
        assert s.finish(itt, data[::-1]).status == GOOD
        assert s.read(0, 200) == data[::-1]


def test_many_commands_at_once_each_get_their_own_data():
    with ready(MaxRecvDataSegmentLength="262144") as s:
        blocks = [pattern(4096, i) for i in range(100)]
        tags = {s.start(write16(i * 8, 8), b): i for i, b in enumerate(blocks)}
        while tags:
            p = s.receive()
            assert p.opcode == RESPONSE and p.header[3] == GOOD, p
            del tags[p.itt]
        tags = {s.start(read10(i * 8, 8), b"", 4096): i for i in range(100)}
        while tags:
            p = s.receive()
            assert p.opcode == DATA_IN and p.flags & 1, p
            assert p.data == blocks[tags.pop(p.itt)]


def test_residuals():
    with ready() as s:
        r = s.call(read10(0, 1), b"", 1024)
        assert r.status == GOOD and r.residual == -512 and len(r.data) == 512
        r = s.call(read10(0, 2), b"", 512)
        assert r.status == GOOD and r.residual == 512 and len(r.data) == 512
        s.write(0, b"\1" * 1024)
        r = s.call(write10(0, 2), b"\2" * 512)
        assert r.status == GOOD and r.residual == 512
        assert s.read(0, 2) == b"\2" * 512 + b"\1" * 512
        r = s.call(write10(0, 1), b"\3" * 1024)
        assert r.status == GOOD and r.residual == -512
        assert s.read(0, 2) == b"\3" * 512 + b"\1" * 512


def test_verify_finds_the_byte_that_differs():
    data = pattern(300 * 512, 6)
    with ready() as s:
        s.write(7, data)
        verify = struct.pack(">BBIBHB", 0x2f, 2, 7, 0, 300, 0)
        s.good(verify, data)
        wrong = bytearray(data)
        wrong[140000] ^= 1
        r = s.call(verify, bytes(wrong))
        assert (r.key, r.asc, r.information) == (0xe, 0x1d00, 140000), r
        s.good(struct.pack(">BBIBHB", 0x2f, 0, 7, 0, 300, 0))
        s.good(struct.pack(">BBIBHB", 0x2e, 2, 7, 0, 300, 0), bytes(wrong))
        assert s.read(7, 300) == wrong


def test_compare_and_write():
    def cdb(lba, blocks):
        return struct.pack(">BBQ3xBBB", 0x89, 0, lba, blocks, 0, 0)
    with ready() as s:
        s.write(3, b"\1" * 1024)
        s.good(cdb(3, 2), b"\1" * 1024 + b"\2" * 1024)
        assert s.read(3, 2) == b"\2" * 1024
        r = s.call(cdb(3, 2), b"\2" * 700 + b"\1" * 324 + b"\3" * 1024)
        assert (r.key, r.asc, r.information) == (0xe, 0x1d00, 700), r
        assert s.read(3, 2) == b"\2" * 1024


# ---- unit attentions, reservations, task management


def test_a_new_session_and_a_resize_are_unit_attentions():
    node.vstore("volume", "create", "grows", "--size", "8M")
    node.vstore("target", "create", "iqn.2026-11.org.example:grows", "--volume", "grows:0")
    with session("iqn.2026-11.org.example:grows") as s:
        r = s.call(bytes(6))
        assert (r.status, r.key, r.asc) == (CHECK_CONDITION, 6, 0x2900)
        assert s.call(bytes(6)).status == GOOD
        node.vstore("volume", "resize", "grows", "--size", "16M")
        r = s.call(bytes(6))
        assert (r.key, r.asc) == (6, 0x2a09)
        capacity = s.good(bytes([0x25]) + bytes(9), b"", 8)
        assert struct.unpack(">II", capacity) == (16 * MIB // 512 - 1, 512)
        s.write(16 * MIB // 512 - 1, b"\7" * 512)
        s.logout()
    node.vstore("target", "delete", "iqn.2026-11.org.example:grows")
    node.vstore("volume", "delete", "grows")


def test_read_only_luns_refuse_writes():
    with ready("iqn.2026-11.org.example:locked-luns") as s:
        r = s.call(write10(0, 1), bytes(512))
        assert (r.key, r.asc) == (7, 0x2700)
        assert s.good(bytes([0x1a, 8, 0x3f, 0, 192, 0]), b"", 192)[2] & 0x80
        assert len(s.read(0, 8)) == 4096


def test_a_login_of_the_same_initiator_takes_the_session_over():
    with ready() as old:
        with ready(isid=b"\x80\0\0\0\0\2") as other:
            old.good(bytes([0x16, 0, 0, 0, 0, 0]))  # reserved: lost with the session
            assert other.call(write10(0, 1), bytes(512)).status == RESERVATION_CONFLICT
            with ready() as new:
                assert old.closed()
                assert other.call(write10(0, 1), bytes(512)).status == GOOD
                assert len(new.read(0, 1)) == 512


def test_abort_and_reset_answer_after_the_tasks_they_end():
    with ready(InitialR2T="Yes", ImmediateData="No") as s, ready(isid=b"\x80\0\0\0\0\3") as other:
        itt = s.start(write10(0, 8), bytes(4096), immediate_data=0)
        assert s.receive().opcode == R2T
        s.task_request(ABORT_TASK, ref_itt=itt)
        p = s.receive()
        assert p.opcode == TASK_RESPONSE and p.header[2] == 0, p
        s.task_request(ABORT_TASK, ref_itt=itt)
        assert s.receive().header[2] == 1  # no such task any more
        waiting = [s.start(write10(0, 8), bytes(4096), immediate_data=0) for _ in range(5)]
        for _ in waiting:
            assert s.receive().opcode == R2T
        s.task_request(LUN_RESET)
        p = s.receive()
        assert p.opcode == TASK_RESPONSE and p.header[2] == 0, p
        r = other.call(bytes(6))
        assert (r.key, r.asc) == (6, 0x2903), r
        s.ready().write(0, b"\4" * 4096)
        s.task_request(LUN_RESET, lun=77)
        assert s.receive().header[2] == 2
        s.task_request(3)  # CLEAR ACA
        assert s.receive().header[2] == 5
        s.task_request(COLD_RESET)
        assert s.receive().opcode == TASK_RESPONSE
        assert s.closed() and other.closed()


def test_a_reset_ends_other_sessions_tasks_first():
    with ready(InitialR2T="Yes", ImmediateData="No") as s, ready(isid=b"\x80\0\0\0\0\4") as other:
        for reset in (LUN_RESET, WARM_RESET):
            s.start(write10(0, 8), bytes(4096), immediate_data=0)
            assert s.receive().opcode == R2T
            s.start(read10(0, 8), b"", 4096, attr=2)  # waits for it
            other.task_request(reset)
            p = other.receive()
            assert p.opcode == TASK_RESPONSE and p.header[2] == 0, p
            s.ready().write(0, b"\1" * 4096)
            other.ready()


def test_ordered_tasks_keep_their_place():
    with ready(InitialR2T="Yes", ImmediateData="No") as s:
        first = s.start(write10(0, 8), b"\1" * 4096, immediate_data=0)
        r2t = s.receive()
        ordered = s.start(read10(0, 8), b"", 4096, attr=2)
        younger = s.start(read10(8, 8), b"", 4096)
        head = s.start(read10(16, 8), b"", 4096, attr=3)
        assert s.receive().itt == head
        s.data_out(first, r2t.ttt, b"\1" * 4096, 0, 4096)
        answers = [s.receive() for _ in range(3)]
        assert [p.itt for p in answers] == [first, ordered, younger], answers
        assert answers[1].data == b"\1" * 4096
        s.start(write10(0, 8), bytes(4096), immediate_data=0)
        assert s.receive().opcode == R2T
        s.start(read10(0, 8), b"", 4096, attr=2)
        s.task_request(ABORT_TASK_SET)  # those that have not begun as well
        p = s.receive()
        assert p.opcode == TASK_RESPONSE and p.header[2] == 0, p
        assert s.read(0, 8) == b"\1" * 4096
        assert s.call(bytes(6), attr=4).asc == 0x4900  # ACA


def test_a_full_store_says_so_and_still_reads():
    with Node(size="768M", nbd=False) as full:
        full.vstore("volume", "create", "big", "--size", "2G")
        full.vstore("target", "create", IQN, "--volume", "big:0")
        with Session(full.listen["iscsi"], IQN).ready() as s:
            blocks, written = MIB // 512, []
            for i in range(1024):
                data = pattern(MIB, i)
                r = s.call(write16(i * blocks, blocks), data)
                if r.status != GOOD:
                    break
                written.append(i)
            assert (r.status, r.key, r.asc) == (CHECK_CONDITION, 7, 0x2707), r
            assert len(written) > 100
            for i in (written[0], written[len(written) // 2], written[-1]):
                assert s.read(i * blocks, blocks) == pattern(MIB, i)
            s.good(struct.pack(">BBQIBB", 0x93, 9, 0, 65536, 0, 0))  # 32 MiB unmapped
            assert s.read(0, 8) == bytes(4096)
            s.logout()


# ---- what initiators should not say


def test_data_out_that_is_not_in_order_fails_the_command():
    with ready(InitialR2T="Yes", ImmediateData="No") as s:
        for wrong_offset, wrong_sn in ((512, 0), (0, 5)):
            itt = s.start(write10(0, 8), bytes(4096), immediate_data=0)
            r2t = s.receive()
            s.send(s.pdu(DATA_OUT, 0x80, bytes(4096), itt=itt, word20=r2t.ttt,
                         tail=struct.pack(">III", 0, wrong_sn, wrong_offset)))
            r = s.finish(itt)
            assert (r.status, r.key) == (CHECK_CONDITION, 0xb), r
        s.write(0, b"\6" * 4096)


def test_damaged_data_is_rejected_and_fails_its_command_only():
    with ready(DataDigest="CRC32C", HeaderDigest="CRC32C", InitialR2T="Yes") as s:
        s.write(0, b"\1" * 512)
        itt = s.start(write10(0, 1), b"\2" * 512, spoil="data")
        p = s.receive()
        assert p.opcode == REJECT and p.header[2] == 2 and p.data[16:20] == struct.pack(">I", itt)
        r = s.finish(itt)
        assert (r.key, r.asc) == (0xb, 0x4705)
        itt = s.start(write10(0, 8), bytes(4096), immediate_data=0)
        r2t = s.receive()
        s.data_out(itt, r2t.ttt, bytes(4096), 0, 4096, spoil="data")
        assert s.receive().opcode == REJECT
        assert s.finish(itt).asc == 0x4705
        assert s.read(0, 1) == b"\1" * 512
        s.send(s.pdu(NOP_OUT, spoil="header"))
        assert s.closed()
    alive()


def test_command_numbers_outside_the_window_are_ignored():
    with ready() as s:
        s.send(s.pdu(COMMAND, 0x80, cmd_sn=s.cmd_sn + 5000, word20=0, tail=bytes(16)))
        s.send(s.pdu(COMMAND, 0x80, cmd_sn=s.cmd_sn - 1, word20=0, tail=bytes(16)))
        s.itt += 1
        assert s.call(bytes(6)).status == GOOD


def test_who_filled_the_window_is_told_when_it_opens_without_an_answer():
    """Another initiator's reset ends all its commands, and TAS is 0: no answers come."""
    with ready(InitialR2T="Yes", ImmediateData="No") as s, \
            ready(isid=b"\x80\0\0\0\0\2") as other:
        for i in range(128):
            s.start(write10(8 * i, 8), bytes(4096), immediate_data=0)
        s.send(s.pdu(NOP_OUT, immediate=True))  # answered when all have come
        while (p := s.receive()).opcode != NOP_IN:
            assert p.opcode == R2T, p
        assert (p.exp_cmd_sn, p.max_cmd_sn) == (s.cmd_sn, s.cmd_sn - 1), p
        other.task_request(LUN_RESET)
        assert other.receive().opcode == TASK_RESPONSE
        while (p := s.receive()).opcode != NOP_IN:
            assert p.opcode == R2T, p
        assert (p.itt, p.ttt) == (NO_TAG, NO_TAG), p
        assert (p.exp_cmd_sn, p.max_cmd_sn) == (s.cmd_sn, s.cmd_sn + 127), p
        s.itt += 1
        assert s.ready().call(bytes(6)).status == GOOD


def test_snack_unknown_opcodes_and_logins_within_a_session_are_rejected():
    with ready() as s:
        for pdu, reason in ((s.pdu(SNACK), 3), (s.pdu(0x1c, immediate=True), 5),
                            (s.pdu(0x3f, immediate=True), 5),
                            (s.pdu(LOGIN, 0x87, immediate=True), 4)):
            s.send(pdu)
            p = s.receive()
            assert p.opcode == REJECT and p.header[2] == reason, (p, reason)
        assert s.call(bytes(6)).status == GOOD


def test_nop_out_comes_back():
    with ready() as s:
        s.send(s.pdu(NOP_OUT, data=b"ping" * 100, immediate=True))
        p = s.receive()
        assert p.opcode == NOP_IN and p.itt == s.itt and p.data == b"ping" * 100
        s.send(s.pdu(NOP_OUT, itt=NO_TAG, immediate=True))  # wants no answer
        s.itt += 1
        assert s.call(bytes(6)).status == GOOD


def test_lengths_that_were_not_agreed_end_the_session():
    with ready() as s:
        header = bytearray(s.pdu(COMMAND, 0xa0, word20=512, tail=write10(0, 1).ljust(16, b"\0")))
        header[5:8] = b"\xff\xff\xff"
        s.send(bytes(header))
        assert s.closed()
    with ready(FirstBurstLength="512") as s:
        s.start(write10(0, 8), bytes(4096))
        assert s.closed()
    alive()


def test_sessions_that_stop_in_the_middle_leave_no_trace():
    before = len(node.json("target", "sessions"))
    held = []
    for stop in (1, 20, 47, 48, 100, 300):
        s = ready(InitialR2T="Yes", ImmediateData="No", isid=bytes([0x80, 0, 0, 0, 1, stop & 255]))
        s.start(read10(0, 100), b"", 51200)
        itt = s.start(write10(0, 8), bytes(4096), immediate_data=0)
        s.send(s.pdu(DATA_OUT, 0x80, bytes(4096), itt=itt, word20=0)[:stop])
        held.append(s)
    alive()
    for s in held:
        s.sock.close()
    until(lambda: len(node.json("target", "sessions")) <= before, "sessions stay")
    alive()


def test_garbage_before_login_ends_the_connection():
    rng = random.Random(SEED)
    for length in (1, 47, 48, 49, 500, 70000):
        with Raw(node.listen["iscsi"]) as r:
            try:
                r.send(bytes([0x43]) + rng.randbytes(length - 1))
                r.sock.shutdown(socket.SHUT_WR)
            except (Closed, OSError):
                pass
            assert r.closed()
    names = {"InitiatorName": INITIATOR, "TargetName": IQN}
    for text in (b"", b"\xff" * 64, b"InitiatorName=" + b"x" * 300 + b"\0", b"A=1\0" * 1500,
                 b"InitiatorName=iqn.a.b:c\0InitiatorName=iqn.a.b:c\0", b"=\0", b"nothing"):
        with Raw(node.listen["iscsi"]) as r:
            r.send(r.login_pdu({}, text=text))
            p = r.receive()
            assert p.opcode == LOGIN_RESPONSE and p.f36 >> 24 == 2, p
            assert r.closed()
    with Raw(node.listen["iscsi"]) as r:
        r.send(r.login_pdu(names, version=9))
        assert r.receive().f36 >> 16 == 0x0205
    with Raw(node.listen["iscsi"]) as r:
        r.send(r.login_pdu(names, tsih=500))
        assert r.receive().f36 >> 16 == 0x020a
    with Raw(node.listen["iscsi"]) as r:  # text without end
        try:
            for _ in range(20):
                r.send(r.login_pdu({}, cont=True, transit=False, text=b"K=" + b"v" * 1000))
        except Closed:
            pass
        assert r.closed()
    alive()


def test_garbage_within_a_session_hurts_nobody_else():
    rng = random.Random(SEED)
    for i in range(150):
        s = session(isid=bytes([0x80, 0, 0, 0, 2, i & 15]))
        good = s.pdu(rng.choice([COMMAND, DATA_OUT, TEXT, TASK, NOP_OUT, LOGOUT, SNACK]),
                     rng.randrange(256), rng.randbytes(rng.randrange(0, 600)), rng.random() < .5,
                     rng.choice([0, 0, 1, rng.getrandbits(64) or 1]) if rng.random() < .9 else 5,
                     word20=rng.choice([NO_TAG, 0, 512, rng.getrandbits(32)]),
                     tail=rng.choice([write10(0, 8), read10(0, 8), rng.randbytes(16)])
                     .ljust(16, b"\0"))
        try:
            s.send(good)
            spoiled = bytearray(good)
            for _ in range(3):
                spoiled[rng.randrange(48)] = rng.randrange(256)
            s.send(bytes(spoiled))
            s.send(rng.randbytes(200))
        except Closed:
            pass
        s.sock.close()
    alive()


def test_a_flood_of_logins_does_not_keep_others_out():
    host, _, port = node.listen["iscsi"].rpartition(":")
    flood = []
    try:
        for _ in range(300):
            flood.append(socket.create_connection((host, int(port)), 60))
        for f in flood[:50]:
            f.sendall(b"\x43")
        alive()
    finally:
        for f in flood:
            f.close()
    alive()


def test_a_session_that_does_not_read_does_not_delay_others():
    with ready(MaxRecvDataSegmentLength="262144") as greedy:
        for i in range(100):
            greedy.start(read10(0, 2048), b"", MIB)
        alive()
        got = 0
        while got < 100 * MIB:  # in any order
            p = greedy.receive()
            assert p.opcode == DATA_IN, p
            got += len(p.data)


def main():
    global node
    for tool in ("iscsi-ls", "iscsi-inq", "qemu-img", "qemu-io"):
        if not shutil.which(tool):
            print(f"1..0 # SKIP {tool} is not installed (packages libiscsi-bin, qemu-utils)")
            return
    if "iscsi" not in run("qemu-img", "--help"):
        print("1..0 # SKIP QEMU has no iSCSI driver (package qemu-block-extra)")
        return
    with Node(nbd=False) as node:
        for name, sector in (("v", "512"), ("v4k", "4096"), ("bystander", "512")):
            node.vstore("volume", "create", name, "--size", str(SIZE), "--sector", sector)
        secret = os.path.join(node.state, "secret")
        with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(SECRET)
        make = ("target", "create")
        node.vstore(*make, IQN, "--volume", "v:0", "--volume", "v4k:1")
        node.vstore(*make, BYSTANDER, "--volume", "bystander:0")
        node.vstore(*make, "iqn.2026-11.org.example:private", "--volume", "v:0",
                    "--initiator", "iqn.1994-05.org.example:friend")
        node.vstore(*make, "iqn.2026-11.org.example:locked", "--volume", "bystander:0",
                    "--chap-user", "user", "--chap-secret-file", secret)
        node.vstore(*make, "iqn.2026-11.org.example:locked-luns", "--volume", "v:0",
                    "--read-only")
        qemu_io(node.iscsi_url(0, BYSTANDER), "write -P 0x5a 0 64M")
        tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
