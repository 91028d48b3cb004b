"""Bad input: one clear line and a non-zero exit, or the protocol's own error; nothing lost, nothing
half done, and the daemon goes on."""

import errno
import os
import random
import re
import socket
import struct
import subprocess

import node as vs

import tap

node = vs.Node(size="8G")
chance = random.Random(1)
CONTENT_SIZE = 8 << 20


def path(name):
    return os.path.join(node.state, name)


def make(name, data):
    with open(path(name), "wb") as f:
        f.write(data)
    return path(name)


def volumes():
    return sorted(v["name"] for v in node.json("volume", "list"))


def assert_fine():
    """The daemon runs, and what was there is there, unchanged."""
    assert node.alive(), node.log_text()
    assert volumes() == ["v"]
    dest = path("fine.raw")
    node.vstore("volume", "export", "v", dest)
    assert vs.sha256(dest) == vs.sha256(path("content"))
    os.unlink(dest)


def says(line, *words):
    for word in words:
        assert word.lower() in line.lower(), f"{line!r} does not say {word!r}"


def start_refused(*options):
    """A second daemon that must end at once; returns its last line."""
    state = path("second")
    os.makedirs(state, exist_ok=True)
    config = make("empty.conf", b"")
    done = subprocess.run(
        [vs.VSTORED, "--config", config, "--state", state, "--iscsi", "off", "--nfs", "off", "--nbd", "off",
         *options], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode in (1, 2), (done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    assert lines, "it ended without a word"
    return lines[-1]


# ---- stores


def test_set_up():
    content = make("content", chance.randbytes(CONTENT_SIZE))
    node.vstore("volume", "import", content, "v")
    assert_fine()


def test_init_refuses_what_is_no_place_for_a_store():
    says(vs.refused(vs.VSTORE, "init", path("no/such/folder/x"), "--size", "1G"), "no/such/folder")
    says(vs.refused(vs.VSTORE, "init", node.state), node.state)
    says(vs.refused(vs.VSTORE, "init", "/dev/null"), "/dev/null")
    says(vs.refused(vs.VSTORE, "init", path("missing")), "missing")
    says(vs.refused(vs.VSTORE, "init", path("small"), "--size", "64K"), "small")
    vs.refused(vs.VSTORE, "init", path("nonsense"), "--size", "12Q")
    assert not os.path.exists(path("nonsense"))


def test_init_refuses_what_holds_data():
    data = make("data", chance.randbytes(1 << 20))
    os.truncate(data, 1 << 30)
    before = vs.sha256(data)
    says(vs.refused(vs.VSTORE, "init", data), "--force")
    assert vs.sha256(data) == before
    vs.run(vs.VSTORE, "init", data, "--force")
    vs.run(vs.VSTORE, "check", data)


def test_a_store_is_opened_once():
    for line in (start_refused("--store", node.store), vs.refused(vs.VSTORE, "check", node.store),
                 vs.refused(vs.VSTORE, "init", node.store, "--force")):
        says(line, "in use")
    assert_fine()


def test_what_is_not_a_store():
    for name, data in (("zeros", bytes(64 << 20)), ("noise", chance.randbytes(64 << 20)),
                       ("empty", b""), ("short", b"x" * 8192)):
        file = make(name, data)
        for line in (start_refused("--store", file), vs.refused(vs.VSTORE, "check", file)):
            says(line, file)
        with open(file, "rb") as f:
            assert f.read() == data, "it was changed"
        os.unlink(file)
    says(start_refused("--store", path("missing")), "missing")
    says(start_refused("--store", node.state), node.state)
    says(start_refused("--store", "/dev/null"), "/dev/null")


def test_a_damaged_store():
    """Cut short, or with both superblocks overwritten: refused, and left as it is."""
    node.stop()
    whole = os.path.getsize(node.store)
    cut = path("cut")
    vs.run("cp", "--sparse=always", node.store, cut)
    os.truncate(cut, whole // 2 - whole // 2 % 4096)
    says(start_refused("--store", cut), cut)
    vs.refused(vs.VSTORE, "check", cut)
    os.truncate(cut, whole)
    with open(cut, "r+b") as f:
        for at in (0, whole - (1 << 20)):
            f.seek(at)
            f.write(chance.randbytes(1 << 20))
    says(start_refused("--store", cut), cut)
    os.unlink(cut)
    node.start()
    assert_fine()


# ---- names and sizes


def test_sizes():
    for size in ("1000", "4097", "0", "-4096", "12Q", "", "99999999999T", "1.5"):
        node.refused("volume", "create", "n", "--size", size)
    says(node.refused("volume", "create", "n", "--size", "4097"), "4096")
    says(node.refused("volume", "resize", "v", "--size", "4097"), "4096")
    says(node.refused("volume", "resize", "v", "--size", "4K"), "force")
    assert_fine()


def test_unknown_names():
    for command in (
        ("volume", "show", "nope"), ("volume", "delete", "nope"),
        ("volume", "rename", "nope", "x"), ("volume", "resize", "nope", "--size", "1G"),
        ("volume", "clone", "nope@s", "x"), ("volume", "clone", "v@nope", "x"),
        ("volume", "export", "nope", path("x")), ("snapshot", "create", "nope@s"),
        ("snapshot", "delete", "v@nope"), ("snapshot", "rollback", "v@nope"),
        ("snapshot", "diff", "v@nope", "v"), ("nbd", "export", "nope"), ("nbd", "unexport", "nope"),
        ("target", "create", vs.IQN, "--volume", "nope"),
        ("target", "show", "iqn.2026-11.org.example:nope"),
        ("target", "delete", "iqn.2026-11.org.example:nope"),
        ("vm", "show", "nope"), ("vm", "start", "nope"), ("task", "show", "999999"),
    ):
        says(node.refused(*command), "999999" if command[0] == "task" else "nope")
    assert not os.path.exists(path("x"))
    assert node.json("target", "list") == [] and node.json("nbd", "list") == []
    assert_fine()


def test_names_in_use():
    node.vstore("snapshot", "create", "v@s")
    node.vstore("volume", "create", "w", "--size", "1M")
    try:
        for command in (("volume", "create", "--size", "1M", "v"), ("volume", "rename", "w", "v"),
                        ("snapshot", "create", "v@s"), ("volume", "clone", "v@s", "w"),
                        ("volume", "import", path("content"), "v")):
            line = node.refused(*command)
            assert "exists" in line or "in use" in line, line
    finally:
        node.vstore("volume", "delete", "w")
        node.vstore("snapshot", "delete", "v@s")
    assert_fine()


def test_bad_names():
    for name in (".x", "-x", "a b", "a/b", "../x", "a" * 64, "\u00e4", ""):
        node.refused("volume", "create", "--size", "1M", "--", name)
    for name in ("v@", "v@.x", "v@s@t", "v@" + "a" * 64):
        node.refused("snapshot", "create", name)
    assert_fine()


# ---- images


def test_bad_images():
    qcow2 = path("good.qcow2")
    vs.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", path("content"), qcow2)
    with open(qcow2, "rb") as f:
        good = f.read()
    cases = {
        "cut.qcow2": good[:len(good) // 2],
        "header.qcow2": good[:72],
        "tables.qcow2": good[:65536] + chance.randbytes(3 * 65536) + good[4 * 65536:],
        "version.qcow2": good[:4] + struct.pack(">I", 99) + good[8:],
        "empty.raw": b"",
    }
    for name, data in cases.items():
        says(node.refused("volume", "import", make(name, data), "x"), name)
        assert volumes() == ["v"], f"{name} left a volume"
    says(node.refused("volume", "import", path("missing.raw"), "x"), "missing.raw")
    says(node.refused("volume", "import", node.state, "x"), node.state)
    assert_fine()


def test_an_image_of_an_odd_size_is_padded():
    """Nothing is cut off: the last block is filled up with zeros."""
    data = chance.randbytes(10000)
    node.vstore("volume", "import", make("odd.raw", data), "odd")
    node.vstore("volume", "export", "odd", path("odd.out"))
    with open(path("odd.out"), "rb") as f:
        got = f.read()
    assert got[:10000] == data and not any(got[10000:]) and len(got) % 4096 == 0
    node.vstore("volume", "delete", "odd")
    os.unlink(path("odd.out"))


def test_export_does_not_overwrite():
    dest = make("precious", b"precious")
    says(node.refused("volume", "export", "v", dest), dest)
    says(node.refused("volume", "export", "v", path("no/folder/x")), "no/folder")
    with open(dest, "rb") as f:
        assert f.read() == b"precious"


# ---- garbage on sockets


def shout(family, address, data):
    """Sends what a stranger might and reads what comes back, until the other side hangs up."""
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(60)
        s.connect(address)
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        except OSError as e:
            if e.errno != errno.ENOTCONN:  # hung up between two of ours
                raise


def tcp(kind):
    host, port = node.listen[kind].rsplit(":", 1)
    return host, int(port)


def garbage():
    yield b""
    yield b"\0"
    yield bytes(70000)
    yield b"\xff" * 70000
    yield b"GET / HTTP/1.1\r\n\r\n" * 100
    for size in (1, 17, 47, 48, 49, 511, 4096, 100000):
        yield chance.randbytes(size)


def test_garbage_on_iscsi():
    address = tcp("iscsi")
    for data in garbage():
        shout(socket.AF_INET, address, data)
    # login requests with random fields, lengths among them
    for _ in range(200):
        header = bytearray(chance.randbytes(48))
        header[0] = 0x43
        if chance.random() < 0.5:
            header[4:8] = struct.pack(">I", chance.randrange(300))
        shout(socket.AF_INET, address, bytes(header) + chance.randbytes(chance.randrange(400)))
    assert_fine()


def test_garbage_on_nbd():
    address = tcp("nbd")
    for data in garbage():
        shout(socket.AF_INET, address, data)
    for _ in range(200):
        option = struct.pack(">IQII", 3, 0x49484156454F5054, chance.randrange(12),
                             chance.choice((0, 4, 40, 5000, 1 << 31, (1 << 32) - 1)))
        shout(socket.AF_INET, address, option + chance.randbytes(chance.randrange(400)))
    assert_fine()


def test_garbage_on_the_control_socket():
    for data in garbage():
        shout(socket.AF_UNIX, node.socket, data)
    for body in (b"{", b"[]", b"{}", b"null", b'{"name": 7}', b'{"name": "\\ud800"}',
                 b'{"name": "x", "size": 1e400}', b'{"name": "x", "size": -1}',
                 b'{"name": "x", "size": 4096, "colour": "red"}', b"[" * 100000,
                 chance.randbytes(1000), b" " * (2 << 20)):
        shout(socket.AF_UNIX, node.socket,
              b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
              b"Connection: close\r\n\r\n%s" % (len(body), body))
    for target in (b"/v1/volumes/%00", b"/v1/volumes/" + b"a" * 100000, b"/v1/../../etc/passwd",
                   b"/v1/nothing", b"/", b"/v1/diff?from=%ff&to=", b"/v1/tasks/x?wait=abc"):
        for method in (b"GET", b"DELETE", b"PATCH", b"BREW"):
            shout(socket.AF_UNIX, node.socket,
                  b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (method, target))
    assert_fine()


def test_a_client_that_says_nothing_holds_up_nobody():
    silent = [socket.create_connection(tcp(kind)) for kind in ("iscsi", "nbd") for _ in range(20)]
    try:
        url, = node.target("v")
        assert vs.load("digest", url)["sha256"] == vs.sha256(path("content"))
        node.vstore("target", "delete", vs.IQN)
    finally:
        for s in silent:
            s.close()
    assert_fine()


# ---- configuration and command lines


def test_bad_configuration():
    cases = (
        (b"no-such-key = 1\n", "no-such-key"),
        (b"memory = plenty\n", "memory"),
        (b"memory = 1M\n", "memory"),
        (b"iscsi = nowhere\n", "iscsi"),
        (b"iscsi = 127.0.0.1:99999\n", "iscsi"),
        (b"nbd = 256.0.0.1:1\n", "nbd"),
        (b"log-level = loud\n", "log-level"),
        (b"just words\n", "bad.conf"),
        (chance.randbytes(4096), "bad.conf"),
    )
    for data, word in cases:
        config = make("bad.conf", data)
        done = subprocess.run([vs.VSTORED, "--config", config, "--state", path("second")],
                              capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
        assert done.returncode in (1, 2), (data[:40], done.returncode, done.stderr)
        line = done.stderr.decode(errors="replace").rstrip("\n").split("\n")[-1]
        assert not re.search("[\0-\x1f\x7f-\x9f]", line), f"control characters: {line!r}"
        says(line, word)
    vs.run("rm", config)
    says(start_refused("--config", config), "bad.conf")


def test_bad_command_lines():
    for options in (("--no-such-option",), ("--memory",), ("--iscsi", "x"), ("surplus",)):
        start_refused(*options)
    for command in (("no-such-command",), ("volume",), ("volume", "create"),
                    ("volume", "create", "x"), ("volume", "create", "x", "--size"),
                    ("volume", "create", "x", "--size", "1M", "surplus"),
                    ("volume", "create", "x", "--size", "1M", "--colour", "red")):
        done = subprocess.run([vs.VSTORE, "--socket", node.socket, *command], text=True,
                              capture_output=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 2 and done.stderr, (command, done.returncode, done.stderr)
    assert_fine()


def test_no_daemon():
    line = vs.refused(vs.VSTORE, "--socket", path("nobody.sock"), "volume", "list")
    says(line, "nobody.sock")


def test_an_address_in_use():
    says(start_refused("--store", path("data"), "--iscsi", node.listen["iscsi"]),
         *node.listen["iscsi"].split(":"))


def test_check_finds_nothing():
    node.stop()
    node.check()


if __name__ == "__main__":
    with node:
        tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
