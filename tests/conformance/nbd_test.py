#!/usr/bin/env python3
"""The daemon's NBD server against NBD's own clients (nbdinfo, nbdcopy, qemu-img, qemu-io) and
against clients that say anything at all."""

import contextlib
import json
import os
import random
import shutil
import socket
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, ".."), HERE]

import tap  # noqa: E402
from node import Node, run, sha256  # noqa: E402
from nbd_wire import *  # noqa: E402,F403

MIB = 1 << 20
SIZE = 64 * MIB
SEED = 20261120
node = None


def client(flags=3):
    return Client(node.listen["nbd"], flags)


def alive():
    """The server still serves, and what a bystander wrote before is still there."""
    with client().go("bystander") as c:
        assert c.read(0, 4096) == b"\x5a" * 4096
        c.disconnect()


def pattern(length, seed):
    return random.Random(seed).randbytes(length)


def qemu_io(export, *commands):
    out = run("qemu-io", "-f", "raw", *(x for c in commands for x in ("-c", c)),
              node.nbd_url(export))
    assert "Pattern verification failed" not in out and "failed" not in out, out
    return out


# ---- NBD's own clients


def test_nbdinfo_sees_size_features_and_block_sizes():
    for export, minimum in (("v", 512), ("v4k", 4096)):
        info = json.loads(run("nbdinfo", "--no-content", "--json", node.nbd_url(export)))
        assert info["protocol"] == "newstyle-fixed" and info["structured"] is True
        e = info["exports"][0]
        assert e["export-size"] == SIZE
        assert e["contexts"] == ["base:allocation"]
        for feature in ("can_df", "can_fast_zero", "can_flush", "can_fua", "can_multi_conn",
                        "can_trim", "can_zero"):
            assert e[feature] is True, feature
        assert e["is_read_only"] is False
        assert (e["block_size_minimum"], e["block_size_preferred"], e["block_size_maximum"]) == \
            (minimum, 4096, 32 * MIB)


def test_nbdinfo_lists_what_is_exported_and_nothing_else():
    out = json.loads(run("nbdinfo", "--list", "--json", node.nbd_url("")))
    assert [e["export-name"] for e in out["exports"]] == ["v", "v4k", "bystander"], out


def test_qemu_io_writes_reads_zeroes_and_discards():
    qemu_io("v", "write -P 5 0 1M", "write -P 6 512 512", "read -P 5 0 512", "read -P 6 512 512",
            "read -P 5 1024 1023k", "write -z 4096 8192", "discard 128k 128k",
            "read -P 0 4096 8192", "read -P 5 12k 100k", "write -f -P 9 16M 20M",
            "read -P 9 16M 20M", "flush", "write -z -u 16M 20M", "read -P 0 16M 20M",
            "write -P 7 1023k 1k", "read -P 5 1022k 1k", "read -P 7 1023k 1k")


def test_qemu_img_map_shows_holes_and_data():
    qemu_io("v", "write -z 0 64M", "write -P 1 8k 4k", "write -P 2 1M 256k")
    extents = json.loads(run("qemu-img", "map", "--output=json", "-f", "raw", node.nbd_url("v")))
    assert [(e["start"], e["length"], e["data"]) for e in extents] == [
        (0, 8192, False), (8192, 4096, True), (12288, MIB - 12288, False),
        (MIB, 256 << 10, True), (MIB + (256 << 10), SIZE - MIB - (256 << 10), False)], extents


def image(path):
    """A raw image with random data, repeated blocks and holes."""
    rng = random.Random(SEED)
    with open(path, "wb") as f:
        f.truncate(SIZE)
        for _ in range(200):
            f.seek(rng.randrange(SIZE // 512 - 600) * 512)
            f.write(rng.randbytes(512) * rng.randrange(1, 600))
    return sha256(path)


def test_images_copied_in_and_out_are_identical():
    source, copy = os.path.join(node.state, "source.raw"), os.path.join(node.state, "copy.raw")
    digest = image(source)
    run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "8", source,
        node.nbd_url("v"))
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", source,
                              node.nbd_url("v"))
    run("nbdcopy", "--connections=4", "--requests=64", node.nbd_url("v"), copy)
    assert sha256(copy) == digest
    run("nbdcopy", "--connections=4", "--requests=64", source, node.nbd_url("v4k"))
    run("nbdcopy", "--request-size=4194304", node.nbd_url("v4k"), copy)
    assert sha256(copy) == digest
    os.unlink(source)
    os.unlink(copy)


