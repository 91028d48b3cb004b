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
import tap  # noqa: E402

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


if __name__ == "__main__":
    tap.run(test_a_small_index_finds_nearly_everything)
