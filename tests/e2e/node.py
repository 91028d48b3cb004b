"""A private node for tests: vstored with a state folder of its own and ports that were free.

    with Node() as node:
        node.vstore("volume", "create", "v", "--size", "1G")
        node.json("df")["physical_used_bytes"]

It ends only what it started. The state folder is removed at the end unless the test failed and
VSTORE_KEEP is set.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("VSTORE_BUILD", os.path.join(ROOT, "build"))
VSTORED = os.path.join(BUILD, "vstored")
VSTORE = os.path.join(BUILD, "vstore")
LOAD = os.path.join(BUILD, "tests", "load", "load")
BLOCKS = os.path.join(BUILD, "tests", "e2e", "blocks")
CATALOGUE = os.path.join(BUILD, "tests", "e2e", "catalogue")
IQN = "iqn.2026-11.org.example:test"
READY_WITHIN = 300  # seconds; a bound on waiting, not a verdict on speed

if os.path.dirname(HERE) not in sys.path:
    sys.path.insert(0, os.path.dirname(HERE))  # tap.py


class CommandFailed(Exception):
    def __init__(self, command, status, out, err):
        super().__init__(f"{' '.join(command)}: exit status {status}: {err.strip() or out.strip()}")
        self.status, self.out, self.err = status, out, err


def run(*command, status=0, stdin=None, **more):
    """Runs a command to its end; anything but the expected exit status raises."""
    done = subprocess.run(command, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL if stdin is None else stdin, **more)
    if done.returncode != status:
        raise CommandFailed(command, done.returncode, done.stdout, done.stderr)
    return done.stderr if status else done.stdout


def refused(*command, **more):
    """Runs a command that must fail on its own account, with one line on stderr; returns it."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)
    shown = " ".join(command)
    assert done.returncode in (1, 2), f"{shown}: exit status {done.returncode}: {done.stderr}"
    assert len(done.stderr.splitlines()) == 1, f"{shown}: not one line: {done.stderr!r}"
    return done.stderr.strip()


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(4 << 20):
            digest.update(piece)
    return digest.hexdigest()


def nonzero_bytes(path):
    """Bytes in 4 KiB blocks that are not zero."""
    return blocks(path)["nonzero"] * 4096


def blocks(path, *old):
    return json.loads(run(BLOCKS, path, *old))


def load(*args):
    """One run of the load generator; its last line is JSON."""
    return json.loads(run(LOAD, *args).splitlines()[-1])


def until(holds, what, seconds=READY_WITHIN):
    """Asks again and again until something holds; returns what it said."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > end:
            raise AssertionError(what() if callable(what) else what)
        time.sleep(0.05)
    return found


def ended(pid):
    """Gone, or waiting for an init that reaps late."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Port:
    """A port of the loopback address that is kept for one server: bound here as well and never
    listened on, so that nobody else is given it, also not while that server is restarted."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"

    def close(self):
        self.socket.close()


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=READY_WITHIN)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Console:
    """The serial console of a guest. It lasts as long as the guest, not as the daemon."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.text = ""

    def wait_for(self, pattern, seconds=READY_WITHIN):
        """Reads on until the pattern appears; returns the match and drops what was before it."""
        self.socket.settimeout(seconds)
        while not (found := re.search(pattern, self.text)):
            try:
                piece = self.socket.recv(65536)
            except TimeoutError:
                piece = b""
            if not piece:
                raise AssertionError(f"the guest does not say {pattern!r}, but: {self.text[-2000:]}")
            self.text += piece.decode(errors="replace")
        self.text = self.text[found.end():]
        return found

    def send(self, text):
        self.socket.sendall(text.encode())

    def close(self):
        self.socket.close()


