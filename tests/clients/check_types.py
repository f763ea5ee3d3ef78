"""mypy --strict over the Python client, where mypy is installed; else skipped (77)."""

import os
import subprocess
import sys
import tempfile

SKIPPED = 77
# Options are typed through Unpack, which older mypy (Debian 12 has 1.0) does not know.
USABLE = ("import zmq; from mypy.version import __version__ as v; "
          "assert tuple(map(int, v.split('.')[:2])) > (1, 6)")
ROOT = os.environ.get("BATON_ROOT", os.path.join(os.path.dirname(__file__), "..", ".."))


def main():
    for python in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(python) and subprocess.run(
                [python, "-c", USABLE], stderr=subprocess.DEVNULL).returncode == 0:
            break
    else:
        print("skipped: no mypy from 1.7 on beside pyzmq: pip install mypy pyzmq")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="baton-test-") as cache:
        return subprocess.run([python, "-m", "mypy", "--strict", "--cache-dir", cache, "-p",
                               "baton_client"],
                              cwd=os.path.join(ROOT, "clients", "python")).returncode


if __name__ == "__main__":
    sys.exit(main())
