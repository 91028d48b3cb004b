#!/usr/bin/env python3
"""Images in the CD drives of VMs, from datastores and from an NFS server of others (nfs-ganesha):
guests boot from them and read on while the daemon or the server is killed. The guests are boot
sectors on CDs as El Torito 1.0 describes them, under KVM where /dev/kvm opens."""

import concurrent.futures
import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time

import guest
import node as vs
import tap
from ganesha import Export, Ganesha

MIB = 1 << 20
SECTOR = 2048
VM = ("--cpus", "1", "--memory", "64M")

node = vs.Node(size="4G", iscsi=False, nbd=False)
small = vs.Node(size="640M", iscsi=False, nbd=False)
two = {}  # its data
share = os.path.join(node.state, "share")


def make_iso(path, text, sectors=40, noise=0):
    """A CD whose guest reads its last sector again and again and prints it; noise: bytes before it."""
    volume = bytearray(SECTOR)  # ECMA-119 section 8.4, the fields that SeaBIOS looks at
    volume[0:7] = b"\x01CD001\x01"
    struct.pack_into("<I", volume, 80, sectors)
    struct.pack_into(">I", volume, 84, sectors)
    struct.pack_into("<H", volume, 128, SECTOR)
    record = bytearray(SECTOR)  # El Torito figure 7: the catalogue is in sector 19
    record[0:7] = b"\x00CD001\x01"
    record[7:30] = b"EL TORITO SPECIFICATION"
    struct.pack_into("<I", record, 71, 19)
    entries = bytearray(64)  # figures 2 and 3: no emulation, four sectors of 512 bytes from 20 on
    entries[0], entries[30], entries[31] = 1, 0x55, 0xaa
    struct.pack_into("<H", entries, 28, -sum(struct.unpack("<16H", entries[:32])) & 0xffff)
    entries[32] = 0x88
    struct.pack_into("<HI", entries, 38, 4, 20)
    last = sectors - 1
    with open(path, "wb") as f:
        f.truncate(sectors * SECTOR)
        for number, data in ((16, volume), (17, record), (18, b"\xffCD001\x01"), (19, entries),
                             (20, guest.boot_sector(sector=last, power_off=False)),
                             (last, text + b"\0")):
            f.seek(number * SECTOR)
            f.write(data)
        if noise:
            f.seek((last * SECTOR - noise) // MIB * MIB)
            f.write(random.Random(text).randbytes(noise))


def put(name, text, **more):
    """A CD image as a file of the datastore."""
    path = os.path.join(node.state, "image.iso")
    make_iso(path, text, **more)
    node.vstore("datastore", "put", path, f"d/{name}")
    with open(path, "rb") as f:
        data = f.read()
    os.unlink(path)
    return data


def volumes():
    return sorted(v["name"] for v in node.json("volume", "list"))


def copy_of(vm):
    """The volume in its drive, and what is in that."""
    name = node.json("vm", "show", vm)["cdrom_volume"]
    dest = os.path.join(node.state, "copy.raw")
    node.vstore("volume", "export", name, dest)
    with open(dest, "rb") as f:
        data = f.read()
    os.unlink(dest)
    return name, data


def says(console, text):
    """The next time that the guest has read its CD, it has read this."""
    found = console.wait_for("(boot )?([a-z ]+)\r\n")
    while not found.group(1):
        found = console.wait_for("(boot )?([a-z ]+)\r\n")
    assert found.group(2) == text, found


def boots(vm, text):
    node.vstore("vm", "start", vm)
    console = node.console(vm)
    console.wait_for("boot " + text)
    console.close()
    node.vstore("vm", "stop", vm)


def events(kind):
    return [e for e in node.json("event", "list") if e["kind"] == kind]


def test_the_image_of_a_datastore_is_copied_and_shared():
    image = put("one.iso", b"first cd", sectors=8192, noise=8 * MIB)
    before = node.json("df")["unique_content_bytes"]
    node.vstore("vm", "create", "m", *VM, "--cdrom", "d/one.iso")
    assert node.json("df")["unique_content_bytes"] < before + MIB, "it takes space"
    shown = node.json("vm", "show", "m")
    assert shown["cdrom"] == "d/one.iso" and volumes() == [shown["cdrom_volume"]], shown
    assert copy_of("m")[1] == image
    text = vs.run(vs.VSTORE, "--socket", node.socket, "vm", "show", "m")
    assert "d/one.iso" in text, text


def test_a_guest_boots_and_its_daemon_is_killed():
    """The file and its datastore are away by then. Reads wait for the daemon, and none fails."""
    node.vstore("datastore", "delete", "d")
    node.vstore("datastore", "create", "d")
    node.vstore("vm", "start", "m")
    console = node.console("m")
    says(console, "first cd")
    pid = node.json("vm", "show", "m")["pid"]
    for end in (node.kill, node.stop):
        end()
        time.sleep(1.5)  # it reads each second
        node.start()
        console.text = ""
        for _ in range(2):
            says(console, "first cd")
        shown = node.json("vm", "show", "m")
        assert (shown["state"], shown["pid"]) == ("running", pid), shown
    console.close()


def test_while_it_runs_nothing_changes():
    two["data"] = put("two.iso", b"second cd")
    before = volumes()
    mute = socket.create_server(("127.0.0.1", 0))
    for image in ("d/two.iso", "none", f"nfs://127.0.0.1:{mute.getsockname()[1]}/a/b"):
        said = node.refused("vm", "set", "m", "--cdrom", image)
        assert "running" in said and "stop it first" in said, said
    mute.settimeout(0.2)
    try:
        mute.accept()
        raise AssertionError("the server was asked all the same")
    except TimeoutError:
        pass
    mute.close()
    assert volumes() == before
    copy = before[0]
    assert "used by vm m" in node.refused("volume", "delete", copy)
    assert "CD drive of VM m" in node.refused("volume", "rename", copy, "mine")
    assert "used by vm m" in node.refused("vm", "create", "n", *VM, "--disk", copy)
    node.vstore("vm", "stop", "m")


def test_another_image_takes_its_place():
    first = volumes()
    node.vstore("vm", "set", "m", "--cdrom", "d/two.iso")
    assert len(volumes()) == 1 and volumes() != first, volumes()
    node.vstore("vm", "set", "m", "--memory", "96M")
    assert node.json("vm", "show", "m")["cdrom"] == "d/two.iso"
    assert copy_of("m")[1] == two["data"]
    node.vstore("vm", "set", "m", "--cdrom", "none")
    shown = node.json("vm", "show", "m")
    assert (shown["cdrom"], shown["cdrom_volume"]) == ("", None) and volumes() == [], shown
    host = os.path.join("/var/tmp", f"vstore-cdrom-{os.getpid()}.iso")
    make_iso(host, b"host cd")
    os.chmod(host, 0o644)
    try:
        node.vstore("vm", "set", "m", "--cdrom", host)
        assert volumes() == []
        boots("m", "host cd")
    finally:
        os.unlink(host)
    node.vstore("vm", "delete", "m")


def test_a_copy_goes_with_its_machine_unless_somebody_else_uses_it():
    node.vstore("volume", "create", "disk", "--size", "16M")
    node.vstore("vm", "create", "m", *VM, "--cdrom", "d/two.iso", "--disk", "disk")
    node.vstore("vm", "delete", "m")
    assert volumes() == ["disk"]
    node.vstore("vm", "create", "m", *VM, "--cdrom", "d/two.iso", "--disk", "disk")
    node.vstore("vm", "delete", "m", "--with-disks")
    assert volumes() == []
    node.vstore("vm", "create", "m", *VM, "--cdrom", "d/two.iso")
    copy = volumes()[0]
    node.vstore("snapshot", "create", f"{copy}@mine")
    node.vstore("volume", "clone", f"{copy}@mine", "clone")
    node.vstore("vm", "delete", "m")
    assert volumes() == sorted((copy, "clone")), volumes()
    vs.until(lambda: [e["subject"] for e in events("cdrom.left")] == [copy], "nothing is said of it")
    node.vstore("volume", "delete", copy, "--with-snapshots")
    node.vstore("volume", "delete", "clone")


def test_the_death_of_the_daemon_leaves_all_or_nothing():
    put("large.iso", b"large cd", sectors=(256 * MIB) // SECTOR, noise=192 * MIB)
    with subprocess.Popen([vs.VSTORE, "--socket", node.socket, "vm", "create", "m", *VM, "--cdrom",
                           "d/large.iso"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as made:
        vs.until(volumes, "nothing is made")
        node.kill()
        made.communicate()
        assert made.returncode == 1
    node.start()
    assert volumes() == [] and node.json("vm", "list") == []
    # one whose note as a draft outlived the work is the machine's
    node.vstore("vm", "create", "m", *VM, "--cdrom", "d/large.iso")
    status, answer = node.api("POST", f"/v1/volumes/{volumes()[0]}/attach", {"draft": True})
    assert status == 201, answer
    node.kill()
    node.start()
    boots("m", "large cd")
    node.vstore("snapshot", "create", f"{volumes()[0]}@s")  # no draft any more
    node.vstore("snapshot", "delete", f"{volumes()[0]}@s")
    node.vstore("vm", "delete", "m")
    assert volumes() == []


def test_an_image_that_ends_within_a_block_is_padded():
    path = os.path.join(node.state, "odd.iso")
    make_iso(path, b"odd cd", sectors=41)
    with open(path, "ab") as f:
        f.write(b"\x99" * 1000)
    node.vstore("datastore", "put", path, "d/odd.iso")
    node.vstore("vm", "create", "m", *VM, "--cdrom", "d/odd.iso")
    with open(path, "rb") as f:
        data = f.read()
    assert copy_of("m")[1] == data + bytes(-len(data) % 4096)
    node.vstore("vm", "delete", "m")


def test_what_cannot_be_put_in_leaves_nothing():
    node.vstore("datastore", "create", "e")
    empty = os.path.join(node.state, "empty")
    open(empty, "wb").close()
    node.vstore("datastore", "put", empty, "e/empty.iso")
    node.vstore("datastore", "put", empty, "e/folder.iso")
    node.vstore("vm", "create", "m", *VM, "--cdrom", "d/two.iso")
    before, gone = volumes(), vs.Port()
    for image, words in (
            ("e/none.iso", "no such file"), ("e/none/none.iso", "no such file"),
            ("e/", "not a file"), ("e/empty.iso", "is empty"), ("e/empty.iso/x", "not a directory"),
            ("e/../two.iso", "no such file"), ("e/../../d/two.iso", "no such file"),
            ("e/" + "x" * 256, "255"), ("e/" + "x/" * 3000 + "x", "cdrom"),
            ("no/two.iso", "no datastore"), ("../d/two.iso", "neither"), ("two.iso", "DATASTORE/PATH"),
            ("http://host/two.iso", "neither"), ("nfs://", "not of the form"),
            (f"nfs://{gone.address}/a/b.iso", "refused"),
            (server.url(f"{share}/none.iso"), "no such file"),
            (server.url(f"{share}/folder"), "folder"), (server.url(f"{share}/empty.iso"), "0 bytes"),
            (server.url("/nowhere/x.iso"), "vstore discover nfs://")):
        for command in (("create", "new", *VM), ("set", "m")):
            said = node.refused("vm", *command, "--cdrom", image)
            assert words in said, (image, said)
    for command in (("create", "m", *VM), ("set", "nobody"), ("create", "new", "--cpus", "0", "--memory", "64M"),
                    ("create", "new", *VM, "--disk", "nothing")):
        node.refused("vm", *command, "--cdrom", "d/large.iso")
    for image in (7, [], "d/two.iso\0x"):
        status, _ = node.api("PATCH", "/v1/vms/m", {"cdrom": image})
        assert status == 400, image
    gone.close()
    assert volumes() == before and [vm["name"] for vm in node.json("vm", "list")] == ["m"]
    assert not [t for t in node.json("task", "list") if t["state"] in ("queued", "running")]
    node.vstore("datastore", "delete", "e")
    assert copy_of("m")[1] == two["data"]
    node.vstore("vm", "delete", "m")
    assert volumes() == []


def test_an_image_of_an_nfs_server_that_comes_and_goes():
    """It stands still while the image is put in, is killed while it is fetched and then for good."""
    sectors = 768 * MIB // SECTOR
    make_iso(f"{share}/big.iso", b"far cd", sectors=sectors, noise=4 * MIB)
    url = server.url(f"{share}/big.iso")
    server.process.send_signal(signal.SIGSTOP)
    go_on = threading.Timer(1, lambda: server.process.send_signal(signal.SIGCONT))
    go_on.start()
    node.vstore("vm", "create", "m", *VM, "--cdrom", url)
    server.kill()
    go_on.join()
    copy = volumes()[0]
    assert node.json("volume", "show", copy)["origin"]["url"] == url, "it is complete already"
    node.vstore("vm", "start", "m")
    console = node.console("m")
    server.start()
    says(console, "far cd")
    node.kill()
    node.start()
    says(console, "far cd")
    vs.until(lambda: not node.json("volume", "show", copy)["origin"], "it is not complete")
    server.kill()
    says(console, "far cd")
    console.close()
    node.vstore("vm", "stop", "m")
    boots("m", "far cd")
    dest = os.path.join(node.state, "big.raw")
    node.vstore("volume", "export", copy, dest)
    vs.run("cmp", dest, f"{share}/big.iso")
    os.unlink(dest)
    server.start()
    node.vstore("vm", "set", "m", "--cdrom", url)
    server.kill()
    node.vstore("vm", "delete", "m")  # while it is fetched, or after
    assert volumes() == []
    server.start()  # what was being read holds until then, or for a minute
    vs.until(lambda: not [t for t in node.json("task", "list") if t["state"] == "running"],
             "a fetch is left")


def fill(store, chance):
    """Until nothing more goes in, not even little."""
    path, number = f"{store.state}/noise", 0
    for size in (64 * MIB, 16 * MIB, 4 * MIB, MIB, 64 << 10):
        state = "done"
        while state == "done":
            with open(path, "wb") as f:
                f.write(chance.randbytes(size))
            number += 1
            state = store.task(store.api("POST", "/v1/imports", {"source": path, "name": f"n{number}"}))["state"]


def test_a_full_store_refuses():
    """What the datastore holds takes no space but for maps: some copies are made even then. What is
    full first, for the copy or for the machine, is in the error; all can be deleted."""
    small.vstore("datastore", "create", "d")
    make_iso(f"{small.state}/a.iso", b"no cd", sectors=101 * MIB // SECTOR, noise=100 * MIB)
    small.vstore("datastore", "put", f"{small.state}/a.iso", "d/a.iso")
    fill(small, random.Random(1))
    status, made = 201, -1
    while status == 201:
        made += 1
        status, answer = small.api("POST", "/v1/vms", {"name": f"m{made}", "cpus": 1, "memory": 64 * MIB,
                                                       "cdrom": "d/a.iso"})
    said = answer["error"]["message"]
    assert made and "space" in said and ("d/a.iso" in said or "remember" in said), (made, said)
    assert len(small.json("vm", "list")) == made
    assert sum(v["name"].startswith("cdrom-") for v in small.json("volume", "list")) == made
    small.vstore("datastore", "delete", "d")


def test_a_server_that_does_not_answer_is_given_up():
    said = asked.result()
    assert "no answer" in said or "does not answer" in said, said
    assert "mute" not in [vm["name"] for vm in small.json("vm", "list")]


def ask_mute():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"nfs://127.0.0.1:{listener.getsockname()[1]}/export/cd.iso"
        return small.refused("vm", "create", "mute", *VM, "--cdrom", url)


with node, small:
    server = None
    try:
        server = Ganesha(node.state, Export(share))
        os.mkdir(f"{share}/folder")
        open(f"{share}/empty.iso", "wb").close()
        node.vstore("datastore", "create", "d")
        with concurrent.futures.ThreadPoolExecutor() as beside:
            asked = beside.submit(ask_mute)
            tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
    finally:
        if server:
            server.close()
        guest.end_all(node.state)
