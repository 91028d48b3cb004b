"""Snapshots, clones, rollback, diff and deletion in every order, held against plain files.

Each change is made twice by qemu-io: through iSCSI on the volume and on a file; the files are what
the volumes must be.
"""

import itertools
import os
import shutil
import subprocess

import node as vs

import tap

SIZE = 16 << 20
BLOCK = 4096
node = vs.Node(size="8G")


def path(name):
    return os.path.join(node.state, name + ".raw")


def write(volume, *commands):
    """qemu-io commands on a volume through iSCSI, and on its file."""
    url, = node.target(volume)
    args = []
    for command in (*commands, "flush"):
        args += ["-c", command]
    vs.run("qemu-io", "-f", "raw", *args, url)
    vs.run("qemu-io", "-f", "raw", *args, path(volume))
    node.vstore("target", "delete", vs.IQN)


def create(volume):
    node.vstore("volume", "create", volume, "--size", str(SIZE))
    with open(path(volume), "wb") as f:
        f.truncate(SIZE)


def copy(name, to):
    shutil.copyfile(path(name), path(to))


def assert_is(volume, name=None):
    dest = path("export")
    node.vstore("volume", "export", volume, dest)
    assert vs.sha256(dest) == vs.sha256(path(name or volume)), f"{volume} is not what it must be"
    os.unlink(dest)


def differing(a, b):
    """Brute force: {block: kind} of the blocks of file b that differ from file a."""
    kinds = {}
    with open(path(a), "rb") as fa, open(path(b), "rb") as fb:
        for number in range(SIZE // BLOCK):
            old, new = fa.read(BLOCK), fb.read(BLOCK)
            if old != new:
                kinds[number] = "zero" if new == bytes(BLOCK) else "data"
    return kinds


def diff(*args):
    kinds = {}
    for entry in node.json("snapshot", "diff", *args):
        assert entry["offset"] % BLOCK == 0 and entry["length"] % BLOCK == 0, entry
        for number in range(entry["offset"] // BLOCK, (entry["offset"] + entry["length"]) // BLOCK):
            assert number not in kinds, f"block {number} twice"
            kinds[number] = entry["kind"]
    return kinds


def test_a_snapshot_keeps_what_was():
    create("v")
    write("v", "write -P 0x11 0 1M", "write -P 0x12 5M 64k", "write -P 0x13 15M 1M")
    node.vstore("snapshot", "create", "v@a")
    copy("v", "a")
    write("v", "write -P 0x21 512k 1M", "write -z 5M 32k", "write -P 0x22 9M 8k")
    node.vstore("snapshot", "v@b")
    copy("v", "b")
    write("v", "write -P 0x31 0 4k", "discard 15M 512k", "write -P 0x32 15M 512")
    for volume, name in (("v", "v"), ("v@a", "a"), ("v@b", "b")):
        assert_is(volume, name)


def test_diff_equals_brute_force():
    assert diff("v@a", "v@b") == differing("a", "b")
    assert diff("v@b", "v@a") == differing("b", "a")
    assert diff("v@b", "v") == differing("b", "v")
    assert diff("v@a", "v@a") == {}


def test_a_clone_is_independent():
    node.vstore("volume", "clone", "v@a", "c")
    copy("a", "c")
    assert_is("c")
    write("c", "write -P 0x41 256k 256k", "write -P 0x42 12M 12k")
    for volume, name in (("c", "c"), ("v", "v"), ("v@a", "a"), ("v@b", "b")):
        assert_is(volume, name)


def test_rollback_keeps_newer_snapshots():
    write("v", "write -P 0x51 2M 2M")
    node.vstore("snapshot", "rollback", "v@a")
    copy("a", "v")
    for volume, name in (("v", "v"), ("v@a", "a"), ("v@b", "b"), ("c", "c")):
        assert_is(volume, name)
    node.vstore("snapshot", "rollback", "v@b")
    copy("b", "v")
    write("v", "write -P 0x52 3M 8k")
    for volume, name in (("v", "v"), ("v@a", "a"), ("v@b", "b"), ("c", "c")):
        assert_is(volume, name)


def test_rollback_is_refused_while_in_use():
    url, = node.target("v")
    client = subprocess.Popen(["qemu-io", "-f", "raw", url], text=True, bufsize=1,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        client.stdin.write("length\n")  # an answer means that it is logged in
        assert "16 MiB" in client.stdout.readline()
        assert "v" in node.refused("snapshot", "rollback", "v@a")
    finally:
        client.communicate("quit\n")
    node.vstore("target", "delete", vs.IQN)
    assert_is("v")


def test_several_snapshots_are_all_or_none():
    create("w")
    assert "v@a" in node.refused("snapshot", "create", "w@x", "v@a")
    assert node.json("snapshot", "list", "w") == []
    node.vstore("snapshot", "create", "w@x", "v@x")
    assert [s["name"] for s in node.json("snapshot", "list", "w")] == ["w@x"]
    for name in ("w@x", "v@x"):
        node.vstore("snapshot", "delete", name)
    node.vstore("volume", "delete", "w")


def test_deleting_a_volume_with_snapshots_wants_a_word():
    assert "snapshot" in node.refused("volume", "delete", "v")
    assert_is("v")
    node.vstore("volume", "delete", "c")
    node.vstore("volume", "delete", "v", "--with-snapshots")
    assert node.json("volume", "list") == []


def family(tag):
    """v with two snapshots and a clone of the first; {name: file}. Contents differ with tag."""
    create("v")
    write("v", f"write -P {tag} 0 256k", "write -P 0xee 4M 64k")
    node.vstore("snapshot", "create", "v@a")
    copy("v", "a")
    write("v", "write -P 0x61 128k 256k", "write -z 4M 8k")
    node.vstore("snapshot", "create", "v@b")
    copy("v", "b")
    node.vstore("volume", "clone", "v@a", "c")
    copy("a", "c")
    write("c", "write -P 0x62 64k 64k")
    write("v", "write -P 0x63 0 4k")
    return {"v": "v", "v@a": "a", "v@b": "b", "c": "c"}


def delete(name):
    if "@" in name:
        node.vstore("snapshot", "delete", name)
    elif name == "v":
        node.vstore("volume", "delete", name, "--keep-snapshots")
    else:
        node.vstore("volume", "delete", name)


def test_deletion_in_every_order():
    for number, order in enumerate(itertools.permutations(("v", "v@a", "v@b", "c")), 1):
        left = family(number)
        for name in order:
            delete(name)
            del left[name]
            for volume, file in left.items():
                try:
                    assert_is(volume, file)
                except AssertionError as e:
                    raise AssertionError(f"{e} after {name} of {' '.join(order)}") from None
    assert node.json("volume", "list") == []
    assert node.json("snapshot", "list") == []


def test_everything_was_given_back():
    df = node.json("df", "--drain")
    assert df["logical_used_bytes"] == 0, df
    assert df["unique_content_bytes"] == 0, df


def test_check_finds_nothing():
    create("last")
    write("last", "write -P 0x71 0 1M")
    node.stop()
    node.check()
    node.start()
    assert_is("last")


if __name__ == "__main__":
    with node:
        tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
