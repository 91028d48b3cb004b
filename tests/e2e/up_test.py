"""`make up` and `make down`, twice each: a node, and a guest that counts its boots on its volume."""

import os
import pwd
import shutil
import subprocess
import tempfile

import node as vs

import tap

state = tempfile.mkdtemp(prefix="vstore-up-", dir=os.environ.get("VSTORE_TMP", "/var/tmp"))
prefix = os.path.join(state, "prefix")
node = vs.Node(init=False)  # only to speak to the one that make starts
shutil.rmtree(node.state)
node.state, node.socket = state, os.path.join(state, "vstored.sock")


def make(target):
    if os.path.isdir("/run/systemd/system"):
        raise tap.Skip("systemd runs here: it would change the machine's own units")
    return vs.run("make", "-s", "--no-print-directory", target, f"STATE={state}",
                  f"PREFIX={prefix}", "OPTIONS=--iscsi 127.0.0.1:0 --nfs 127.0.0.1:0", cwd=vs.ROOT)


def boots():
    """What the guest says after a reset. Its echo proves first that it has booted: a reset in the
    first moments of the BIOS is more than SeaBIOS survives."""
    console = node.console("demo")
    console.send("~")
    console.wait_for("~")
    node.vstore("vm", "reset", "demo")
    number = int(console.wait_for(r"this is boot (\d+)\.").group(1))
    console.close()
    return number


def test_up():
    said = make("up")
    assert "vm console demo" in said, said
    assert node.json("status")["state"] == "running"
    assert node.json("vm", "show", "demo")["state"] == "running"
    node.first = boots()
    assert node.first >= 2


def test_the_guest_does_not_run_as_root():
    pid = node.json("vm", "show", "demo")["pid"]
    user = pwd.getpwnam("vstore-vm")
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        ids = {line.split(":")[0]: line.split()[1:] for line in status}
    assert ids["Uid"] == [str(user.pw_uid)] * 4, ids["Uid"]
    assert ids["Gid"] == [str(user.pw_gid)] * 4, ids["Gid"]
    assert ids["NoNewPrivs"] == ["1"] and ids["Seccomp"] == ["2"], "QEMU's sandbox is off"


def test_up_again_lets_the_guest_go_on():
    pid = node.json("vm", "show", "demo")["pid"]
    make("up")
    shown = node.json("vm", "show", "demo")
    assert shown["state"] == "running" and shown["pid"] == pid, shown
    assert boots() == node.first + 1


def test_what_was_installed():
    for path in ("sbin/vstored", "bin/vstore", "lib/systemd/system/vstored.service",
                 "share/man/man1/vstore.1", "share/man/man8/vstored.8",
                 "share/bash-completion/completions/vstore"):
        assert os.path.getsize(os.path.join(prefix, path)) > 0, path


def test_down():
    pid = node.json("vm", "show", "demo")["pid"]
    make("down")
    assert vs.ended(pid), "the guest still runs"
    try:
        node.json("status")
        raise AssertionError("the node still runs")
    except vs.CommandFailed:
        pass
    vs.run(vs.VSTORE, "check", os.path.join(state, "store.img"))


def test_down_again_and_up():
    make("down")
    make("up")
    assert boots() == node.first + 3
    make("down")


if __name__ == "__main__":
    try:
        tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
    finally:
        subprocess.run(["make", "-s", "down", f"STATE={state}", f"PREFIX={prefix}"], cwd=vs.ROOT,
                       capture_output=True)
        shutil.rmtree(state, ignore_errors=True)
