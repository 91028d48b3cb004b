#!/usr/bin/env python3
"""dm-multipath over two portals of the daemon: a Linux guest with two network interfaces writes
through both; the cable of one is pulled under load, then that of the other. No write fails, none is
lost, and each path comes back by itself."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..")]

import tap  # noqa: E402
from guest import PLAIN  # noqa: E402
from iscsi_guest import Guest, Load, from_package, missing  # noqa: E402
from node import Node, Port, until  # noqa: E402

IQN = "iqn.2026-11.org.example:paths"
LOAD_MIB = 4
PACKAGES = ["multipath-tools", "liburcu8", "udev", "dmsetup"]
MODULES = ["dm_multipath", "dm_service_time", "scsi_dh_alua"]  # the last is not in the cloud kernel
# A path is given up 1 + 2 s (open-iscsi's NOP-Out) and 3 s (fast_io_fail_tmo) after its last sign
# of life. With none left I/O waits: a machine that stood still loses all at once.
TIMEOUTS = {"node.conn[0].timeo.noop_out_interval": "1", "node.conn[0].timeo.noop_out_timeout": "2",
            "node.conn[0].timeo.login_timeout": "3", "node.session.timeo.replacement_timeout": "3"}
MULTIPATH = b"""
defaults {
    user_friendly_names yes
    find_multipaths yes
    polling_interval 1
    max_polling_interval 1
    path_grouping_policy group_by_prio
    fast_io_fail_tmo 3
    no_path_retry 120
}
blacklist {
    devnode "^(vd|loop)"
}
"""
RULES = {"udev": ["60-block", "60-persistent-storage"],
         "multipath-tools": ["56-dm-mpath", "60-multipath"],
         "dmsetup": ["55-dm", "95-dm-notify"]}
node = guest = load = None
portals = {}  # number of the interface -> record of its portal
disks = {}  # number of the interface -> sda or sdb


def files():
    """What goes into the guest beside the initiator: (programs and libraries, plain files)"""
    programs = {f"sbin/{name}": from_package("multipath-tools", name)
                for name in ("multipathd", "multipath")}
    programs["sbin/udevadm"] = from_package("udev", "udevadm")
    programs["sbin/dmsetup"] = from_package("dmsetup", "dmsetup")
    programs["lib/udev/scsi_id"] = from_package("udev", "lib/udev/scsi_id")
    for library in ("libchecktur", "libprioconst", "libprioalua", "libpriosysfs"):
        programs[f"lib/multipath/{library}.so"] = from_package("multipath-tools",
                                                              f"lib/multipath/{library}.so")
    programs["lib/x86_64-linux-gnu/libgcc_s.so.1"] = "/lib/x86_64-linux-gnu/libgcc_s.so.1"
    plain = {"etc/multipath.conf": MULTIPATH, "etc/multipath/.keep": b"", "run/udev/.keep": b""}
    for package, names in RULES.items():
        for name in names:
            rule = f"lib/udev/rules.d/{name}.rules"
            plain[rule] = from_package(package, rule)
    return programs, plain


def paths():
    """What multipathd says of each path: {sda: [state of device mapper, of the checker]}"""
    shown = guest.say("usleep 300000; multipathd show paths raw format '%d %t %T'")
    return {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line}


def state(good):
    """Holds when the paths in good, and only they, are used."""
    def holds():
        return {disk for disk, (dm, checker) in paths().items()
                if dm == "active" and checker == "ready"} == {disks[nic] for nic in good}
    return holds


def test_two_sessions_become_one_disk():
    guest.sh("""ln -s udevadm /sbin/udevd
        udevd --daemon
        multipathd -d > /run/multipathd.log 2>&1 &""")
    for nic, address in enumerate(node.portals):
        portal = address.replace("127.0.0.1", f"10.0.{nic + 2}.2")
        portals[nic] = guest.node(IQN, f"{portal},{nic + 1}", TIMEOUTS)
        guest.say(f"{portals[nic]} --login > /dev/null")
        there = until(lambda: guest.say("ls /sys/block | grep '^sd' || true").split()[nic:],
                      "no disk appears")
        disks[nic] = next(disk for disk in there if disk not in disks.values())
    assert {s["portal_group"] for s in node.json("target", "show", IQN)["sessions"]} == {1, 2}
    until(lambda: "mpatha" in guest.say("ls /dev/mapper"),
          lambda: guest.say("cat /run/multipathd.log"))
    until(state({0, 1}), paths)
    wwid, = guest.say("multipathd show maps raw format '%w'").split()
    assert "naa." + wwid[1:] == node.json("target", "show", IQN)["luns"][0]["naa"], wwid


def test_both_paths_are_active_and_optimized():
    """As Linux's handler of ALUA sees them, and multipathd with it (SPC-4, 5.15)."""
    for disk in disks.values():
        assert guest.say(f"cat /sys/block/{disk}/device/dh_state") == "alua\n", disk
        state = guest.say(f"cat /sys/block/{disk}/device/access_state")
        assert state == "active/optimized\n", (disk, state)
    groups = guest.say("multipathd show maps raw format '%N %h'"), guest.say("dmsetup table mpatha")
    assert groups[0].split()[0] == "2" and " 1 alua 1 " in groups[1], groups  # one group of two paths


def test_a_load_runs_over_both_paths():
    global load
    load = Load(guest, "/dev/mapper/mpatha", LOAD_MIB)
    assert load.verify() > 0
    for disk in disks.values():
        assert int(guest.say(f"cat /sys/block/{disk}/stat").split()[4]) > 0, disk


def cut(nic):
    other = 1 - nic
    guest.cable(nic, plugged=False)
    before = load.verify()
    until(state({other}), paths)
    assert load.verify() > before, "the load did not go on"
    guest.cable(nic, plugged=True)
    until(state({0, 1}), paths)
    assert load.verify() > before, "the load did not go on"


def test_the_first_path_is_cut_under_load_and_comes_back():
    cut(0)


def test_the_second_path_is_cut_under_load_and_comes_back():
    cut(1)


def test_no_io_error_reached_the_disk():
    assert load.flushes > 0
    load.quit()
    assert guest.say("dmesg | grep -E 'error, dev dm-|error on dev dm-'", status=1) == ""


def test_check_finds_nothing():
    guest.end()
    node.stop()
    node.check()


def main():
    global node, guest
    why = missing(PACKAGES, MODULES, PLAIN)
    if why:
        print(f"1..0 # SKIP {why}")
        return
    second = Port()
    with Node(nbd=False, options=["--iscsi", "2@" + second.address]) as node:
        node.portals = [node.listen["iscsi"], second.address]
        node.vstore("volume", "create", "paths", "--size", "64M")
        node.vstore("target", "create", IQN, "--volume", "paths:0")
        programs, plain = files()
        with Guest(node.state, MODULES, PACKAGES, programs, plain, nics=2,
                   kernel=PLAIN) as guest:
            tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
