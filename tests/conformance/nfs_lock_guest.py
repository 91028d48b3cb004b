"""Linux guests that lock files over NFSv3, with rpcbind and rpc.statd from Debian's packages, on a
network where the server can call them back: a bridge, in the network namespace of the caller.

    with Lan() as lan, LockGuest(folder, lan, 1) as g:
        g.say("mount ...")
        held = Lock(g, "/mnt/file")
"""

import os

import debian
import guest
import linux_guest
from linux_guest import Linux, closure, from_package
from node import BUILD, until

PACKAGES = ["nfs-common", "rpcbind", "libwrap0"]
MODULES = ["virtio_pci", "virtio_net", "virtio_blk", "ext4", "nfsv3", "nfsv4", "lockd"]
TOOLS = ("ip", "unshare", "mke2fs")
# 198.18.0.0/15 is for tests of networks (RFC 2544); nobody else is in this namespace.
SERVER, NETWORK = "198.18.0.1", "198.18.0.0/24"
DISK_SIZE = 8 << 20
GRANTED_WITHIN = 120  # seconds; a bound on waiting, not a verdict on speed
# What rpc.statd remembers lies on a disk, and it tells of it when it starts.
SCRIPT = """
hostname {host}
ifconfig lo 127.0.0.1 up
ifconfig eth0 {address} netmask 255.255.255.0 up
mkdir -p /var/lib/nfs /v3 /v4
mount -t ext4 /dev/vda /var/lib/nfs
mkdir -p /var/lib/nfs/sm /var/lib/nfs/sm.bak
rpcbind
rpc.statd
"""


def missing():
    """Why such guests cannot run here, or None."""
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        return "bridges and taps need root and /dev/net/tun"
    return linux_guest.missing(PACKAGES, MODULES, TOOLS)


def address_of(number):
    return f"198.18.0.{number + 10}"


class Lan:
    """A bridge with the server's address."""

    def __enter__(self):
        for words in ("link set lo up", "link add bridge type bridge",
                      f"address add {SERVER}/24 dev bridge", "link set bridge up"):
            debian.run("ip", *words.split())
        return self

    def __exit__(self, *_):
        debian.run("ip", "link", "delete", "bridge")

    def port(self, number):
        """A tap for the guest of this number; the same one each time."""
        name = f"tap{number}"
        if not os.path.exists(f"/proc/sys/net/ipv4/conf/{name}"):
            debian.run("ip", "tuntap", "add", name, "mode", "tap")
            debian.run("ip", "link", "set", name, "master", "bridge", "up")
        return name


class LockGuest(Linux):
    """folder keeps its disk: with the same folder it is the same machine after a restart."""

    def __init__(self, folder, lan, number):
        self.lan, self.number = lan, number
        disk = os.path.join(folder, "disk")
        if not os.path.exists(disk):
            os.makedirs(folder, exist_ok=True)
            with open(disk, "wb") as f:
                f.truncate(DISK_SIZE)
            debian.run("mke2fs", "-q", "-t", "ext4", disk)
        for name in ("console", "qmp"):  # of a machine that was killed
            if os.path.exists(path := os.path.join(folder, name)):
                os.unlink(path)
        host = f"client{number}"
        super().__init__(
            folder, SCRIPT.format(host=host, address=address_of(number)), MODULES, self.files(host),
            disks=[{"driver": "raw", "file": {"driver": "file", "filename": disk}}])

    def files(self, host):
        wanted = {"sbin/rpcbind": from_package("rpcbind", "rpcbind")}
        wanted["sbin/rpc.statd"] = from_package("nfs-common", "rpc.statd")
        wanted["sbin/sm-notify"] = from_package("nfs-common", "sm-notify")
        inside = closure(wanted, [os.path.join(debian.unpacked("libwrap0"), "usr/lib/x86_64-linux-gnu")])
        names = f"127.0.0.1 localhost\n{address_of(self.number)} {host}\n"
        return inside | {
            "nfs_lock": os.path.join(BUILD, "tests", "conformance", "nfs_lock"),
            "etc/netconfig": "/etc/netconfig", "etc/hosts": names.encode(),
            "etc/nsswitch.conf": b"hosts: files\n",
            "etc/services": b"sunrpc 111/tcp portmapper\nsunrpc 111/udp portmapper\n",
            "etc/passwd": b"root:x:0:0::/:/bin/sh\n_rpc:x:100:65534::/run:/bin/sh\n",
            "etc/group": b"root:x:0:\nnogroup:x:65534:\n"}

    def interface(self, i):
        return (f"tap,ifname={self.lan.port(self.number)},script=no,downscript=no",
                f"52:54:00:12:34:{self.number:02x}")


class Lock:
    """A program in a guest that locks a file and holds the lock until release(), or counts."""

    count = 0

    def __init__(self, machine, path, kind="write", how="wait"):
        Lock.count += 1
        self.guest, self.said = machine, f"/tmp/lock{Lock.count}"
        command = f"/nfs_lock {path} {kind} {how} {self.said}"
        self.pid = machine.say(f"{command} > /dev/null 2>&1 & echo $!").strip()

    def word(self):
        return self.guest.say(f"usleep 50000; cat {self.said} 2> /dev/null || true").strip()

    def until(self, word):
        until(lambda: self.word() == word, lambda: f"{self.word()}, not {word}", GRANTED_WITHIN)
        return self

    def until_asleep(self):
        """Waits until the server has answered that the lock is somebody else's."""
        until(lambda: "nlmclnt_block" in self.guest.say(f"cat /proc/{self.pid}/stack"),
              lambda: f"it does not wait: {self.word()}: " + self.guest.say(f"cat /proc/{self.pid}/stack"))
        assert self.word() == "waits", self.word()
        return self

    def interrupt(self):
        self.guest.say(f"kill -USR1 {self.pid}")

    def release(self):
        self.guest.say(f"kill -KILL {self.pid}; wait {self.pid}", 137)


def can_lock(machine, path, kind="write"):
    said = machine.say(f"/nfs_lock {path} {kind} try - 2>&1; echo $?").split()
    assert said in (["0"], ["1"]), said
    return said == ["0"]
