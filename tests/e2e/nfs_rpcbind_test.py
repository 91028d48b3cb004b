"""The NFS server is registered with the machine's rpcbind: a real one, in a namespace where port 111 and
/run are ours. Needs root."""

import os
import signal
import socket
import struct
import subprocess
import sys
import time

import debian
import node as vs

import tap

INSIDE = "inside"
HOST = "127.0.0.1"
TREE = debian.unpacked("rpcbind")
RPCINFO = os.path.join(TREE, "usr/sbin/rpcinfo")
SETUP = """
set -e
mount -t tmpfs none /run
cp /etc/passwd /run/passwd
grep -q '^_rpc:' /run/passwd || echo '_rpc:x:65533:65534::/run:/usr/sbin/nologin' >> /run/passwd
mount --bind /run/passwd /etc/passwd
ip link set lo up
exec "$0" "$@"
"""
HANGS_AT_MOST = 60  # seconds; the daemon itself gives up far earlier

if sys.argv[1:] != [INSIDE]:
    libraries = os.path.join(debian.unpacked("libwrap0"), "usr/lib/x86_64-linux-gnu")
    os.environ["LD_LIBRARY_PATH"] = libraries
    os.execvp("unshare", ["unshare", "--net", "--mount", "sh", "-c", SETUP, sys.executable,
                          os.path.abspath(__file__), INSIDE])


class Rpcbind:
    def start(self):
        self.process = subprocess.Popen([os.path.join(TREE, "sbin/rpcbind"), "-f"], stdin=subprocess.DEVNULL)
        vs.until(lambda: os.path.exists("/run/rpcbind.sock") and subprocess.run(
            [RPCINFO, "-p", HOST], capture_output=True).returncode == 0, "rpcbind does not answer")

    def end(self):
        self.process.kill()
        self.process.wait()


rpcbind = Rpcbind()
node = vs.Node(iscsi=False, nbd=False, nfs=True)
other = vs.Node(iscsi=False, nbd=False, nfs=True)


def port(of):
    return int(of.listen["nfs"].rsplit(":", 1)[1])


def registered():
    """{(program, version, transport): port} of what rpcbind has, its own apart."""
    lines = [line.split() for line in vs.run(RPCINFO, "-p", HOST).splitlines()[1:]]
    return {(int(w[0]), int(w[1]), w[2]): int(w[3]) for w in lines if w[0] != "100000"}


def all_at(where):
    return {(100003, 3, "tcp"): where, (100003, 4, "tcp"): where, (100005, 3, "tcp"): where,
            (100021, 4, "tcp"): where}


def status_at(tcp, udp):
    return {(100024, 1, "tcp"): tcp, (100024, 1, "udp"): udp}


def register(program, version, netid, where):
    """Tells rpcbind of a program as its owner does (RFC 1833 section 2.2, SET)."""
    def string(text):
        return struct.pack(">I", len(text)) + text + bytes(-len(text) % 4)
    address = f"{HOST}.{where >> 8}.{where & 255}".encode()
    call = struct.pack(">12I", 1, 0, 2, 100000, 4, 1, 0, 0, 0, 0, program, version)
    call += string(netid) + string(address) + string(b"root")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.connect("/run/rpcbind.sock")
        s.sendall(struct.pack(">I", 1 << 31 | len(call)) + call)
        assert s.recv(4096)[-4:] == b"\0\0\0\1"


def has(where):
    seen = registered()
    return all(seen.get(what) == at for what, at in all_at(where).items())


def events(of, kind):
    return [e for e in of.json("event", "list") if e["kind"] == kind]


def test_an_rpcbind_that_comes_later_is_noticed():
    rpcbind.start()
    vs.until(lambda: has(port(node)), "NFS is not registered")
    vs.until(lambda: events(node, "rpcbind.registered"), "no event")
    for program in ("100003", "100005"):
        assert "ready and waiting" in vs.run(RPCINFO, "-T", "tcp", HOST, program, "3")
    where = status_at(port(node), port(node))
    assert registered().items() >= where.items()
    assert "ready and waiting" in vs.run(RPCINFO, "-T", "udp", HOST, "100024", "1")


def test_another_servers_registration_is_left_alone():
    with other:
        vs.until(lambda: events(other, "rpcbind.taken"), "no event")
        message = events(other, "rpcbind.taken")[0]["message"]
        assert "another server at 127.0.0.1." in message, message
        assert has(port(node))
    assert has(port(node))


def test_a_clean_stop_takes_it_back():
    node.stop()
    assert not set(all_at(0)) & set(registered()), registered()
    node.start()
    vs.until(lambda: has(port(node)), "NFS is not registered")


def test_what_a_killed_daemon_left_is_overwritten():
    node.kill()
    assert has(port(node))
    node.listen["nfs"] = f"{HOST}:{port(node) + 1}"
    node.start()
    vs.until(lambda: has(port(node)), "NFS is not registered")
    assert not events(node, "rpcbind.taken")


def test_an_rpcbind_that_restarts_is_told_again():
    rpcbind.end()
    rpcbind.start()
    vs.until(lambda: has(port(node)), "NFS is not registered")


def test_the_machines_own_status_monitor_stays_and_is_no_event():
    node.stop()
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind((HOST, 0))
        tcp.listen()
        udp.bind((HOST, 0))
        theirs = status_at(tcp.getsockname()[1], udp.getsockname()[1])
        register(100024, 1, b"tcp", tcp.getsockname()[1])
        register(100024, 1, b"udp", udp.getsockname()[1])
        node.start()
        vs.until(lambda: has(port(node)), "NFS is not registered")
        assert registered().items() >= theirs.items(), registered()
        assert not events(node, "rpcbind.taken")
        node.stop()
        assert registered().items() >= theirs.items(), registered()
    # what a monitor that has gone has left is nobody's
    node.start()
    vs.until(lambda: registered().items() >= status_at(port(node), port(node)).items(), "NSM is not registered")


def test_an_rpcbind_that_hangs_stops_nobody():
    rpcbind.process.send_signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        node.stop()
        node.start()
        assert time.monotonic() - begun < HANGS_AT_MOST
        node.json("status")
    finally:
        rpcbind.process.send_signal(signal.SIGCONT)
    vs.until(lambda: has(port(node)), "NFS is not registered")


with node:
    try:
        tap.run(*[test for name, test in list(globals().items()) if name.startswith("test_")])
    finally:
        rpcbind.end()
