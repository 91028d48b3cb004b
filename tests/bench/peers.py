"""The node's front ends, next to peers in the same run, with the same load program on both sides.

Beside each rate stands what a request cost the server in CPU time, user and system, of all threads.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import typing

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import node as vs  # noqa: E402
from store import GIB, MIB, Failed, Row, against, megabytes, per_second  # noqa: E402
from ganesha import Export, Ganesha  # noqa: E402
from tgt import Tgt, free_port  # noqa: E402


class Workload(typing.NamedTuple):
    name: str
    write: bool
    sequential: bool
    block: int
    depth: int
    flush: bool = False  # after each write
    sessions: int = 1  # with depth requests each


# In this order, which matters to what lies where it is written: the first reads find the volume as
# it was written once in order.
READ_AT_FIRST = Workload("1 MiB sequential read, depth 8", False, True, MIB, 8)
READ = Workload("4K random read, depth 32", False, False, 4096, 32)
WRITE = Workload("4K random write, depth 32", True, False, 4096, 32)
READ_LATER = Workload("1 MiB sequential read after those writes", False, True, MIB, 8)
WRITE_LARGE = Workload("1 MiB sequential write, depth 8", True, True, MIB, 8)
FLUSHED = Workload("4K random write and FLUSH, depth 1", True, False, 4096, 1, flush=True)
READ_4, WRITE_4 = (w._replace(name=w.name + ", four sessions", sessions=4) for w in (READ, WRITE))
# Each with the ratio to the peer that is wanted.
ISCSI = ((READ_AT_FIRST, 1.2), (READ, 1.5), (READ_4, None), (WRITE, 1.5), (WRITE_4, None),
         (READ_LATER, None), (WRITE_LARGE, 1.2))
NBD = ((READ_AT_FIRST, 1.2), (READ, 1.2), (WRITE, 1.2), (READ_LATER, None), (WRITE_LARGE, 1.2),
       (FLUSHED, 1.5))
NFS = ((READ_AT_FIRST, 1.0), (READ, 1.5), (WRITE, 1.5), (READ_LATER, None), (WRITE_LARGE, 1.5))
# Clients share the cores with the server: four sessions may do more than one, and must not do less.
SCALING = ((READ_4, READ, 1.0), (WRITE_4, WRITE, 1.0))
TICK = 1 / os.sysconf("SC_CLK_TCK")


class QemuNbd:
    """qemu-nbd on a qcow2 file, as a host would run it: no page cache, io_uring."""

    def __init__(self, folder, span):
        self.file = os.path.join(folder, "peer.qcow2")
        vs.run("qemu-img", "create", "-q", "-f", "qcow2", self.file, str(span))
        port = free_port()
        self.url = f"nbd://127.0.0.1:{port}/peer"
        self.process = subprocess.Popen(
            ["qemu-nbd", "-b", "127.0.0.1", "-p", str(port), "-x", "peer", "-f", "qcow2", "-t",
             "--cache=none", "--aio=io_uring", self.file], stdin=subprocess.DEVNULL)
        for _ in range(100):
            try:
                vs.run("qemu-nbd", "--list", "-b", "127.0.0.1", "-p", str(port))
                return
            except vs.CommandFailed:
                time.sleep(0.1)
        raise RuntimeError("qemu-nbd does not start")

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        os.unlink(self.file)


def fill(url, span):
    vs.load("fill", url, "--sequential", "--block", "1M", "--depth", "8", "--count",
            str(span >> 20), "--span", str(span))


def measure_iscsi(url, w, seconds, span, number):
    """Requests or, of sequential ones, bytes a second; requests."""
    got = vs.load("fill" if w.write else "read", url, "--block", str(w.block), "--depth",
                  str(w.depth), "--sessions", str(w.sessions), "--seconds", str(seconds), "--span",
                  str(span), "--seed", str(number), *(["--sequential"] if w.sequential else []))
    return got["bytes_per_second"] if w.sequential else got["per_second"], got["requests"]


def measure_nbd(url, w, seconds, span, number):
    mode = ("" if w.sequential else "rand") + ("write" if w.write else "read")
    out = vs.run("fio", "--name=bench", "--ioengine=nbd", f"--uri={url}", f"--rw={mode}",
                 f"--bs={w.block}", f"--iodepth={w.depth}", f"--size={span}", "--time_based",
                 f"--runtime={seconds}", "--norandommap", "--refill_buffers",
                 f"--randseed={number}", "--output-format=json", *(["--fsync=1"] if w.flush else []))
    job = json.loads(out[out.index("{"):])["jobs"][0]["write" if w.write else "read"]
    return job["bw_bytes"] if w.sequential else job["iops"], job["total_ios"]


def cpu_seconds(pid):
    """What all threads of a process, also those that ended, have used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK  # utime and stime, proc(5)


