"""A Linux guest whose kernel mounts datastores (linux_guest.py)."""

import os
import shutil

import linux_guest
from linux_guest import Linux, closure, networks
from node import BUILD

MODULES = ["virtio_pci", "virtio_net", "nfsv3", "nfsv4"]
# NFSv4 clients are known by their hosts' names (RFC 8881 section 2.4).
SCRIPT = "mkdir -p /mnt\nhostname {host}\n{networks}\n"


def missing():
    """Why such guests cannot run here, or None."""
    return linux_guest.missing(modules=MODULES, tools=["qemu-img"])


class Guest(Linux):
    def __init__(self, folder, host="guest", **more):
        inside = closure({"bin/qemu-img": shutil.which("qemu-img")}, [])
        for name in ("file_load", "guest_load"):
            inside[name] = os.path.join(BUILD, "tests", "e2e", name)
        for name in ("nfs_files", "nfs_instant"):
            inside[name] = os.path.join(BUILD, "tests", "conformance", name)
        super().__init__(folder, SCRIPT.format(host=host, networks=networks(more.get("nics", 1))),
                         MODULES, inside, **more)

    def mount(self, node, version, name, where="/mnt", options=""):
        """What is the host's loopback there is 10.0.2.2 here."""
        port = node.listen["nfs"].rsplit(":", 1)[1]
        options = f"vers={version},proto=tcp,port={port},addr=10.0.2.2{options}"
        if version == "3":
            options += f",nolock,mountproto=tcp,mountport={port},mountaddr=10.0.2.2"
        else:
            options += ",clientaddr=10.0.2.15"
        kind = "nfs" if version == "3" else "nfs4"
        self.say(f"mount -t {kind} -o {options} 10.0.2.2:/{name} {where}")
