"""A Debian image through the whole node: import, every way to read it back, space, an aged copy."""

import os

import debian
import node as vs

import tap

base = debian.system_image()
aged = debian.aged_image()
base_sha256 = vs.sha256(base)
node = vs.Node()
used = {}


def physical():
    """What is in use once nothing is left to be done in the background."""
    return node.json("df", "--drain")["physical_used_bytes"]


def test_import():
    used["before"] = physical()
    result = node.json("volume", "import", base, "base")
    used["base"] = physical()
    shown = node.json("volume", "show", "base")
    assert shown["size"] == debian.IMAGE_SIZE, shown
    assert shown["logical_bytes"] == vs.nonzero_bytes(base), (shown, result)


def test_read_back_over_iscsi():
    url, = node.target("base")
    got = vs.load("digest", url)
    assert got == {"size": debian.IMAGE_SIZE, "sha256": base_sha256}, got
    node.vstore("target", "delete", vs.IQN)


def test_read_back_over_nbd():
    node.vstore("nbd", "export", "base", "--read-only")
    vs.run("qemu-img", "compare", "-f", "raw", "-F", "raw", base, node.nbd_url("base"))
    node.vstore("nbd", "unexport", "base")


def test_export_raw():
    dest = os.path.join(node.state, "out.raw")
    node.vstore("volume", "export", "base", dest)
    assert vs.sha256(dest) == base_sha256
    os.unlink(dest)


def test_export_to_standard_output():
    dest = os.path.join(node.state, "out.pipe")
    with open(dest, "wb") as out:
        vs.subprocess.run([vs.VSTORE, "--socket", node.socket, "volume", "export", "base", "-"],
                          stdout=out, check=True)
    assert vs.sha256(dest) == base_sha256
    os.unlink(dest)


def test_export_and_import_of_qcow2():
    dest = os.path.join(node.state, "out.qcow2")
    node.vstore("volume", "export", "base", dest, "--format", "qcow2")
    vs.run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", base, dest)
    node.vstore("volume", "import", dest, "again")
    before = physical()
    again = os.path.join(node.state, "again.raw")
    node.vstore("volume", "export", "again", again)
    assert vs.sha256(again) == base_sha256
    node.vstore("volume", "delete", "again")
    # The same content once more costs its map and nothing else: 8 bytes for each block.
    assert before - used["base"] < vs.nonzero_bytes(base) * 0.01, (before, used)
    os.unlink(again)
    os.unlink(dest)


def test_physical_use_is_below_the_bytes_that_are_not_zero():
    growth = used["base"] - used["before"]
    print(f"# {growth} bytes in use for {vs.nonzero_bytes(base)} that are not zero")
    assert 0 < growth < vs.nonzero_bytes(base)


def test_an_aged_image_costs_its_new_blocks():
    before = physical()
    node.vstore("volume", "import", aged, "aged")
    growth = physical() - before
    counted = vs.blocks(aged, base)
    expected = counted["new_lz4_bytes"]
    print(f"# grew by {growth}, {counted['new']} new blocks are {expected} bytes compressed:"
          f" {growth / expected - 1:+.1%}")
    assert abs(growth - expected) <= 0.05 * expected, (growth, counted)
    node.vstore("nbd", "export", "aged", "--read-only")
    vs.run("qemu-img", "compare", "-f", "raw", "-F", "raw", aged, node.nbd_url("aged"))
    node.vstore("nbd", "unexport", "aged")


def test_a_restart_changes_nothing():
    node.stop()
    node.start()
    node.vstore("nbd", "export", "base", "--read-only")
    assert vs.load("digest", node.nbd_url("base"))["sha256"] == base_sha256
    node.vstore("nbd", "unexport", "base")


def test_check_finds_nothing():
    node.stop()
    node.check()


if __name__ == "__main__":
    with node:
        tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
