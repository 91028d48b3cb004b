"""tgt, the iSCSI target to compare with: unpacked from Debian's package, never installed."""

import os
import socket
import subprocess
import time

import debian
from node import IQN, CommandFailed, run


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Tgt:
    """A tgtd of our own on a raw file."""

    def __init__(self, folder, span):
        tree = debian.unpacked("tgt")
        self.adm = [os.path.join(tree, "usr/sbin/tgtadm"), "-C", str(os.getpid() % 30000 + 1)]
        self.file = os.path.join(folder, "tgt.raw")
        run("truncate", "-s", str(span), self.file)
        port = free_port()
        self.url = f"iscsi://127.0.0.1:{port}/{IQN}/1"
        self.process = subprocess.Popen(
            [os.path.join(tree, "usr/sbin/tgtd"), "-f", *self.adm[1:],
             "--iscsi", f"portal=127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.retry("--lld", "iscsi", "--op", "new", "--mode", "target", "--tid", "1", "-T", IQN)
        self.retry("--lld", "iscsi", "--op", "new", "--mode", "logicalunit", "--tid", "1",
                   "--lun", "1", "--bstype", "aio", "-b", self.file)
        self.retry("--lld", "iscsi", "--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")

    def retry(self, *args):
        """tgtd says nothing when it is ready; its own tool has to be tried."""
        for _ in range(100):
            try:
                return run(*self.adm, *args)
            except CommandFailed as e:
                error = e
            time.sleep(0.1)
        raise error

    def close(self):
        self.process.kill()  # it ignores SIGTERM while a target exists
        self.process.wait()
        os.unlink(self.file)
