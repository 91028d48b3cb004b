"""A Linux guest with open-iscsi (linux_guest.py).

    with Guest(folder, modules, packages, programs, nics=2) as g:
        g.sh("iscsiadm -m node --login")
"""

import os
import re

import debian
import guest
import linux_guest
from linux_guest import Linux, closure, from_package, networks
from node import BUILD, until

PACKAGES = ["open-iscsi", "libopeniscsiusr", "libisns0", "libkmod2"]
MODULES = ["virtio_pci", "virtio_net", "iscsi_tcp", "sd_mod", "crc32c_intel"]
TOOLS = ("/sbin/mke2fs", "/sbin/resize2fs")
INITIATOR = "iqn.1993-08.org.debian:01:guest"
SHELL = """
echo InitiatorName={initiator} > /etc/iscsi/initiatorname.iscsi
{networks}
iscsid -f > /dev/null 2>&1 &
until iscsiadm -m session > /dev/null 2>&1; [ $? = 21 ]; do usleep 100000; done
"""


def missing(packages=(), modules=(), kernel=guest.CLOUD):
    """Why guests cannot run here, or None."""
    return linux_guest.missing([*PACKAGES, *packages], [*MODULES, *modules], TOOLS, kernel)


class Guest(Linux):
    """programs: {guest path: host path} beside the initiator; the rest as Linux has it."""

    def __init__(self, folder, modules=(), packages=(), programs=None, files=None, nics=1,
                 disks=(), kernel=guest.CLOUD):
        trees = [debian.unpacked(p) for p in (*PACKAGES, *packages)]
        folders = [os.path.join(t, d) for t in trees for d in
                   ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "lib", "usr/lib")]
        wanted = {"sbin/mkfs.ext4": "/sbin/mke2fs",  # a name that busybox does not know
                  "sbin/resize2fs": "/sbin/resize2fs"}
        wanted |= {f"sbin/{p}": from_package("open-iscsi", p) for p in ("iscsid", "iscsiadm")}
        inside = closure(wanted | (programs or {}), folders)
        inside["etc/iscsi/iscsid.conf"] = from_package("open-iscsi", "etc/iscsi/iscsid.conf")
        inside["etc/passwd"] = b"root:x:0:0:root:/:/bin/sh\n"
        inside["run/lock/iscsi/.keep"] = inside["var/lib/iscsi/.keep"] = b""
        inside["guest_load"] = os.path.join(BUILD, "tests", "e2e", "guest_load")
        super().__init__(folder, SHELL.format(initiator=INITIATOR, networks=networks(nics)),
                         [*MODULES, *modules], inside | (files or {}), nics, disks, kernel)

    # ---- records of open-iscsi

    def node(self, iqn, portal, settings):
        """A record for a portal of the host's loopback ("ADDR:PORT,TAG"); returns iscsiadm's words
        for it. What SendTargets shows are the host's own addresses: the guest sees others."""
        name = f"iscsiadm -m node -T {iqn} -p {portal}"
        self.say(f"{name} -o new > /dev/null")
        self.update(name, settings)
        return name

    def update(self, name, settings):
        self.say(f"{name} -o update " + " ".join(f"-n '{k}' -v '{v}'" for k, v in settings.items()))

    # ---- load


class Load:
    """guest_load on a disk of the guest; it goes on in the background. Its answers come through a
    file, so that several do not talk into each other on the console."""

    def __init__(self, g, disk, mib):
        self.g, self.name = g, os.path.basename(disk)
        g.say(f"mkfifo /run/{self.name}.in")
        g.say(f"/guest_load {disk} {mib} < /run/{self.name}.in > /run/{self.name}.out 2>&1 &")
        g.say(f"sleep 100000 > /run/{self.name}.in &")  # holds it open
        self.answer("running")

    def answer(self, pattern, lines=0):
        """What it says after so many lines, once it has."""
        def said():
            text = self.g.say(f"usleep 200000; tail -n +{lines + 1} /run/{self.name}.out")
            assert "error" not in text, f"{self.name}: {text}"
            return re.search(pattern + r".*\n", text)
        return until(said, f"the load on {self.name} says nothing")

    def lines(self):
        return int(self.g.say(f"wc -l < /run/{self.name}.out"))

    def ask(self):
        """Tells it to reread all that was acknowledged; `verified` has the answer."""
        self.asked = self.lines()
        self.g.say(f"echo verify > /run/{self.name}.in")

    def verified(self):
        """How many writes were acknowledged so far; none of them is lost."""
        found = self.answer(r"verified (\d+) (\d+) (\d+)", self.asked)
        assert found.group(3) == "0", f"{self.name}: {found.group(0)}"
        self.flushes = int(found.group(2))
        return int(found.group(1))

    def verify(self):
        self.ask()
        return self.verified()

    def quit(self):
        before = self.lines()
        self.g.say(f"echo quit > /run/{self.name}.in")
        self.answer("done", before)
