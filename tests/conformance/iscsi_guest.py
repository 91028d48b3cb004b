"""A Linux guest with open-iscsi, under QEMU's tcg, that tests drive line by line.

    with Guest(folder, modules, packages, programs, nics=2) as g:
        g.sh("iscsiadm -m node --login")

Each network interface has a network of its own, 10.0.2.0/24, 10.0.3.0/24 and so on, in which
address 2 is the host's loopback. Nothing of it is on the machine: kernel and initiator come from
packages that are unpacked (debian.py), and QEMU reaches only 127.0.0.1.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import debian
import guest
from node import BUILD, Console, until

PACKAGES = ["open-iscsi", "libopeniscsiusr", "libisns0", "libkmod2"]
MODULES = ["virtio_pci", "virtio_net", "iscsi_tcp", "sd_mod", "crc32c_intel"]
TOOLS = ("qemu-system-x86_64", "apt-get", "ldd", "/sbin/mke2fs", "/sbin/resize2fs")
INITIATOR = "iqn.1993-08.org.debian:01:guest"
# A shell on the console: "=N=" with the exit status stands behind what each line said.
SHELL = """
stty -echo
echo InitiatorName={initiator} > /etc/iscsi/initiatorname.iscsi
ifconfig lo 127.0.0.1 up
{networks}
iscsid -f > /dev/null 2>&1 &
until iscsiadm -m session > /dev/null 2>&1; [ $? = 21 ]; do usleep 100000; done
echo =ready=
while read -r line && [ "$line" != bye ]; do
    eval "$line"
    echo "=$?="
done
"""


def missing(packages=(), modules=(), kernel=guest.CLOUD):
    """Why guests cannot run here, or None."""
    for tool in TOOLS:
        if not shutil.which(tool):
            return f"{tool} is not installed"
    try:
        for package in (*PACKAGES, *packages):
            debian.unpacked(package)
        guest.kernel_and_modules([*MODULES, *modules], kernel)
    except (guest.Missing, RuntimeError) as why:
        return str(why).splitlines()[0]
    return None


def closure(programs, folders):
    """Files of the guest by their paths there: programs, and all libraries that they load."""
    env = dict(os.environ, LD_LIBRARY_PATH=":".join(folders))
    files = {}
    for guest_path, path in programs.items():
        files[guest_path] = os.path.realpath(path)
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, env=env).stdout
        for name, where in re.findall(r"(\S+) => (/\S+)", listed):
            files["lib/x86_64-linux-gnu/" + os.path.basename(name)] = os.path.realpath(where)
        for loader in re.findall(r"^\s*(/lib64/\S+)", listed, re.M):
            files[loader.lstrip("/")] = os.path.realpath(loader)
    return files


def from_package(package, name):
    """A file of an unpacked package by the end of its path."""
    tree = debian.unpacked(package)
    for prefix in ("", "usr/", "sbin/", "usr/sbin/", "bin/", "usr/bin/"):
        if os.path.isfile(os.path.join(tree, prefix + name)):
            return os.path.join(tree, prefix + name)
    raise guest.Missing(f"package {package} has no {name}")


class Guest:
    """programs: {guest path: host path} beside the initiator; files: {guest path: path or bytes};
    disks: values of QEMU's -blockdev without their node names, which become /dev/vda, ..."""

    def __init__(self, folder, modules=(), packages=(), programs=None, files=None, nics=1,
                 disks=(), kernel=guest.CLOUD):
        self.folder, self.nics = folder, nics
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
        networks = "\n".join(f"ifconfig eth{i} 10.0.{i + 2}.15 netmask 255.255.255.0 up"
                             for i in range(nics))
        image, ordered = guest.kernel_and_modules([*MODULES, *modules], kernel)
        ramdisk = guest.make_initrd(os.path.join(folder, "initrd"),
                                    SHELL.format(initiator=INITIATOR, networks=networks),
                                    ordered, inside | (files or {}))
        self.start(image, ramdisk, disks)

    def start(self, image, ramdisk, disks):
        sockets = [os.path.join(self.folder, name) for name in ("console", "qmp")]
        command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults",
                   "-no-reboot", "-display", "none", "-kernel", image, "-initrd", ramdisk,
                   "-append", "console=ttyS0 loglevel=1 panic=-1",
                   "-serial", f"unix:{sockets[0]},server=on,wait=on",
                   "-qmp", f"unix:{sockets[1]},server=on,wait=off"]
        for i in range(self.nics):
            command += ["-netdev", f"user,id=n{i},net=10.0.{i + 2}.0/24",
                        "-device", f"virtio-net-pci,id=nic{i},netdev=n{i},romfile="]
        for i, disk in enumerate(disks):
            command += ["-blockdev", json.dumps(disk | {"node-name": f"d{i}"}),
                        "-device", f"virtio-blk-pci,drive=d{i}"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            self.console = Console(until(lambda: self.listening(sockets[0]), "QEMU does not start"))
            self.console.wait_for("=ready=")
        except BaseException:
            self.end()
            raise

    def listening(self, path):
        assert self.process.poll() is None, f"QEMU ended with {self.process.returncode}"
        return path if os.path.exists(path) else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def say(self, line, status=0):
        """One line of shell; returns what it said."""
        self.console.send(line + "\n")
        found = self.console.wait_for(r"(?s)^(.*?)=(\d+)=\r?\n")
        said = found.group(1).replace("\r", "")
        got = int(found.group(2))
        assert got == status, f"{line}: status {got}, not {status}: {said}"
        return said

    def sh(self, lines, status=0):
        """Several; all but the last must succeed."""
        *before, last = [line.strip() for line in lines.strip().splitlines()]
        return "".join([*map(self.say, before), self.say(last, status)])

    def qmp(self, command, **arguments):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.connect(os.path.join(self.folder, "qmp"))
            with s.makefile("rw") as f:
                f.readline()  # the greeting
                for request in ({"execute": "qmp_capabilities"},
                                {"execute": command, "arguments": arguments}):
                    f.write(json.dumps(request) + "\n")
                    f.flush()
                    while "event" in (answer := json.loads(f.readline())):
                        pass
                    assert "return" in answer, answer

    def cable(self, nic, plugged):
        """Pulls the cable of a network interface, or plugs it in."""
        self.qmp("set_link", name=f"nic{nic}", up=plugged)

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
