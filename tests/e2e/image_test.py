#!/usr/bin/env python3
"""Disk images in and out: formats, odd sizes, damage, and images that name other files."""

import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import node as nodes  # noqa: E402
import tap  # noqa: E402

MIB = 1 << 20
FORMATS = ("qcow2", "vmdk", "vhdx", "vdi")
NODE = {"size": "4G", "iscsi": False}


def qemu_img(*args):
    return nodes.run("qemu-img", *args)


def make_raw(path, size=40 * MIB, tail=b""):
    """Data at both ends, a hole and explicit zeros between."""
    with open(path, "wb") as f:
        f.write(os.urandom(5 * MIB))
        f.write(bytes(3 * MIB))
        f.seek(size - 2 * MIB)
        f.write(os.urandom(2 * MIB) + tail)
    return path


def holds(node, volume, raw):
    """The volume begins with the raw file's bytes and has only zeros behind them."""
    node.vstore("nbd", "export", volume, "--read-only")
    nodes.run("qemu-img", "compare", "-f", "raw", "-F", "raw", raw, node.nbd_url(volume))
    node.vstore("nbd", "unexport", volume)


def test_every_format_in_and_out():
    with nodes.Node(**NODE) as node:
        raw = make_raw(os.path.join(node.state, "disk.raw"))
        node.vstore("volume", "import", raw, "raw")
        holds(node, "raw", raw)
        used = node.json("df", "--drain")["unique_content_bytes"]
        assert used <= 7 * MIB, used  # neither hole nor zeros
        for kind in FORMATS:
            image = f"{raw}.{kind}"
            qemu_img("convert", "-O", kind, raw, image)
            shown = node.json("volume", "import", image, f"v-{kind}")
            assert shown["format"] == kind and shown["size"] == 40 * MIB, shown
            holds(node, f"v-{kind}", raw)
        assert node.json("df", "--drain")["unique_content_bytes"] == used  # all the same content
        for kind in ("raw", "qcow2", "vmdk", "vhdx"):
            out = os.path.join(node.state, f"out.{kind}")
            node.vstore("volume", "export", "v-vdi", out, "--format", kind)
            assert qemu_img("compare", "-f", kind, "-F", "raw", out, raw).startswith("Images are")
            assert os.stat(out).st_mode & 0o777 == 0o600
        assert nodes.sha256(os.path.join(node.state, "out.raw")) == nodes.sha256(raw)
        assert os.stat(os.path.join(node.state, "out.raw")).st_blocks * 512 < 10 * MIB
        assert os.listdir(os.path.join(node.state, "run")) == []


def test_odd_sizes():
    with nodes.Node(**NODE) as node:
        for tail in (1, 511, 512, 513, 4095, 4096):
            raw = make_raw(os.path.join(node.state, f"odd{tail}"), tail=b"x" * tail)
            name = f"odd{tail}"
            shown = node.json("volume", "import", raw, name, "--format", "raw")
            assert shown["size"] == 40 * MIB + 4096, shown
            out = os.path.join(node.state, "out")
            node.vstore("volume", "export", name, out)
            with open(raw, "rb") as a, open(out, "rb") as b:
                want, got = a.read(), b.read()
            assert got[:len(want)] == want and not any(got[len(want):]), tail
            os.unlink(out)
        with open(os.path.join(node.state, "tiny"), "wb") as f:
            f.write(b"y")
        assert node.json("volume", "import", f.name, "tiny")["size"] == 4096
        empty = os.path.join(node.state, "empty")
        open(empty, "w").close()
        assert "empty" in node.refused("volume", "import", empty, "empty")