def test_a_snapshot_is_served_read_only():
    qemu_io("v", "write -P 3 0 1M")
    node.vstore("snapshot", "v@s")
    node.vstore("nbd", "export", "v@s")
    qemu_io("v", "write -P 4 0 1M")
    assert json.loads(run("nbdinfo", "--no-content", "--json", node.nbd_url("v@s")))["exports"][0]["is_read_only"]
    run("qemu-io", "-r", "-f", "raw", "-c", "read -P 3 0 1M", node.nbd_url("v@s"))
    with client().go("v@s") as c:
        for kind, data, length in ((WRITE, b"x" * 512, 0), (TRIM, b"", 4096),
                                   (WRITE_ZEROES, b"", 4096)):
            assert c.call(kind, 0, length, data).error == EPERM
        assert c.read(0, 4096) == b"\3" * 4096
    node.vstore("nbd", "unexport", "v@s")


def test_a_read_only_export_refuses_writes():
    node.vstore("volume", "create", "ro", "--size", "1M")
    node.vstore("nbd", "export", "ro", "--read-only")
    with client().go("ro") as c:
        assert c.flags & READ_ONLY
        assert c.call(WRITE, 0, data=b"x" * 512).error == EPERM
        assert c.read(0, 512) == bytes(512)
        assert c.call(FLUSH).error == 0
    node.vstore("nbd", "unexport", "ro")
    node.vstore("volume", "delete", "ro")


def test_unexport_disconnects_its_clients_only():
    node.vstore("volume", "create", "gone", "--size", "1M")
    node.vstore("nbd", "export", "gone")
    with client().go("gone") as c, client().go("v") as other:
        c.write(0, b"y" * 4096)
        assert [e["clients"] for e in node.json("nbd", "list") if e["name"] == "gone"] == [1]
        node.vstore("nbd", "unexport", "gone")
        assert c.closed()
        assert len(other.read(0, 4096)) == 4096
    node.vstore("volume", "delete", "gone")
    with client() as c:
        assert c.info("gone") == ERR_UNKNOWN
    assert "gone" in node.refused("nbd", "unexport", "gone")


def test_a_volume_in_use_grows_and_is_not_rolled_back_or_deleted():
    node.vstore("volume", "create", "used", "--size", "1M")
    node.vstore("nbd", "export", "used")
    with client().go("used") as c:
        c.write(0, b"1" * 4096)
        node.vstore("snapshot", "used@s")
        c.write(0, b"2" * 4096)
        assert "used" in node.refused("snapshot", "rollback", "used@s")
        assert "used" in node.refused("volume", "delete", "used", "--with-snapshots")
        assert c.call(READ, MIB, 4096).error == EINVAL
        node.vstore("volume", "resize", "used", "--size", "2M")
        c.write(MIB, b"3" * 4096)
        assert c.read(MIB, 4096) == b"3" * 4096
        c.disconnect()
    node.vstore("nbd", "unexport", "used")
    node.vstore("snapshot", "rollback", "used@s")
    node.vstore("nbd", "export", "used")
    with client().go("used") as c:
        assert c.size == MIB and c.read(0, 4096) == b"1" * 4096
    node.vstore("nbd", "unexport", "used")
    node.vstore("volume", "delete", "used", "--with-snapshots")


def test_an_export_has_its_volumes_new_name():
    node.vstore("volume", "create", "before", "--size", "1M")
    node.vstore("nbd", "export", "before")
    node.vstore("volume", "rename", "before", "after")
    node.vstore("volume", "create", "before", "--size", "2M")
    with client() as c:
        assert c.info("before") == ERR_UNKNOWN
        assert c.info("after")[0] == MIB
    node.vstore("nbd", "unexport", "after")
    for name in ("before", "after"):
        node.vstore("volume", "delete", name)


def test_exporting_what_is_not_there_or_twice_is_refused():
    assert "nowhere" in node.refused("nbd", "export", "nowhere")
    assert "v" in node.refused("nbd", "export", "v")


# ---- option haggling


