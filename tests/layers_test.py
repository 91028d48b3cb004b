"""The include rule holds, and the check finds what breaks it."""

import os
import subprocess
import sys
import tempfile

import tap

HERE = os.path.dirname(os.path.abspath(__file__))


def check(*args):
    return subprocess.run([sys.executable, os.path.join(HERE, "check-layers"), *args],
                          capture_output=True, text=True)


def planted(path, text):
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(os.path.join(root, os.path.dirname(path)))
        with open(os.path.join(root, path), "w") as f:
            f.write(text)
        return check(root)


def test_the_project_keeps_the_rule():
    result = check()
    assert result.returncode == 0, result.stdout


def test_allowed_includes_pass():
    for path, header in (
        ("blockstore/a.c", "blockstore/map.h"),
        ("backup/a.c", "blockstore/volume.h"),
        ("targets/iscsi/a.c", "targets/iscsi/pdu.h"),
        ("targets/iscsi/a.c", "blockstore/io.h"),
        ("targets/nfs/a.c", "datastore/datastore.h"),
        ("datastore/a.c", "blockstore/object.h"),
        ("datastore/a.c", "datastore/vfs.h"),
        ("mgmt/a.c", "targets/iscsi/iscsi.h"),
        ("mgmt/cli/a.c", "mgmt/api.h"),
    ):
        result = planted(path, f'#include "{header}"\n')
        assert result.returncode == 0, result.stdout


def test_each_planted_violation_is_found():
    for path, header in (
        ("common/a.c", "dedup/digest.h"),
        ("dedup/a.h", "blockstore/store.h"),
        ("blockstore/a.c", "backup/repo.h"),
        ("backup/a.c", "targets/nbd/nbd.h"),
        ("targets/nbd/a.c", "vmm/vm.h"),
        ("targets/nbd/a.c", "targets/iscsi/iscsi.h"),
        ("vmm/a.c", "blockstore/map.h"),
        ("vmm/a.c", "mgmt/api.h"),
        ("vmm/a.c", "../mgmt/api.h"),
        ("mgmt/a.c", "blockstore/log.h"),
        ("blockstore/io.h", "blockstore/log.h"),
        ("blockstore/a.c", "datastore/datastore.h"),
        ("datastore/a.c", "blockstore/map.h"),
        ("datastore/a.c", "targets/nfs/nfs.h"),
        ("datastore/datastore.h", "datastore/vfs.h"),
        ("targets/nfs/a.c", "datastore/vfs.h"),
        ("backup/a.c", "repo.h"),
    ):
        for line in (f'#include "{header}"', f'  #  include "{header}"'):
            result = planted(path, f"int x;\n{line}\n")
            assert result.returncode == 1, f"{path} including {header} was not found"
            assert f"{path}:2: includes {header}" in result.stdout, result.stdout


def test_system_form_is_no_way_around():
    assert planted("vmm/a.c", "#include <mgmt/api.h>\n").returncode == 1


def test_an_empty_tree_is_not_a_pass():
    with tempfile.TemporaryDirectory() as root:
        assert check(root).returncode == 1


tap.run(test_the_project_keeps_the_rule, test_allowed_includes_pass,
        test_each_planted_violation_is_found, test_system_form_is_no_way_around,
        test_an_empty_tree_is_not_a_pass)
