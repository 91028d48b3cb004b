#!/usr/bin/env python3
"""The daemon's life: start, stop, kill, restart, bad configuration, garbage on its socket."""

import concurrent.futures
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import node as nodes  # noqa: E402
import tap  # noqa: E402

MIB = 1 << 20
SMALL = {"size": "2G", "nbd": False, "iscsi": False}


def start_fails(*options, status=1):
    """vstored with these options must end by itself with one line on stderr; returns it."""
    done = subprocess.run([nodes.VSTORED, *options], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=120, errors="backslashreplace")
    assert done.returncode == status, f"{options}: {done.returncode}: {done.stderr}"
    lines = [line for line in done.stderr.splitlines() if not line.startswith("<")]
    assert len(lines) == 1 and lines[0].startswith("vstored: "), f"{options}: {done.stderr!r}"
    return lines[0]


def expect(answer, status, code=None):
    got, body = answer
    assert got == status, f"{got}, not {status}: {body}"
    if code:
        assert body["error"]["code"] == code, body
        assert body["error"]["message"] and "\n" not in body["error"]["message"], body
    return body


def raw(path, data, timeout=60):
    """Bytes on the control socket, what comes back until it is closed."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(path)
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError, OSError):
            pass
        answer = b""
        try:
            while piece := s.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def test_help_and_manual_agree():
    done = subprocess.run([nodes.VSTORED, "--help"], capture_output=True, text=True, check=True)
    told = set(re.findall(r"(?m)^ +(--[a-z-]+)", done.stdout))
    with open(os.path.join(nodes.ROOT, "mgmt", "vstored.8")) as f:
        page = f.read().replace("\\-", "-")
    paged = set(re.findall(r'(?m)^\.BI? "?(--[a-z-]+)', page))
    assert told and told == paged, told ^ paged
    version = nodes.run(nodes.VSTORED, "--version")
    assert re.fullmatch(r"vstored \d+\.\d+\.\d+\n", version), version
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z",
                               os.path.join(nodes.ROOT, "mgmt", "vstored.8")],
                              capture_output=True, text=True, check=True)
        assert done.stderr == "", done.stderr


def test_bad_configuration_is_one_line():
    with tempfile.TemporaryDirectory() as folder:
        config = os.path.join(folder, "vstore.conf")
        for text, says in (("memory = some\n", ":1: memory: 'some' is not a size"),
                           ("\nfoo\n", ":2: "),
                           ("smb = 127.0.0.1:1\n", "unknown key 'smb'"),
                           ("nfs = localhost:2049\n", "numeric"),
                           ("[iscsi]\niscsi = off\n", "unknown section"),
                           ("iscsi = localhost:3260\n", "numeric"),
                           (random.Random(1).randbytes(4000).decode("latin-1"), "vstore.conf:")):
            with open(config, "w", encoding="latin-1") as f:
                f.write(text)
            line = start_fails("--config", config, "--state", folder, status=2)
            assert says in line, (text[:50], line)
        assert os.listdir(folder) == ["vstore.conf"]
    assert "/nonexistent" in start_fails("--config", "/nonexistent", status=2)
    assert "--frobnicate" in start_fails("--frobnicate", status=2)


def test_what_is_not_a_store_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        base = ["--config", "/dev/null", "--iscsi", "off", "--nfs", "off", "--state", os.path.join(folder, "state")]
        missing = os.path.join(folder, "missing")
        assert missing in start_fails(*base, "--store", missing)
        assert not os.path.exists(missing)
        assert folder in start_fails(*base, "--store", folder)
        junk = os.path.join(folder, "junk")
        content = os.urandom(MIB) * 32
        with open(junk, "wb") as f:
            f.write(content)
        assert junk in start_fails(*base, "--store", junk)
        with open(junk, "rb") as f:
            assert f.read() == content
        assert "/proc/nowhere" in start_fails("--config", "/dev/null", "--state", "/proc/nowhere")


def test_address_in_use_is_refused():
    with nodes.Node(**SMALL) as node, socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        node.stop()
        base = ["--config", "/dev/null", "--state", node.state, "--store", node.store]
        for options in (["--iscsi", "off", "--nfs", "off", "--nbd", address], ["--nfs", "off", "--iscsi", address]):
            line = start_fails(*base, *options)
            assert address.split(":")[1] in line, line
        node.start()


def test_second_daemon_is_refused():
    with nodes.Node(**SMALL) as node, tempfile.TemporaryDirectory() as other:
        line = start_fails("--config", "/dev/null", "--state", node.state, "--store", node.store)
        assert "another vstored" in line and node.state in line, line
        line = start_fails("--config", "/dev/null", "--state", other, "--store", node.store,
                           "--iscsi", "off", "--nfs", "off")
        assert node.store in line, line
        assert node.json("status")["state"] == "running"


def test_starts_and_stops():
    with nodes.Node(**SMALL) as node:
        assert stat.S_IMODE(os.stat(node.socket).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.join(node.state, "run")).st_mode) == 0o700
        status = expect(node.api("GET", "/v1/status"), 200)
        assert status["pid"] == node.process.pid
        assert status["memory"]["limit_bytes"] == 256 * MIB
        assert status["front_ends"] == []
        node.stop()
        assert not os.path.exists(node.socket)
        node.start()
        node.process.send_signal(signal.SIGINT)
        assert node.process.wait() == 0
        node.kill()
        node.start()
        node.kill()
        assert os.path.exists(node.socket)  # nobody was left to remove it
        node.start()  # and that is no obstacle


def test_stopping_does_not_wait_for_those_who_wait():
    with nodes.Node(**SMALL) as node, concurrent.futures.ThreadPoolExecutor() as pool:
        last = expect(node.api("GET", "/v1/events?limit=1"), 200)
        after = last[-1]["id"] if last else 0
        waiting = pool.submit(node.api, "GET", f"/v1/events?after={after}&wait=60")
        idle = socket.socket(socket.AF_UNIX)
        idle.connect(node.socket)
        begun = time.monotonic()
        node.stop()
        assert time.monotonic() - begun < 50, "it waited for a client"
        waiting.exception()  # an answer or a closed connection, but an end
        idle.close()
        node.start()


def test_garbage_on_the_control_socket():
    rng = random.Random(7)
    with nodes.Node(**SMALL) as node:
        bad = [b"\x00" * 100, b"\r\n\r\n", b"GET", b"GET / HTTP/9.9\r\n\r\n",
               b"GET " + b"/a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
               b"GET /v1/status HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
               b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n{}",
               b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
               b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"name\"",
               b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
               b"POST /v1/volumes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
               + b"10000\r\n" + b"x" * 65536 + b"\r\n"]
        bad[-1] = bad[-1][:bad[-1].index(b"10000")] + bad[-1][bad[-1].index(b"10000"):] * 40
        bad += [rng.randbytes(rng.randrange(1, 5000)) for _ in range(60)]
        for data in bad:
            answer = raw(node.socket, data)
            assert not answer.startswith(b"HTTP/1.1 2"), (data[:80], answer[:200])
        assert node.alive()
        assert expect(node.api("GET", "/v1/volumes"), 200) == []


def test_bad_requests_are_refused():
    with nodes.Node(**SMALL) as node:
        def call(method, path, text):
            data = text.encode() if isinstance(text, str) else text
            head = (f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    f"Content-Length: {len(data)}\r\n\r\n").encode()
            head, _, body = raw(node.socket, head + data).partition(b"\r\n\r\n")
            return int(head.split()[1]), head.decode(), body.decode()

        for text in ("{", "[]", "3", "null", "{}x", '{"name": "a", "name": "b", "size": 4096}',
                     '{"name": "v"}', '{"name": "v", "size": "4096"}', '{"name": 7, "size": 4096}',
                     '{"name": "v", "size": 4096, "colour": "red"}', '{"name": "v", "size": 4095}',
                     '{"name": "v", "size": 0}', '{"name": "v", "size": -4096}',
                     '{"name": "v", "size": 9223372036854775807}',
                     '{"name": "v", "size": 99999999999999999999}',
                     '{"name": "../v", "size": 4096}', '{"name": "v@s", "size": 4096}',
                     '{"name": "", "size": 4096}', '{"name": "a\\u0000b", "size": 4096}',
                     '{"name": "v", "size": 4096, "sector": 513}',
                     '{"name": "v", "size": 4096, "compression": "best"}',
                     "[" * 100000, b'{"name": "\xff\xfe", "size": 4096}'):
            status, _, body = call("POST", "/v1/volumes", text)
            assert status == 400, (text[:60], status, body)
            assert '"INVAL"' in body, body
        status, _, body = call("POST", "/v1/volumes", '{"x":"' + "y" * (1 << 20) + '"}')
        assert status == 413 and '"TOOBIG"' in body, (status, body)
        assert call("GET", "/", "")[0] == 404
        assert call("GET", "/v1/nothing", "")[0] == 404
        assert call("GET", "/v1/volumes/%zz", "")[0] == 400
        assert call("GET", "/v1/volumes?colour=red", "")[0] == 400
        assert call("GET", "/v1/events?limit=many", "")[0] == 400
        status, head, body = call("PUT", "/v1/volumes", "{}")
        assert status == 405 and "allow: post, get" in head.lower(), (status, head)
        expect(node.api("GET", "/v1/volumes/none"), 404, "NOENT")
        expect(node.api("GET", "/v1/volumes/none%2F..%2F..%2Fetc"), 400, "INVAL")
        expect(node.api("GET", "/v1/tasks/99"), 404, "NOENT")
        expect(node.api("GET", "/v1/tasks/x"), 404, "NOENT")
        expect(node.api("POST", "/v1/volumes", {"name": "v", "size": MIB}), 201)
        expect(node.api("POST", "/v1/volumes", {"name": "v", "size": MIB}), 409, "EXIST")
        expect(node.api("DELETE", "/v1/volumes/v?snapshots=maybe"), 400, "INVAL")
        expect(node.api("POST", "/v1/volumes/v/resize", {"size": 4096}), 400, "INVAL")
        expect(node.api("POST", "/v1/snapshots", {"names": []}), 400, "INVAL")
        expect(node.api("POST", "/v1/snapshots", {"names": ["v"]}), 400, "INVAL")
        expect(node.api("POST", "/v1/snapshots", {"names": ["v@s", "w@s"]}), 404, "NOENT")
        assert expect(node.api("GET", "/v1/snapshots"), 200) == []
        expect(node.api("POST", "/v1/targets", {"iqn": "My Disk"}), 400, "INVAL")
        expect(node.api("POST", "/v1/targets", {"iqn": nodes.IQN}), 422, "NOTSUP")
        expect(node.api("POST", "/v1/nbd", {"name": "v"}), 422, "NOTSUP")


def test_idle_connections_do_not_shut_others_out():
    with nodes.Node(**SMALL) as node:
        hogs = []
        for _ in range(200):
            s = socket.socket(socket.AF_UNIX)
            s.setblocking(False)
            try:
                s.connect(node.socket)
            except BlockingIOError:
                pass
            hogs.append(s)
        # Idle ones are dropped after some seconds; then everybody gets an answer again.
        answer = b""
        while not answer.startswith(b"HTTP/1.1 200"):
            answer = raw(node.socket, b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                         timeout=None)
        for s in hogs:
            s.close()


def test_many_at_once():
    with nodes.Node(**SMALL) as node, concurrent.futures.ThreadPoolExecutor(16) as pool:
        def life(i):
            expect(node.api("POST", "/v1/volumes", {"name": f"v{i}", "size": MIB}), 201)
            expect(node.api("POST", "/v1/snapshots", {"names": [f"v{i}@s"]}), 201)
            expect(node.api("POST", f"/v1/volumes/v{i}@s/clone", {"name": f"c{i}"}), 201)
            expect(node.api("GET", "/v1/volumes"), 200)
            expect(node.api("DELETE", f"/v1/volumes/v{i}"), 409, "BUSY")
            expect(node.api("DELETE", f"/v1/volumes/v{i}?snapshots=delete"), 200)

        for done in [pool.submit(life, i) for i in range(48)]:
            done.result()
        names = [v["name"] for v in expect(node.api("GET", "/v1/volumes"), 200)]
        assert sorted(names) == sorted(f"c{i}" for i in range(48)), names
        # Of many who want one name one gets it.
        tries = [pool.submit(node.api, "POST", "/v1/volumes", {"name": "one", "size": MIB})
                 for _ in range(16)]
        assert sorted(t.result()[0] for t in tries) == [201] + [409] * 15


def test_tasks_and_events_survive():
    with nodes.Node(**SMALL) as node:
        image = os.path.join(node.state, "image.raw")
        with open(image, "wb") as f:
            f.write(os.urandom(MIB))
        done = node.task(node.api("POST", "/v1/imports", {"source": image, "name": "v"}))
        assert done["state"] == "done" and done["progress"] == 1, done
        assert done["result"]["name"] == "v" and done["result"]["bytes_read"] == MIB, done
        bad = node.task(node.api("POST", "/v1/imports",
                                 {"source": image, "name": "w", "format": "qcow2"}))
        assert bad["state"] == "failed" and image in bad["error"], bad
        before = expect(node.api("GET", "/v1/events"), 200)
        assert {"volume.imported", "task.done", "task.failed"} <= {e["kind"] for e in before}, before
        for restart in (node.stop, node.kill):
            restart()
            node.start()
            assert expect(node.api("GET", f"/v1/tasks/{done['id']}"), 200) == done
            assert expect(node.api("GET", f"/v1/tasks/{bad['id']}"), 200) == bad
            events = expect(node.api("GET", "/v1/events"), 200)
            assert events[:len(before)] == before, events
            since = expect(node.api("GET", f"/v1/events?since={before[-1]['time']}"), 200)
            assert before[-1] in since and len(since) <= len(events)
            assert expect(node.api("GET", f"/v1/events?after={before[-2]['id']}"), 200)[0] == before[-1]


def test_events_can_be_followed():
    with nodes.Node(**SMALL) as node, concurrent.futures.ThreadPoolExecutor() as pool:
        expect(node.api("POST", "/v1/volumes", {"name": "a", "size": MIB}), 201)
        last = expect(node.api("GET", "/v1/events?after=0&wait=30"), 200)[-1]["id"]
        following = pool.submit(node.api, "GET", f"/v1/events?after={last}&wait=60")
        expect(node.api("POST", "/v1/volumes", {"name": "b", "size": MIB}), 201)
        events = expect(following.result(), 200)
        assert [(e["kind"], e["subject"]) for e in events] == [("volume.created", "b")], events


def cut_off(node, image, cut):
    """What became of an import that was under way at cut(task); again where it was faster."""
    for _ in range(20):
        task = expect(node.api("POST", "/v1/imports", {"source": image, "name": "v"}), 202)["task"]
        path = f"/v1/tasks/{task['id']}"
        while (now := expect(node.api("GET", path), 200))["state"] in ("queued", "running"):
            if now["bytes_done"] > 0:
                assert now["bytes_total"] == os.path.getsize(image), now
                break
        cut(task)
        after = expect(node.api("GET", path + "?wait=60"), 200)
        if after["state"] != "done":
            expect(node.api("GET", "/v1/volumes/v"), 404, "NOENT")
            return after
        node.vstore("volume", "delete", "v")
    raise AssertionError("it is always done before it is cut off")


def test_import_cut_off_leaves_nothing():
    with nodes.Node(size="2G", nbd=False, iscsi=False) as node:
        image = os.path.join(node.state, "image.raw")
        with open(image, "wb") as f:
            for _ in range(512):
                f.write(os.urandom(MIB))

        for end in (node.kill, node.stop):
            def restart(_, end=end):
                end()
                node.start()

            after = cut_off(node, image, restart)
            assert after["state"] == "failed" and after["error"] == "daemon restarted", after
        after = cut_off(node, image, lambda task: expect(
            node.api("POST", f"/v1/tasks/{task['id']}/cancel"), 200))
        assert after["state"] == "cancelled", after
        done = node.task(node.api("POST", "/v1/imports", {"source": image, "name": "v"}))
        assert done["state"] == "done", done


def test_attachments_end_with_or_without_their_volume():
    with nodes.Node(**SMALL) as node:
        def attach(name, **body):
            expect(node.api("POST", "/v1/volumes", {"name": name, "size": MIB}), 201)
            at = expect(node.api("POST", f"/v1/volumes/{name}/attach", body), 201)
            assert stat.S_IMODE(os.stat(at["socket"]).st_mode) == 0o600
            return at

        kept = attach("kept", draft=True)
        nodes.run("qemu-io", "-f", "raw", "-c", "write -P 7 0 1M",
                  f"nbd+unix:///{kept['export']}?socket={kept['socket']}")
        for method, path, body in (("DELETE", "/v1/volumes/kept", None),
                                   ("POST", "/v1/volumes/kept/rename", {"name": "other"}),
                                   ("POST", "/v1/volumes/kept/resize", {"size": 2 * MIB}),
                                   ("POST", "/v1/snapshots", {"names": ["kept@s"]}),
                                   ("POST", "/v1/volumes/kept/attach", {}),
                                   ("POST", "/v1/vms", {"name": "m", "disks": ["kept"]}),
                                   ("POST", "/v1/exports", {"volume": "kept", "dest": "/none"})):
            expect(node.api(method, path, body), 409, "BUSY")
        expect(node.api("DELETE", f"/v1/attachments/{kept['id']}?keep=true"), 200)
        expect(node.api("DELETE", f"/v1/attachments/{kept['id']}?keep=true"), 404, "NOENT")
        assert not os.path.exists(kept["socket"])
        dropped = attach("dropped", draft=True)
        expect(node.api("DELETE", f"/v1/attachments/{dropped['id']}"), 200)
        expect(node.api("GET", "/v1/volumes/dropped"), 404, "NOENT")
        plain, draft = attach("plain"), attach("draft", draft=True)
        assert [a["id"] for a in expect(node.api("GET", "/v1/attachments"), 200)] \
            == [draft["id"], plain["id"]]
        node.kill()
        node.start()
        assert expect(node.api("GET", "/v1/attachments"), 200) == []
        names = [v["name"] for v in expect(node.api("GET", "/v1/volumes"), 200)]
        assert names == ["kept", "plain"], names
        back = expect(node.api("POST", "/v1/volumes/kept/attach", {"read_only": True}), 201)
        nodes.run("qemu-io", "-r", "-f", "raw", "-c", "read -P 7 0 1M",
                  f"nbd+unix:///{back['export']}?socket={back['socket']}")


def test_exports_and_targets_come_back():
    with nodes.Node(size="2G") as node:
        node.vstore("volume", "create", "v", "--size", "1M")
        node.vstore("nbd", "export", "v")
        url = node.target("v")[0]
        nodes.run("qemu-io", "-f", "raw", "-c", "write -P 5 0 1M", node.nbd_url("v"))
        for restart in (node.stop, node.kill):
            nodes.run("qemu-io", "-f", "raw", "-c", "flush", url)
            restart()
            node.start()
            nodes.run("qemu-io", "-r", "-f", "raw", "-c", "read -P 5 0 1M", node.nbd_url("v"))
            nodes.run("qemu-io", "-r", "-f", "raw", "-c", "read -P 5 0 1M", url)
        # They know the volume, not its name.
        node.vstore("volume", "rename", "v", "w")
        nodes.run("qemu-io", "-r", "-f", "raw", "-c", "read -P 5 0 1M", node.nbd_url("w"))
        nodes.run("qemu-io", "-r", "-f", "raw", "-c", "read -P 5 0 1M", url)
        assert node.json("target", "show", nodes.IQN)["luns"][0]["volume"] == "w"
        assert "used by" in node.refused("volume", "delete", "w")
        node.vstore("target", "delete", nodes.IQN)
        node.vstore("nbd", "unexport", "w")
        node.vstore("volume", "delete", "w")


def test_secrets_stay_secret():
    secret = "Sesame-open-0123456"
    with nodes.Node(size="2G") as node:
        node.vstore("volume", "create", "v", "--size", "1M")
        body = {"iqn": nodes.IQN, "volumes": [{"volume": "v", "lun": 0}],
                "chap": {"user": "ali", "secret": secret},
                "mutual": {"user": "baba", "secret": secret + "-back"}}
        shown = [expect(node.api("POST", "/v1/targets", body), 201)]
        body["chap"]["secret"] = "short"
        shown.append(expect(node.api("PATCH", f"/v1/targets/{nodes.IQN}", {"chap": body["chap"]}), 400))
        node.stop()
        node.start()
        for path in ("targets", f"targets/{nodes.IQN}", "events", "tasks", "status", "volumes"):
            shown.append(expect(node.api("GET", "/v1/" + path), 200))
        assert secret not in repr(shown), shown
        assert shown[0]["chap"] is True and shown[0]["mutual"] is True
        assert secret not in node.log_text()
        for root, _, files in os.walk(node.state):
            for name in files:
                path = os.path.join(root, name)
                if name == "store.img" or not os.path.isfile(path):
                    continue
                with open(path, "rb") as f:
                    assert secret.encode() not in f.read(), path
        assert stat.S_IMODE(os.stat(node.store).st_mode) == 0o600


def test_history_that_is_damaged_or_later_is_refused():
    with nodes.Node(**SMALL) as node:
        node.stop()
        base = ["--config", "/dev/null", "--iscsi", "off", "--nfs", "off", "--state", node.state, "--store", node.store]
        path = os.path.join(node.state, "history.db")
        with open(path, "rb") as f:
            good = f.read()
        with open(path, "wb") as f:
            f.write(good[:60] + (1000).to_bytes(4, "big") + good[64:])  # user_version
        assert "history is of version 1000" in start_fails(*base)
        with open(path, "wb") as f:
            f.write(b"not a database at all" * 1000)
        assert "history" in start_fails(*base)
        with open(path, "wb") as f:
            f.write(good)
        node.start()


if __name__ == "__main__":
    tap.run(test_help_and_manual_agree,
            test_bad_configuration_is_one_line,
            test_what_is_not_a_store_is_refused,
            test_address_in_use_is_refused,
            test_second_daemon_is_refused,
            test_starts_and_stops,
            test_stopping_does_not_wait_for_those_who_wait,
            test_garbage_on_the_control_socket,
            test_bad_requests_are_refused,
            test_idle_connections_do_not_shut_others_out,
            test_many_at_once,
            test_tasks_and_events_survive,
            test_events_can_be_followed,
            test_import_cut_off_leaves_nothing,
            test_attachments_end_with_or_without_their_volume,
            test_exports_and_targets_come_back,
            test_secrets_stay_secret,
            test_history_that_is_damaged_or_later_is_refused)
