#!/usr/bin/env python3
"""Targets and portals in an iSNS server's database (open-isns' isnsd, on loopback)."""

import os
import re
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, "..")]

import debian  # noqa: E402
import tap  # noqa: E402
from node import Node, Port, until  # noqa: E402

ONE, TWO = "iqn.2026-11.org.example:one", "iqn.2026-11.org.example:two"
node = isns = None


class Isnsd:
    """The server; its database is read with its own tool."""

    def __init__(self, folder):
        root = debian.unpacked("open-isns-server")
        library = debian.unpacked("libisns0")
        self.binary = next(p for p in (f"{root}/usr/sbin/isnsd", f"{root}/sbin/isnsd")
                           if os.path.exists(p))
        self.env = dict(os.environ, LD_LIBRARY_PATH=":".join(
            f"{library}/{d}/x86_64-linux-gnu" for d in ("usr/lib", "lib")))
        self.port, self.process = Port(), None
        self.config = os.path.join(folder, "isnsd.conf")
        self.database = os.path.join(folder, "isns-db")
        with open(self.config, "w") as f:
            f.write(f"HostName = localhost\nSourceName = iqn.2026-11.org.example:isns\n"
                    f"Database = {self.database}\nBindAddress = {self.port.address}\n"
                    f"PIDFile = {folder}/isns.pid\nControlSocket = {folder}/isns.control\n"
                    "Security = 0\nSLPRegister = 0\nRegistrationPeriod = 10m\n")

    def start(self):
        self.process = subprocess.Popen([self.binary, "--config", self.config, "--foreground"],
                                        env=self.env, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def objects(self):
        """[(type, {tag: text})] of what is registered and whole."""
        done = subprocess.run([self.binary, "--dump-db", "--config", self.config], env=self.env,
                              capture_output=True, text=True)
        found = []
        for block in done.stdout.split("--------------")[1:]:
            kind = re.search(r"type=<(.*?)> state=(\w+)", block)
            if kind.group(2) == "mature":
                found.append((kind.group(1), {int(t, 16): v.strip('"') for t, v in re.findall(
                    r"(?m)^  ([0-9a-f]{4})  .*?: .*? = (.*)$", block)}))
        return found

    def names(self):
        return sorted(o[0x20] for kind, o in self.objects() if kind == "iSCSI Storage Node")


def until_names(*names):
    until(lambda: isns.names() == sorted(names), lambda: f"{isns.objects()}, not {names}")


def events(kind):
    return [e for e in node.json("event", "list") if e["kind"] == kind]


def groups(objects):
    """{port: portal group tag}, of one target"""
    return {int(o[0x32].split("/")[0]): o[0x33] for kind, o in objects
            if kind == "iSCSI Portal Group"}


def test_targets_are_registered_when_the_server_comes():
    until(lambda: events("isns.failed"), "nobody says that the iSNS server is away")
    isns.start()
    until_names(ONE)
    objects = isns.objects()
    ports = {int(node.listen["iscsi"].rpartition(":")[2]): 1, SECOND: 7}
    portals = [o for kind, o in objects if kind == "Portal"]
    assert sorted(o[0x11] for o in portals) == sorted(f"{p}/tcp" for p in ports), objects
    assert all(o[0x10] == "127.0.0.1" for o in portals)
    assert groups(objects) == {p: str(tag) for p, tag in ports.items()}, objects
    target = next(o for kind, o in objects if kind == "iSCSI Storage Node")
    assert target[0x21] == "Target" and target[0x22] == "first one", target
    until(lambda: events("isns.registered"), "nobody says that it is there")
    assert len(events("isns.failed")) == len(events("isns.registered")) == 1


def test_a_target_is_not_shown_where_it_is_not_served():
    """A portal group without a tag gives no access (RFC 4171, 3.4)."""
    first = int(node.listen["iscsi"].rpartition(":")[2])
    for group, tags in (("7", {first: "<empty>", SECOND: "7"}),
                        ("1", {first: "1", SECOND: "<empty>"}), ("0", {first: "1", SECOND: "7"})):
        node.vstore("target", "set", ONE, "--portal-group", group)
        until(lambda: groups(isns.objects()) == tags, lambda: f"{isns.objects()}, not {tags}")


def test_changes_of_targets_follow():
    node.vstore("target", "create", TWO, "--volume", "v:0")
    until_names(ONE, TWO)
    node.vstore("target", "delete", ONE)
    until_names(TWO)
    node.vstore("target", "delete", TWO)
    until_names()
    node.vstore("target", "create", TWO, "--volume", "v:0")
    until_names(TWO)


def test_a_server_that_says_nothing_or_nonsense_is_borne():
    isns.stop()
    host, _, port = isns.port.address.rpartition(":")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deaf.bind((host, int(port)))
        deaf.listen()
        deaf.settimeout(60)
        for answer in (None, b"\0\1\x80\1\xff\xff" + bytes(40000), b"\0\1\x80\1\0\4\x0c\0\0\1\0\0"):
            node.vstore("target", "set", TWO, "--alias", f"alias {len(answer or b'')}")
            connection, _ = deaf.accept()
            connection.recv(65536)
            if answer:
                connection.sendall(answer)
                connection.close()
            started = time.monotonic()
            assert node.json("target", "list")[0]["iqn"] == TWO  # nobody waits for it
            assert time.monotonic() - started < 30
    until(lambda: len(events("isns.failed")) == 2, "nobody says that it does not answer")
    isns.start()
    node.vstore("target", "set", TWO, "--alias", "back")
    until(lambda: any(o.get(0x22) == "back" for _, o in isns.objects()), "it does not come back")


def test_a_stop_takes_the_registration_back():
    node.stop()
    assert isns.objects() == [], isns.objects()
    node.start()
    until_names(TWO)


def main():
    global node, isns, SECOND
    second = Port()
    SECOND = int(second.address.rpartition(":")[2])
    with Node(nbd=False, options=["--iscsi", f"7@{second.address}"]) as node:
        isns = Isnsd(node.state)
        node.stop()
        node.options += ["--isns", isns.port.address]
        node.start()
        try:
            node.vstore("volume", "create", "v", "--size", "8M")
            node.vstore("target", "create", ONE, "--volume", "v:0", "--alias", "first one")
            tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))
        finally:
            isns.stop()


if __name__ == "__main__":
    main()