class Server(typing.NamedTuple):
    url: str
    pid: int


class Side:
    """One of the two, in one workload: the medians of its rounds."""

    def __init__(self, server):
        self.server, self.rates, self.costs = server, [], []

    def measure(self, measure, workload, args, number):
        before = cpu_seconds(self.server.pid)
        rate, requests = measure(self.server.url, workload, args.round_seconds, args.span, number)
        self.rates.append(rate)
        self.costs.append((cpu_seconds(self.server.pid) - before) / max(requests, 1) * 1e6)

    def rate(self):
        return statistics.median(self.rates)

    def cost(self):
        return f"{statistics.median(self.costs):,.1f} µs"


def compare(measure, ours, peer, name, workloads, args):
    """Workloads in turn, both servers in turn within each round. Returns rows and our rates."""
    rows, rates = [], {}
    for workload, wanted in workloads:
        mine, theirs = Side(ours), Side(peer)
        for number in range(1, args.rounds + 1):
            for side in (mine, theirs) if number % 2 else (theirs, mine):
                side.measure(measure, workload, args, number)
        unit = (lambda x: megabytes(x / 1e6)) if workload.sequential else per_second
        rows.append(against(workload.name, mine.rate(), theirs.rate(), wanted, unit, name))
        rows.append(Row("— CPU time of the server for each request", mine.cost(),
                        f"{name} {theirs.cost()}"))
        rates[workload] = mine.rate()
    return rows, rates


def bench_front_ends(folder, args):
    tables = []
    with vs.Node(size="24G", memory=args.memory) as node:
        for name in ("iscsi", "nbd"):
            node.vstore("volume", "create", name, "--size", str(args.span))
        url, = node.target("iscsi")
        node.vstore("nbd", "export", "nbd")
        for title, measure, ours, peer_class, volume, workloads in (
            ("iSCSI against tgt", measure_iscsi, url, Tgt, "iscsi", ISCSI),
            ("NBD against qemu-nbd on qcow2", measure_nbd, node.nbd_url("nbd"), QemuNbd, "nbd", NBD),
        ):
            print(title, flush=True)
            peer = peer_class(folder, args.span)
            try:
                fill(ours, args.span)
                fill(peer.url, args.span)
                df = node.json("df")
                rows, rates = compare(measure, Server(ours, node.process.pid),
                                      Server(peer.url, peer.process.pid), title.split()[2],
                                      workloads, args)
                rows += [against(more.name + ", beside one", rates[more], rates[one], wanted,
                                 per_second, "one session")
                         for more, one, wanted in SCALING if more in rates]
            finally:
                peer.close()
            used = df["physical_used_bytes"] / df["capacity_bytes"]
            tables.append((title, f"Working set {args.span / GIB:g} GiB, written once before; median of "
                           f"{args.rounds} rounds of {args.round_seconds} s; store filled to {used:.0%} of "
                           f"{df['capacity_bytes'] / GIB:.0f} GiB at the start.", rows))
            node.vstore(*(("target", "delete", vs.IQN) if volume == "iscsi"
                          else ("nbd", "unexport", "nbd")))
            node.vstore("volume", "delete", volume)
        return tables


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def measure_nfs(url, w, seconds, span, number):
    """A read in order begins with cold caches on both sides: the peer's is the kernel's."""
    if w.sequential and not w.write:
        drop_caches()
    return measure_iscsi(url, w, seconds, span, number)


