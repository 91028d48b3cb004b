"""The store without a front end (tests/load/engine), beside fio on a file of the same file system."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

GIB = 1 << 30
MIB = 1 << 20
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENGINE = os.path.join(ROOT, "build", "tests", "load", "engine")
# Device bytes written for each byte of uniform random overwrites, at these fills, by theory.
UNIFORM = {50: 1.3, 80: 2.7, 90: 5.3}


class Row:
    """One figure: what it is, what it is compared with, what was wanted of it."""

    def __init__(self, name, figure, beside="", ratio=None, wanted=None, reached=None):
        self.name, self.figure, self.beside = name, figure, beside
        self.ratio, self.wanted, self.reached = ratio, wanted, reached
        print("  " + "  ".join(str(x) for x in (name, figure, beside, self.said()) if x), flush=True)

    def said(self):
        text = "" if self.ratio is None else f"{self.ratio:.2f}"
        if self.wanted:
            text += f" (wanted {self.wanted}: {'yes' if self.reached else 'no'})"
        return text.strip()


def against(name, mine, theirs, factor, unit, beside):
    ratio = mine / theirs if theirs else 0
    return Row(name, unit(mine), f"{beside} {unit(theirs)}", ratio,
               None if factor is None else f">= {factor:g}", factor is not None and ratio >= factor)


def bounded(name, figure, bound, show):
    return Row(name, show(figure), "", None, f"<= {show(bound)}", figure <= bound)


def per_second(x):
    return f"{x:,.0f} /s"


def megabytes(x):
    return f"{x:,.0f} MB/s"


def milliseconds(x):
    return f"{x:.2f} ms"


class Failed(Exception):
    pass


def written(path, size):
    """A file that was written once as a whole: its file system has found space for all of it."""
    subprocess.run(["fio", "--name=lay", f"--filename={path}", f"--size={size}", "--rw=write", "--bs=1M",
                    "--direct=1", "--ioengine=libaio", "--iodepth=8", "--zero_buffers"],
                   capture_output=True, check=True)


def engine(path, *steps, size=None, thin=True, memory="1G", compression="none"):
    """Runs steps on the store at path and returns what they said; made first where size is given,
    as a thin file or in one that was written once, be it by a store before."""
    there = os.path.exists(path)
    if size and there and (thin or os.path.getsize(path) != size):
        os.unlink(path)
        there = False
    options = ["--memory", str(memory), "--compression", compression]
    if size and thin:
        options += ["--size", str(size)]
    elif size:
        if not there:
            written(path, size)
        options += ["--init"]
    done = subprocess.run([ENGINE, path, *options, *steps], capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip())
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for line in loads(lines):
        demand(line)
    return lines


def loads(lines):
    return [line for line in lines if "ops" in line]


def demand(line):
    """A load that was shorter than it was to be has measured something else."""
    asked = dict(pair.split("=") for pair in line["step"].split(",")[1:])
    if "count" in asked:
        whole = line["ops"] == int(asked["count"])
    else:
        whole = "delete" in asked or line["seconds"] >= int(asked["seconds"])
    if not whole:
        raise Failed(f"{line['step']}: only {line['ops']} requests in {line['seconds']} s")


def killed(path, seconds, load, memory="1G"):
    """Ends the program with SIGKILL after so long a time of load."""
    with subprocess.Popen([ENGINE, path, "--memory", str(memory), "--compression", "none", "use,name=v",
                           load], stdout=subprocess.PIPE) as p:
        opened = p.stdout.readline()
        time.sleep(seconds)
        if not opened or p.poll() is not None:
            raise Failed(f"{load}: it ended before it was killed")
        p.send_signal(signal.SIGKILL)


def fio(path, size, mode, block, depth, seconds):
    """Operations a second, bytes a second and p99 in ms of fio on a file that is there already."""
    out = subprocess.run(
        ["fio", "--name=raw", f"--filename={path}", f"--size={size}", "--ioengine=libaio", "--direct=1",
         f"--rw={mode}", f"--bs={block}", f"--iodepth={depth}", f"--runtime={seconds}", "--time_based",
         "--norandommap", "--refill_buffers", "--output-format=json"],
        capture_output=True, text=True, check=True).stdout
    job = json.loads(out[out.index("{"):])["jobs"][0]["read" if "read" in mode else "write"]
    return job["iops"], job["bw_bytes"], job["clat_ns"]["percentile"]["99.000000"] / 1e6


class Raw:
    """A file written once, as a store's is."""

    def __init__(self, folder, size, seconds):
        self.path, self.size, self.seconds = os.path.join(folder, "raw"), size, seconds
        written(self.path, size)

    def run(self, mode, block, depth):
        return fio(self.path, self.size, mode, block, depth, self.seconds)

    def close(self):
        os.unlink(self.path)


