"""Writes what jinja2 gives: the stored vectors that test_template.c checks without Python.

  template_vectors.py [FOLDER_OF_TEMPLATES]   writes vectors/template_*.json beside this script

template_features.json: every template of template_features.py. template_published.json: every
conversation of template_conversations.py through every published template; long renderings are
stored as length and a hash, FNV-1a of 64 bits.
"""
import glob
import json
import os
import sys

import template_conversations
import template_features
import template_oracle

HERE = os.path.dirname(os.path.abspath(__file__))
# Longer renderings are stored as a hash.
TEXT_MAX = 300


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def entry(want):
    if want[0]:
        data = want[1].encode("utf-8")
        if len(data) <= TEXT_MAX:
            return {"text": want[1]}
        return {"bytes": len(data), "fnv1a": fnv1a(data)}
    return {"raised": want[1]} if want[2] else {"error": True}


def write(name, data):
    os.makedirs(os.path.join(HERE, "vectors"), exist_ok=True)
    path = os.path.join(HERE, "vectors", name)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, indent=0)
        file.write("\n")
    print(f"{path}: {os.path.getsize(path)} bytes")


# What Baton refuses on purpose and jinja2 does: named errors, listed in template.h.
def is_refused(template):
    marks = ["big + 1", ".encode(", ".real", "attr('upper')", "dict.items,", "dict.items }}",
             "nofilter if no"]
    return any(mark in template for mark in marks)


def main():
    shared = os.environ.get("BATON_SHARED", os.path.join(HERE, "../../../shared"))
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(shared, "data/templates")
    cases = []
    for template in template_features.templates():
        if is_refused(template):
            want = (False, "", False)
        else:
            want = template_oracle.reference(template, template_features.VARIABLES)
        cases.append({"template": template, **entry(want)})
    write("template_features.json",
          {"now": template_oracle.NOW, "variables": template_features.VARIABLES, "cases": cases})
    published = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.jinja"))):
        with open(path, encoding="utf-8") as file:
            template = file.read()
        published[os.path.basename(path)] = [
            entry(template_oracle.reference(template, variables))
            for _, variables in template_conversations.cases()
        ]
    write("template_published.json", {
        "conversations": [{"name": name, "variables": variables}
                          for name, variables in template_conversations.cases()],
        "templates": published,
    })


if __name__ == "__main__":
    main()
