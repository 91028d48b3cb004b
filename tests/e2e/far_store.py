"""Nodes whose store is on another machine, and writes that go on while that machine goes away."""

import json
import subprocess

import node as vs


class FarNode(vs.Node):
    """A node whose store is what a URL names; it is formatted already."""

    def __init__(self, url, *options):
        super().__init__(init=False, options=options)
        self.store = url


class Load:
    """Writes on a volume of a node, told in a journal."""

    def __init__(self, url, journal):
        self.url, self.journal = url, journal
        self.process = subprocess.Popen(
            [vs.LOAD, "write", url, self.journal, "--span", "64M"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline() == "running\n"

    def result(self):
        return json.loads(self.process.communicate()[0].splitlines()[-1])

    def verify(self):
        vs.run(vs.LOAD, "verify", self.url, self.journal)
