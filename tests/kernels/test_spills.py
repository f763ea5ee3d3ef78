"""No tile of a matrix product may keep sums on the stack: spilling halves its speed. Looks at the
object files of the instruction-set tables for vector moves to or from the stack.

usage: test_spills.py FOLDER_OF_OBJECTS
"""

import os
import re
import subprocess
import sys

SKIPPED = 77
# At the edges of a function a few are harmless; in a loop there are at least as many as this.
ALLOWED = 4
STACK = re.compile(r"[xyz]mm\d+.*\(%r[sb]p|\(%r[sb]p.*[xyz]mm\d+")


def functions_of(path):
    """Function -> its instructions, of the tiles in one object file."""
    out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True,
                         text=True, check=True)
    found, lines = {}, None
    for line in out.stdout.splitlines():
        head = re.match(r"[0-9a-f]+ <(\w+)>:", line)
        if head:
            lines = found.setdefault(head.group(1), [])
        elif lines is not None:
            lines.append(line)
    return {name: body for name, body in found.items() if name.startswith("tile_")}


def main():
    objects = [os.path.join(folder, name) for folder, _, names in os.walk(sys.argv[1])
               for name in names if re.match(r"isa_avx\w+\.c\.o$", name)]
    if not objects:
        print("no tables with tiles in this build")
        return SKIPPED
    bad = n_tiles = 0
    for path in sorted(objects):
        for name, body in sorted(functions_of(path).items()):
            n_tiles += 1
            n = sum(1 for line in body if STACK.search(line))
            if n > ALLOWED:
                bad += 1
                print(f"{os.path.basename(path)}: {name} moves {n} vectors to or from the stack")
    print(f"{n_tiles} tiles, {bad} that spill")
    return 1 if bad or n_tiles < 12 else 0


if __name__ == "__main__":
    sys.exit(main())
