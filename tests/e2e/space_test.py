#!/usr/bin/env python3
"""A store that fills up: events say so, writes fail with the protocol's code, a guest is paused and
goes on when there is room again."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import node as nodes  # noqa: E402
import tap  # noqa: E402

MIB = 1 << 20
DISK = 5 * MIB  # of the guest: its BIOS writes about a megabyte in four seconds

# Writes noise in pieces of 32 KiB from sector 64 on to the end of its disk, then answers each byte
# on the serial port with how far it came: D done, E a write failed.
GUEST = """
	.code16
	.globl _start
_start:	ljmp $0, $1f
1:	xorw %ax, %ax
	movw %ax, %ds
	cli
	movw %ax, %ss
	movw $0x7c00, %sp
	sti
	movb %dl, drive
	movw $0x1000, %ax
	movw %ax, %es
	movl $1, %ebp
next:	xorw %di, %di
	movw $8192, %cx
fill:	imull $1664525, %ebp, %ebp
	addl $1013904223, %ebp
	movl %ebp, %eax
	stosl
	loop fill
	movw $packet, %si
	movb drive, %dl
	movw $0x4300, %ax
	int $0x13
	movb $'E', status
	jc tell
	addl $64, lba
	cmpl $SECTORS, lba
	jb next
	movb $'D', status
tell:	movw $0x3fd, %dx
	inb %dx, %al
	testb $1, %al
	jz 2f
	movw $0x3f8, %dx
	inb %dx, %al
	movb status, %al
	outb %al, %dx
2:	hlt
	jmp tell
drive:	.byte 0
status:	.byte 0
	.align 4
packet:	.byte 16, 0
	.word 64
	.word 0, 0x1000
lba:	.long 64
	.long 0
	.org 510
	.word 0xaa55
