"""The life of a virtual machine: its states, what is refused, and its ends, with a daemon and without.
The guests are boot sectors, under KVM where /dev/kvm opens."""

import os
import signal
import socket

import guest
import node as vs

import tap

node = vs.Node(size="1G")
GREETING = b"this is sector one"


def image(name, **sector):
    path = os.path.join(node.state, name + ".img")
    with open(path, "wb") as f:
        f.write((guest.boot_sector(**sector) + GREETING).ljust(1 << 20, b"\0"))
    node.vstore("volume", "import", path, name)
    os.unlink(path)


def create(name, *options):
    node.vstore("vm", "create", name, "--cpus", "1", "--memory", "64M", *options)


def state(name):
    return node.json("vm", "show", name)["state"]


def test_a_machine_is_defined():
    image("stays", power_off=False)
    create("a", "--disk", "stays")
    shown = node.json("vm", "show", "a")
    assert shown["state"] == "stopped" and shown["pid"] in (None, 0), shown
    assert (shown["cpus"], shown["memory"]) == (1, 64 << 20), shown


def test_it_starts_and_reads_its_disk():
    node.vstore("vm", "start", "a")
    shown = node.json("vm", "show", "a")
    assert shown["state"] == "running" and shown["pid"] > 0, shown
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
        assert shown["accel"] == "kvm", shown
    except OSError:
        assert shown["accel"] == "tcg", shown
    console = node.console("a")
    console.wait_for(GREETING.decode())
    console.close()


def test_nothing_secret_or_open_is_left_with_the_process():
    pid = node.json("vm", "show", "a")["pid"]
    assert os.getsid(pid) == pid, "it shares a session"
    with open(f"/proc/{pid}/environ", "rb") as f:
        names = {entry.split(b"=")[0] for entry in f.read().split(b"\0") if entry}
    assert names <= {b"PATH", b"LANG"}, names
    with open(f"/proc/{pid}/status") as f:
        status = dict(line.split(":\t", 1) for line in f if ":\t" in line)
    assert status["Seccomp"].strip() == "2", "no sandbox"
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue  # closed since
        assert "store.img" not in target and "vstored.log" not in target, target


def test_suspend_and_resume():
    node.vstore("vm", "suspend", "a")
    assert state("a") == "paused"
    node.vstore("vm", "resume", "a")
    assert state("a") == "running"


def test_what_does_not_fit_its_state_is_refused():
    assert "running" in node.refused("vm", "start", "a")
    node.refused("vm", "delete", "a")
    node.refused("volume", "delete", "stays")
    assert state("a") == "running"


def test_the_disk_is_no_other_machines():
    assert "stays" in node.refused("vm", "create", "b", "--cpus", "1", "--memory", "64M",
                                   "--disk", "stays")
    assert [vm["name"] for vm in node.json("vm", "list")] == ["a"]


def test_stop():
    pid = node.json("vm", "show", "a")["pid"]
    node.vstore("vm", "stop", "a")
    assert state("a") == "stopped"
    assert vs.ended(pid)
    node.refused("vm", "stop", "a")
    node.refused("vm", "suspend", "a")
    node.refused("vm", "shutdown", "a")


def test_a_guest_that_powers_off():
    image("leaves")
    create("p", "--disk", "leaves")
    node.vstore("vm", "start", "p")
    node.wait_vm("p", "stopped")


