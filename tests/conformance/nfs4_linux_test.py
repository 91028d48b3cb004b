#!/usr/bin/env python3
"""Linux's own NFS client on datastores of the daemon, by NFSv4.1 and 4.2: what programs do with
files, several connections for one session, all shares below one mount, and the daemon killed while a
file is locked and written. One guest for all of it; it takes its tests in turn."""

import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..")]

import tap  # noqa: E402
from nfs_guest import Guest, missing  # noqa: E402
from node import Node, until  # noqa: E402

node = guest = None


def test_files_by_42_over_three_connections():
    guest.say("mkdir -p /one /all")
    guest.mount(node, "4.2", "one", "/one", ",nconnect=3")
    assert "vers=4.2" in guest.say("grep ' /one nfs4' /proc/mounts")
    guest.say("mkdir /one/work && /nfs_files /one/work 2")


def test_files_by_41_below_all_shares():
    guest.mount(node, "4.1", "", "/all")
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


def test_locks_of_two_guests_exclude_each_other():
    folder = os.path.join(node.state, "other")
    os.mkdir(folder)
    with Guest(folder, host="other") as other:
        other.mount(node, "4.2", "one")
        for one, there, two, here in ((guest, "/one", other, "/mnt"), (other, "/mnt", guest, "/one")):
            one.say(f"rm -f /tmp/stop; /nfs_files {there} lock /tmp/stop > /tmp/said 2>&1 &")
            until(lambda: "locked" in one.say("usleep 100000; cat /tmp/said"), "no lock")
            two.say(f"/nfs_files {here} try", 1)
            one.say("touch /tmp/stop; wait")
            two.say(f"/nfs_files {here} try")
        other.say("umount /mnt")


def test_a_lock_survives_kills_of_the_daemon():
    """The only client that is remembered comes back at once, and the grace period is over."""
    guest.say("rm -f /tmp/stop; /nfs_files /one lock /tmp/stop > /tmp/said 2>&1 &")
    until(lambda: "locked" in guest.say("usleep 100000; cat /tmp/said"), "no lock")
    for _ in range(2):
        node.kill()
        time.sleep(0.5)
        node.start()
        guest.say("/nfs_files /one try", 1)
    guest.say("touch /tmp/stop; wait")
    said = guest.say("cat /tmp/said")
    assert said.startswith("locked\nwrote "), said
    guest.say("/nfs_files /one try")


def test_who_has_left_is_not_waited_for():
    """A new client opens files at once after a restart: nobody has anything to reclaim."""
    guest.say("umount /one")
    node.stop()
    node.start()
    guest.mount(node, "4.1", "one", "/one")
    before = time.monotonic()
    guest.say("echo text > /one/after")
    assert time.monotonic() - before < 60, "somebody was waited for"
    guest.say("umount /one")


def main():
    global node, guest
    why = missing()
    if why:
        print(f"1..0 # SKIP {why}")
        return
    with Node(nbd=False, iscsi=False, nfs=True) as node:
        for name in ("one", "two"):
            node.vstore("datastore", "create", name)
            node.vstore("datastore", "share", name, "--client", "127.0.0.1", "--squash", "none")
        folder = os.path.join(node.state, "guest")
        os.mkdir(folder)
        with Guest(folder) as guest:
            tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
