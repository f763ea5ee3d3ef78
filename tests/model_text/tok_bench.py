#!/usr/bin/env python3
"""Our tokenizer and Hugging Face's on the same English documents in the same run, one thread each,
by processor time.

Usage: tok_bench.py TOK_BENCH FILE.json.. [--text FILE]

Without --text the documents are Python's own language reference, which every installation has.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
DOCUMENT_BYTES = 4096


def documents(path):
    if path:
        text = open(path, encoding="utf-8", errors="replace").read().replace("\0", " ")
    else:
        from pydoc_data.topics import topics
        text = "\n".join(topics[key] for key in sorted(topics))
    out, part, size = [], [], 0
    for line in text.splitlines(keepends=True):
        part.append(line)
        size += len(line)
        if size >= DOCUMENT_BYTES:
            out.append("".join(part))
            part, size = [], 0
    return out + ["".join(part)]


def theirs_mb_s(path, texts, seconds=3.0):
    from tokenizers import Tokenizer
    tok = Tokenizer.from_file(path)
    n_bytes = sum(len(t.encode()) for t in texts)
    calls = {"encode": lambda: [tok.encode(t, add_special_tokens=False) for t in texts],
             "encode_batch_fast": lambda: tok.encode_batch_fast(texts, add_special_tokens=False)}
    speeds = {}
    for name, call in calls.items():
        best, begin = 1e9, time.process_time()
        while time.process_time() - begin < seconds:
            start = time.process_time()
            call()
            best = min(best, time.process_time() - start)
        speeds[name] = n_bytes / best / 1e6
    return max(speeds.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--text")
    args = parser.parse_args()
    texts = documents(args.text)
    with tempfile.NamedTemporaryFile() as out:
        out.write("\0".join(texts).encode())
        out.flush()
        for path in args.files:
            ours = json.loads(subprocess.check_output([args.program, path, out.name]))
            theirs = theirs_mb_s(path, texts)
            ratio = ours["encode_mb_s"] / theirs
            print(f"{os.path.basename(path):22} load {ours['load_s'] * 1e3:6.1f} ms   "
                  f"ours {ours['encode_mb_s']:7.1f} MB/s (cold "
                  f"{ours['bytes'] / ours['first_s'] / 1e6:6.1f})   theirs {theirs:6.1f}   "
                  f"ratio {ratio:5.1f}   decode {ours['decode_mb_s']:6.1f} MB/s", flush=True)


if __name__ == "__main__":
    main()
