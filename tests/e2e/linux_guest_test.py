"""A Linux guest whose root is a clone of the Debian image, and a boot sector under real KVM."""

import os
import re

import debian
import guest
import node as vs

import tap

node = vs.Node()

# From the initrd into the clone: its shell becomes init, writes with fsync and switches off. Then it
# waits in a builtin: the disk goes before the power does, and an init that cannot load its next
# program dies, and with it the guest.
SCRIPT = """
mount -t ext4 /dev/vda /mnt || echo FAILED mount
mount -t proc proc /mnt/proc
mount --move /dev /mnt/dev
exec switch_root /mnt /bin/sh -c '
  cat /etc/os-release
  dd if=/dev/urandom of=/root/proof bs=64k count=64 conv=fsync status=none || echo FAILED dd
  echo PROOF $(sha256sum /root/proof)
  mount -o remount,ro /
  echo o >/proc/sysrq-trigger
  while :; do read _; done'
"""


def test_the_clone_of_an_image():
    node.vstore("volume", "import", debian.system_image(), "golden")
    node.vstore("snapshot", "golden@1")
    node.vstore("volume", "clone", "golden@1", "root")


def test_linux_boots_from_a_clone_and_writes():
    kernel, modules = guest.kernel_and_modules()
    initrd = guest.make_initrd(os.path.join(node.state, "initrd"), SCRIPT, modules)
    node.vstore("vm", "create", "linux", "--cpus", "2", "--memory", "512M", "--disk", "root",
                "--accel", "tcg", "--kernel", kernel, "--initrd", initrd,
                "--append", "console=ttyS0 quiet")
    node.vstore("vm", "start", "linux")
    console = node.console("linux")
    console.wait_for("ID=debian")
    node.proof = console.wait_for(r"PROOF ([0-9a-f]{64})").group(1)
    node.wait_vm("linux", "stopped")
    console.close()


def test_the_host_reads_the_file_back():
    image = os.path.join(node.state, "root.raw")
    node.vstore("volume", "export", "root", image)
    vs.run("debugfs", "-R", f"dump /root/proof {node.state}/proof", image)
    assert vs.sha256(os.path.join(node.state, "proof")) == node.proof
    vs.run("e2fsck", "-fn", image)
    os.unlink(image)


def test_the_snapshot_did_not_change():
    image = os.path.join(node.state, "golden.raw")
    node.vstore("volume", "export", "golden@1", image)
    assert vs.sha256(image) == vs.sha256(debian.system_image())
    os.unlink(image)


def test_a_boot_sector_under_kvm_reads_its_disk():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError as e:
        raise tap.Skip(f"/dev/kvm does not open: {e.strerror}") from None
    text = b"sector one of a volume"
    disk = os.path.join(node.state, "boot.img")
    with open(disk, "wb") as f:
        f.write((guest.boot_sector(power_off=False) + text).ljust(1 << 20, b"\0"))
    node.vstore("volume", "import", disk, "boot")
    node.vstore("vm", "create", "boot", "--cpus", "1", "--memory", "64M", "--disk", "boot",
                "--accel", "kvm")
    node.vstore("vm", "start", "boot")
    console = node.console("boot")
    console.wait_for(re.escape(text.decode()))
    assert node.json("vm", "show", "boot")["accel"] == "kvm"
    node.vstore("vm", "stop", "boot")
    console.close()


def test_check_finds_nothing():
    for vm in ("linux", "boot"):
        if vm in [v["name"] for v in node.json("vm", "list")]:
            node.vstore("vm", "delete", vm)
    node.stop()
    node.check()


if __name__ == "__main__":
    with node:
        tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
