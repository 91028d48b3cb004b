#!/usr/bin/env python3
"""Linux's own NFS client against the server, by NFSv4.1 and 4.2: what programs do with files, several
connections for one session, all shares below one mount, and the server killed while a file is locked
and written. One guest for all of it; it takes its tests in turn."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..")]

import guest as e2e_guest  # noqa: E402
import iscsi_guest  # noqa: E402
import tap  # noqa: E402
from node import BUILD, until  # noqa: E402

MODULES = ["virtio_pci", "virtio_net", "nfsv4"]
PROGRAM = os.path.join(BUILD, "tests", "conformance", "nfs_files")
SERVER = os.path.join(BUILD, "tests", "conformance", "nfs_serve")
SHELL = """
stty -echo
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
echo =ready=
while read -r line && [ "$line" != bye ]; do
    eval "$line"
    echo "=$?="
done
"""
server = guest = None


class Guest(iscsi_guest.Guest):
    """One with an NFS client instead of an initiator."""

    def __init__(self, folder):  # pylint: disable=super-init-not-called
        self.folder, self.nics = folder, 1
        image, ordered = e2e_guest.kernel_and_modules(MODULES)
        files = {"nfs_files": PROGRAM, "etc/passwd": b"root:x:0:0:root:/:/bin/sh\n",
                 **{f"{m}/.keep": b"" for m in ("one", "two", "all", "tmp")}}
        self.start(image, e2e_guest.make_initrd(os.path.join(folder, "initrd"), SHELL, ordered,
                                                files), ())

    def mount(self, path, folder, options):
        self.say(f"mount -t nfs4 -o addr=10.0.2.2,clientaddr=10.0.2.15,port={server.port},"
                 f"proto=tcp,{options} 10.0.2.2:{path} {folder}")


class Server:
    def __init__(self, folder):
        self.store, self.port = os.path.join(folder, "store"), 0
        self.start()

    def start(self):
        self.process = subprocess.Popen([SERVER, self.store, f"127.0.0.1:{self.port}"],
                                        stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline()
        assert said, f"the server ended with {self.process.wait()}"
        self.port = int(said.rsplit(":", 1)[1])

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait()


def test_files_by_42_over_three_connections():
    guest.mount("/one", "/one", "vers=4.2,nconnect=3")
    assert "vers=4.2" in guest.say("grep ' /one nfs4' /proc/mounts")
    guest.say("mkdir /one/work && /nfs_files /one/work 2")


def test_files_by_41_below_all_shares():
    guest.mount("/", "/all", "vers=4.1")
    assert guest.say("ls /all").split() == ["one", "two"]
    assert "vers=4.1" in guest.say("grep ' /all nfs4' /proc/mounts")
    guest.say("mkdir /all/two/work && /nfs_files /all/two/work")


def test_both_see_the_same():
    guest.sh("""echo text > /one/seen
        [ "$(cat /all/one/seen)" = text ]
        echo more > /all/one/seen
        [ "$(cat /one/seen)" = more ]
        umount /all/two
        umount /all/one
        umount /all""")


def test_a_lock_survives_kills_of_the_server():
    """The only client that is remembered comes back at once, and the grace period is over."""
    guest.say("/nfs_files /one lock /tmp/stop > /tmp/said 2>&1 &")
    until(lambda: "locked" in guest.say("usleep 100000; cat /tmp/said"), "no lock")
    for _ in range(2):
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        time.sleep(0.5)
        server.start()
        guest.say("/nfs_files /one try", 1)
    guest.say("touch /tmp/stop; wait")
    said = guest.say("cat /tmp/said")
    assert said.startswith("locked\nwrote "), said
    guest.say("/nfs_files /one try")


def test_nothing_is_kept_of_who_has_left():
    guest.say("umount /one")
    with open(server.store + ".kept", "rb") as f:
        until(lambda: f.seek(0) == 0 and f.read() == b"\0\0\0\1\0\0\0\0", "a client is remembered")
    assert server.end() == 0


def main():
    global server, guest
    try:
        e2e_guest.kernel_and_modules(MODULES)
    except e2e_guest.Missing as why:
        print(f"1..0 # SKIP {why}")
        return
    if not shutil.which("qemu-system-x86_64"):
        print("1..0 # SKIP qemu-system-x86_64 is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="vstore-nfs4-") as folder:
        server = Server(folder)
        try:
            with Guest(folder) as guest:
                tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))
        finally:
            if server.process.poll() is None:
                server.end(signal.SIGKILL)


if __name__ == "__main__":
    main()
