"""kill -9 of the daemon under load of iSCSI, NBD and a guest, all at once: every acknowledged write
is there afterwards, and the guest goes on without an error."""

import json
import os
import random
import subprocess
import sys
import time

import guest
import node as vs

import tap

ROUNDS = 50 if os.environ.get("VSTORE_SOAK") else 5
SPAN = "256M"
seed = int(os.environ.get("VSTORE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
chance = random.Random(seed)
node = vs.Node(size="8G")
GUEST_DISK = "32M"
seen = {"acked": 0, "flushes": 0, "fua": 0, "outstanding": 0, "guest": 0}


class Load:
    """A load generator that has got its first answer."""

    def __init__(self, url, journal, number):
        self.process = subprocess.Popen(
            [vs.LOAD, "write", url, journal, "--span", SPAN, "--seed", str(number)],
            stdout=subprocess.PIPE, stderr=sys.stderr, stdin=subprocess.DEVNULL, text=True)

    def wait_running(self):
        line = self.process.stdout.readline()
        assert line == "running\n", f"the load did not start: {line!r}"

    def result(self):
        out = self.process.communicate()[0]
        return json.loads(out.splitlines()[-1])


def urls():
    return {"iscsi": node.iscsi_url(0), "nbd": node.nbd_url("n")}


def journal(name):
    return os.path.join(node.state, name + ".journal")


def test_exports_are_there_after_a_kill():
    node.vstore("volume", "create", "i", "--size", "1G")
    node.vstore("volume", "create", "n", "--size", "1G")
    node.target("i")
    node.vstore("nbd", "export", "n")
    node.kill()
    node.start()
    assert [t["iqn"] for t in node.json("target", "list")] == [vs.IQN]
    assert [e["name"] for e in node.json("nbd", "list")] == ["n"]


def test_a_guest_writes():
    node.vstore("volume", "create", "g", "--size", GUEST_DISK)
    kernel, modules = guest.kernel_and_modules(["virtio_pci", "virtio_blk"])
    initrd = guest.make_initrd(
        os.path.join(node.state, "initrd"),
        f"/guest_load /dev/vda {GUEST_DISK.rstrip('M')}\ndmesg | grep -i 'i/o error' && echo BAD",
        modules, {"guest_load": os.path.join(vs.BUILD, "tests", "e2e", "guest_load")})
    node.vstore("vm", "create", "g", "--cpus", "2", "--memory", "256M", "--disk", "g",
                "--accel", "tcg", "--kernel", kernel, "--initrd", initrd,
                "--append", "console=ttyS0 quiet")
    node.vstore("vm", "start", "g")
    node.guest_console = node.console("g")
    node.guest_console.wait_for("running")


def verify_guest(what):
    """The guest drops its caches and rereads all it ever wrote."""
    node.guest_console.send("verify\n")
    found = node.guest_console.wait_for(r"(verified (\d+) (\d+) (\d+)|error.*|I/O error.*)\r?\n")
    assert found.group(4) == "0", f"{what}: {found.group(1)}"
    return int(found.group(2))


def one_round(number):
    loads = {name: Load(url, journal(name), seed + number) for name, url in urls().items()}
    try:
        for load in loads.values():
            load.wait_running()
        # The moment is what the test is about: anywhere within the first seconds of load.
        time.sleep(chance.uniform(0.0, 2.5))
        if number % 2:
            node.vstore("snapshot", "create", f"i@{number}", f"n@{number}")
        node.kill()
        for name, load in loads.items():
            result = load.result()
            assert result["connection_lost"] and not result["failed"], (name, result)
            for key in seen.keys() & result.keys():
                seen[key] += result[key]
    finally:
        for load in loads.values():
            load.process.kill()
            load.process.wait()
    node.start()
    for name, url in urls().items():
        vs.run(vs.LOAD, "verify", url, journal(name))
    assert node.json("vm", "show", "g")["state"] == "running"
    before = seen["guest"]

    def goes_on():
        seen["guest"] = verify_guest(f"after kill {number}")
        return seen["guest"] > before

    vs.until(goes_on, "the guest does not go on")


def test_acknowledged_writes_survive():
    # There must be flushed and unflushed writes, and some on their way when the daemon died.
    number = 0
    while number < ROUNDS or (number < 4 * ROUNDS and not all(seen.values())):
        number += 1
        try:
            one_round(number)
        except Exception as e:
            raise AssertionError(f"round {number}, VSTORE_SEED={seed}: {e}") from e
    print(f"# {seen}")
    assert all(seen.values()), seen


def test_a_clean_stop_keeps_them_too():
    loads = {name: Load(url, journal(name), seed) for name, url in urls().items()}
    for load in loads.values():
        load.wait_running()
    node.stop()
    for load in loads.values():
        load.result()
    node.start()
    for name, url in urls().items():
        vs.run(vs.LOAD, "verify", url, journal(name))


def test_the_guest_ends_without_an_error():
    verify_guest("at the end")
    node.guest_console.send("quit\n")
    node.guest_console.wait_for("done")
    node.wait_vm("g", "stopped")
    assert "BAD" not in node.guest_console.text
    node.guest_console.close()


def test_check_finds_nothing():
    node.stop()
    node.check()


if __name__ == "__main__":
    with node:
        tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
