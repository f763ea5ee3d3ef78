#!/usr/bin/env python3
"""Trains every kind of tok_train.py and compares each with Hugging Face's package on random texts.

Usage: tok_check.py TOK_PIPE [COUNT [SEED]]      (exit status 77: the package is not there)

The Python that has the package can be named by $BATON_HF_PYTHON.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    python = os.environ.get("BATON_HF_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import tokenizers"], stderr=subprocess.DEVNULL).returncode:
        print("skipped: no Python package tokenizers; the stored vectors stand in for it. "
              "Install it anywhere and set BATON_HF_PYTHON to that Python.")
        return 77
    count, seed = (sys.argv[2:] + ["300", "1"][len(sys.argv) - 2:])[:2]
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, os.path.join(HERE, "tok_train.py"), folder], check=True,
                       stdout=subprocess.DEVNULL)
        for name in sorted(os.listdir(folder)):
            command = [python, os.path.join(HERE, "tok_oracle.py"), sys.argv[1],
                       os.path.join(folder, name), "--count", count, "--seed", seed]
            if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
                failed.append(name)
    print("differ: " + ", ".join(failed) if failed else "all kinds agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
