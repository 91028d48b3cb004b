"""The port mapper of the NFS server, and who needs one: clients that are told no port (rpcinfo, libnfs,
QEMU's nfs driver) and a VM whose disk they keep in a datastore. All in a network namespace, where
ports 111 and 2049 are ours. Needs root."""

import hashlib
import os
import random
import re
import subprocess
import sys

import debian
import guest
import node as vs

import tap

INSIDE = "inside"
MIB = 1 << 20
HOST = "127.0.0.1"
RPCINFO = os.path.join(debian.unpacked("rpcbind"), "usr/sbin/rpcinfo")
VM_SECONDS = 300  # a bound on waiting

GUEST = """
echo found $(dd if=/dev/vda bs=512 count=1 2>/dev/null | head -c 8)
dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null
dd if=/tmp/data of=/dev/vda bs=64k seek=16 conv=fsync 2>/dev/null && echo written
echo 3 >/proc/sys/vm/drop_caches
echo sent $(sha256sum </tmp/data)
echo read $(dd if=/dev/vda bs=64k skip=16 count=64 2>/dev/null | sha256sum)
"""

if sys.argv[1:] != [INSIDE]:
    guest.kernel()  # fetched where there is a network
    os.execvp("unshare", ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"',
                          sys.executable, os.path.abspath(__file__), INSIDE])

node = vs.Node(iscsi=False, nbd=False, nfs=True,
               options=["--nfs-portmap", f"{HOST}:111", "--nfs-portmap", "[::1]:111"])
node.listen["nfs"] = f"{HOST}:2049"


def url(name):
    return f"nfs://{HOST}/vms/{name}"


def path(name):
    return os.path.join(node.state, name)


def make(name, size):
    with open(path(name), "wb") as f:
        f.write(random.Random(name).randbytes(size))
    return path(name)


def stored(name):
    """The file's bytes by way of the node."""
    node.vstore("datastore", "get", f"vms/{name}", path("got"))
    with open(path("got"), "rb") as f:
        data = f.read()
    os.unlink(path("got"))
    return data


def test_rpcinfo_sees_what_is_served():
    text = vs.run(RPCINFO, "-p", HOST)
    seen = {tuple(int(word) if word.isdigit() else word for word in line.split()[:4])
            for line in text.splitlines()[1:]}
    assert {(100003, 3, "tcp", 2049), (100003, 4, "tcp", 2049), (100005, 3, "tcp", 2049),
            (100000, 2, "tcp", 111), (100000, 4, "tcp", 111)} <= seen, text
    # what a Linux client says when it has restarted comes by no other transport
    assert [s for s in seen if s[2] != "tcp"] == [(100024, 1, "udp", 2049)], text
    for transport, program, version in (("tcp", "100003", "3"), ("tcp", "100005", "3"), ("tcp", "100021", "4"),
                                        ("tcp", "100024", "1"), ("udp", "100024", "1")):
        assert "ready and waiting" in vs.run(RPCINFO, "-T", transport, HOST, program, version)


def test_the_node_says_where_it_listens():
    ends = [(e["kind"], e["address"]) for e in node.json("status")["front_ends"]]
    assert ("portmap", f"{HOST}:111") in ends and ("portmap", "[::1]:111") in ends, ends
    assert ("nfs", f"{HOST}:2049") in ends, ends


def start_another(*options):
    """What a daemon that must not start says."""
    state = path("another")
    if not os.path.exists(state):
        os.mkdir(state)
        vs.run(vs.VSTORE, "init", os.path.join(state, "store.img"), "--size", "1G")
    done = subprocess.run([vs.VSTORED, "--config", "/dev/null", "--state", state, "--iscsi", "off", *options],
                          capture_output=True, text=True, timeout=VM_SECONDS)
    assert done.returncode in (1, 2), done
    return done.stderr


def test_what_does_not_start():
    portmap = ("--nfs-portmap", f"{HOST}:111")
    assert "NFS is off" in start_another("--nfs", "off", *portmap)
    assert f"port mapper on {HOST}:111: another program" in start_another("--nfs", f"{HOST}:2050", *portmap)


def test_libnfs_without_a_port():
    node.vstore("datastore", "create", "vms")
    node.vstore("datastore", "share", "vms", "--client", HOST, "--squash", "none")
    local = make("libnfs", MIB + 5)
    vs.run("nfs-cp", local, url("copied"))
    assert "copied" in vs.run("nfs-ls", f"nfs://{HOST}/vms/")
    with open(local, "rb") as f:
        assert stored("copied") == f.read()


def test_qemu_img():
    local = make("image", 8 * MIB + 512 * 3)
    vs.run("qemu-img", "convert", "-f", "raw", "-O", "raw", local, url("image.raw"))
    vs.run("qemu-img", "compare", "-f", "raw", "-F", "raw", local, url("image.raw"))
    with open(local, "rb") as f:
        assert stored("image.raw") == f.read()
    vs.run("qemu-img", "create", "-f", "qcow2", url("image.qcow2"), "64M")
    vs.run("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", local, url("image.qcow2"))
    assert "No errors" in vs.run("qemu-img", "check", "-f", "qcow2", url("image.qcow2"))
    vs.run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", local, url("image.qcow2"))


def qemu_io(name, *commands):
    words = [word for c in commands for word in ("-c", c)]
    text = vs.run("qemu-io", "-f", "raw", *words, url(name))
    assert "failed" not in text and "error" not in text, text


def test_qemu_io():
    vs.run("qemu-img", "create", "-f", "raw", url("pattern"), "16M")
    qemu_io("pattern", "write -P 0x5a 0 3M", "write -P 0xa5 1536 4096", "flush",
            "read -P 0x5a 0 1536", "read -P 0xa5 1536 4096", "read -P 0 8M 1M")
    data = stored("pattern")
    assert len(data) == 16 * MIB
    assert data == (b"\x5a" * 1536 + b"\xa5" * 4096).ljust(3 * MIB, b"\x5a").ljust(16 * MIB, b"\0")


def test_a_vm_on_qemus_nfs_driver():
    with open(path("disk"), "wb") as f:
        f.write(b"thedisk!".ljust(32 * MIB, b"\0"))
    vs.run("qemu-img", "convert", "-f", "raw", "-O", "raw", path("disk"), url("disk"))
    kernel, modules = guest.kernel_and_modules()
    initrd = guest.make_initrd(path("initrd"), GUEST, modules)
    text = vs.run("qemu-system-x86_64", "-accel", "tcg", "-m", "256M", "-nodefaults", "-display", "none",
                  "-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
                  "-append", "console=ttyS0 quiet loglevel=0",
                  "-drive", f"file={url('disk')},format=raw,if=virtio,cache=none", timeout=VM_SECONDS)
    assert "found thedisk!" in text and "written" in text, text
    sent, read = (re.search(word + r" ([0-9a-f]{64})", text).group(1) for word in ("sent", "read"))
    assert sent == read, text
    data = stored("disk")
    assert len(data) == 32 * MIB and data[:8] == b"thedisk!"
    assert hashlib.sha256(data[MIB:5 * MIB]).hexdigest() == sent
    assert not any(data[5 * MIB:])


def test_a_killed_daemon_is_found_again():
    node.kill()
    node.start()
    assert "copied" in vs.run("nfs-ls", f"nfs://{HOST}/vms/")


with node:
    tap.run(*[test for name, test in list(globals().items()) if name.startswith("test_")])
