#!/usr/bin/env python3
"""Locks of two machines with Linux's own NFSv3 client, lockd and rpc.statd: they exclude each other
and those of NFSv4.2, who waits is called back, and restarts of the daemon and of a client leave every
lock with whom it belongs to. Two guests for all of it; they take their tests in turn."""

import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..")]

import tap  # noqa: E402
from nfs_lock_guest import Lan, Lock, LockGuest, NETWORK, SERVER, can_lock, missing  # noqa: E402
from node import Node, until  # noqa: E402

INSIDE = "inside"
FILE = "/v3/file"
# Linux's client asks for a lock that it waits for every 30 s, from when it was first refused.
POLLS_AFTER = 30
COUNTS = 100  # of each program that counts
node = lan = one = two = None
machines = {}


def boot(number):
    """The machine of this number, for the first time or again."""
    machines[number] = LockGuest(os.path.join(node.state, f"guest{number}"), lan, number)
    return machines[number]


def mount(guest):
    guest.say(f"mount -t nfs -o vers=3,proto=tcp,port=2049,addr={SERVER},mountproto=tcp,mountport=2049,"
              f"mountaddr={SERVER} {SERVER}:/locks /v3")


def mount_4(guest):
    guest.say(f"mount -t nfs4 -o vers=4.2,proto=tcp,port=2049,addr={SERVER},clientaddr=0.0.0.0 "
              f"{SERVER}:/locks /v4")


def test_exclusive_locks_exclude_each_other_and_shared_ones_do_not():
    for holder, other in ((one, two), (two, one)):
        for kind in ("write", "flock"):
            held = Lock(holder, FILE, kind).until("locked")
            assert not can_lock(other, FILE, "write")
            assert not can_lock(other, FILE, "read")
            assert not can_lock(other, FILE, "across")
            assert not can_lock(other, FILE, "flock")
            assert can_lock(other, FILE, "behind") == (kind == "write")
            held.release()
            assert can_lock(other, FILE, kind)
        held = Lock(holder, FILE, "read").until("locked")
        assert can_lock(other, FILE, "read")
        assert not can_lock(other, FILE, "write")
        held.release()


def test_who_waits_is_called_back():
    for holder, other in ((one, two), (two, one)):
        held = Lock(holder, FILE).until("locked")
        begun = time.monotonic()
        waiting = Lock(other, FILE).until_asleep()
        held.release()
        waiting.until("locked")
        took = time.monotonic() - begun
        assert took < POLLS_AFTER, f"{took:.1f} s: it was not called back"
        assert not can_lock(holder, FILE)
        waiting.release()


def test_who_is_interrupted_waits_no_more():
    held = Lock(one, FILE).until("locked")
    waiting = Lock(two, FILE).until_asleep()
    waiting.interrupt()
    waiting.until("interrupted")
    held.release()
    assert can_lock(one, FILE)
    assert can_lock(two, FILE)


def test_locks_of_version_4_are_the_same():
    held = Lock(one, FILE).until("locked")
    assert not can_lock(two, "/v4/file")
    assert can_lock(two, "/v4/file", "behind")
    held.release()
    held = Lock(one, FILE, "read").until("locked")
    assert can_lock(two, "/v4/file", "read")
    assert not can_lock(two, "/v4/file")
    held.release()
    held = Lock(two, "/v4/file").until("locked")
    assert not can_lock(one, FILE)
    assert not can_lock(two, FILE)
    waiting = Lock(one, FILE).until_asleep()
    held.release()
    waiting.until("locked")
    assert not can_lock(two, "/v4/file")
    waiting.release()


def test_locks_survive_a_kill_of_the_daemon():
    """Who is refused during the grace period asks until it is over, which is soon as both machines
    have something to reclaim. Meanwhile programs of both versions add to one number under a lock."""
    held = Lock(one, FILE).until("locked")
    behind = Lock(two, FILE, "behind").until("locked")
    waiting = Lock(two, FILE).until_asleep()
    counting = [Lock(guest, path, how=how).until("counts") for guest, path, how in (
        (one, "/v3/count", "count"), (two, "/v3/count", "count"), (two, "/v4/count", "trycount"))]
    until(lambda: int(two.say("cat /v3/count || true") or 0) > COUNTS // 4, "nobody counts")
    one.cable(0, False)
    node.kill()
    assert [c.word() for c in counting] == ["counts"] * 3
    node.start()
    trying = Lock(two, FILE, how="try")
    time.sleep(4)
    assert trying.word() == "waits", "it was answered before the holder could reclaim"
    one.cable(0, True)
    trying.until("refused")
    assert waiting.word() == "waits"
    assert not can_lock(one, FILE, "behind")
    assert can_lock(two, "/v3/another")
    behind.release()
    assert can_lock(one, FILE, "behind")
    held.release()
    waiting.until("locked")
    assert not can_lock(one, FILE)
    waiting.release()
    for c in counting:
        c.until("counted")
    assert int(one.say("cat /v3/count")) == COUNTS * len(counting)


def test_a_client_that_restarts_has_no_locks():
    """It tells the server; until then they stay. What it waited for and got meanwhile goes too."""
    global two
    Lock(two, FILE).until("locked")
    waiting = Lock(one, FILE).until_asleep()
    held = Lock(one, "/v3/another").until("locked")
    Lock(two, "/v3/another").until_asleep()
    two.end()
    held.release()
    time.sleep(1)
    assert waiting.word() == "waits"
    two = boot(two.number)
    waiting.until("locked")
    assert can_lock(one, "/v3/another")
    mount(two)
    assert not can_lock(two, FILE)
    waiting.release()
    assert can_lock(two, FILE)


def main():
    global node, lan, one, two
    if sys.argv[1:] != [INSIDE] and os.geteuid() == 0 and shutil.which("unshare"):
        os.execvp("unshare", ["unshare", "--net", sys.executable, os.path.abspath(__file__), INSIDE])
    why = missing()
    if why:
        print(f"1..0 # SKIP {why}")
        return
    node = Node(nbd=False, iscsi=False, options=["--nfs-portmap", f"{SERVER}:111"])
    node.listen["nfs"] = f"{SERVER}:2049"
    with Lan() as lan, node:
        node.vstore("datastore", "create", "locks")
        node.vstore("datastore", "share", "locks", "--client", NETWORK, "--squash", "none")
        try:
            with ThreadPoolExecutor() as pool:
                one, two = pool.map(boot, (1, 2))
            mount(one)
            mount(two)
            mount_4(two)
            tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))
        finally:
            for machine in machines.values():
                machine.end()


if __name__ == "__main__":
    main()