def test_damaged_images_leave_nothing():
    with nodes.Node(**NODE) as node:
        raw = make_raw(os.path.join(node.state, "disk.raw"))
        for kind in FORMATS:
            image, cut = f"{raw}.{kind}", f"{raw}.cut.{kind}"
            qemu_img("convert", "-O", kind, raw, image)
            with open(image, "rb") as f:
                whole = f.read()
            for length in (len(whole) - MIB // 2, len(whole) // 2, 70000, 1000, 100, 1):
                with open(cut, "wb") as f:
                    f.write(whole[:length])
                line = node.refused("volume", "import", cut, "bad", "--format", kind)
                assert cut in line, (kind, length, line)
            if kind == "qcow2":  # the others have no redundancy that would show it
                with open(cut, "wb") as f:
                    f.write(whole[:600] + os.urandom(200000) + whole[200600:])
                assert cut in node.refused("volume", "import", cut, "bad", "--format", kind)
        assert "qcow2" in node.refused("volume", "import", raw, "bad", "--format", "qcow2")
        assert node.json("volume", "list") == []
        assert os.listdir(os.path.join(node.state, "run")) == []
        tasks = node.json("task", "list")
        assert tasks and all(t["state"] == "failed" and t["error"] for t in tasks), tasks


def test_images_must_not_name_other_files():
    with nodes.Node(**NODE) as node:
        secret = make_raw(os.path.join(node.state, "secret"))
        over = os.path.join(node.state, "over.qcow2")
        for options in (["-b", secret, "-F", "raw"], ["-b", "/dev/null", "-F", "raw", "-u"],
                        ["-b", "json:{\"driver\":\"file\",\"filename\":\"" + secret + "\"}", "-F",
                         "raw", "-u"]):
            qemu_img("create", "-q", "-f", "qcow2", *options, over, "40M")
            assert "backing file" in node.refused("volume", "import", over, "over")
            os.unlink(over)
        data = os.path.join(node.state, "data")
        qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={data},data_file_raw=on", over, "40M")
        assert "another file" in node.refused("volume", "import", over, "over")
        flat = os.path.join(node.state, "flat.vmdk")
        qemu_img("convert", "-O", "vmdk", "-o", "subformat=monolithicFlat", secret, flat)
        with open(flat) as f:
            text = f.read().replace("flat-flat.vmdk", "secret")
        with open(flat, "w") as f:
            f.write(text)
        assert "several files" in node.refused("volume", "import", flat, "flat")
        # What is said to be raw is taken as it is, whatever it looks like.
        image = os.path.join(node.state, "looks.qcow2")
        qemu_img("create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", image)
        shown = node.json("volume", "import", image, "asis", "--format", "raw")
        assert shown["size"] == (os.path.getsize(image) + 4095) // 4096 * 4096, shown
        # And a guest that writes such a header does not get it read on the way out.
        for kind in ("raw", "qcow2"):
            out = os.path.join(node.state, "asis." + kind)
            node.vstore("volume", "export", "asis", out, "--format", kind)
            info = json.loads(qemu_img("info", "--output=json", "-f", kind, out))
            assert info["virtual-size"] == shown["size"] and "backing-filename" not in info, info
        assert [v["name"] for v in node.json("volume", "list")] == ["asis"]


def test_sources_and_destinations_that_cannot_be():
    with nodes.Node(**NODE) as node:
        raw = make_raw(os.path.join(node.state, "disk.raw"))
        fifo = os.path.join(node.state, "fifo")
        os.mkfifo(fifo)
        for source in (fifo, node.state, os.path.join(node.state, "none"), node.socket, "/dev/zero"):
            assert source in node.refused("volume", "import", source, "v"), source
        node.vstore("volume", "import", raw, "v")
        assert "v" in node.refused("volume", "import", raw, "v")
        assert "a b" in node.refused("volume", "import", raw, "a b")
        before = nodes.sha256(raw)
        for dest in (node.state, fifo, os.path.join(node.state, "none", "file"), raw):
            assert node.refused("volume", "export", "v", dest), dest
        assert nodes.sha256(raw) == before
        assert node.json("snapshot", "list") == []
        status, body = node.api("POST", "/v1/exports", {"volume": "v", "dest": "relative"})
        assert status == 400 and "absolute" in body["error"]["message"], body
        task = node.task(node.api("POST", "/v1/exports",
                                  {"volume": "v", "dest": raw, "force": True}))
        assert task["state"] == "done", task
        holds(node, "v", raw)


def test_an_export_is_of_one_instant():
    with nodes.Node(size="4G", iscsi=False) as node:
        node.vstore("volume", "create", "v", "--size", "256M")
        node.vstore("nbd", "export", "v")
        url = node.nbd_url("v")
        nodes.run("qemu-io", "-f", "raw", "-c", "write -P 1 0 256M", url)
        out = os.path.join(node.state, "out.qcow2")
        begun = node.api("POST", "/v1/exports", {"volume": "v", "dest": out, "format": "qcow2"})
        # Writes that race with the copy, one after the other, from the end to the front.
        writer = subprocess.run(["qemu-io", "-f", "raw"] +
                                [w for i in range(63, -1, -1)
                                 for w in ("-c", f"write -P 2 {i * 4}M 4M")] + [url],
                                capture_output=True, text=True, check=True)
        assert writer.returncode == 0
        task = node.task(begun)
        assert task["state"] == "done", task
        raw = os.path.join(node.state, "out.raw")
        qemu_img("convert", "-O", "raw", out, raw)
        with open(raw, "rb") as f:
            pieces = [f.read(4 * MIB) for _ in range(64)]
        seen = "".join("1" if p == b"\1" * len(p) else "2" if p == b"\2" * len(p) else "?"
                       for p in pieces)
        # One instant: what is new in the copy is a tail, with at most one write torn at its edge.
        assert "21" not in seen, seen
        assert seen.count("?") <= 1, seen
        assert node.json("snapshot", "list") == []


def cut_off(node, dest, kind, cut):
    """What became of an export that was under way at cut(task); again where it was faster."""
    for _ in range(20):
        status, body = node.api("POST", "/v1/exports", {"volume": "v", "dest": dest, "format": kind})
        assert status == 202, body
        path = f"/v1/tasks/{body['task']['id']}"
        while (now := node.api("GET", path)[1])["state"] in ("queued", "running"):
            if now["bytes_done"] > 0:
                break
        cut(path)
        after = node.api("GET", path + "?wait=60")[1]
        if after["state"] != "done":
            return after
        os.unlink(dest)
    raise AssertionError("it is always done before it is cut off")


def test_cancel_and_kill_leave_no_file():
    with nodes.Node(size="4G", nbd=False, iscsi=False) as node:
        raw = os.path.join(node.state, "big.raw")
        with open(raw, "wb") as f:
            for _ in range(512):
                f.write(os.urandom(MIB))
        node.vstore("volume", "import", raw, "v")
        os.unlink(raw)
        folder = os.path.join(node.state, "out")
        os.mkdir(folder)
        dest = os.path.join(folder, "image")
        for kind in ("raw", "qcow2"):
            task = cut_off(node, dest, kind, lambda path: node.api("POST", path + "/cancel"))
            assert task["state"] == "cancelled", task
            assert os.listdir(folder) == [] and node.json("snapshot", "list") == []

        def kill(_):
            node.kill()
            node.start()

        assert cut_off(node, dest, "raw", kill)["state"] == "failed"
        assert not os.path.exists(dest)  # only ever whole
        assert node.json("snapshot", "list") == []  # the draft it was made from is gone


if __name__ == "__main__":
    tap.run(test_every_format_in_and_out,
            test_odd_sizes,
            test_damaged_images_leave_nothing,
            test_images_must_not_name_other_files,
            test_sources_and_destinations_that_cannot_be,
            test_an_export_is_of_one_instant,
            test_cancel_and_kill_leave_no_file)
