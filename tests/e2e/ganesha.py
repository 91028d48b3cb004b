"""nfs-ganesha, an NFS server of others: unpacked from Debian's packages, never installed. It runs with
a portmapper in a network namespace of its own, which a pair of addresses leads to. Needs root."""

import os
import subprocess
import time

import debian

PACKAGES = ("nfs-ganesha", "nfs-ganesha-vfs", "libntirpc4.3", "libnfsidmap1", "libwbclient0", "liburcu8",
            "rpcbind", "libwrap0")
READY_WITHIN = 60

# /run, and the portmapper's user, are the namespace's own; the portmapper keeps it.
NAMESPACE = """
set -e
mount -t tmpfs none /run
mkdir /run/ganesha
cp /etc/passwd /run/passwd
grep -q '^_rpc:' /run/passwd || echo '_rpc:x:65533:65534::/run:/usr/sbin/nologin' >> /run/passwd
mount --bind /run/passwd /etc/passwd
ip link set lo up
exec "$0" -f
"""

CONFIG = """
NFS_CORE_PARAM {{
    Protocols = 3; Enable_UDP = false; Enable_NLM = false; Enable_RQUOTA = false;
    mount_path_pseudo = false; Plugins_Dir = "{plugins}";
}}
NFSv4 {{ UseGetpwnam = true; Graceless = true; Lease_Lifetime = 10; }}
{exports}
"""

EXPORT = """
EXPORT {{
    Export_Id = {id}; Path = {path}; Pseudo = /{id}; Protocols = 3; Transports = TCP; SecType = sys;
    Access_Type = {access}; Squash = {squash}; FSAL {{ Name = VFS; }}
    {client}
}}
"""


class Export:
    """A folder that is made and exported; client: the only address that may use it."""

    def __init__(self, path, squash="No_Root_Squash", access="RW", client=None):
        self.path, self.squash, self.access, self.client = path, squash, access, client
        os.makedirs(path)

    def config(self, number):
        client = f"CLIENT {{ Clients = {self.client}; Access_Type = RW; }}" if self.client else ""
        return EXPORT.format(id=number, path=self.path, squash=self.squash, client=client,
                             access="NONE" if self.client else self.access)


class Ganesha:
    """Its exports are folders of this machine, so that tests can look behind its back."""

    def __init__(self, folder, *exports):
        trees = [debian.unpacked(package) for package in PACKAGES]
        libraries = [os.path.join(tree, lib) for tree in trees
                     for lib in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/ganesha")]
        self.environment = dict(os.environ, LD_LIBRARY_PATH=":".join(filter(os.path.isdir, libraries)))
        self.program = os.path.join(trees[0], "usr/bin/ganesha.nfsd")
        self.log, self.config = (os.path.join(folder, f"ganesha.{kind}") for kind in ("log", "conf"))
        with open(self.config, "w") as f:
            f.write(CONFIG.format(
                plugins=os.path.join(trees[1], "usr/lib/x86_64-linux-gnu/ganesha"),
                exports="".join(e.config(i + 1) for i, e in enumerate(exports))))
        self.process = None
        self.namespace = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", NAMESPACE,
             os.path.join(debian.unpacked("rpcbind"), "sbin/rpcbind")],
            env=self.environment, stdin=subprocess.DEVNULL)
        try:
            self.wait(self.portmapper_listens, "the portmapper")
            self.connect()
            self.start()
        except BaseException:
            self.close()
            raise

    def inside(self, *command):
        return ["nsenter", "-t", str(self.namespace.pid), "-n", "-m", "--", *command]

    def wait(self, holds, what):
        for _ in range(READY_WITHIN * 50):
            if holds():
                return
            assert self.namespace.poll() is None, f"{what} has ended"
            time.sleep(0.02)
        raise AssertionError(f"{what} does not become ready")

    def portmapper_listens(self):
        try:
            with open(f"/proc/{self.namespace.pid}/net/tcp") as f, \
                    open(f"/proc/{self.namespace.pid}/comm") as comm:
                return comm.read() == "rpcbind\n" and ":006F " in f.read()
        except OSError:
            return False

    def connect(self):
        """Two addresses of 198.18.0.0/15, which RFC 2544 keeps for such use, by our process id."""
        at = (198 << 24 | 18 << 16) + os.getpid() % 32768 * 4
        near, self.address = (".".join(str(a >> s & 255) for s in (24, 16, 8, 0)) for a in (at + 1, at + 2))
        name = f"vsnfs{os.getpid() % 10 ** 8}"
        debian.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns",
                   str(self.namespace.pid))
        debian.run("ip", "address", "add", f"{near}/30", "dev", name)
        debian.run("ip", "link", "set", name, "up")
        debian.run(*self.inside("ip", "address", "add", f"{self.address}/30", "dev", "eth0"))
        debian.run(*self.inside("ip", "link", "set", "eth0", "up"))

    def start(self):
        before = self.log_text().count("NFS SERVER INITIALIZED")
        self.process = subprocess.Popen(
            self.inside(self.program, "-F", "-L", self.log, "-f", self.config, "-p",
                        "/run/ganesha.pid", "-N", "NIV_EVENT"),
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        self.wait(lambda: self.process.poll() is not None
                  or self.log_text().count("NFS SERVER INITIALIZED") > before, "ganesha")
        assert self.process.poll() is None, self.log_text()

    def log_text(self):
        try:
            with open(self.log, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def url(self, path="", port=None):
        return f"nfs://{self.address}{f':{port}' if port else ''}{path}"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self):
        if self.process:
            self.kill()
        self.namespace.kill()  # its end of the pair of addresses goes with it, and so does ours
        self.namespace.wait()
