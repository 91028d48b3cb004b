"""README.md and packaging/dependencies say the same."""

import os
import re

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def dependencies():
    for line in text("packaging/dependencies").splitlines():
        if line and not line.startswith("#"):
            yield tuple(line.split(None, 2))


def test_the_table_of_dependencies_is_the_list():
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|"))
            for line in text("README.md").splitlines() if line.startswith("| ")]
    assert rows[1:] == list(dependencies()), "README.md's table is not packaging/dependencies"


def test_every_package_has_a_known_kind():
    for package, kind, purpose in dependencies():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package), package
        assert kind in ("build", "run", "test", "bench", "lint", "unpack"), (package, kind)
        assert purpose


def test_what_readme_points_to_exists():
    for target in re.findall(r"\]\(([^)]+)\)", text("README.md") + text("DESIGN.md")):
        assert os.path.exists(os.path.join(ROOT, target)), target


def test_every_make_target_of_readme_exists():
    phony = set(re.sub(r"\\\n", " ", text("Makefile")).split(".PHONY:")[1].split("\n")[0].split())
    for target in re.findall(r"\bmake ([a-z][a-z-]+)", text("README.md")):
        assert target in phony, f"make {target}"


tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
