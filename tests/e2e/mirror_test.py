#!/usr/bin/env python3
"""A mirrored node under load: a side fails, is damaged, replaced, pulled and comes back; clients see
no error and nothing is lost. And what store add, replace, remove and grow refuse."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import node as vs

import tap

SPAN = "64M"
seed = int(os.environ.get("VSTORE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
chance = random.Random(seed)
node = vs.Node(init=False)
A = node.store
SMALL = os.path.join(node.state, "small")  # a file system that fills up
B, C, D = (os.path.join(p, name) for p, name in
           ((SMALL, "b.img"), (node.state, "c.img"), (node.state, "d.img")))
numbers = iter(range(1, 1000))


class Load:
    """A load generator that has got its first answer."""

    def __init__(self, name, url):
        self.url, self.journal = url, os.path.join(node.state, name + ".journal")
        self.process = subprocess.Popen(
            [vs.LOAD, "write", url, self.journal, "--span", SPAN, "--seed",
             str(seed + next(numbers))],
            stdout=subprocess.PIPE, stderr=sys.stderr, stdin=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        assert line == "running\n", f"the load did not start: {line!r}"

    def result(self):
        return json.loads(self.process.communicate()[0].splitlines()[-1])


class Loads:
    """Writers on NBD and iSCSI; at the end the daemon is killed under them."""

    def __enter__(self):
        self.loads = [Load("iscsi", node.iscsi_url(0)), Load("nbd", node.nbd_url("n"))]
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                assert all(load.process.poll() is None for load in self.loads), "a load ended"
                node.kill()
                for load in self.loads:
                    result = load.result()
                    assert result["connection_lost"] and not result["failed"], result
                    assert result["acked"] > 0
        finally:
            for load in self.loads:
                load.process.kill()
                load.process.wait()


def verify():
    for name, url in (("iscsi", node.iscsi_url(0)), ("nbd", node.nbd_url("n"))):
        vs.run(vs.LOAD, "verify", url, os.path.join(node.state, name + ".journal"))


def devices():
    return {d["device"]: d for d in node.json("store", "show")["devices"]}


def wait_for(device, state):
    vs.until(lambda: devices().get(device, {}).get("state") == state,
             lambda: f"{device} does not become '{state}': {devices()}")


def give(*paths):
    node.store = paths[0]
    node.options = [word for path in paths[1:] for word in ("--store", path)]


def flip(path, count):
    """Single bits, all over what the file holds."""
    with open(path, "r+b") as f:
        size = os.path.getsize(path)
        for _ in range(count):
            at = chance.randrange(64 << 10, size - (64 << 10))
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 1 << chance.randrange(8)]))
        f.flush()
        os.fsync(f.fileno())


def test_a_side_that_fails_is_left_out():
    os.mkdir(SMALL)
    vs.run("mount", "-t", "tmpfs", "-o", "size=48M", "none", SMALL)
    made = json.loads(vs.run(vs.VSTORE, "--json", "init", A, B, "--mirror", "--size", "512M",
                             "--segment", "1M"))
    assert made["devices"] == [A, B] and made["size"] == 512 << 20, made
    give(A, B)
    node.start()
    assert [d["state"] for d in devices().values()] == ["in sync"] * 2
    node.vstore("volume", "create", "i", "--size", "128M")
    node.vstore("volume", "create", "n", "--size", "128M")
    node.target("i")
    node.vstore("nbd", "export", "n")
    with Loads():
        wait_for(B, "missing")  # its file system is full
        assert node.json("status")["state"] == "degraded"
        assert devices()[B]["write_errors"] > 0
        assert any(e["kind"] == "device" and B in e["message"] for e in node.json("event", "list"))
        time.sleep(1)


def test_it_is_brought_up_to_date_under_load():
    vs.run("mount", "-o", "remount,size=600M", SMALL)
    node.start()
    verify()
    with Loads():
        wait_for(B, "in sync")
        assert node.json("status")["state"] == "running"
        time.sleep(0.5)
    node.start()
    verify()


def test_flipped_bits_are_healed():
    with Loads():
        for _ in range(5):
            flip(B, 2000)
            time.sleep(0.3)
    flip(B, 5000)
    node.start()
    verify()
    shown = devices()
    assert shown[B]["healed"] > 0, shown
    assert shown[A]["healed"] == 0 and shown[A]["state"] == "in sync", shown
    node.stop()
    flip(B, 2000)
    node.start()
    node.vstore("scrub", "start")  # what nobody reads
    assert node.json("scrub", "status")["errors"] == []
    node.stop()
    vs.run(vs.VSTORE, "check", A, B, "--read-data")
    flip(B, 5000)
    vs.run(vs.VSTORE, "check", A, B, "--read-data", status=1)
    node.start()


def test_a_damaged_side_is_replaced_under_load():
    with open(C, "wb") as f:
        f.truncate(512 << 20)
    with Loads():
        node.vstore("store", "replace", B, C)
        shown = devices()
        assert set(shown) == {A, C} and shown[C]["state"] == "in sync", shown
        time.sleep(0.5)
    node.start()  # C is remembered; B is still named and no part of the store
    assert set(devices()) == {A, C}
    verify()
    node.stop()
    vs.run("umount", SMALL)
    os.rmdir(SMALL)
    vs.run(vs.VSTORE, "check", A, C, "--read-data")
    vs.run(vs.VSTORE, "check", C, "--read-data")


def test_a_pulled_side_comes_back():
    away = A + ".away"
    os.rename(A, away)
    give(C)
    node.start()
    verify()
    assert [d["state"] for d in devices().values()].count("missing") == 1
    with Loads():
        time.sleep(1)
        os.rename(away, A)  # as it was when it was pulled
        node.vstore("store", "add", A)
        assert devices()[A]["state"] == "in sync"
    node.start()
    verify()
    node.stop()
    os.rename(C, C + ".away")  # A alone has everything
    give(A)
    node.start()
    verify()
    node.stop()
    os.rename(C + ".away", C)
    node.start()
    wait_for(C, "in sync")


def test_sides_that_were_used_apart_are_refused():
    node.stop()
    remembered = os.path.join(node.state, "devices")
    os.unlink(remembered)
    for alone in (A, C):
        give(alone)
        node.start()
        node.vstore("volume", "create", "only" + os.path.basename(alone)[0], "--size", "1M")
        node.stop()
    give(A, C)
    line = vs.refused(*node.command())
    assert "give only the one to keep" in line, line
    give(A)
    node.start()
    line = node.refused("store", "add", C)
    assert "--force" in line, line
    node.vstore("store", "add", C, "--force")
    assert devices()[C]["state"] == "in sync"
    names = [v["name"] for v in node.json("volume", "list")]
    assert "onlys" in names and "onlyc" not in names, names


def test_grow():
    was = node.json("df")["capacity_bytes"]
    assert node.json("store", "grow")["grown_bytes"] == 0
    for path in (A, C):
        os.truncate(path, 1 << 30)
    assert node.json("store", "grow")["grown_bytes"] == 512 << 20
    assert node.json("df")["capacity_bytes"] > was + (256 << 20)
    verify()


def test_space_goes_back_to_the_devices():
    noise = os.path.join(node.state, "noise")
    with open(noise, "wb") as f:
        f.write(os.urandom(128 << 20))
    node.vstore("volume", "import", noise, "noise")

    def allocated():
        return [os.stat(path).st_blocks * 512 for path in (A, C)]

    held = allocated()
    node.vstore("volume", "delete", "noise")
    node.vstore("df", "--drain")
    for _ in range(2):  # what is free is so as of two checkpoints
        node.stop()
        node.start()
    for _ in range(90):  # and is given back when it has been so for half a minute
        time.sleep(1)
        now = allocated()
        if all(n < h - (64 << 20) for n, h in zip(now, held)):
            verify()
            return
    raise AssertionError(f"{held} bytes were allocated, and now still {now}")


def test_remove_and_what_is_refused():
    assert "not a device" in node.refused("store", "remove", "/dev/nothing")
    with open(D, "wb") as f:
        f.write(b"precious" * 4096)
        f.truncate(64 << 20)
    assert "not a device" in node.refused("store", "replace", "/dev/nothing", D, "--force")
    assert "--force" in node.refused("store", "add", D)
    assert "too small" in node.refused("store", "add", D, "--mirror-of", A, "--force")
    node.vstore("store", "remove", C)
    assert "no other device" in node.refused("store", "remove", A)
    assert "vstore init" in vs.refused(vs.VSTORE, "check", C)
    free = node.json("store", "show")["segments"]
    node.vstore("store", "add", D, "--force")
    assert node.json("store", "show")["segments"] == free + 63
    node.kill()
    node.start()
    verify()
    node.stop()
    give(A)
    os.unlink(os.path.join(node.state, "devices"))
    command = node.command()
    line = vs.refused(*command)
    assert "missing" in line and "--store" in line, line
    vs.run(vs.VSTORE, "check", D, A, "--read-data")


if __name__ == "__main__":
    print(f"# VSTORE_SEED={seed}")
    try:
        tap.run(test_a_side_that_fails_is_left_out,
                test_it_is_brought_up_to_date_under_load,
                test_flipped_bits_are_healed,
                test_a_damaged_side_is_replaced_under_load,
                test_a_pulled_side_comes_back,
                test_sides_that_were_used_apart_are_refused,
                test_grow,
                test_space_goes_back_to_the_devices,
                test_remove_and_what_is_refused)
    finally:
        node.end()
        subprocess.run(["umount", SMALL], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(node.state, ignore_errors=True)