def names_rows(ours, peer, depth, count):
    """10,000 files made, looked at and removed, the better of two runs of each side."""
    runs = {"ours": [], "peer": []}
    for _ in range(2):
        for side, url in (("ours", ours), ("peer", peer)):
            runs[side].append(vs.load("names", url, "--count", str(count), "--depth", str(depth)))
    return [against(f"{what} of {count:,} files, depth {depth}",
                    max(r[f"{what}_per_second"] for r in runs["ours"]),
                    max(r[f"{what}_per_second"] for r in runs["peer"]), 1.0, per_second, "ganesha")
            for what in ("create", "stat", "remove")]


def bench_nfs(folder, args):
    """Against nfs-ganesha on a folder of the same disk; both are asked by libnfs, version 3."""
    export = Export(os.path.join(folder, "ganesha"))
    empty = os.path.join(folder, "empty")
    with open(empty, "wb") as f:
        f.truncate(args.span)
    with vs.Node(size="24G", memory=args.memory, iscsi=False, nbd=False, nfs=True) as node:
        node.vstore("datastore", "create", "bench")
        node.vstore("datastore", "share", "bench", "--client", "127.0.0.1", "--squash", "none")
        node.vstore("datastore", "put", empty, "bench/disk")
        os.rename(empty, os.path.join(export.path, "disk"))
        port = node.listen["nfs"].rsplit(":", 1)[1]
        ports = f"?nfsport={port}&mountport={port}"
        peer = Ganesha(folder, export)
        try:
            ours = Server(f"nfs://127.0.0.1/bench/disk{ports}", node.process.pid)
            theirs = Server(peer.url(os.path.join(export.path, "disk")), peer.process.pid)
            for server in (ours, theirs):
                fill(server.url, args.span)
            rows, _ = compare(measure_nfs, ours, theirs, "ganesha", NFS, args)
            for depth in (1, 32):
                rows += names_rows(f"nfs://127.0.0.1/bench{ports}", peer.url(export.path), depth,
                                   10000)
        finally:
            peer.close()
            os.unlink(os.path.join(export.path, "disk"))
    return ("NFS against nfs-ganesha (VFS)", f"A file of {args.span / GIB:g} GiB, written once before, by "
            f"libnfs over version 3; median of {args.rounds} rounds of {args.round_seconds} s. Caches are "
            "dropped before each read in order. Names: vstore makes each change durable before it is "
            "answered, as RFC 1813 wants it; ganesha leaves that to the file system.", rows)


def bench_memory(args):
    """Peak resident size of a daemon with --memory 256M under unique random 4 KiB writes."""
    with vs.Node(size="24G", memory="256M") as node:
        node.vstore("volume", "create", "m", "--size", str(args.writes))
        url, = node.target("m")
        got = vs.load("fill", url, "--count", str(args.writes // 4096), "--seed", "7")
        if got["requests"] != args.writes // 4096:
            raise Failed(f"only {got['requests']} of {args.writes // 4096} writes were made")
        with open(f"/proc/{node.process.pid}/status") as f:
            peak = next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))
        df = node.json("df")
    rows = [
        Row("peak resident size with --memory 256M", f"{peak / MIB:.0f} MiB", "", None, "<= 320 MiB",
            peak <= 320 * MIB),
        Row("unique random 4 KiB writes over iSCSI, depth 32", per_second(got["per_second"]),
            f"p50 {got['p50_us'] / 1000:.1f} ms, p99 {got['p99_us'] / 1000:.1f} ms"),
    ]
    return ("Memory", f"{args.writes / GIB:g} GiB of writes; the store was filled to "
            f"{df['physical_used_bytes'] / df['capacity_bytes']:.0%} at the end.", rows)
