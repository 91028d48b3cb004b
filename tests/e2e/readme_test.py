"""Every command of README's tour, in its order, on a private node."""

import os
import re
import shlex
import subprocess

import node as vs

import tap

node = vs.Node(nfs=True)
image = os.path.join(node.state, "debian.qcow2")
mirror = os.path.join(node.state, "mirror.img")


def tour():
    with open(os.path.join(vs.ROOT, "README.md"), encoding="utf-8") as f:
        chapter = f.read().split("## Five minutes")[1].split("\n## ")[0]
    for block in re.findall(r"```\n(.*?)```", chapter, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("vstore "):
                yield line.split("#")[0].split(None, 1)[1].strip()


def at_home(command):
    """The same command with places of ours, and the id that the reader copies from a list."""
    for place, ours in (("debian.qcow2", image), ("debian.iso", image), ("/srv/vault", node.state + "/vault"),
                        ("/srv/mirror.img", mirror),
                        ("//127.0.0.1", "//" + node.listen["iscsi"]), ("/var/lib/vstore/store.img", node.store)):
        command = command.replace(place, ours)
    if ":ID" in command:
        command = command.replace("vault:ID", node.json("backup", "list")[0]["id"])
    return shlex.split(command)


def test_what_make_up_leaves():
    vs.run("qemu-img", "create", "-q", "-f", "qcow2", image, "64M")
    vs.run("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 2M", image)
    vs.run("truncate", "-s", "20G", mirror)
    demo = os.path.join(node.state, "demo")
    vs.run("as", "--32", "-o", demo + ".o", os.path.join(vs.ROOT, "packaging", "demo.S"))
    vs.run("ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", demo,
           demo + ".o")
    os.truncate(demo, 1 << 20)
    node.vstore("volume", "import", demo, "demo")
    node.vstore("vm", "create", "demo", "--cpus", "1", "--memory", "64M", "--disk", "demo")
    node.vstore("vm", "start", "demo")
    console = node.console("demo")
    console.wait_for("Type something")
    console.close()


def use_console(words):
    """On a terminal: it says how to leave, and Ctrl-] leaves."""
    ours, theirs = os.openpty()
    console = subprocess.Popen([vs.VSTORE, "--socket", node.socket, *words], stdin=theirs,
                               stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while b"Ctrl-]" not in said:
        said += os.read(ours, 4096)
    os.write(ours, b"\x1d")
    assert console.wait(vs.READY_WITHIN) == 0, said
    os.close(ours)


def test_the_tour():
    commands = list(tour())
    assert len(commands) > 15, commands
    for command in commands:
        words = at_home(command)
        if words[:2] == ["vm", "console"]:
            use_console(words)
        else:
            node.vstore(*words)


def test_what_the_tour_made():
    names = {v["name"] for v in node.json("volume", "list")}
    names.remove(node.json("vm", "show", "setup")["cdrom_volume"])
    assert names == {"demo", "second", "debian", "copied", "moved", "debian-restored", "web", "db"}, names
    assert node.json("volume", "show", "db")["provisioning"] == "thick"
    assert [d["state"] for d in node.json("store", "show")["devices"]] == ["in sync"] * 2
    node.vstore("vm", "stop", "web")
    node.vstore("vm", "stop", "demo")
    restored = os.path.join(node.state, "restored")
    node.vstore("volume", "export", "debian-restored", restored)
    vs.run("qemu-img", "compare", "-F", "raw", image, restored)


if __name__ == "__main__":
    with node:
        tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
