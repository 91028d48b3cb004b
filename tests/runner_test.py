"""The test runner's verdicts: what counts as passed, failed and skipped."""

import importlib.machinery
import importlib.util
import os
import select
import subprocess
import sys
import tempfile

import tap

HERE = os.path.dirname(os.path.abspath(__file__))


def load():
    loader = importlib.machinery.SourceFileLoader("runner", os.path.join(HERE, "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("runner", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


runner = load()


def judge(text, status=0):
    outcome = runner.Outcome()
    outcome.read_tap(text.splitlines(), status)
    return outcome.passed, len(outcome.failures), outcome.skips


def execute(kind, script):
    """Runs a shell script through the runner as if it were a test program."""
    with tempfile.TemporaryDirectory() as logs:
        runner.LOGS = logs
        program = runner.Program(kind, "x", ["/bin/sh", "-c", script])
        return runner.Runner(False).run(program)[1]


def test_results_are_counted():
    assert judge("1..2\nok 1 - a\nok 2 - b\n") == (2, 0, [])
    assert judge("1..2\nok 1 - a\nnot ok 2 - b\n", 1) == (1, 1, [])


def test_plans_of_several_groups_add_up():
    assert judge("1..1\nok 1 - a\n1..2\nok 1 - b\nok 2 - c\n") == (3, 0, [])


def test_a_wrong_plan_fails():
    assert judge("1..3\nok 1 - a\n")[1] == 1
    assert judge("1..1\nok 1 - a\nok 2 - b\n")[1] == 1


def test_silence_fails():
    assert judge("") == (0, 1, [])
    assert judge("hello\n") == (0, 1, [])


def test_exit_status_without_a_failed_test_fails():
    assert judge("1..1\nok 1 - a\n", 1) == (1, 1, [])


def test_skips_say_why():
    assert judge("ok a # SKIP no /dev/kvm\n") == (0, 0, [("a", "no /dev/kvm")])
    assert judge("# no KVM\nok 1 # SKIP test_a\n1..1\n") == (0, 0, [("test_a", "no KVM")])
    assert judge("1..0 # SKIP nothing here\n") == (0, 0, [("all of it", "nothing here")])
    assert judge("ok a # SKIP\n")[1] == 1
    assert judge("ok 1 # SKIP test_a\n")[1] == 1


def test_bail_out_fails():
    assert judge("1..1\nok 1 - a\nBail out! disk is gone\n")[1] == 1


def test_a_crash_fails():
    outcome = execute("unit", "echo ok 1 - a; echo 1..1; kill -SEGV $$")
    assert outcome.failures == ["killed by signal 11 (Segmentation fault)"], outcome.failures


def test_a_missing_program_fails():
    with tempfile.TemporaryDirectory() as logs:
        runner.LOGS = logs
        program = runner.Program("unit", "x", ["build/there-is-no-such-test"])
        assert runner.Runner(False).run(program)[1].failures


def test_what_a_program_leaves_running_is_ended():
    with tempfile.NamedTemporaryFile() as f:
        execute("unit", f"sleep 1000 & echo $! >{f.name}; echo 1..1; echo ok 1 - a")
        with open(f.name) as pid:
            pid = pid.read().strip()
    try:
        with open(os.pidfd_open(int(pid))) as ended:  # readable when the process is gone
            assert select.select([ended], [], [], 60)[0], "still running"
    except ProcessLookupError:
        pass


def test_patterns_are_not_handed_on():
    os.environ["TESTS"] = "*"
    try:
        assert "TESTS" not in runner.environment(runner.Program("unit", "x", []), False)
    finally:
        del os.environ["TESTS"]


def test_no_match_is_not_a_pass():
    result = subprocess.run([sys.executable, os.path.join(HERE, "run"), "no-such-test"],
                            capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


tap.run(*[f for name, f in list(globals().items()) if name.startswith("test_")])
