#!/usr/bin/env python3
"""Baton beside llama.cpp: the same shape, the same threads, in turns.

Each measurement is one process of Baton (`baton bench engine`) and one of llama.cpp (its own
llama-bench, or llama-batched-bench for generation of several), one after the other, as many
rounds as asked. The table gives the median of each side's rounds and of the rounds' ratios; the
spread of the ratios says how quiet the machine was. Needs nothing but Python 3.9 and the two
programs; the model files must have the same shape (values do not matter).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

PROMPTS = (512, 2048)
IDS = 128
BATCHES = (1, 2, 4, 8, 16, 32)
BATCH_PROMPT, BATCH_IDS = 128, 64
TARGETS = {"pp": 1.6, "tg": 1.2, "b8": 1.5, "b16": 1.5, "b32": 1.5}


def run(command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit("beside_llama: %s\n%s" % (" ".join(command), result.stderr[-2000:]))
    return result.stdout


def baton(args, name, threads):
    command = [args.baton, "bench", "engine", "--model", args.model, "--json", "--slices", "1",
               "--threads", str(threads), "--only", name]
    rows = [json.loads(line) for line in run(command).splitlines()]
    rows = [row for row in rows if row.get("name", "").startswith(name + ":")]
    return rows[0]["mean"], rows[0]["limit"]


def llama(args, name, threads):
    if name.startswith("b"):
        sequences = int(name[1:])
        command = [os.path.join(args.llama, "llama-batched-bench"), "-m", args.gguf,
                   "-t", str(threads), "-tb", str(threads), "-c", "8192", "-b", "2048",
                   "-ub", "512", "-npp", str(BATCH_PROMPT), "-ntg", str(BATCH_IDS),
                   "-npl", str(sequences), "--output-format", "jsonl"]
        rows = [json.loads(line) for line in run(command).splitlines() if line.startswith("{")]
        return rows[0]["speed_tg"]
    command = [os.path.join(args.llama, "llama-bench"), "-m", args.gguf, "-t", str(threads),
               "-r", "1", "-o", "json", "-p", name[2:] if name[0] == "p" else "0",
               "-n", name[2:] if name[0] == "t" else "0"]
    return json.loads(run(command))[0]["avg_ts"]


def target(name):
    return TARGETS.get(name) or TARGETS.get(name[:2])


def measure(args, name, threads):
    ours, theirs, limits = [], [], []
    for number in range(args.rounds):
        turns = (baton, llama) if number % 2 == 0 else (llama, baton)
        for side in turns:
            value = side(args, name, threads)
            if side is baton:
                ours.append(value[0])
                limits.append(value[1])
            else:
                theirs.append(value)
        print("%d threads, %s, round %d: %.1f beside %.1f, load %.1f" %
              (threads, name, number + 1, ours[-1], theirs[-1], os.getloadavg()[0]),
              file=sys.stderr, flush=True)
    return ours, theirs, limits


def row(name, ours, theirs, limits):
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    ratio = statistics.median(ratios)
    wanted = target(name)
    note = "" if wanted is None else ("%.1f" % wanted if ratio >= wanted else "%.1f!" % wanted)
    return "| %s | %.1f | %.1f | %.2f (%.2f-%.2f) | %s | %.2f |" % (
        name, statistics.median(ours), statistics.median(theirs), ratio, ratios[0], ratios[-1],
        note, statistics.median(a / b for a, b in zip(ours, limits)))


def main():
    names = ["pp%d" % n for n in PROMPTS] + ["tg%d" % IDS] + ["b%d" % n for n in BATCHES]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--baton", default="build/baton", help="the program")
    parser.add_argument("--model", required=True, help="a checkpoint's folder, for Baton")
    parser.add_argument("--llama", required=True, help="folder of llama-bench")
    parser.add_argument("--gguf", required=True, help="the same shape, for llama.cpp")
    parser.add_argument("--threads", default="2,1", help="a table for each (2,1)")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement (3)")
    parser.add_argument("--only", default=",".join(names), help="a list of " + ",".join(names))
    args = parser.parse_args()
    for threads in (int(n) for n in args.threads.split(",")):
        print("tokens/s, %d threads, bf16, median of %d rounds in turns\n" %
              (threads, args.rounds))
        print("| | Baton | llama.cpp | ratio (least-most) | target | of the limit |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name in args.only.split(","):
            print(row(name, *measure(args, name, threads)), flush=True)
        print(flush=True)


if __name__ == "__main__":
    main()