"""


def make_guest(path):
    source = path + ".S"
    with open(source, "w") as f:
        f.write(GUEST.replace("SECTORS", str(DISK // 512 - 64)))
    nodes.run("as", "--32", "-o", path + ".o", source)
    nodes.run("ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", path, path + ".o")
    os.truncate(path, DISK)


def small_node():
    node = nodes.Node(init=False)
    nodes.run(nodes.VSTORE, "init", node.store, "--size", "160M", "--segment", "1M")
    return node


def fill(node, volume, megabytes):
    """Noise through NBD; how much of it went in before there was no space left."""
    path = os.path.join(node.state, "noise")
    with open(path, "wb") as f:
        f.write(os.urandom(megabytes * MIB))
    node.vstore("volume", "create", volume, "--size", f"{megabytes}M")
    node.vstore("nbd", "export", volume)
    done = subprocess.run(["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", path,
                           node.nbd_url(volume)], capture_output=True, text=True, check=False)
    node.vstore("nbd", "unexport", volume)
    return done


def await_event(node, after, kind, **fields):
    """The first event of that kind after an id; it must come."""
    for _ in range(20):
        events = node.api("GET", f"/v1/events?after={after}&wait=30")[1]
        for event in events:
            after = event["id"]
            if event["kind"] == kind and all(event[k] == v for k, v in fields.items()):
                return event
    raise AssertionError(f"no event {kind} {fields}")


def write(node, volume, offset, data):
    path = os.path.join(node.state, "data")
    with open(path, "wb") as f:
        f.write(data)
    node.vstore("nbd", "export", volume)
    nodes.run("qemu-io", "-f", "raw", "-c", f"write -s {path} {offset} {len(data)}", node.nbd_url(volume))
    node.vstore("nbd", "unexport", volume)


def test_what_a_deletion_frees():
    with small_node() as node:
        old, new = os.urandom(2 * MIB), os.urandom(MIB)
        for name in ("a", "b"):
            node.vstore("volume", "create", name, "--size", "8M")
        write(node, "a", 0, old)
        shown = node.json("volume", "show", "a")
        assert "stale" not in shown and 0 <= shown["unique_bytes"] - 2 * MIB <= 16384, shown
        # The same content elsewhere: now only the map is its own.
        write(node, "b", 0, old[MIB:])
        listed = node.api("GET", "/v1/volumes/a?wait=0")[1]
        assert listed["stale"] and listed["unique_bytes"] == shown["unique_bytes"] and listed["as_of"], listed
        assert node.json("volume", "show", "a")["unique_bytes"] == shown["unique_bytes"] - MIB
        assert node.json("volume", "show", "b")["unique_bytes"] <= 16384
        # What the snapshot alone keeps, and what it will give back.
        node.vstore("snapshot", "create", "a@s")
        assert node.json("volume", "show", "a")["snapshots"][0]["frees_if_deleted_bytes"] == 0
        write(node, "a", 0, new)
        snapshot = node.json("volume", "show", "a")["snapshots"][0]
        assert 0 <= snapshot["frees_if_deleted_bytes"] - MIB <= 16384, snapshot
        assert snapshot["unique_bytes"] == snapshot["frees_if_deleted_bytes"]
        assert node.json("snapshot", "list", "a")[0]["frees_if_deleted_bytes"] == snapshot["unique_bytes"]
        assert "FREES" in node.vstore("volume", "show", "a") and "FREES" in node.vstore("snapshot", "list")
        before = node.json("df")["stored_content_bytes"]
        node.vstore("snapshot", "delete", "a@s")
        freed = before - node.api("GET", "/v1/df?drain=true")[1]["stored_content_bytes"]
        assert freed == MIB and snapshot["unique_bytes"] - freed <= 16384, (freed, snapshot)
        assert node.api("GET", "/v1/volumes/a?wait=61")[0] == 400


def test_marks_and_no_space():
    with small_node() as node:
        capacity = node.json("df")["capacity_bytes"]
        done = fill(node, "a", 2 * capacity // MIB)
        assert done.returncode != 0 and "No space left" in done.stderr, done.stderr
        assert await_event(node, 0, "store.space", severity="error")["subject"] == "store"
        # Reading, listing and deleting still work, and give the space back.
        url = node.target("a")[0]
        nodes.run("qemu-io", "-r", "-f", "raw", "-c", "read 0 8M", url)
        node.vstore("target", "delete", nodes.IQN)
        last = node.api("GET", "/v1/events")[1][-1]["id"]
        node.vstore("volume", "delete", "a")
        used = node.api("GET", "/v1/df?drain=true")[1]["physical_used_bytes"]
        assert used < capacity // 2, (used, capacity)
        await_event(node, last, "store.space", severity="info")
        done = fill(node, "b", capacity // 4 // MIB)
        assert done.returncode == 0, done.stderr
        node.stop()
        node.check()
        node.start()


def test_a_thick_volume_has_room():
    with small_node() as node:
        capacity = node.json("df")["capacity_bytes"]
        refused = node.refused("volume", "create", "t", "--size", f"{capacity // 4096 * 4096}", "--thick")
        assert "reserve" in refused and "lacking" in refused, refused
        shown = node.json("volume", "create", "t", "--size", "8M", "--thick")
        assert shown["provisioning"] == "thick" and shown["reserved_bytes"] > 8 * MIB, shown
        assert node.json("df")["reserved_bytes"] == shown["reserved_bytes"]
        assert fill(node, "ballast", 2 * capacity // MIB).returncode != 0
        for _ in range(2):
            write(node, "t", 0, os.urandom(8 * MIB))
        refused = node.refused("snapshot", "create", "t@s")
        assert "thick" in refused and "delete snapshots or volumes" in refused, refused
        # Snapshots of others can be taken and deleted in a full store.
        node.vstore("snapshot", "create", "ballast@s")
        node.vstore("snapshot", "delete", "ballast@s")
        # The reservation outlives the daemon, also when it is killed.
        node.kill()
        node.start()
        write(node, "t", 0, os.urandom(8 * MIB))
        assert fill(node, "more", 8).returncode != 0
        refused = node.refused("volume", "set", "more", "--thick")
        assert "lacking" in refused, refused
        assert nodes.run(nodes.VSTORE, "--socket", node.socket, "--json", "volume", "set", "t", "--thin")
        assert node.json("volume", "show", "t")["provisioning"] == "thin"
        assert node.json("df")["reserved_bytes"] == 0
        node.stop()
        node.check()
        node.start()


def test_a_guest_waits_for_room():
    with small_node() as node:
        guest = os.path.join(node.state, "guest.img")
        make_guest(guest)
        node.vstore("volume", "import", guest, "disk", "--format", "raw")
        capacity = node.json("df")["capacity_bytes"]
        assert fill(node, "gap", 2).returncode == 0
        assert fill(node, "ballast", 2 * capacity // MIB).returncode != 0
        node.vstore("volume", "delete", "gap")
        assert node.api("GET", "/v1/df?drain=true")[0] == 200
        node.vstore("vm", "create", "writer", "--cpus", "1", "--memory", "64M", "--disk", "disk")
        node.vstore("vm", "start", "writer")
        held = await_event(node, 0, "vm.held", subject="writer")
        assert "no space" in held["message"] and "paused" in held["message"], held
        assert node.json("vm", "show", "writer")["state"] == "paused"
        # The daemon's death changes nothing about it.
        node.kill()
        node.start()
        node.vstore("volume", "delete", "ballast")
        shown = node.wait_vm("writer", "running")
        assert shown["pid"], shown
        console = node.console("writer")
        console.send("?")
        assert console.wait_for("[DE]").group() == "D"
        node.vstore("vm", "stop", "writer")
        shown = node.json("volume", "show", "disk")
        assert shown["logical_bytes"] > DISK * 9 // 10, shown
        node.stop()
        node.check()
        node.start()


if __name__ == "__main__":
    tap.run(test_what_a_deletion_frees, test_marks_and_no_space, test_a_thick_volume_has_room, test_a_guest_waits_for_room)
