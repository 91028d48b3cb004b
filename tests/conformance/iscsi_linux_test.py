#!/usr/bin/env python3
"""Linux's own initiator against the daemon's iSCSI target, in a guest: discovery, login with CHAP
and digests, a file system, fstrim, a resize seen while mounted, logout, login again, same data."""

import hashlib
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..")]

import debian  # noqa: E402
import guest  # noqa: E402
import tap  # noqa: E402
from node import Node  # noqa: E402

MIB = 1 << 20
IQN = "iqn.2026-11.org.example:linux"
INITIATOR = "iqn.1993-08.org.debian:01:guest"
SECRET = "a secret of some length"
MODULES = ["virtio_pci", "virtio_net", "iscsi_tcp", "sd_mod", "ext4", "crc32c_intel"]
PACKAGES = ["open-iscsi", "libopeniscsiusr", "libisns0", "libkmod2"]
PATIENCE = 600  # seconds; a bound on waiting, not a verdict on speed

SCRIPT = """
echo {initiator} | sed 's/^/InitiatorName=/' > /etc/iscsi/initiatorname.iscsi
ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 up
iscsid -f &
for i in $(seq 120); do iscsiadm -m session > /dev/null 2>&1; [ $? = 21 ] && break; sleep 1; done
iscsiadm -m discovery -t sendtargets -p {portal} | sed 's/^/found /'
node="iscsiadm -m node -T {iqn} -p {portal},1"
$node -o new
for setting in node.session.auth.authmethod=CHAP node.session.auth.username=user \\
        "node.session.auth.password={secret}" node.conn[0].iscsi.HeaderDigest=CRC32C \\
        node.conn[0].iscsi.DataDigest=CRC32C node.session.timeo.replacement_timeout=120 \\
        node.conn[0].timeo.login_timeout=120 node.conn[0].timeo.noop_out_timeout=120; do
    $node -o update -n "${{setting%%=*}}" -v "${{setting#*=}}"
done
$node --login
disk() {{
    while ! [ -b /dev/sda ]; do sleep 1; done
    cat /sys/block/sda/size | sed 's/^/sectors /'
}}
disk
cat /sys/block/sda/queue/discard_max_bytes | sed 's/^/discard /'
cat /sys/block/sda/queue/write_cache | sed 's/^/cache /'
cat /sys/class/scsi_disk/*/thin_provisioning | sed 's/^/thin /'
mkfs.ext4 -q /dev/sda && mount -t ext4 /dev/sda /mnt
yes 'a line that is written again and again' | head -c 20000000 > /mnt/kept
yes 'a line that goes away' | head -c 20000000 > /mnt/gone
sync
rm /mnt/gone
fstrim /mnt && echo trimmed
sha256sum /mnt/kept
umount /mnt
$node --logout && echo out
while [ -b /dev/sda ]; do sleep 1; done
$node --login
disk
mount -t ext4 /dev/sda /mnt
sha256sum /mnt/kept
umount /mnt
dd if=/dev/urandom of=/dev/sda bs=1M seek=100 count=32 conv=fsync 2> /dev/null
dd if=/dev/sda bs=1M skip=100 count=32 iflag=direct 2> /dev/null | sha256sum | sed 's/^/raw /'
$node --logout
echo finished
"""


def closure(paths, folders):
    """Files of the guest: the programs and all libraries that they load, by their guest path."""
    env = dict(os.environ, LD_LIBRARY_PATH=":".join(folders))
    files = {}
    for guest_path, path in paths.items():
        files[guest_path] = os.path.realpath(path)
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, env=env).stdout
        for name, where in re.findall(r"(\S+) => (/\S+)", listed):
            files["lib/x86_64-linux-gnu/" + os.path.basename(name)] = os.path.realpath(where)
        for loader in re.findall(r"^\s*(/lib64/\S+)", listed, re.M):
            files[loader.lstrip("/")] = os.path.realpath(loader)
    return files


def initrd(path, portal):
    trees = [debian.unpacked(p) for p in PACKAGES]
    folders = [os.path.join(t, d) for t in trees
               for d in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")]
    programs = {"sbin/mkfs.ext4": "/sbin/mke2fs"}  # a name that busybox does not know
    for name in ("iscsid", "iscsiadm"):
        found = [os.path.join(trees[0], d, name) for d in ("sbin", "usr/sbin", "usr/bin", "bin")]
        programs["sbin/" + name] = next(f for f in found if os.path.exists(f))
    files = closure(programs, folders)
    files["etc/iscsi/iscsid.conf"] = os.path.join(trees[0], "etc/iscsi/iscsid.conf")
    files["etc/passwd"] = b"root:x:0:0:root:/:/bin/sh\n"
    files["run/lock/iscsi/.keep"] = files["var/lib/iscsi/.keep"] = b""
    script = SCRIPT.format(initiator=INITIATOR, portal=portal, iqn=IQN, secret=SECRET)
    image, modules = guest.kernel_and_modules(MODULES)
    guest.make_initrd(path, script, modules, files)
    return image


def boot(kernel, ramdisk):
    done = subprocess.run(
        ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults",
         "-no-reboot", "-display", "none", "-serial", "stdio", "-kernel", kernel, "-initrd",
         ramdisk, "-append", "console=ttyS0 quiet panic=-1", "-netdev", "user,id=n", "-device",
         "virtio-net-pci,netdev=n,romfile="],
        capture_output=True, text=True, errors="replace", timeout=PATIENCE,
        stdin=subprocess.DEVNULL)
    return done.stdout


def test_linux_mounts_trims_and_finds_its_data_again():
    with Node(nbd=False) as node:
        node.vstore("volume", "create", "disk", "--size", "256M")
        secret = os.path.join(node.state, "secret")
        with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(SECRET)
        node.vstore("target", "create", IQN, "--volume", "disk:0", "--initiator", INITIATOR,
                    "--chap-user", "user", "--chap-secret-file", secret)
        portal = node.listen["iscsi"].replace("127.0.0.1", "10.0.2.2")
        ramdisk = os.path.join(node.state, "initrd")
        said = boot(initrd(ramdisk, portal), ramdisk)
        assert "finished" in said, said[-3000:]
        assert f"found {node.listen['iscsi']},1 {IQN}" in said, said[-3000:]
        assert said.count(f"sectors {256 * MIB // 512}") == 2, said
        assert "cache write back" in said and re.search(r"discard [1-9]", said), said
        assert "trimmed" in said and "thin 1" in said, said
        line = b"a line that is written again and again\n"
        kept = hashlib.sha256((line * (20000000 // len(line) + 1))[:20000000]).hexdigest()
        assert said.count(kept) == 2, said
        copy = os.path.join(node.state, "copy.raw")
        node.vstore("volume", "export", "disk", copy)
        with open(copy, "rb") as f:
            f.seek(100 * MIB)
            assert f"raw {hashlib.sha256(f.read(32 * MIB)).hexdigest()}" in said, said
        used = node.json("df")["logical_used_bytes"]
        assert used < 80 * MIB, used  # the file that went away was trimmed
        assert SECRET not in node.log_text()


def main():
    for tool in ("qemu-system-x86_64", "apt-get", "ldd", "/sbin/mke2fs"):
        if not shutil.which(tool):
            print(f"1..0 # SKIP {tool} is not installed")
            return
    try:
        for package in PACKAGES:
            debian.unpacked(package)
        guest.kernel_and_modules(MODULES)
    except (guest.Missing, RuntimeError) as why:
        print(f"1..0 # SKIP {str(why).splitlines()[0]}")
        return
    tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
