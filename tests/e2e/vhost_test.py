"""The disks of a running Linux guest: sizes that change, discards, read-only snapshots, a store
that is full, a daemon that stops, dies and comes back. One guest with a shell on its console."""

import os
import re
import subprocess

import guest
import node as vs

import tap

node = vs.Node(size="2G")
SHELL = """
stty -echo </dev/console
echo shell ready
while read -r line; do
  eval "$line"
  echo "status=$?."
done </dev/console
"""


def sh(command, status=0):
    """One line in the guest's shell; returns what it printed."""
    node.guest.send(command + "\n")
    found = node.guest.wait_for(r"(?s)(.*?)status=(\d+)\.\r?\n")
    out = found.group(1).replace("\r", "")
    assert int(found.group(2)) == status, f"{command}: {found.group(2)}: {out}"
    return out.strip()


def volume(name):
    return node.json("volume", "show", name)


def test_a_guest_starts():
    kernel, modules = guest.kernel_and_modules()
    for name, size in (("root", "256M"), ("data", "512M"), ("base", "16M"), ("ballast", "1G")):
        node.vstore("volume", "create", name, "--size", size)
    node.vstore("snapshot", "base@1")
    initrd = guest.make_initrd(os.path.join(node.state, "initrd"), SHELL, modules)
    node.vstore("vm", "create", "g", "--cpus", "2", "--memory", "256M", "--disk", "root",
                "--disk", "data", "--disk", "base@1", "--nic", "user", "--accel", "tcg",
                "--kernel", kernel, "--initrd", initrd,
                "--append", "console=ttyS0 quiet loglevel=0")  # only the shell speaks
    node.vstore("vm", "start", "g")
    node.guest = node.console("g")
    node.guest.wait_for("shell ready")


def sh_number(command):
    return int(re.search(r"\d+", sh(command)).group())


def test_it_sees_its_disks():
    assert sh_number("cat /sys/block/vda/size") == (256 << 20) // 512
    assert sh_number("cat /sys/block/vdc/ro") == 1
    assert sh_number("ls -d /sys/block/vda/mq/* | wc -l") == 2, "one queue a processor"
    uuid = volume("data").get("uuid", "").replace("-", "")
    serial = re.search(r"[0-9a-f]{20}", sh("cat /sys/block/vdb/serial; echo")).group()
    assert not uuid or uuid.startswith(serial), (uuid, serial)


def test_what_it_writes_is_there():
    sh("mke2fs /dev/vda >/dev/null 2>&1 && mount -t ext4 /dev/vda /mnt")
    sh("dd if=/dev/urandom of=/mnt/a bs=64k count=256 conv=fsync 2>/dev/null")
    sh("sha256sum /mnt/a >/tmp/sum; sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum -c /tmp/sum")
    assert volume("root")["logical_bytes"] >= 16 << 20


def test_a_read_only_disk_is_not_written():
    sh("dd if=/dev/zero of=/dev/vdc bs=4k count=1 conv=fsync 2>/dev/null", status=1)
    assert sh_number("dd if=/dev/vdc bs=1M 2>/dev/null | wc -c") == 16 << 20


def test_a_volume_that_grows():
    node.vstore("volume", "resize", "data", "--size", "768M")
    vs.until(lambda: sh_number("cat /sys/block/vdb/size") == (768 << 20) // 512,
             "the guest does not see the new size")
    sh("echo end | dd of=/dev/vdb bs=1M seek=767 conv=fsync 2>/dev/null")
    assert "end" in sh("dd if=/dev/vdb bs=1M skip=767 2>/dev/null | head -c 3; echo")


def test_discards_give_space_back():
    before = volume("root")["logical_bytes"]
    sh("rm /mnt/a; sync; fstrim /mnt")
    assert volume("root")["logical_bytes"] <= before - (15 << 20)


def start_writing():
    """A loop in the guest that writes and fsyncs; WRITE FAILED is what nobody may see. The number
    of its rounds is renamed into place: a reader meets it whole, and from the start."""
    sh("rm -f /tmp/stop; echo 0 >/tmp/rounds; (i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); "
       "echo $i >/tmp/next; mv /tmp/next /tmp/rounds; "
       "dd if=/dev/urandom of=/mnt/w$((i%4)) bs=64k count=8 conv=fsync 2>/dev/null "
       "|| echo WRITE FAILED >/tmp/failed; done; echo stopped >/tmp/stopped) &")


def rounds():
    return sh_number("cat /tmp/rounds")


def goes_on():
    """Three more rounds: the two that may have been under way prove nothing."""
    first = rounds()
    sh(f"until [ $(cat /tmp/rounds) -gt {first + 2} ]; do usleep 50000; done")


def test_a_daemon_that_stops_is_a_pause():
    start_writing()
    goes_on()
    node.stop()
    node.start()
    goes_on()


def test_a_daemon_that_dies_is_a_pause():
    for _ in range(3):
        node.kill()
        node.start()
        goes_on()


def test_a_paused_guest_waits_for_a_new_daemon():
    node.vstore("vm", "suspend", "g")
    node.kill()
    node.start()
    assert node.json("vm", "show", "g")["state"] == "paused"
    node.vstore("vm", "resume", "g")
    goes_on()
    # QEMU 7.2 no longer watches its disks' connections now: the daemon must
    for _ in range(2):
        node.kill()
        node.start()
        goes_on()


def fill(name):
    """Writes what neither dedups nor compresses to a volume until the store is full."""
    block = os.path.join(node.state, "noise")
    try:
        with open(block, "wb") as f:
            for _ in range(1024):
                f.write(os.urandom(1 << 20))
        return subprocess.run(["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", block,
                               node.nbd_url(name)], stderr=subprocess.DEVNULL).returncode
    finally:
        os.unlink(block)


def test_a_full_store_pauses_the_guest():
    node.vstore("volume", "create", "more", "--size", "1G")
    for name in ("ballast", "more"):
        node.vstore("nbd", "export", name)
    if fill("ballast") == 0:
        assert fill("more") != 0, "the store cannot be filled"
    node.wait_vm("g", "paused")
    assert any(e["kind"] == "vm.held" for e in node.json("event", "list"))


def test_room_lets_it_go_on():
    for name in ("ballast", "more"):
        node.vstore("nbd", "unexport", name)
        node.vstore("volume", "delete", name)
    node.wait_vm("g", "running")
    goes_on()


def test_the_guest_saw_no_error():
    sh("touch /tmp/stop; until [ -e /tmp/stopped ]; do usleep 50000; done")
    sh("[ ! -e /tmp/failed ]")
    assert sh("dmesg | grep -ciE 'i/o error|ext4-fs error|aborting'", status=1) in ("0", "")
    sh("umount /mnt && fsck.ext4 -n /dev/vda 2>/dev/null; true")


def test_the_file_system_is_whole():
    node.guest.send("sync; poweroff -f\n")
    node.wait_vm("g", "stopped")
    node.guest.close()
    image = os.path.join(node.state, "root.raw")
    node.vstore("volume", "export", "root", image)
    vs.run("e2fsck", "-fn", image)
    os.unlink(image)


def test_check_finds_nothing():
    node.vstore("vm", "delete", "g")
    node.stop()
    node.check()


if __name__ == "__main__":
    with node:
        try:
            tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
        finally:
            guest.end_all(node.state)
