#!/usr/bin/env python3
"""Backups and restores through the daemon: what is sent, what is fetched, what damage says."""

import glob
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import node as nodes  # noqa: E402
from node import Node, sha256  # noqa: E402

import tap  # noqa: E402

BLOCK = 4096
BLOCKS = 32768  # 128 MiB
CHANGED = BLOCKS // 100


class Image:
    """A volume's content: blocks by number, absent ones are zeros."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.blocks = {}

    def fresh(self):
        """A block that no other equals; half of it compresses."""
        return self.random.randbytes(BLOCK // 2) + bytes(BLOCK // 2 - 8) + self.random.randbytes(8)

    def fill(self):
        """A third each: unique, repeated, zero."""
        repeated = [self.fresh() for _ in range(100)]
        for number in range(BLOCKS):
            kind = (number // 64) % 3
            if kind == 0:
                self.blocks[number] = self.fresh()
            elif kind == 1:
                self.blocks[number] = repeated[number % len(repeated)]

    def change(self, count):
        """Runs of 1 to 16 blocks; returns the runs and how many distinct blocks are new."""
        known = set(self.blocks.values())
        old = self.random.sample(sorted(self.blocks), 64)
        twin, runs, new, changed = self.fresh(), [], set(), 0
        number = self.random.randrange(100)
        while changed < count:
            run = []
            for at in range(number, number + min(self.random.randint(1, 16), count - changed)):
                kind = self.random.randrange(8)
                if kind == 0:
                    data = self.blocks[self.random.choice(old)]  # stored already
                elif kind == 1:
                    data = twin
                else:
                    data = self.fresh()
                if self.blocks.get(at) == data:
                    data = self.fresh()
                run.append(data)
                if data not in known:
                    new.add(data)
            for at, data in enumerate(run, number):
                self.blocks[at] = data
            changed += len(run)
            runs.append((number, b"".join(run)))
            number += len(run) + self.random.randint(1, BLOCKS * 8 // count)
        assert number < BLOCKS
        return runs, len(new)

    def write(self, path):
        with open(path, "wb") as f:
            f.truncate(BLOCKS * BLOCK)
            for number, data in self.blocks.items():
                f.seek(number * BLOCK)
                f.write(data)
        return path


def write_runs(node, volume, runs, folder):
    """Writes through NBD, as a guest would."""
    command = ["qemu-io", "-f", "raw"]
    for i, (number, data) in enumerate(runs):
        path = os.path.join(folder, f"run{i}")
        with open(path, "wb") as f:
            f.write(data)
        command += ["-c", f"write -q -s {path} {number * BLOCK} {len(data)}"]
    command += ["-c", "flush", node.nbd_url(volume)]
    out = nodes.run(*command)
    assert "failed" not in out and "error" not in out.lower(), out


def digest(node, volume, folder):
    path = os.path.join(folder, "export.img")
    if os.path.exists(path):
        os.unlink(path)
    node.vstore("volume", "export", volume, path)
    return sha256(path)


class Scene:
    """Two nodes, one repository, a volume with two backups 1% of its blocks apart."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="vstore-backup-", dir="/var/tmp")
        self.repo = os.path.join(self.folder, "repo")
        self.url = f"dir://{self.repo}"
        self.here = Node(size="4G", iscsi=False).__enter__()
        self.far = Node(size="4G", iscsi=False).__enter__()
        for node in (self.here, self.far):
            node.vstore("repo", "add", "r", self.url)
        return self

    def __exit__(self, kind, value, trace):
        try:
            for node in (self.here, self.far):
                node.__exit__(kind, value, trace)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def packs(self):
        return sorted(glob.glob(os.path.join(self.repo, "packs", "*", "*")), key=os.path.getsize)


def backup_change_backup():
    image = Image(1)
    image.fill()
    scene.image1 = image.write(os.path.join(scene.folder, "1.img"))
    unique = len(set(image.blocks.values()))
    scene.here.vstore("volume", "import", scene.image1, "v")
    first = scene.here.json("backup", "v", "--repo", "r")
    assert first["blocks_total"] == BLOCKS, first
    assert first["blocks_changed"] == len(image.blocks), first
    assert first["blocks_sent"] == unique, (first, unique)
    scene.here.vstore("snapshot", "v@kept")  # or the store would forget what is overwritten now
    runs, new = image.change(CHANGED)
    scene.here.vstore("nbd", "export", "v")
    write_runs(scene.here, "v", runs, scene.folder)
    scene.here.vstore("nbd", "unexport", "v")
    second = scene.here.json("backup", "v", "--repo", "r", "--tag", "second")
    assert second["blocks_changed"] == CHANGED, second
    assert second["blocks_sent"] == new, (second, new)
    third = scene.here.json("backup", "v", "--repo", "r")
    assert third["blocks_changed"] == 0 and third["blocks_sent"] == 0, third
    scene.image2 = image.write(os.path.join(scene.folder, "2.img"))
    scene.first, scene.second = first["id"], second["id"]
    listed = scene.here.json("backup", "list", "--repo", "r", "v")
    assert [b["id"] for b in listed] == [first["id"], second["id"], third["id"]], listed
    assert scene.here.json("backup", "show", second["id"])["tag"] == "second"
    assert scene.here.json("repo", "show", "r")["backups"] == 3