def test_flags_and_magic_that_are_wrong_end_the_session():
    for flags in (4, 0x80000001, 0xffffffff):
        with client(flags) as c:
            assert c.closed()
    with client() as c:
        c.option(OPT_LIST, magic=b"IHAVEOPS")
        assert c.closed()
    alive()


def test_unknown_options_are_unsupported_and_the_session_goes_on():
    with client() as c:
        for number, data in ((4, b""), (11, b""), (99, b"x" * 100), (0xffffffff, b"y" * 300000)):
            kind, before = c.ask(number, data)
            assert kind == ERR_UNSUP and not before
        assert c.ask(OPT_STARTTLS)[0] == ERR_POLICY
        assert c.ask(OPT_LIST)[0] == REP_ACK


def test_malformed_options_are_invalid_and_the_session_goes_on():
    go = Client.go_data("v", INFO_BLOCK_SIZE)
    with client() as c:
        for number in (OPT_LIST, OPT_STARTTLS, OPT_STRUCTURED_REPLY):
            assert c.ask(number, b"x")[0] == ERR_INVALID
        for number in (OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT):  # structured replies first
            assert c.ask(number, Client.meta_data("v"))[0] == ERR_INVALID
        for data in (b"", go[:3], go[:-1], go + b"\0", b"\xff\xff\xff\xff" + go[4:]):
            assert c.ask(OPT_GO, data)[0] == ERR_INVALID
            assert c.ask(OPT_INFO, data)[0] == ERR_INVALID
        assert c.ask(OPT_GO, b"\0\0\0\1v\0\0" + bytes(100000))[0] == ERR_TOO_BIG
        assert c.ask(OPT_STRUCTURED_REPLY)[0] == REP_ACK
        meta = Client.meta_data("v", "base:allocation")
        for data in (meta[:-1], meta + b"\0", meta[:5] + b"\xff\xff\xff\xff" + meta[9:]):
            assert c.ask(OPT_SET_META_CONTEXT, data)[0] == ERR_INVALID
        assert c.ask(OPT_INFO, go)[0] == REP_ACK


def test_option_data_beyond_all_bounds_ends_the_session():
    for number in (OPT_LIST, OPT_GO, 77):
        with client() as c:
            c.option(number, length=0xffffffff)
            assert c.closed()
    with client() as c:
        c.option(OPT_EXPORT_NAME, b"n" * 5000)
        assert c.closed()
    alive()


def test_an_unknown_export_is_said_so():
    with client() as c:
        assert c.info("nowhere") == ERR_UNKNOWN
        assert c.info("nowhere", option=OPT_GO) == ERR_UNKNOWN
        assert c.info("") == ERR_UNKNOWN  # there are several
        assert c.info("v" * 4096) == ERR_UNKNOWN
        assert c.info("v@nowhere") == ERR_UNKNOWN
        assert c.info("ro") == ERR_UNKNOWN
        size, _, blocks, name = c.info("v4k", INFO_NAME, INFO_BLOCK_SIZE)
        assert (size, blocks[0], name) == (SIZE, 4096, "v4k")
        c.option(OPT_EXPORT_NAME, b"nowhere")
        assert c.closed()


def test_abort_is_acknowledged():
    with client() as c:
        assert c.ask(OPT_ABORT) == (REP_ACK, [])
        assert c.closed()


def test_meta_contexts():
    with client() as c:
        assert c.ask(OPT_STRUCTURED_REPLY)[0] == REP_ACK
        listed = (REP_META_CONTEXT, b"\0\0\0\0base:allocation")
        for queries, found in (((), [listed]), (("base:",), [listed]), (("x-none:",), []),
                               (("x-a:b", "base:allocation"), [listed])):
            kind, before = c.ask(OPT_LIST_META_CONTEXT, Client.meta_data("v", *queries))
            assert kind == REP_ACK and before == found, (queries, before)
        kind, before = c.ask(OPT_SET_META_CONTEXT, Client.meta_data("v"))
        assert kind == REP_ACK and before == []
        assert c.ask(OPT_SET_META_CONTEXT, Client.meta_data("nowhere"))[0] == ERR_UNKNOWN
        # Selected for one export, not valid for another.
        assert c.ask(OPT_SET_META_CONTEXT,
                     Client.meta_data("v4k", "base:allocation"))[0] == REP_ACK
        c.structured = True
        c.info("v", option=OPT_GO)
        assert c.call(BLOCK_STATUS, 0, 4096).error == EINVAL


