"""Guests for the end-to-end tests: a Linux kernel with an initial RAM disk, and a boot sector.

kernel(): Debian's cloud kernel, or its plain one, unpacked below build/cache.
make_initrd(): a RAM disk of busybox, kernel modules, a shell script and files.
boot_sector(): 512 bytes that read the disk through the BIOS, print to the serial port, power off.
"""

import atexit
import glob
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, "build", "cache")
BUSYBOX = "/bin/busybox"
CLOUD, PLAIN = "linux-image-cloud-amd64", "linux-image-amd64"
KERNELS = {CLOUD: "kernel", PLAIN: "kernel-amd64"}  # meta package: its folder below build/cache
DISK_MODULES = ["virtio_pci", "virtio_blk", "ext4"]


class Missing(Exception):
    """Something that this machine does not have; tests say SKIP with its text."""


class Kernel:
    def __init__(self, folder):
        images = glob.glob(os.path.join(folder, "boot", "vmlinuz-*"))
        if len(images) != 1:
            raise Missing("no kernel image in %s" % folder)
        self.image = images[0]
        self.release = os.path.basename(self.image)[len("vmlinuz-"):]
        self.modules = os.path.join(folder, "lib", "modules", self.release)
        self._paths = {}
        for path in glob.glob(os.path.join(self.modules, "kernel", "**", "*.ko"), recursive=True):
            self._paths[os.path.basename(path)[:-3].replace("-", "_")] = path
        with open(os.path.join(self.modules, "modules.builtin")) as f:
            self._builtin = {os.path.basename(line.strip())[:-3].replace("-", "_") for line in f}

    def load_order(self, names):
        """Paths of the modules called names and all they depend on, dependencies first."""
        order = []

        def visit(name):
            name = name.replace("-", "_")
            if name in self._builtin:
                return
            if name not in self._paths:
                raise Missing("kernel %s has no module %s" % (self.release, name))
            path = self._paths[name]
            if path in order:
                return
            with open(path, "rb") as f:
                info = re.search(rb"\0depends=([^\0]*)\0", f.read())
            for needed in info.group(1).decode().split(",") if info else []:
                if needed:
                    visit(needed)
            order.append(path)

        for name in names:
            visit(name)
        return order


def _download(package, folder):
    depends = subprocess.run(["apt-cache", "depends", package], capture_output=True,
                             text=True).stdout
    found = re.search(r"Depends: (linux-image-[0-9]\S*-amd64)", depends)
    if not found:
        raise Missing("apt knows no %s (apt-get update?)" % package)
    got = subprocess.run(["apt-get", "download", found.group(1)], cwd=folder, capture_output=True,
                         text=True)
    debs = glob.glob(os.path.join(folder, "*.deb"))
    if got.returncode or not debs:
        raise Missing("cannot download %s" % found.group(1))
    return debs[0]


def kernel(package=CLOUD):
    """The cached kernel of a meta package; downloads and unpacks it once."""
    folder = os.path.join(CACHE, KERNELS[package])
    if not os.path.exists(folder):
        os.makedirs(CACHE, exist_ok=True)
        work = "%s.%d" % (folder, os.getpid())
        os.mkdir(work)
        try:
            deb = _download(package, work)
            subprocess.run(["dpkg", "-x", deb, work], check=True)
            os.unlink(deb)
            try:
                os.rename(work, folder)
            except OSError:
                pass  # another test was faster
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return Kernel(folder)


def kernel_and_modules(names=tuple(DISK_MODULES), package=CLOUD):
    """(path of the kernel image, paths of the modules in load order)"""
    k = kernel(package)
    return _reachable(k.image), k.load_order(names)


def _reachable(path):
    """A copy that QEMU's own user can open, also where the project lies in a home folder of root's."""
    folder = tempfile.mkdtemp(prefix="vstore-kernel-", dir="/var/tmp")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chmod(folder, 0o755)
    return shutil.copy(path, folder)


def _cpio_entry(number, name, mode, data=b"", rdev=(0, 0)):
    name = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(name), 0)
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + name
    head += b"\0" * (-len(head) % 4)
    return head + data + b"\0" * (-len(data) % 4)


