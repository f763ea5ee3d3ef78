"""Compares every published template on every conversation with jinja2, and says what differs.

  template_compare.py PIPE [FOLDER]   FOLDER holds *.jinja; default $BATON_SHARED/data/templates
"""
import glob
import os
import sys

import template_conversations
import template_oracle


def main():
    shared = os.environ.get("BATON_SHARED", "../shared")
    folder = sys.argv[2] if len(sys.argv) > 2 else os.path.join(shared, "data/templates")
    pipe = template_oracle.Pipe(sys.argv[1])
    different = 0
    for path in sorted(glob.glob(os.path.join(folder, "*.jinja"))):
        with open(path, encoding="utf-8") as file:
            template = file.read()
        texts = errors = raised = 0
        for name, variables in template_conversations.cases():
            want = template_oracle.reference(template, variables)
            got = pipe.render(template, variables)
            texts += want[0]
            errors += not want[0]
            raised += not want[0] and want[2]
            same = got[:2] == want[:2] if want[0] else not got[0] and got[2] == want[2]
            if same and not want[0] and want[2]:
                same = got[1] == want[1]
            if not same:
                different += 1
                print(f"DIFFERENT {os.path.basename(path)} {name}\n  {want}\n  {got}"[:2000])
        print(f"{os.path.basename(path)}: {texts} texts, {errors} errors ({raised} raised)")
    print(f"{different} different")
    return different != 0


if __name__ == "__main__":
    sys.exit(main())
