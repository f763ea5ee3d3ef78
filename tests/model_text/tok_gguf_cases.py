#!/usr/bin/env python3
"""Encodes the texts that llama.cpp keeps beside its vocabularies and compares the ids: every case
of every vocabulary must be equal.

Usage: tok_gguf_cases.py TOK_PIPE      (exit status 77: the data is not there)

The data is looked for in $BATON_SHARED/data/vocab, or in ../shared beside the repository.
"""
import glob
import os
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SEPARATOR = "\n__ggml_vocab_test__\n"


def encode_all(program, path, texts):
    request = b"".join(b"e" + struct.pack("=II", 0, len(t.encode())) + t.encode() for t in texts)
    answer = subprocess.run([program, path], input=request, stdout=subprocess.PIPE,
                            check=True).stdout
    at, out = 0, []
    for _ in texts:
        n, = struct.unpack_from("=I", answer, at)
        out.append(list(struct.unpack_from(f"={n}I", answer, at + 4)))
        at += 4 + 4 * n
    return out


def main():
    shared = os.environ.get("BATON_SHARED", os.path.join(HERE, "..", "..", "..", "shared"))
    vocabularies = sorted(glob.glob(os.path.join(shared, "data", "vocab", "*.gguf")))
    if not vocabularies:
        print(f"skipped: no vocabularies in {shared}/data/vocab; set BATON_SHARED")
        return 77
    n_bad = 0
    for path in vocabularies:
        texts = open(path + ".inp", encoding="utf-8", newline="").read().split(SEPARATOR)
        wanted = open(path + ".out", encoding="utf-8").read().split("\n")
        if not texts[-1]:
            texts.pop()
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            subprocess.run([sys.executable, os.path.join(HERE, "gguf_to_tokenizer_json.py"), path],
                           stdout=out, check=True)
            got = encode_all(sys.argv[1], out.name, texts)
        bad = [i for i, ids in enumerate(got) if ids != [int(x) for x in wanted[i].split()]]
        for i in bad:
            print(f"{path}: case {i}: {texts[i]!r}: expected {wanted[i]}, got {got[i]}")
        print(f"{os.path.basename(path)}: {len(texts)} cases, {len(bad)} differ")
        n_bad += len(bad)
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
