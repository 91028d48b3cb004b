#!/usr/bin/env python3
"""What an index of 0.3 GB per TB of unique data finds of what an index of everything finds, on two
Debian file systems that hold the same files in different layouts."""

import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
import debian  # noqa: E402
import node as nodes  # noqa: E402
import tap  # noqa: E402

TWICE = os.path.join(nodes.BUILD, "tests", "e2e", "twice")
RATE = os.path.join(debian.ROOT, "build", "tests", "bench", "dedup_rate")


def runs():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        done = subprocess.run([RATE, os.path.join(folder, "store.img"), debian.aged_image(),
                               debian.relaid_image()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_small_index_finds_nearly_everything():
    everything, *small = runs()
    print(f"# everything: {everything['index_entries']} digests, found {everything['found']} of "
          f"{everything['blocks_b']} blocks")
    assert everything["found"] > everything["blocks_b"] * 0.9  # the images do have much in common
    for one, neighbours, least in zip(small, (256, 1024), (0.95, 0.97), strict=True):
        assert one["neighbours"] == neighbours
        print(f"# {one['index_bytes']} bytes of index, {neighbours} neighbours: found "
              f"{one['share_of_full']:.2%} of that, {one['share_after_merging']:.2%} after merging "
              f"({one['seconds_merging']:.1f} s)")
        assert one["share_after_merging"] >= 0.995
        assert one["index_bytes"] <= one["unique"] * 4096 * 0.3 / 1000
        assert one["share_of_full"] >= least


def exported(node, volume):
    """SHA-256 of all that a volume holds."""
    path = os.path.join(node.state, "out")
    node.vstore("volume", "export", volume, path, "--force")
    return nodes.sha256(path)


def test_duplicates_are_merged_while_the_node_runs():
    blocks = 8192
    with nodes.Node(size="1G", iscsi=False) as node:
        assert node.json("dedup", "status")["state"] == "never"
        assert "no duplicates" in node.refused("dedup", "stop")
        node.stop()
        nodes.run(TWICE, node.store, str(blocks))
        node.start()
        before = node.json("df")
        assert before["unique_content_bytes"] == 2 * blocks * 4096
        sums = [exported(node, volume) for volume in ("one", "two")]
        assert sums[0] == sums[1]
        found = node.json("dedup", "start")
        assert (found["state"], found["merged_blocks"]) == ("done", blocks)
        after = node.json("df")
        assert after["unique_content_bytes"] == blocks * 4096
        assert before["physical_used_bytes"] - after["physical_used_bytes"] > blocks * 4000
        assert node.json("dedup", "status") == found
        assert [exported(node, volume) for volume in ("one", "two")] == sums
        assert any("8192 duplicates" in e["message"] for e in node.json("event", "list")
                   if e["kind"] == "dedup")
        node.vstore("volume", "delete", "one")
        assert exported(node, "two") == sums[1]
        assert node.json("dedup", "start")["merged_blocks"] == 0
        node.stop()
        node.check()


if __name__ == "__main__":
    tap.run(test_a_small_index_finds_nearly_everything,
            test_duplicates_are_merged_while_the_node_runs)