def qmp(vm, command, until):
    """Says command to QEMU, which listens for the daemon only, until its answer has a text."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(vs.READY_WITHIN)
        s.connect(os.path.join(node.state, "vms", vm, "qmp.sock"))
        stream = s.makefile("rw")
        stream.write('{"execute": "qmp_capabilities"}\n')
        while True:
            stream.write('{"execute": "%s"}\n' % command)
            stream.flush()
            line = stream.readline()
            while '"return"' not in line:
                assert line, "QEMU has gone"
                line = stream.readline()
            if until in line:
                return


def test_a_guest_that_powers_off_while_no_daemon_runs():
    image("waits", wait_key=True)
    create("w", "--disk", "waits")
    node.vstore("vm", "start", "a")
    node.vstore("vm", "start", "w")
    pid = node.json("vm", "show", "w")["pid"]
    console = node.console("w")
    console.wait_for(GREETING.decode())
    node.kill()
    console.send("x")
    qmp("w", "query-status", '"shutdown"')
    assert os.path.exists(f"/proc/{pid}"), "it did not wait for the daemon"
    console.close()
    node.start()
    node.wait_vm("w", "stopped")
    assert vs.ended(pid)
    assert state("a") == "running"


def test_a_stopped_daemon_leaves_the_guest():
    pid = node.json("vm", "show", "a")["pid"]
    node.stop()
    assert os.path.exists(f"/proc/{pid}")
    node.start()
    shown = node.json("vm", "show", "a")
    assert (shown["state"], shown["pid"]) == ("running", pid), shown
    console = node.console("a")
    for _ in range(2):
        console.wait_for(GREETING.decode())  # its disk is served again
    node.vstore("vm", "reset", "a")
    console.wait_for(GREETING.decode())
    console.close()


def test_a_process_that_dies():
    pid = node.json("vm", "show", "a")["pid"]
    os.kill(pid, signal.SIGKILL)
    shown = node.wait_vm("a", "crashed")
    assert any(e["kind"] == "vm.state" and e["severity"] == "error" and e["subject"] == "a"
               for e in node.json("event", "list")), "no event"
    assert shown["pid"] in (None, 0), shown
    node.vstore("vm", "start", "a")
    assert state("a") == "running"
    node.vstore("vm", "stop", "a")


def test_a_process_that_dies_while_no_daemon_runs():
    node.vstore("vm", "start", "a")
    pid = node.json("vm", "show", "a")["pid"]
    node.stop()
    os.kill(pid, signal.SIGKILL)
    node.start()
    assert state("a") == "crashed"
    node.vstore("vm", "start", "a")
    assert state("a") == "running"
    node.vstore("vm", "stop", "a")
    assert state("a") == "stopped"


def test_a_pid_file_that_names_another_process():
    folder = os.path.join(node.state, "vms", "a")
    node.stop()
    with open(os.path.join(folder, "pid"), "w") as f:
        f.write("%d\n" % os.getpid())
    node.start()
    assert state("a") in ("stopped", "crashed")
    node.vstore("vm", "start", "a")
    assert node.json("vm", "show", "a")["pid"] != os.getpid()
    node.vstore("vm", "stop", "a")


def test_a_qemu_that_refuses_is_one_clear_line():
    create("k", "--kernel", os.path.join(node.state, "kernel"), "--accel", "tcg")
    said = node.refused("vm", "start", "k")
    assert "machine k" in said and "kernel" in said, said
    assert state("k") == "stopped"
    node.vstore("vm", "delete", "k")


def test_bad_definitions():
    for options in (["--cpus", "0", "--memory", "64M"], ["--cpus", "1", "--memory", "1M"],
                    ["--cpus", "1", "--memory", "64M", "--disk", "nothing"],
                    ["--cpus", "1", "--memory", "64M", "--nic", "nowhere"],
                    ["--cpus", "1", "--memory", "64M", "--accel", "magic"],
                    ["--cpus", "1", "--memory", "64M", "--append", "quiet"]):
        node.refused("vm", "create", "bad", *options)
    node.refused("vm", "start", "bad")
    node.refused("vm", "show", "bad")


def test_many_starts_and_stops():
    def descriptors():
        return len(os.listdir(f"/proc/{node.process.pid}/fd"))

    before = descriptors()
    for _ in range(5):
        node.vstore("vm", "start", "a")
        node.vstore("vm", "stop", "a")
    # those of the last commands' connections are closed when the daemon gets to it
    vs.until(lambda: descriptors() <= before + 2,
             lambda: f"{before} descriptors before, {descriptors()} after", 60)


def test_delete_takes_everything_along():
    node.vstore("vm", "delete", "a")
    node.vstore("vm", "delete", "p", "--with-disks")
    node.vstore("vm", "delete", "w", "--with-disks")
    assert node.json("vm", "list") == []
    assert os.listdir(os.path.join(node.state, "vms")) == []
    assert [v["name"] for v in node.json("volume", "list")] == ["stays"]


if __name__ == "__main__":
    with node:
        try:
            tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
        finally:
            guest.end_all(node.state)