def test_the_old_way_in():
    for flags, zeroes in ((1, 124), (3, 0)):
        with client(flags) as c:
            c.option(OPT_EXPORT_NAME, b"bystander")
            size, transmission = struct.unpack(">QH", c.take(10))
            assert size == SIZE and transmission & 1 and not transmission & SEND_DF
            assert c.take(zeroes) == bytes(zeroes)
            assert c.read(0, 512) == b"\x5a" * 512
            c.disconnect()


# ---- requests


def test_requests_that_break_the_rules_get_errors_and_the_session_goes_on():
    for structured in (True, False):
        with client().go("v", structured) as c:
            for kind, offset, length, flags, error in (
                    (READ, SIZE, 512, 0, EINVAL), (READ, SIZE - 512, 1024, 0, EINVAL),
                    (READ, 2**64 - 512, 1024, 0, EINVAL), (READ, 2**63, 512, 0, EINVAL),
                    (READ, 1, 512, 0, EINVAL), (READ, 0, 100, 0, EINVAL),
                    (READ, 0, 32 * MIB + 512, 0, EINVAL), (READ, 0, 0xfffffe00, 0, EINVAL),
                    (READ, 0, 512, 1 << 15, EINVAL), (READ, 0, 512, REQ_ONE, EINVAL),
                    (TRIM, SIZE, 512, 0, EINVAL), (WRITE_ZEROES, SIZE, 512, 0, ENOSPC),
                    (WRITE_ZEROES, 0, 512, DF, EINVAL), (FLUSH, 512, 0, 0, EINVAL),
                    (BLOCK_STATUS, 0, 4096, 0, EINVAL), (CACHE, 0, 512, 0, EINVAL),
                    (9, 0, 512, 0, EINVAL), (0xffff, 0, 512, 0, EINVAL)):
                assert c.call(kind, offset, length, flags=flags).error == error, (kind, offset)
            for offset, length in ((0, 0), (3, 0)):
                assert c.wait(c.request(READ, offset, length)).error == EINVAL
            for offset, data, error in ((SIZE, b"a" * 4096, ENOSPC), (1, b"b" * 512, EINVAL),
                                        (0, b"c" * 77, EINVAL), (2**64 - 512, b"d" * 512, ENOSPC),
                                        (0, bytes(32 * MIB + 512), EINVAL)):
                assert c.call(WRITE, offset, data=data).error == error
            c.write(0, b"e" * 512)
            assert c.read(0, 512) == b"e" * 512
    with client().go("v4k") as c:
        assert c.call(READ, 512, 512).error == EINVAL
    alive()


def test_a_bad_request_magic_ends_the_session():
    with client().go("v") as c:
        c.request(READ, 0, 512, magic=0x25609514)
        assert c.closed()
    alive()


def test_large_requests_in_every_way_of_replying():
    data = pattern(20 * MIB, 1)
    for structured, flags in ((True, 0), (True, DF), (False, 0)):
        with client().go("v", structured) as c:
            c.write(3584, data, FUA)
            assert c.read(3584, len(data), flags) == data
            cookies = {c.request(READ, i * 1536 * 1024, 1536 * 1024, flags=flags): i
                       for i in range(10)}
            for _ in range(10):
                cookie, reply = c.receive()
                i = cookies.pop(cookie)
                got = reply.bytes(i * 1536 * 1024, 1536 * 1024)
                skip = 3584 if i == 0 else 0
                assert got[skip:] == data[i * 1536 * 1024 - 3584 + skip:][:len(got) - skip]
                assert not flags & DF or len(reply.data) == 1
            c.disconnect()
        data = data[1:] + data[:1]


