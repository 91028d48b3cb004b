#!/usr/bin/env python3
"""The daemon's iSCSI target as the tools of libiscsi see it, QEMU's initiator beside a file that
has the same written to it (blkverify), and many sessions of one initiator at once."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..")]

import tap  # noqa: E402
from node import IQN, LOAD, Node, run, until  # noqa: E402

MIB = 1 << 20
TOOLS = ("iscsi-inq", "iscsi-perf", "iscsi-readcapacity16", "iscsi-swp", "qemu-io")
seed = int(os.environ.get("VSTORE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
node = None


def test_capacity_is_that_of_the_volume():
    for url, sector, exponent in ((node.urls[0], 512, 3), (node.urls[1], 4096, 0)):
        said = run("iscsi-readcapacity16", url)
        for line in (f"RETURNED LOGICAL BLOCK ADDRESS:{64 * MIB // sector - 1}",
                     f"LOGICAL BLOCK LENGTH IN BYTES:{sector}", f"EXPONENT:{exponent}",
                     "LBPME:1 LBPRZ:1", f"Total size:{64 * MIB}"):
            assert line + "\n" in said, said


def test_inquiry():
    said = run("iscsi-inq", node.urls[0])
    for line in ("Peripheral Qualifier:CONNECTED", "Peripheral Device Type:DIRECT_ACCESS",
                 "CmdQue:1"):
        assert line + "\n" in said, said
    for standard in ("iSCSI", "SPC-4", "SBC-3"):
        assert re.search(f"^Version Descriptor:.* {standard}$", said, re.M), said
    for page in ("0", "128", "131", "176", "177", "178"):
        run("iscsi-inq", "-e", "1", "-c", page, node.urls[0], errors="replace")


def test_software_write_protection_lasts_beyond_the_session_that_set_it():
    write = ("qemu-io", "-f", "raw", "-c", "write 0 4k", node.urls[1])
    run(*write)
    run("iscsi-swp", "-s", "on", node.urls[0])
    done = subprocess.run(["qemu-io", "-f", "raw", "-c", "write 0 4k", node.urls[0]],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "write protected" in done.stderr, done
    assert "SWP:1" in run("iscsi-swp", "-s", "off", node.urls[0])
    assert "SWP:0" in run("iscsi-swp", node.urls[0])
    run("qemu-io", "-f", "raw", "-c", "write 0 4k", node.urls[0])


def test_reads_of_iscsi_perf():
    for more in ((), ("-r",)):
        said = run("iscsi-perf", "-m", "32", "-b", "8", "-t", "1", *more, node.urls[0])
        assert int(re.search(r"iops average (\d+)", said).group(1)) > 0, said


def test_qemu_finds_in_the_volume_what_it_finds_in_a_file():
    """blkverify compares every read; a byte changed behind its back shows that it does."""
    chance = random.Random(seed)
    path = os.path.join(node.state, "beside.raw")
    run("truncate", "-s", str(64 * MIB), path)
    both = ("--image-opts", f"driver=blkverify,raw.driver=file,raw.filename={path},"
            "raw.cache.direct=on,test.driver=raw,"
            "test.file.driver=iscsi,test.file.transport=tcp,test.file.lun=2,"
            f"test.file.portal={node.listen['iscsi']},test.file.target={IQN}")
    commands = []
    for _ in range(80):
        length = chance.choice((512, 4096, 5632, 65536, 70144, MIB + 512, 3 * MIB))
        at = chance.randrange((16 * MIB - length) // 512) * 512
        what = chance.choice((f"write -P {chance.randrange(256)}", "write -P 0", "read"))
        commands += ["-c", f"{what} {at} {length}"]
    commands += ["-c", "flush", "-c", "read 0 16M"]
    done = subprocess.run(["qemu-io", *commands, *both], capture_output=True, text=True)
    assert done.returncode == 0, f"VSTORE_SEED={seed}: {done.stderr}"
    with open(path, "r+b") as f:
        byte = f.read(5 * MIB)[-1]
        f.seek(5 * MIB - 1)
        f.write(bytes([byte ^ 1]))
    done = subprocess.run(["qemu-io", "-c", "read 0 16M", *both], capture_output=True, text=True)
    assert done.returncode == 1 and "contents mismatch at offset 5242" in done.stderr, done


def test_sessions_of_one_initiator_work_side_by_side():
    got = {}

    def fill():
        got.update(json.loads(run(LOAD, "fill", node.urls[1], "--sessions", "4", "--depth", "8",
                                  "--seconds", "4")))

    def four():
        found = node.json("target", "sessions")
        return found if len(found) == 4 else None
    thread = threading.Thread(target=fill)
    thread.start()
    shown = until(four, "there are no four sessions", 60)
    thread.join()
    assert len({s["isid"] for s in shown}) == 4 and got["requests"] > 0, (shown, got)
    for count in ("1", "1001"):
        got = json.loads(run(LOAD, "read", node.urls[1], "--sessions", "4", "--count", count))
        assert got["requests"] == int(count), got
    run(LOAD, "read", node.urls[1], "--sessions", "17", status=2)


def main():
    global node
    for tool in TOOLS:
        if not shutil.which(tool):
            print(f"1..0 # SKIP {tool} is not installed (packages libiscsi-bin, qemu-utils)")
            return
    if "iscsi" not in run("qemu-img", "--help"):
        print("1..0 # SKIP QEMU has no iSCSI driver (package qemu-block-extra)")
        return
    with Node(nbd=False) as node:
        for name, sector in (("v", "512"), ("v4k", "4096"), ("beside", "512")):
            node.vstore("volume", "create", name, "--size", "64M", "--sector", sector)
        node.urls = node.target("v", "v4k", "beside")
        tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