def restore_where_the_blocks_are_fetches_none():
    for backup, image, name in ((scene.first, scene.image1, "r1"), (scene.second, scene.image2, "r2")):
        done = scene.here.json("restore", backup, name)
        assert done["blocks_fetched"] == 0, done
        assert done["blocks_local"] > 0, done
        assert digest(scene.here, name, scene.folder) == sha256(image)


def restore_elsewhere_fetches_what_is_missing():
    done = scene.far.json("restore", scene.first, "r1")
    assert done["blocks_fetched"] > 0 and done["bytes_fetched"] > 0, done
    assert digest(scene.far, "r1", scene.folder) == sha256(scene.image1)
    second = scene.far.json("restore", scene.second, "r2")
    assert 0 < second["blocks_fetched"] <= CHANGED, second
    assert digest(scene.far, "r2", scene.folder) == sha256(scene.image2)


def restore_over_a_volume():
    scene.far.refused("restore", scene.second, "r1")
    done = scene.far.json("restore", scene.second, "r1", "--overwrite")
    assert done["blocks_fetched"] == 0, done
    assert digest(scene.far, "r1", scene.folder) == sha256(scene.image2)


def verify_and_check_find_nothing():
    scene.here.vstore("backup", "verify", scene.first)
    scene.here.vstore("repo", "check", "r", "--read-data")
    assert scene.here.json("repo", "check", "r")["problems"] == 0


def bad_input():
    other = os.path.join(scene.folder, "other")
    os.mkdir(other)
    open(os.path.join(other, "holiday.jpg"), "w").close()
    assert "not a vstore repository" in scene.here.refused("repo", "add", "x", f"dir://{other}")
    scene.here.refused("repo", "add", "x", "dir://relative/path")
    scene.here.refused("repo", "add", "x", "gopher://nowhere/x")
    scene.here.refused("backup", "none", "--repo", "r")
    scene.here.refused("backup", "v", "--repo", "none")
    scene.here.refused("restore", "r:20200101-000000-00000000", "new")
    scene.here.refused("restore", scene.first, "v")
    assert all(v["name"] != "new" for v in scene.here.json("volume", "list"))


def damaged_pack_is_named():
    pack = scene.packs()[-1]
    name = os.path.basename(pack)
    with open(pack, "r+b") as f:
        f.seek(os.path.getsize(pack) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 0x20]))
    checked = subprocess.run([nodes.VSTORE, "--socket", scene.here.socket, "repo", "check", "r",
                              "--read-data"], capture_output=True, text=True)
    assert checked.returncode == 1 and name in checked.stdout + checked.stderr, checked
    scene.here.refused("backup", "verify", scene.first)
    with Node(size="4G", iscsi=False, nbd=False) as third:
        third.vstore("repo", "add", "r", scene.url)
        assert name in third.refused("restore", scene.first, "new")
        assert third.json("volume", "list") == []
    with open(pack, "r+b") as f:
        f.seek(os.path.getsize(pack) // 2)
        f.write(byte)
    scene.here.vstore("repo", "check", "r", "--read-data")


def killed_in_the_middle():
    """kill -9 as soon as the first pack of a backup is there; then all is valid, and it goes on."""
    image = Image(2)
    for number in range(BLOCKS):
        image.blocks[number] = image.random.randbytes(BLOCK)
    path = image.write(os.path.join(scene.folder, "3.img"))
    scene.here.vstore("volume", "import", path, "w")
    before = len(scene.packs())
    scene.here.vstore("backup", "create", "w", "--repo", "r", "--detach")
    while len(scene.packs()) == before:
        assert scene.here.alive()
    scene.here.kill()
    scene.here.start()
    assert scene.here.json("repo", "check", "r")["problems"] == 0
    scene.here.vstore("repo", "check", "r", "--read-data")
    done = scene.here.json("backup", "w", "--repo", "r")
    assert digest_restored(scene.far, done["id"], "w") == sha256(path)
    scene.here.vstore("repo", "gc", "r")
    scene.here.vstore("repo", "check", "r", "--read-data")


def digest_restored(node, backup, name):
    node.vstore("restore", backup, name)
    return digest(node, name, scene.folder)


def delete_and_gc():
    before = scene.here.json("repo", "show", "r")["stored_bytes"]
    for backup in scene.here.json("backup", "list", "--repo", "r", "w"):
        scene.here.vstore("backup", "delete", backup["id"])
    freed = scene.here.json("repo", "gc", "r")["freed_bytes"]
    after = scene.here.json("repo", "show", "r")["stored_bytes"]
    assert freed > BLOCKS * BLOCK // 2, freed
    assert after < before - BLOCKS * BLOCK // 2, (before, after)
    scene.here.vstore("repo", "check", "r", "--read-data")
    assert digest_restored(scene.far, scene.first, "again") == sha256(scene.image1)


if __name__ == "__main__":
    with Scene() as scene:
        tap.run(backup_change_backup, restore_where_the_blocks_are_fetches_none,
                restore_elsewhere_fetches_what_is_missing, restore_over_a_volume,
                verify_and_check_find_nothing, bad_input, damaged_pack_is_named,
                killed_in_the_middle, delete_and_gc)
