"""Debian material for tests: unpacked packages and file system images, made once under build/cache.

Makers write beside and rename, so what is in the cache is complete; a lock keeps two test programs
from making the same thing.
"""

import contextlib
import fcntl
import glob
import os
import random
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.environ.get("VSTORE_TEST_CACHE", os.path.join(ROOT, "build", "cache"))
IMAGE_SIZE = 4 << 30


@contextlib.contextmanager
def making(name):
    """Yields (path in the cache, scratch path or None when it is there already)."""
    os.makedirs(CACHE, exist_ok=True)
    path = os.path.join(CACHE, name)
    with open(os.path.join(CACHE, f".{name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(path):
            yield path, None
            return
        scratch = path + ".new"
        remove(scratch)
        yield path, scratch
        os.rename(scratch, path)


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def unmount_below(folder):
    with open("/proc/self/mounts", "rb") as f:
        points = [os.fsdecode(line.split()[1].decode("unicode_escape").encode("latin-1")) for line in f]
    for point in reversed(points):
        if point.startswith(folder + "/"):
            run("umount", point)


def run(*command, **more):
    """A command that must succeed; what it said is in the error."""
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def unpacked(package):
    """Folder with the files of a package that is not installed on this machine."""
    with making(f"package-{package}") as (path, scratch):
        if scratch:
            os.makedirs(scratch)
            deb = download(package, scratch)
            run("dpkg-deb", "-x", deb, scratch)
            os.unlink(deb)
    return path


def download(package, folder):
    command = ["apt-get", "-o", "APT::Sandbox::User=root", "-qq", "download", package]
    try:
        run(*command, cwd=folder)
    except RuntimeError:
        run("apt-get", "-qq", "update")
        run(*command, cwd=folder)
    return glob.glob(os.path.join(folder, "*.deb"))[0]


def kernel_package():
    """The package that the meta package of Debian's cloud kernel stands for."""
    shown = run("apt-cache", "show", "--no-all-versions", "linux-image-cloud-amd64")
    depends = next(line for line in shown.splitlines() if line.startswith("Depends:"))
    return depends.split(":", 1)[1].split("(")[0].split(",")[0].strip()


def kernel():
    """(vmlinuz, folder of its modules) of Debian's cloud kernel."""
    folder = unpacked(kernel_package())
    modules = (glob.glob(f"{folder}/lib/modules/*") + glob.glob(f"{folder}/usr/lib/modules/*"))[0]
    return glob.glob(f"{folder}/boot/vmlinuz-*")[0], modules


def system_image():
    """Raw image of 4 GiB: ext4 with a minimal Debian in it, on no partition."""
    with making("debian.img") as (path, scratch):
        if scratch:
            tree = os.path.join(CACHE, "debian-tree")
            unmount_below(tree)  # an mmdebstrap that was killed leaves /proc and /sys there
            remove(tree)
            run("mmdebstrap", "--variant=minbase", "--mode=root", "bookworm", tree)
            make_image(tree, scratch)
            remove(tree)
    return path


def make_image(tree, path):
    with open(path, "wb") as f:
        f.truncate(IMAGE_SIZE)
    run("mke2fs", "-q", "-t", "ext4", "-L", "vstore-root", "-d", tree, path)


def aged_image():
    """The same file system after some life: packages came, files were rewritten and removed.

    The changes are made inside the image (debugfs), so that what stays keeps its place.
    """
    base = system_image()
    with making("debian-aged.img") as (path, scratch):
        if scratch:
            run("cp", "--sparse=always", base, scratch)
            script = scratch + ".debugfs"
            with open(script, "w") as f:
                f.writelines(removals(base))
                for package in ("libpython3.11-stdlib", "perl-modules-5.36", kernel_package()):
                    f.writelines(additions(unpacked(package), f"/opt/{package}"))
            run("debugfs", "-w", "-f", script, scratch)
            os.unlink(script)
            # debugfs leaves counts to be corrected: 1 is "errors corrected"
            done = subprocess.run(["e2fsck", "-fy", scratch], capture_output=True, text=True)
            if done.returncode > 1:
                raise RuntimeError(done.stdout + done.stderr)
    return path


def relaid_image():
    """The aged image's files in a file system of another layout: other block groups, more inodes, no
    journal, and its folders filled in another order."""
    aged = aged_image()
    with making("debian-relaid.img") as (path, scratch):
        if scratch:
            tree = os.path.join(CACHE, "aged-tree")
            remove(tree)
            os.makedirs(tree)
            run("debugfs", "-R", f"rdump / {tree}", aged)
            with open(scratch, "wb") as f:
                f.truncate(IMAGE_SIZE)
            run("mke2fs", "-q", "-t", "ext4", "-g", "16384", "-i", "8192",
                "-O", "^flex_bg,^has_journal", "-L", "relaid", scratch)
            script = scratch + ".debugfs"
            with open(script, "w") as f:
                f.writelines(shuffled(tree))
            run("debugfs", "-w", "-f", script, scratch)
            os.unlink(script)
            remove(tree)
    return path


def shuffled(tree):
    """Makes all folders, then fills them in an order by chance that is always the same."""
    places = list(os.walk(tree))
    for where, _, _ in places:
        if where != tree:
            yield f"mkdir \"{where[len(tree):]}\"\n"
    random.Random(1).shuffle(places)
    for where, _, files in places:
        for name in sorted(files):
            source = os.path.join(where, name)
            if os.path.isfile(source) and not os.path.islink(source):
                yield f"write \"{source}\" \"{where[len(tree):]}/{name}\"\n"


def removals(image):
    """Removes what stands in /usr/share/doc one level down (the space is used again)."""
    listed = run("debugfs", "-R", "ls -p /usr/share/doc", image)
    for line in listed.splitlines():
        field = line.split("/")
        if len(field) < 6 or field[5] in (".", ".."):
            continue
        yield f"rm /usr/share/doc/{field[5]}/copyright\n"
        yield f"rm /usr/share/doc/{field[5]}/changelog.Debian.gz\n"


def additions(tree, target):
    yield f"mkdir {target}\n"
    for where, folders, files in os.walk(tree):
        inside = target + where[len(tree):]
        for name in sorted(folders):
            if not os.path.islink(os.path.join(where, name)):
                yield f"mkdir \"{inside}/{name}\"\n"
        for name in sorted(files):
            if not os.path.islink(os.path.join(where, name)):
                yield f"write \"{os.path.join(where, name)}\" \"{inside}/{name}\"\n"