@contextlib.contextmanager
def store_file(folder, name):
    path = os.path.join(folder, name)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def room(folder, need, what):
    """None, or why there is no room."""
    free = shutil.disk_usage(folder).free
    if free >= need:
        return None
    return f"{what} needs {need / GIB:.0f} GiB, {free / GIB:.0f} GiB are free"


def size_for(path, volume, share):
    """The size of a store of which a volume, with its maps and tables, fills that share."""
    size = int(volume / share)
    for _ in range(3):
        capacity = engine(path, size=size)[0]["capacity"]
        size += int(volume * 1.03 / share - capacity) // MIB * MIB
    return size


def fill_steps(volume):
    return ("write,block=1M,depth=8,sequential=1,count=%d" % (volume // MIB),)


def average(a, b):
    return tuple((x + y) / 2 for x, y in zip(a, b))


def raw_size(args):
    """The file beside it need not be larger: its device does not care."""
    return min(args.large, 8 * GIB)


def bench_raw(folder, args):
    """Against the device: fresh, then a volume overwritten at random in a store that is 70% full."""
    volume, seconds = args.large, args.long
    with store_file(folder, "store") as path:
        raw = Raw(folder, raw_size(args), min(seconds, 20))
        try:
            raw_write, raw_read = raw.run("randwrite", "4k", 32), raw.run("randread", "4k", 32)
            raw_wseq, raw_rseq = raw.run("write", "1M", 8), raw.run("read", "1M", 8)
        except BaseException:
            raw.close()
            raise
        hashed = engine(path, "hash,seconds=2", size=GIB)[1]["mb_per_second"] * 1e6
        size = size_for(path, volume, 0.7)
        fresh, = loads(engine(path, f"volume,name=v,size={volume}",
                              f"write,seconds={min(seconds, 20)}", size=size, thin=False))
        lines = loads(engine(path, f"volume,name=v,size={volume}", *fill_steps(volume),
                             f"read,block=1M,depth=8,sequential=1,seconds={min(seconds, 10)}",
                             f"write,seed=3,count={volume // 4096}",
                             f"write,seed=4,seconds={seconds}",
                             f"read,seed=5,seconds={min(seconds, 10)}",
                             f"read,seed=6,seconds={min(seconds, 20)}", size=size, thin=False))
        filled, seq_read, once, full, _, read = lines
        cold = loads(engine(path, "use,name=v", f"read,seconds={min(seconds, 10)}", memory="256M"))[0]
        twice = loads(engine(path, f"volume,name=v,size={volume}",
                             "write,block=1M,depth=8,sequential=1,data=same,count=256",
                             f"write,block=1M,depth=8,ports=2,sequential=1,data=same,"
                             f"seconds={min(seconds, 10)}", size=size))[1]
        try:  # once more, after ours: whatever else the machine does meets both
            raw_write = average(raw_write, raw.run("randwrite", "4k", 32))
            raw_read = average(raw_read, raw.run("randread", "4k", 32))
        finally:
            raw.close()
    rows = [
        against("4K random write, depth 32, fresh store", fresh["per_second"], raw_write[0], 3,
                per_second, "raw"),
        against(f"the same, volume overwritten once, store {full['fill']:.0%} full, {seconds} s",
                full["per_second"], raw_write[0], 1.5, per_second, "raw"),
        Row("its latency", f"p50 {full['p50_us'] / 1000:.2f} ms, p99 {full['p99_us'] / 1000:.2f} ms, "
            f"longest {full['max_us'] / 1000:.0f} ms", f"raw p99 {raw_write[2]:.2f} ms"),
        against("4K random read, depth 32, maps resident", read["per_second"], raw_read[0], 0.85,
                per_second, "raw"),
        bounded("device reads of a 4K read with 256 MiB of memory", cold["device_reads_per_op"], 3,
                "{:.2f}".format),
        against("1 MiB sequential write, unique", filled["mb_per_second"] * 1e6,
                min(raw_wseq[1], hashed), 0.8, lambda x: megabytes(x / 1e6),
                "raw" if raw_wseq[1] < hashed else "one core's SHA-256"),
        against("1 MiB sequential read", seq_read["mb_per_second"] * 1e6, raw_rseq[1], None,
                lambda x: megabytes(x / 1e6), "raw"),
        Row("duplicates, two ports", megabytes(twice["mb_per_second"]), "", None, ">= 1,500 MB/s",
            twice["mb_per_second"] >= 1500),
        Row("CPU of a 4K write: engine, port", f"{full['engine_ns_per_op'] / 1000:.1f} us, "
            f"{full['port_ns_per_op'] / 1000:.1f} us"),
        Row("CPU of a 4K read: engine, port", f"{read['engine_ns_per_op'] / 1000:.1f} us, "
            f"{read['port_ns_per_op'] / 1000:.1f} us"),
        Row("peak memory with --memory 1G", f"{full['peak'] / MIB:.0f} MiB"),
    ]
    return rows


def flat_size(args):
    """Of a store in which snapshots keep all that is written in two loads, at most 150,000 blocks a
    second."""
    return int((2 * args.volume + 2 * min(args.seconds, 10) * 150000 * 4096) / 0.6)


def bench_flat(folder, args):
    """What snapshots cost: many of them, and some that are taken under load."""
    volume, part = args.volume, min(args.seconds, 10)
    with store_file(folder, "store") as path:
        _, before, after, during = loads(engine(
            path, f"volume,name=v,size={volume}", *fill_steps(volume), f"write,seed=2,seconds={part}",
            f"snapshot,name=s,count={args.snapshots},writes=16", f"write,seed=3,seconds={part}",
            f"write,seed=4,seconds={part},snapshots=100", size=flat_size(args), thin=False))
        idle = engine(path, "stalls,seconds=10", size=GIB)[1]
    return [
        against(f"4K random write with {args.snapshots:,} snapshots", after["per_second"],
                before["per_second"], 0.97, per_second, "without"),
        bounded("a snapshot under load, p99", during["snapshots"]["p99_us"] / 1000, 2, milliseconds),
        Row("the machine's own stalls", f"{idle['over_2ms']} of more than 2 ms in 10 s",
            f"longest {idle['max_us'] / 1000:.1f} ms, of two threads that only look at the clock"),
        bounded("writes while snapshots are taken ten times a second, p99",
                during["p99_us"] / 1000, 2 * after["p99_us"] / 1000, milliseconds),
        bounded("device reads of a first write after a snapshot", during["device_reads_per_op"], 0.02,
                "{:.3f}".format),
    ]


def bench_deletion(folder, args):
    """A large snapshot is deleted under load, all of whose content is its own: it was written just
    before it, and the volume was written anew behind it. What goes is counted with nothing left to be
    done in the background, before and after."""
    volume, part = args.deleted, min(args.seconds, 20)
    with store_file(folder, "store") as path:
        opened, *lines = engine(
            path, f"volume,name=v,size={volume}", *fill_steps(volume), "snapshot,name=big",
            *fill_steps(volume), f"write,seed=6,seconds={part}", "drain", "write,count=1",
            f"write,seed=7,seconds={args.seconds * 100},delete=big", "drain", "write,count=1",
            size=int(volume * 3))
    _, _, calm, held, deleting, left = loads(lines)
    freed = (held["fill"] - left["fill"]) * opened["capacity"]
    if freed < volume / 2:
        raise Failed(f"deleting a snapshot of {volume / GIB:g} GiB freed {freed / GIB:.2f} GiB")
    return [
        bounded(f"writes while a snapshot of {volume / GIB:g} GiB is deleted, p99",
                deleting["p99_us"] / 1000, 2 * calm["p99_us"] / 1000, milliseconds),
        Row("that deletion", f"returned after {deleting['delete_ms']:.1f} ms, all gone after "
            f"{deleting['gone_ms'] / 1000:.1f} s",
            f"freed {freed / GIB:.1f} GiB, {freed / opened['capacity']:.0%} of the store"),
    ]


def bench_scale(folder, args):
    """Much logical data in little space: every block is unlike any other and compresses to nothing."""
    logical = args.logical
    need = int(logical / 4096 * 150) + 4 * GIB
    why = room(folder, need, "the scale test")
    if why:
        print(f"  skipped: {why}")
        return why
    rows, rates = [], []
    with store_file(folder, "store") as path:
        engine(path, f"volume,name=v,size={logical}", size=need, compression="lz4")
        start = 0
        for done in (0.01, 0.5, 0.95):
            end = int(logical * done) // (2 * MIB) * 2 * MIB
            lines = loads(engine(path, "use,name=v",
                                 f"write,block=1M,depth=8,data=sparse,ports=2,sequential=1,"
                                 f"from={start},span={end - start},count={(end - start) // MIB}",
                                 f"write,data=sparse,span={end},seconds={min(args.seconds, 10)}",
                                 compression="lz4"))
            start = end
            rates.append(lines)
            if done > 0.01:
                for name, k in (("1 MiB sequential", 0), ("4K random", 1)):
                    rows.append(against(f"{name} writes at {done:.0%} of {logical / GIB:g} GiB logical",
                                        lines[k]["per_second"], rates[0][k]["per_second"], 0.8,
                                        per_second, "at 1%"))
        peak = rates[-1][1]["peak"]
        rows.append(Row("peak memory with --memory 1G", f"{peak / MIB:.0f} MiB"))
        longest = max(line["max_us"] for lines in rates for line in lines[1:]) / 1000
        rows.append(Row("the longest 4K write of all these", f"{longest:.0f} ms"))
        clean = engine(path, compression="lz4")[0]["ms"]
        rows.append(bounded("start after a clean stop", clean, 1000, milliseconds))
        killed(path, min(args.seconds, 15), "write,data=sparse,seconds=600,seed=11")
        again = engine(path, compression="lz4")[0]["ms"]
        rows.append(bounded("start after kill -9 under load", again, 5000, milliseconds))
    return rows


def bench_amplification(folder, args):
    """Device bytes for each byte of random 4K overwrites at several fills."""
    rows = []
    size = args.volume
    for fill, theory in UNIFORM.items():
        with store_file(folder, "store") as path:
            capacity = engine(path, size=size)[0]["capacity"]
            volume = int(capacity * fill / 100 * 0.97) // MIB * MIB  # the rest: maps and tables
            lines = loads(engine(path, f"volume,name=v,size={volume}", *fill_steps(volume),
                                 f"write,seed=2,count={volume // 4096}",
                                 f"write,seed=3,count={volume // 4096}", size=size))
        a = lines[2]["amplification"]
        ratio = a["total"] / (theory + a["maps"] + a["tables"])
        rows.append(Row(f"{lines[2]['fill']:.0%} full", f"{a['total']:.2f}",
                        f"data {a['data']:.2f}, maps {a['maps']:.2f}, tables {a['tables']:.2f}, "
                        f"cleaner {a['cleaner']:.2f}; theory {theory} + maps + tables", ratio,
                        "<= 1.25", ratio <= 1.25))
    why = "mkfs.btrfs is not installed" if not shutil.which("mkfs.btrfs") else None
    if not why and os.geteuid() != 0:
        why = "a loop device needs root"
    if why:
        print(f"  btrfs: skipped: {why}")
        return rows, why
    for fill in UNIFORM:
        rows.append(btrfs_row(folder, fill, min(size, 4 * GIB), args.seconds))
    return rows, None


def btrfs_row(folder, fill, size, seconds):
    """The same work on btrfs with compression: a file of that share of it, overwritten at random."""
    image, where = os.path.join(folder, "btrfs.img"), os.path.join(folder, "btrfs")
    subprocess.run(["truncate", "-s", str(size), image], check=True)
    loop = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", image], check=True,
                          capture_output=True, text=True).stdout.strip()
    try:
        subprocess.run(["mkfs.btrfs", "-q", loop], check=True, capture_output=True)
        os.makedirs(where, exist_ok=True)
        subprocess.run(["mount", "-o", "compress=zstd", loop, where], check=True)
        try:
            return btrfs_load(os.path.join(where, "file"), loop, fill, size, seconds)
        finally:
            subprocess.run(["umount", where], check=True)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)
        os.unlink(image)


def btrfs_load(path, loop, fill, size, seconds):
    stat = f"/sys/block/{os.path.basename(loop)}/stat"

    def written():
        with open(stat, encoding="ascii") as f:
            return int(f.read().split()[6]) * 512

    usable = shutil.disk_usage(os.path.dirname(path)).free
    common = ["fio", "--name=b", f"--filename={path}", f"--size={int(usable * fill / 100) // MIB * MIB}",
              "--refill_buffers", "--end_fsync=1", "--output-format=json"]
    subprocess.run([*common, "--rw=write", "--bs=1M"], check=True, capture_output=True)
    before = written()
    out = subprocess.run([*common, "--rw=randwrite", "--bs=4k", "--fsync=4096", "--time_based",
                          "--norandommap", f"--runtime={seconds}"], capture_output=True, text=True)
    if out.returncode:
        return Row(f"btrfs, {fill}% full", "failed", out.stderr.strip().splitlines()[-1][:80])
    asked = json.loads(out.stdout[out.stdout.index("{"):])["jobs"][0]["write"]["io_bytes"]
    return Row(f"btrfs, {fill}% full", f"{(written() - before) / asked:.2f}",
               f"{asked / MIB:.0f} MiB of overwrites")