def make_initrd(path, script, modules=(), files=None):
    """Writes an initrd to path. script: shell lines run as init once proc, sys, dev are mounted and
    modules (paths, in this order) are loaded; it ends in a power-off. files: {guest path: host path
    or bytes}, made executable."""
    if not os.path.exists(BUSYBOX):
        raise Missing("no %s (package busybox-static)" % BUSYBOX)
    entries = []
    folders = set()

    def folder(name):
        if name and name not in folders:
            folder(os.path.dirname(name))
            folders.add(name)
            entries.append((name, stat.S_IFDIR | 0o755, b"", (0, 0)))

    def add(name, data, mode=0o755):
        name = name.lstrip("/")
        folder(os.path.dirname(name))
        entries.append((name, stat.S_IFREG | mode, data, (0, 0)))

    def content(source):
        if isinstance(source, bytes):
            return source
        with open(source, "rb") as f:
            return f.read()

    for name in ("proc", "sys", "dev", "mnt", "tmp", "etc", "run"):
        folder(name)
    entries.append(("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)))
    add("bin/busybox", content(BUSYBOX))
    load = ""
    for number, module in enumerate(modules):
        name = "modules/%03d-%s" % (number, os.path.basename(module))
        add(name, content(module), 0o644)
        load += "insmod /%s\n" % name
    init = ("#!/bin/busybox sh\n/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin\n"
            "/bin/busybox --install -s\nexport PATH=/bin:/sbin:/usr/bin:/usr/sbin\n"
            "mount -t proc proc /proc\nmount -t sysfs sys /sys\nmount -t devtmpfs dev /dev\n"
            "%s%s\nsync\npoweroff -f\n" % (load, script))
    add("init", init.encode())
    for name, source in (files or {}).items():
        add(name, content(source))
    with open(path, "wb") as f:
        for number, entry in enumerate(entries):
            f.write(_cpio_entry(number + 1, entry[0], entry[1], entry[2], entry[3]))
        f.write(_cpio_entry(0, "TRAILER!!!", 0))
    return path


class _Assembler:
    """16-bit x86 by bytes, with labels for 8- and 16-bit references."""

    def __init__(self, origin):
        self.origin, self.code, self.labels, self.fixes = origin, bytearray(), {}, []

    def label(self, name):
        self.labels[name] = len(self.code)

    def emit(self, *values):
        self.code += bytes(values)

    def short(self, opcode, name):
        self.code.append(opcode)
        self.fixes.append((len(self.code), name, 1))
        self.code.append(0)

    def near(self, opcode, name):
        self.code.append(opcode)
        self.fixes.append((len(self.code), name, 2))
        self.code += b"\0\0"

    def address(self, opcode, name):
        self.code.append(opcode)
        self.fixes.append((len(self.code), name, 0))
        self.code += b"\0\0"

    def finish(self):
        for at, name, kind in self.fixes:
            target = self.labels[name]
            if kind == 1:
                distance = target - (at + 1)
                assert -128 <= distance < 128
                self.code[at:at + 1] = distance.to_bytes(1, "little", signed=True)
            elif kind == 2:
                distance = (target - (at + 2)) & 0xffff
                self.code[at:at + 2] = distance.to_bytes(2, "little")
            else:
                self.code[at:at + 2] = (self.origin + target).to_bytes(2, "little")
        return bytes(self.code)


def boot_sector(sector=1, text=b"boot ", power_off=True, wait_key=False):
    """A boot sector: prints text, then the bytes of the disk's sector up to the first NUL (at most
    512), then CR LF to the first serial port; prints "read error" if INT 13h fails. Then powers the
    machine off through the PM1a control register of QEMU's pc machines (port 0x604); or, without
    power_off, does it all again every second; or, with wait_key, first prints what it read every
    second until a byte comes from the serial port. (Where KVM is itself nested, a machine that is
    reset while its firmware starts may hang: tests wait for the next line instead.)"""
    a = _Assembler(0x7c00)
    a.emit(0xFA)                          # cli
    a.emit(0x31, 0xC0)                    # xor ax, ax
    a.emit(0x8E, 0xD8, 0x8E, 0xC0)        # mov ds, ax; mov es, ax
    a.emit(0x8E, 0xD0)                    # mov ss, ax
    a.emit(0xBC, 0x00, 0x7C)              # mov sp, 0x7c00
    a.emit(0xFB, 0xFC)                    # sti; cld
    a.label("again")
    a.address(0xBE, "text")               # mov si, text
    a.near(0xE8, "print")                 # call print
    a.address(0xBE, "packet")             # mov si, packet
    a.emit(0xB4, 0x42)                    # mov ah, 0x42 (extended read; dl is the boot drive)
    a.emit(0xCD, 0x13)                    # int 0x13
    a.emit(0xBE, 0x00, 0x80)              # mov si, 0x8000
    a.short(0x73, "good")                 # jnc good
    a.address(0xBE, "bad")                # mov si, bad
    a.label("good")
    a.emit(0xC6, 0x06, 0x00, 0x82, 0x00)  # mov byte [0x8200], 0
    a.near(0xE8, "print")                 # call print
    a.address(0xBE, "newline")            # mov si, newline
    a.near(0xE8, "print")                 # call print
    if wait_key or not power_off:
        a.emit(0x52)                      # push dx
        a.emit(0xBA, 0xFD, 0x03)          # mov dx, 0x3fd (line status)
        a.emit(0xB9, 0x12, 0x00)          # mov cx, 18
        a.label("tick")
        a.emit(0xF4)                      # hlt (until the next timer tick)
        if wait_key:
            a.emit(0xEC, 0xA8, 0x01)      # in al, dx; test al, 1
            a.short(0x75, "off")          # jnz off
        a.short(0xE2, "tick")             # loop tick
        a.emit(0x5A)                      # pop dx
        if wait_key:                      # what was read is enough: the disk may be gone
            a.emit(0xBE, 0x00, 0x80)      # mov si, 0x8000
        a.near(0xE9, "good" if wait_key else "again")  # jmp
    a.label("off")
    a.emit(0xBA, 0x04, 0x06)              # mov dx, 0x604
    a.emit(0xB8, 0x00, 0x20)              # mov ax, 0x2000
    a.emit(0xEF)                          # out dx, ax
    a.label("halt")
    a.emit(0xF4)                          # hlt
    a.short(0xEB, "halt")                 # jmp halt
    a.label("print")
    a.emit(0x52)                          # push dx
    a.label("next")
    a.emit(0xAC)                          # lodsb
    a.emit(0x84, 0xC0)                    # test al, al
    a.short(0x74, "printed")              # jz printed
    a.emit(0x88, 0xC3)                    # mov bl, al
    a.emit(0xBA, 0xFD, 0x03)              # mov dx, 0x3fd (line status)
    a.label("wait")
    a.emit(0xEC, 0xA8, 0x20)              # in al, dx; test al, 0x20
    a.short(0x74, "wait")                 # jz wait
    a.emit(0xBA, 0xF8, 0x03)              # mov dx, 0x3f8
    a.emit(0x88, 0xD8, 0xEE)              # mov al, bl; out dx, al
    a.short(0xEB, "next")                 # jmp next
    a.label("printed")
    a.emit(0x5A, 0xC3)                    # pop dx; ret
    a.label("packet")                     # size, 0, sectors, buffer 0000:8000, sector
    a.emit(0x10, 0x00, 0x01, 0x00, 0x00, 0x80, 0x00, 0x00, *sector.to_bytes(8, "little"))
    a.label("text")
    a.emit(*text, 0)
    a.label("bad")
    a.emit(*b"read error\0")
    a.label("newline")
    a.emit(13, 10, 0)
    code = a.finish()
    if len(code) > 510:
        raise ValueError("boot sector of %d bytes" % len(code))
    return code + b"\0" * (510 - len(code)) + b"\x55\xaa"


def end_all(state):
    """Kills the guests of a node's state folder, also those that a failed test left without a
    daemon."""
    for pidfile in glob.glob(os.path.join(state, "vms", "*", "pid")):
        with open(pidfile) as f:
            pid = int(f.read())
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if state.encode() in f.read():
                    os.kill(pid, signal.SIGKILL)
        except FileNotFoundError:
            pass
