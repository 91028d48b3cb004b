#!/usr/bin/env python3
"""A store that a second device makes larger, and the first one leaves: what it holds moves to the
other under load, kills and restarts included; and what store remove refuses."""

import json
import os
import shutil
import subprocess
import sys

import node as vs

import tap

node = vs.Node(init=False)
A, B, C = (os.path.join(node.state, name) for name in ("a.img", "b.img", "c.img"))
NOISE = os.path.join(node.state, "noise")
JOURNAL = os.path.join(node.state, "journal")


def devices():
    return {d["device"]: d for d in node.json("store", "show")["devices"]}


def fresh(path, size):
    with open(path, "wb") as f:
        f.truncate(size)


def test_it_becomes_larger():
    with open(NOISE, "wb") as f:
        f.write(os.urandom(160 << 20))
    fresh(B, 640 << 20)
    vs.run(vs.VSTORE, "init", A, "--size", "384M", "--segment", "1M")
    node.store = A
    node.start()
    node.vstore("volume", "import", NOISE, "noise")
    node.vstore("snapshot", "noise@first")
    node.vstore("volume", "create", "load", "--size", "64M")
    node.vstore("nbd", "export", "load")
    was = node.json("df")["capacity_bytes"]
    node.vstore("store", "add", B)
    assert node.json("df")["capacity_bytes"] > was + (400 << 20)
    assert len({d["group"] for d in devices().values()}) == 2


def test_the_first_device_leaves_under_load():
    load = subprocess.Popen(
        [vs.LOAD, "write", node.nbd_url("load"), JOURNAL, "--span", "64M", "--seed", "7"],
        stdout=subprocess.PIPE, stderr=sys.stderr, stdin=subprocess.DEVNULL, text=True)
    try:
        assert load.stdout.readline() == "running\n"
        node.vstore("store", "remove", A, "--detach")
        assert devices()[A]["state"] == "leaving"
        node.kill()
        result = json.loads(load.communicate()[0].splitlines()[-1])
    finally:
        load.kill()
        load.wait()
    assert result["connection_lost"] and not result["failed"], result
    node.start()  # it goes on by itself
    vs.run(vs.LOAD, "verify", node.nbd_url("load"), JOURNAL)
    vs.until(lambda: A not in devices(), lambda: f"{A} does not get empty: {devices()}", 300)
    assert any("can be taken away" in e["message"] for e in node.json("event", "list"))
    vs.run(vs.LOAD, "verify", node.nbd_url("load"), JOURNAL)


def test_the_second_works_alone():
    node.stop()
    assert "vstore init" in vs.refused(vs.VSTORE, "check", A)
    os.unlink(A)
    os.unlink(os.path.join(node.state, "devices"))
    node.store = B
    node.start()
    vs.run(vs.LOAD, "verify", node.nbd_url("load"), JOURNAL)
    out = os.path.join(node.state, "out")
    node.vstore("volume", "export", "noise@first", out)
    assert vs.sha256(out) == vs.sha256(NOISE)
    node.stop()
    vs.run(vs.VSTORE, "check", B, "--read-data")


def test_what_is_refused():
    node.start()
    assert "no other device" in node.refused("store", "remove", B)
    fresh(C, 64 << 20)
    node.vstore("store", "add", C)
    line = node.refused("store", "remove", B)
    assert "no room" in line and "add a device" in line, line
    assert devices()[B]["state"] == "in sync"
    node.vstore("store", "remove", C)  # waits until it is empty
    assert set(devices()) == {B}
    fresh(A, 384 << 20)
    node.vstore("store", "add", A)  # a device after one that is gone
    node.stop()
    vs.run(vs.VSTORE, "check", A, B, "--read-data")


if __name__ == "__main__":
    try:
        tap.run(test_it_becomes_larger, test_the_first_device_leaves_under_load,
                test_the_second_works_alone, test_what_is_refused)
    finally:
        node.end()
        shutil.rmtree(node.state, ignore_errors=True)
