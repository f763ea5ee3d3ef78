#!/usr/bin/env python3
"""Writes model/tok_unicode_tables.c: where the characters of the reference implementation (Hugging
Face `tokenizers`, which mixes Unicode 8, 9, 16 and 17) differ from Unicode 14 and 15, which PCRE2
and utf8proc have. It asks the package itself, one character after the other.

Usage: tok_unicode_gen.py > model/tok_unicode_tables.c    (needs the packages tokenizers, and a
Python whose unicodedata is 14 to 16)"""
import string
import unicodedata
from tokenizers import Regex, normalizers as N, pre_tokenizers as P

CATEGORIES = ("Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf "
              "Cs Co").split()
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
ALL = "".join(map(chr, POINTS))
# Unicode 16 moved this one; utf8proc 2.8 has it as it was.
MOVED = {0x1171E}


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def kept(splitter, text=ALL):
    return {ord(ch) for piece, _ in splitter.pre_tokenize_str(text) for ch in piece}


def table(name, comment, rows):
    print(f"\n/* {comment} */\nconst struct tok_range {name}[] = {{")
    line = "   "
    for row in (tuple(r) + (0,) if len(r) == 2 else r for r in rows):
        item = " {" + ", ".join(f"0x{v:x}" if i < 2 else str(v) for i, v in enumerate(row)) + "},"
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};")
    print(f"const size_t {name}_n = sizeof {name} / sizeof *{name};")


category = {}
for k in CATEGORIES:
    if k != "Cs":
        for c in kept(P.Split(Regex(r"\P{%s}" % k), "removed")):
            category[c] = k
patches = []
for i, k in enumerate(CATEGORIES):
    changed = [c for c in POINTS if category[c] == k and
               (category[c] != unicodedata.category(chr(c)) or c in MOVED)]
    patches += [(a, b, i) for a, b in ranges(changed)]
letters = {k: {c for c in POINTS if category[c].startswith(k)} for k in "LMNP"}
punctuation = set(POINTS) - kept(P.Punctuation("removed"))
ascii_punctuation = set(map(ord, string.punctuation))
marks = {c for c in POINTS if N.StripAccents().normalize_str(chr(c)) == ""}
nfd = N.NFD()


def is_inert(c):
    """Has a mark no combining class in the reference? Then nothing moves across it."""
    probe = chr(c)
    after = nfd.normalize_str("a" + probe + "\u0334") != nfd.normalize_str("a" + probe) + "\u0334"
    before = nfd.normalize_str("a\u0345" + probe) != "a\u0345" + nfd.normalize_str(probe)
    return not after and not before


print("""\
/* Where the reference implementation's characters differ from those of PCRE2 and utf8proc. Made
 * by tests/model_text/tok_unicode_gen.py; do not edit. */
#include "model/tok_unicode_tables.h\"""")
table("tok_category_patches", "Categories of Unicode 16 that older versions lack; the third number "
      "is the bit.", sorted(patches))
table("tok_not_punctuation", "P in Unicode 16, but not in Unicode 8.",
      ranges(letters["P"] - punctuation))
table("tok_not_marks", "M in Unicode 16, but not in Unicode 9.", ranges(letters["M"] - marks))
classed = [c for c in letters["M"] if is_inert(c)]
table("tok_inert_marks", "Marks without a combining class in Unicode 9.", ranges(classed))