def test_pipelined_requests_are_all_answered_once_and_right():
    rng = random.Random(SEED)
    model = bytearray(4 * MIB)
    with client().go("v") as c:
        assert c.call(WRITE_ZEROES, 0, len(model)).error == 0
        for _ in range(40):
            slots = rng.sample(range(128), 100)  # 32 KiB each: no request meets another
            expected = {}
            for slot in slots:
                at = slot * 32768 + 512 * rng.randrange(16)
                n = 512 * rng.randrange(1, 33)
                kind = rng.choice((READ, READ, WRITE, WRITE, WRITE_ZEROES, FLUSH))
                if kind == READ:
                    expected[c.request(READ, at, n)] = (at, bytes(model[at:at + n]))
                elif kind == WRITE:
                    model[at:at + n] = data = rng.randbytes(n)
                    expected[c.request(WRITE, at, data=data, flags=rng.choice((0, FUA)))] = None
                elif kind == WRITE_ZEROES:
                    model[at:at + n] = bytes(n)
                    expected[c.request(WRITE_ZEROES, at, n, flags=rng.choice((0, NO_HOLE)))] = None
                else:
                    expected[c.request(FLUSH)] = None
            while expected:
                cookie, reply = c.receive()
                want = expected.pop(cookie)
                assert reply.error == 0
                assert want is None or reply.bytes(want[0], len(want[1])) == want[1]
        assert c.read(0, len(model)) == bytes(model)


def test_block_status():
    with client().go("v", status=True) as c:
        assert c.call(WRITE_ZEROES, 0, SIZE).error == 0
        c.write(8192, b"x" * 4096)
        c.write(16384, b"y" * 8192)
        holes, data = 3, 0
        reply = c.call(BLOCK_STATUS, 0, 32768)
        assert reply.extents == [(8192, holes), (4096, data), (4096, holes), (8192, data),
                                 (8192, holes)], reply.extents
        assert c.call(BLOCK_STATUS, 0, 32768, flags=REQ_ONE).extents == [(8192, holes)]
        assert c.call(BLOCK_STATUS, 8704, 1024).extents == [(1024, data)]
        assert c.call(BLOCK_STATUS, 11776, 1024).extents == [(512, data), (512, holes)]
        assert c.call(BLOCK_STATUS, 0, SIZE + 512).error == EINVAL
        for i in range(700):
            c.request(WRITE, MIB + i * 8192, data=b"z" * 4096)
        for _ in range(700):
            assert c.receive()[1].error == 0
        reply = c.call(BLOCK_STATUS, MIB, 8 * MIB)
        assert reply.extents[0] == (4096, data) and reply.extents[1] == (4096, holes)
        assert 2 <= len(reply.extents) and sum(e[0] for e in reply.extents) <= 8 * MIB
        c.disconnect()


def test_writes_on_one_connection_show_on_another():
    with client().go("v") as a, client().go("v") as b:
        assert a.flags & CAN_MULTI_CONN
        for i in range(64):
            data = pattern(4096, i)
            a.write(i * 4096, data)
            assert b.read(i * 4096, 4096) == data
        assert b.call(FLUSH).error == 0


# ---- clients that do not behave


def test_sessions_that_break_off_anywhere_leave_the_server_alone():
    greeting = struct.pack(">I", 3)
    go = OPTION_MAGIC + struct.pack(">II", OPT_GO, len(Client.go_data("v"))) + Client.go_data("v")
    write = struct.pack(">IHHQQI", REQUEST_MAGIC, 0, WRITE, 1, 0, 8192) + b"w" * 8192
    everything = greeting + go + write
    for n in list(range(0, len(everything) - 8192, 7)) + [len(everything) - 4000]:
        for half_open in (False, True):
            with client(None) as c:
                c.send(everything[:n])
                if half_open:
                    c.sock.shutdown(socket.SHUT_WR)
                    try:
                        while c.take(1):
                            pass
                    except Closed:
                        pass
    alive()


def test_what_was_asked_before_a_half_close_is_answered():
    with client().go("v") as c:
        data = pattern(MIB, 7)
        c.request(WRITE, 0, data=data)
        c.sock.shutdown(socket.SHUT_WR)
        assert c.receive()[1].error == 0
        assert c.closed()
    with client().go("v") as c:
        assert c.read(0, MIB) == data


def test_a_client_that_does_not_read_its_replies_delays_nobody():
    with client().go("bystander") as slow:
        cookies = [slow.request(READ, (i % 32) * MIB, MIB) for i in range(64)]
        for _ in range(20):
            alive()
        for _ in cookies:
            _, reply = slow.receive()
            assert reply.error == 0
            assert sum(len(d) for d in reply.data.values()) == MIB


