#!/usr/bin/env python3
"""Writes the vectors that test our tokenizer where Hugging Face's package is absent: for each kind
a small tokenizer.json and texts with the ids that the package gives.

Usage: tok_train.py --small vectors/tokenizer KIND..; tok_vectors.py vectors/tokenizer

A line of KIND.txt: the flags of tokenizer_encode, the text in hexadecimal, the ids.
"""
import glob
import random
import sys
from tokenizers import Tokenizer
from tok_oracle import ADD_SPECIAL, PARSE_SPECIAL, random_text

N_TEXTS = 250

for path in sorted(glob.glob(sys.argv[1] + "/*.json")):
    tok = Tokenizer.from_file(path)
    rng = random.Random(path)
    vocabulary = sorted(tok.get_vocab(), key=tok.get_vocab().get)
    lines = ["0 - "]
    while len(lines) < N_TEXTS:
        data = random_text(rng, vocabulary)
        flags = rng.randrange(4)
        tok.encode_special_tokens = not flags & PARSE_SPECIAL
        if len(data) > 120:
            continue
        try:
            ids = tok.encode(data.decode("utf-8", "replace"),
                             add_special_tokens=bool(flags & ADD_SPECIAL)).ids
        except BaseException:  # a panic of theirs
            continue
        lines.append(f"{flags} {data.hex() or '-'} " + " ".join(map(str, ids)))
    open(path[:-5] + ".txt", "w").write("\n".join(lines) + "\n")
