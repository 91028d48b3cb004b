"""The load program that benchmarks stand on does what it says, on a small store."""

import json
import os
import subprocess
import tempfile

import tap

ENGINE = os.path.join(os.path.dirname(__file__), "..", "build", "tests", "load", "engine")


def engine(*steps, store="store", folder=None):
    """The lines that the steps print; the store lives in folder or goes with this call."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("VSTORE_TMP", "/var/tmp")) as fresh:
        path = os.path.join(folder or fresh, store)
        done = subprocess.run([ENGINE, path, "--size", "1G", "--memory", "256M", *steps],
                              capture_output=True, text=True)
    return done, [json.loads(line) for line in done.stdout.splitlines()]


def test_loads_count_what_they_do():
    done, lines = engine("volume,name=v,size=128M", "write,block=1M,depth=4,sequential=1,count=128",
                         "write,count=4000,ports=2", "write,data=same,pool=16,count=2000",
                         "read,count=4000", "sync,depth=1,count=50")
    assert done.returncode == 0, done.stderr
    filled, unique, same, read, sync = lines[1:6]
    assert (filled["ops"], unique["ops"], same["ops"], read["ops"], sync["ops"]) == (
        128, 4000, 2000, 4000, 50)
    assert 1 < filled["amplification"]["total"] < 1.3 and filled["fill"] > 0.1, filled
    assert unique["amplification"]["total"] >= 1, unique
    assert same["amplification"]["data"] < 0.5, same
    assert sync["device_writes_per_op"] >= 1, sync
    for load in lines[1:6]:
        assert load["p50_us"] <= load["p99_us"] <= load["p999_us"] <= load["max_us"] * 1.01, load
        assert load["engine_ns_per_op"] > 0 and load["port_ns_per_op"] > 0, load


def test_compressible_data_compresses():
    done, lines = engine("volume,name=v,size=64M", "write,data=half,block=1M,sequential=1,count=64",
                         "write,data=sparse,block=1M,sequential=1,count=64")
    assert done.returncode == 0, done.stderr
    assert 0.45 < lines[1]["amplification"]["data"] < 0.65, lines[1]
    assert lines[2]["amplification"]["data"] < 0.1, lines[2]


def test_snapshots_are_taken_and_deleted_under_load():
    # 30 snapshots, and all that a fast machine writes between them, have room
    done, lines = engine("volume,name=v,size=8M", "write,block=1M,sequential=1,count=8",
                         "snapshot,name=big", "write,seconds=3,snapshots=100",
                         "write,seconds=600,delete=big", "snapshot,name=s,count=3,writes=10", "reopen",
                         "delete,name=s1", "drain", "read,count=100")
    assert done.returncode == 0, done.stderr
    during, deletion = lines[3], lines[4]
    assert 1 <= during["snapshots"]["n"] <= 30, during
    assert 0 < deletion["delete_ms"] <= deletion["gone_ms"] and deletion["seconds"] < 600, deletion
    assert [line["step"] for line in lines[5:]] == ["snapshot", "close", "open", "delete",
                                                   "read,count=100", "close"]


def test_a_store_is_found_again():
    with tempfile.TemporaryDirectory(dir=os.environ.get("VSTORE_TMP", "/var/tmp")) as folder:
        first, _ = engine("volume,name=v,size=16M", "write,count=1000", folder=folder)
        again, lines = engine("use,name=v", "read,count=10", folder=folder)
    assert first.returncode == 0 and again.returncode == 0, first.stderr + again.stderr
    assert lines[0]["step"] == "open" and lines[1]["ops"] == 10


def test_what_it_cannot_do_is_said():
    for steps, word in ((("dance",), "dance"), (("write,blok=4K",), "blok"),
                        (("write,count=1",), "volume"), (("use,name=nobody",), "nobody")):
        done, _ = engine(*steps)
        assert done.returncode == 1 and word in done.stderr, (steps, done.stderr)
    assert subprocess.run([ENGINE], capture_output=True).returncode == 2


tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