class Node:
    def __init__(self, size="20G", memory="256M", nbd=True, iscsi=True, nfs=False, init=True,
                 options=()):
        self.state = tempfile.mkdtemp(prefix="vstore-", dir=os.environ.get("VSTORE_TMP", "/var/tmp"))
        self.store = os.path.join(self.state, "store.img")
        self.socket = os.path.join(self.state, "vstored.sock")
        self.log = os.path.join(self.state, "vstored.log")
        self.memory, self.options = memory, list(options)
        self.ports = {"iscsi": Port() if iscsi else None, "nbd": Port() if nbd else None,
                      "nfs": Port() if nfs else None}
        self.listen = {kind: port.address if port else "off" for kind, port in self.ports.items()}
        self.process = None
        self.size = size if init else None

    # ---- life

    def __enter__(self):
        try:
            if self.size:
                run(VSTORE, "init", self.store, "--size", self.size)
            return self.start()
        except BaseException:
            self.end()
            shutil.rmtree(self.state, ignore_errors=True)
            raise

    def __exit__(self, kind, value, trace):
        failed = kind is not None and not (kind is SystemExit and value.code == 0)
        try:
            if self.process and not failed:
                self.stop()
        finally:
            self.end()
            if failed:
                self.show_log()
            if not failed or not os.environ.get("VSTORE_KEEP"):
                shutil.rmtree(self.state, ignore_errors=True)

    def command(self):
        command = [VSTORED, "--config", os.path.join(self.state, "vstore.conf"),
                   "--state", self.state, "--store", self.store, "--memory", self.memory]
        for kind, address in self.listen.items():
            command += [f"--{kind}", address]
        return command + self.options

    def start(self):
        """Starts and waits until the daemon itself says that it is ready (sd_notify)."""
        config = os.path.join(self.state, "vstore.conf")
        if not os.path.exists(config):
            open(config, "w").close()
        notify = os.path.join(self.state, "notify")
        if os.path.exists(notify):
            os.unlink(notify)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(self.log, "ab") as log:
            ready.bind(notify)
            ready.settimeout(0.2)
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(os.environ, NOTIFY_SOCKET=notify))
            self.wait_ready(ready)
        return self

    def wait_ready(self, ready):
        for _ in range(READY_WITHIN * 5):
            try:
                if "READY=1" in ready.recv(4096).decode().splitlines():
                    return
            except TimeoutError:
                if self.process.poll() is not None:
                    raise RuntimeError(f"vstored ended with {self.process.returncode}:\n"
                                       + self.log_text()) from None
        raise RuntimeError("vstored does not become ready:\n" + self.log_text())

    def stop(self):
        """A clean stop: SIGTERM, exit status 0."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait()
        self.process = None
        if status != 0:
            raise RuntimeError(f"vstored ended with {status}:\n" + self.log_text())

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def end(self):
        """Whatever happened: the daemon and its guests are gone afterwards."""
        pids = []
        try:
            if self.process and self.process.poll() is None:
                pids = [vm["pid"] for vm in self.json("vm", "list") if vm.get("pid")]
        except (CommandFailed, ValueError):
            pass
        if self.process:
            self.kill()
        for port in filter(None, self.ports.values()):
            port.close()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log_text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def show_log(self):
        if os.path.exists(self.log):
            for line in self.log_text().splitlines()[-40:]:
                print("# vstored: " + line)

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    # ---- the command line

    def vstore(self, *args, **more):
        return run(VSTORE, "--socket", self.socket, "--yes", "--quiet", *args, **more)

    def json(self, *args):
        return json.loads(run(VSTORE, "--socket", self.socket, "--yes", "--json", *args))

    def refused(self, *args):
        """A command that must fail with exactly one line on stderr; returns that line."""
        return refused(VSTORE, "--socket", self.socket, "--yes", *args)

    def api(self, method, path, body=None):
        """A request to the control socket; returns (status, object)."""
        connection = UnixHTTP(self.socket)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def task(self, answer):
        """The task that a request was answered with, once it has ended."""
        status, body = answer
        assert status == 202, f"{status}, not 202: {body}"
        for _ in range(20):
            task = self.api("GET", f"/v1/tasks/{body['task']['id']}?wait=30")[1]
            if task["state"] not in ("queued", "running"):
                return task
        raise AssertionError(f"does not end: {task}")

    def catalogue(self):
        """What the store remembers of the configuration, by kind; from a copy of it."""
        copy = os.path.join(self.state, "copy.img")
        run("cp", "--sparse=always", self.store, copy)
        try:
            return json.loads(run(CATALOGUE, copy))
        finally:
            os.unlink(copy)

    def console(self, vm):
        return Console(self.api("GET", f"/v1/vms/{vm}/console")[1]["socket"])

    def wait_vm(self, vm, state):
        for _ in range(READY_WITHIN // 30):
            shown = self.api("GET", f"/v1/vms/{vm}?wait=30&state={state}")[1]
            if shown["state"] == state:
                return shown
        raise AssertionError(f"{vm} does not become {state}: {shown}")

    def check(self):
        """`vstore check` of the stopped store; raises when it finds anything."""
        assert not self.alive()
        return run(VSTORE, "check", self.store)

    # ---- front ends

    def target(self, *volumes, iqn=IQN):
        """Exports volumes as LUNs 0, 1, ... and returns their URLs."""
        args = []
        for lun, volume in enumerate(volumes):
            args += ["--volume", f"{volume}:{lun}"]
        self.vstore("target", "create", iqn, *args)
        return [self.iscsi_url(lun, iqn) for lun in range(len(volumes))]

    def iscsi_url(self, lun=0, iqn=IQN):
        return f"iscsi://{self.listen['iscsi']}/{iqn}/{lun}"

    def nbd_url(self, export):
        return f"nbd://{self.listen['nbd']}/{export}"
