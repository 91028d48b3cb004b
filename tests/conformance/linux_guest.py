"""A Linux guest under QEMU's tcg, that tests drive line by line.

    with Linux(folder, script, modules, nics=2) as g:
        g.sh("mount -t ext4 /dev/vda /mnt")

Each network interface has a network of its own, 10.0.2.0/24, 10.0.3.0/24 and so on, in which
address 2 is the host's loopback. Nothing of it is on the machine: kernel and programs come from
packages that are unpacked (debian.py), and QEMU reaches only 127.0.0.1.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess

import debian
import guest
from node import Console, until

TOOLS = ("qemu-system-x86_64", "apt-get", "ldd")
# A shell on the console: "=N=" with the exit status stands behind what each line said.
READ = """
echo =ready=
while read -r line && [ "$line" != bye ]; do
    eval "$line"
    echo "=$?="
done
"""


def missing(packages=(), modules=(), tools=(), kernel=guest.CLOUD):
    """Why guests cannot run here, or None."""
    for tool in (*TOOLS, *tools):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    try:
        for package in packages:
            debian.unpacked(package)
        guest.kernel_and_modules(list(modules), kernel)
    except (guest.Missing, RuntimeError) as why:
        return str(why).splitlines()[0]
    return None


def networks(nics):
    """Lines of shell that bring up loopback and so many interfaces."""
    return "ifconfig lo 127.0.0.1 up\n" + "\n".join(
        f"ifconfig eth{i} 10.0.{i + 2}.15 netmask 255.255.255.0 up" for i in range(nics))


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


class Linux:
    """script: lines of shell before the tests' own; files: {guest path: host path or bytes};
    disks: values of QEMU's -blockdev without their node names, which become /dev/vda, ..."""

    def __init__(self, folder, script, modules=(), files=None, nics=1, disks=(),
                 kernel=guest.CLOUD):
        self.folder, self.nics = folder, nics
        image, ordered = guest.kernel_and_modules(list(modules), kernel)
        ramdisk = guest.make_initrd(os.path.join(folder, "initrd"),
                                    "\nstty -echo\n" + script + READ, ordered, files or {})
        self.start(image, ramdisk, disks)

    def start(self, image, ramdisk, disks):
        sockets = [os.path.join(self.folder, name) for name in ("console", "qmp")]
        command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults",
                   "-no-reboot", "-display", "none", "-kernel", image, "-initrd", ramdisk,
                   "-append", "console=ttyS0 loglevel=1 panic=-1",
                   "-serial", f"unix:{sockets[0]},server=on,wait=on",
                   "-qmp", f"unix:{sockets[1]},server=on,wait=off"]
        for i in range(self.nics):
            backend, address = self.interface(i)
            command += ["-netdev", f"{backend},id=n{i}",
                        "-device", f"virtio-net-pci,id=nic{i},netdev=n{i},mac={address},romfile="]
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

    def interface(self, i):
        """(what QEMU makes of a network interface, its hardware address)"""
        return f"user,net=10.0.{i + 2}.0/24", f"52:54:00:12:34:{i + 0x56:02x}"

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
