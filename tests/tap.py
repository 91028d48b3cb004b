"""TAP for test scripts: each test is a function; one that raises has failed, Skip skips it."""

import sys
import time
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; the text says why."""


def run(*tests):
    """Runs the functions in order, prints the plan and a line for each, and exits."""
    failed = 0
    print(f"1..{len(tests)}", flush=True)
    for number, test in enumerate(tests, 1):
        name = test.__name__.replace("_", " ")
        if name.startswith("test "):
            name = name[len("test "):]
        start = time.monotonic()
        try:
            test()
            print(f"# took {time.monotonic() - start:.1f} s\nok {number} - {name}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception:  # noqa: BLE001: whatever a test raises is its failure
            failed += 1
            for line in traceback.format_exc().splitlines():
                print("# " + line)
            print(f"not ok {number} - {name}", flush=True)
    sys.exit(1 if failed else 0)