def test_clients_that_hold_all_shared_memory_leave_others_their_own():
    with contextlib.ExitStack() as stack:  # four, so that both of the server's threads have some
        slow = [stack.enter_context(client().go("bystander")) for _ in range(4)]
        held = [[c.request(READ, i % 32 * MIB, MIB) for i in range(64)] for c in slow]
        for _ in range(4):
            with client().go("v") as c:
                c.write(0, pattern(4 * MIB, 2))
                assert c.read(0, 4 * MIB) == pattern(4 * MIB, 2)
        for c, cookies in zip(slow, held):
            for _ in cookies:
                _, reply = c.receive()
                assert sum(len(d) for d in reply.data.values()) == MIB


def test_a_client_that_stops_within_its_payload_delays_nobody():
    with client().go("v") as stuck:
        stuck.send(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, WRITE, 1, 0, 32 * MIB) + bytes(100000))
        with client(None), client(None):
            for _ in range(20):
                alive()


def test_garbage_at_every_stage():
    rng = random.Random(SEED)
    for i in range(200):
        with client(None if i % 4 == 0 else 3) as c:
            try:
                if i % 4 >= 2:
                    c.go("v", structured=i % 8 >= 4)
                if i % 4 == 1:
                    for _ in range(20):
                        data = rng.randbytes(rng.randrange(64))
                        c.option(rng.randrange(12), data, rng.choice((None, rng.randrange(80))))
                elif i % 4 == 3:
                    for _ in range(40):
                        c.request(rng.randrange(1, 12), rng.randrange(2**rng.randrange(1, 65)),
                                  rng.randrange(2**rng.randrange(1, 20)),
                                  flags=rng.randrange(2**rng.randrange(1, 17)))
                c.send(rng.randbytes(rng.randrange(2000)))
            except Closed:
                pass
    alive()


def find_in_file(path, needle):
    """Where the bytes are in a file that is mostly holes."""
    with open(path, "rb") as f:
        at = 0
        while True:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                return -1
            end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            while at < end:
                piece = os.pread(f.fileno(), 8 * MIB + len(needle), at)
                found = piece.find(needle)
                if found >= 0:
                    return at + found
                at += 8 * MIB
            at = end


def test_damaged_data_is_an_error_in_every_way_of_replying():
    bad = 2400 * 1024  # within the tenth 256 KiB of a long read
    data = pattern(8 * MIB, 11)
    node.vstore("volume", "create", "damaged", "--size", str(len(data)))
    node.vstore("nbd", "export", "damaged")
    with client().go("damaged") as c:
        c.write(0, data, FUA)
        c.disconnect()
    node.stop()
    at = find_in_file(node.store, data[bad + 1024:bad + 1536])
    assert at >= 0, "random data is not stored as it is"
    with open(node.store, "r+b") as f:
        f.seek(at)
        f.write(bytes(512))
    node.start()
    with client().go("damaged") as c:
        reply = c.call(READ, 0, len(data))
        assert reply.error == EIO
        for offset, piece in reply.data.items():  # what came before the error is right
            assert data[offset:offset + len(piece)] == piece
        assert c.call(READ, bad, 4096).error == EIO
        assert c.call(READ, 0, len(data), flags=DF).error == EIO
        assert c.call(READ, bad - 4096, MIB, flags=DF).error == EIO
        assert c.read(0, MIB) == data[:MIB]
        c.disconnect()
    with client().go("damaged", structured=False) as c:
        assert c.call(READ, bad, 4096).error == EIO
        assert c.read(0, MIB) == data[:MIB]
        c.request(READ, 0, len(data))  # the reply has begun when the damage is met
        try:
            c.receive()
            raise AssertionError("a reply that cannot be right was completed")
        except Closed:
            pass
    alive()
    node.vstore("nbd", "unexport", "damaged")
    node.vstore("volume", "delete", "damaged")


def main():
    global node
    for tool in ("nbdinfo", "nbdcopy", "qemu-img", "qemu-io"):
        if not shutil.which(tool):
            print(f"1..0 # SKIP {tool} is not installed (packages libnbd-bin, qemu-utils)")
            return
    with Node(iscsi=False) as node:
        node.vstore("volume", "create", "v", "--size", str(SIZE))
        node.vstore("volume", "create", "v4k", "--size", str(SIZE), "--sector", "4096")
        node.vstore("volume", "create", "bystander", "--size", str(SIZE))
        for name in ("v", "v4k", "bystander"):
            node.vstore("nbd", "export", name)
        qemu_io("bystander", "write -P 0x5a 0 64M")
        tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
