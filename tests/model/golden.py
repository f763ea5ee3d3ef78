"""Makes tests/model/golden/*.txt: what Hugging Face transformers computes, in float32, from tiny
checkpoints that golden_make writes; and how far its own bfloat16 is from that.

usage: golden.py GOLDEN_MAKE [CASE..]     (needs torch, transformers, safetensors)

Made with torch 2.15.0 and transformers 5.23.0 on x86-64. `--check` makes nothing and compares with
the files that are there; that was done with transformers 4.57.1.

The error of a row of logits is its largest absolute one, over the row's largest absolute truth. The
script asserts that a golden can tell: leaving out any feature of a case moves a row by more than
ten times the tolerance of bf16 (for details named in FINE: of float32).

The seed of a case is the first one whose greedy tokens do not hang on rounding nor repeat
themselves, and for which the reference's own bf16 is within the tolerance in the rows compared.
That chooses among models, not among results: a router that decides by a hair makes bf16 choose
another expert, and no tolerance is meant for that.
"""

import json
import os
import subprocess
import sys
import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM

from golden_cases import CONFIGS, FINE, LENGTHS, WITHOUT

TOLERANCE = {"f32": 1e-4, "bf16": 1e-2}
POSITIONS = (7, 30, 47, 48, 63, 64, 127, 199)
COLUMNS = 64  # ids of a row that are written down
SEEDS = 400
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")


def write_config(folder, config):
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)


def load(folder, dtype=torch.float32):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[problem], (problem, info[problem])
    return model.eval()


def load_without(root, folder, name, config, change):
    """The same weights with a feature left out."""
    if callable(change):
        model = load(folder)
        change(model)
        return model
    other = os.path.join(root, "".join(filter(str.isalnum, name)))
    if not os.path.exists(other):
        write_config(other, {**config, **change})
        os.symlink(os.path.join(folder, "model.safetensors"),
                   os.path.join(other, "model.safetensors"))
    return load(other)


def prompt_of(config, n):
    """Any ids will do, as long as every one can occur: a multiplicative generator."""
    ids, state = [], 1
    for _ in range(n):
        state = state * 48271 % 2147483647
        ids.append(state % config["vocab_size"])
    return ids


def logits_of(model, ids):
    return model(torch.tensor([ids]), use_cache=False).logits[0].float()


def errors(logits, truth):
    """Of each row."""
    return (logits - truth).abs().amax(-1) / truth.abs().amax(-1)


def greedy(model, prompt, n):
    ids = list(prompt)
    for _ in range(n):
        ids.append(int(logits_of(model, ids)[-1].argmax()))
    return ids


def positions_of(n_prompt):
    return sorted({p for p in POSITIONS if p < n_prompt} | {n_prompt - 1})


class Golden:
    """One case with one seed."""

    def __init__(self, root, make, case, seed):
        self.case, self.seed, self.config, self.root = case, seed, CONFIGS[case], root
        self.folder = os.path.join(root, "model")
        write_config(self.folder, self.config)
        subprocess.run([make, self.folder, str(seed)], check=True)
        n_prompt, self.n_greedy = LENGTHS.get(case, (200, 64))
        self.prompt = prompt_of(self.config, n_prompt)
        model, narrow = load(self.folder), load(self.folder, torch.bfloat16)
        rows = positions_of(n_prompt)
        self.own = float(errors(logits_of(narrow, self.prompt),
                                logits_of(model, self.prompt))[rows].max())
        if self.refusal_of_prompt() is not None:
            return
        self.ids = greedy(model, self.prompt, self.n_greedy)
        # The last token is never an input. Attention is causal: one pass gives every row.
        self.truth = logits_of(model, self.ids[:-1])
        self.bf16 = logits_of(narrow, self.ids[:-1])
        top = self.truth[n_prompt - 1:].topk(2)
        assert top.indices[:, 0].tolist() == self.ids[n_prompt:]
        self.top, self.margins = top.values[:, 0], top.values[:, 0] - top.values[:, 1]
        self.scales = self.truth.abs().amax(-1)
        self.own = max(self.own, float(errors(self.bf16, self.truth)[n_prompt - 1:].max()))

    def refusal_of_prompt(self):
        return f"bf16 is off by {self.own:.1e}" if self.own > TOLERANCE["bf16"] else None

    def refusal(self):
        """Why this seed will not do, or None."""
        if self.refusal_of_prompt() is not None:
            return self.refusal_of_prompt()
        n = len(self.prompt)
        hair = float((self.margins / self.scales[n - 1:]).min())
        if hair < 4 * TOLERANCE["f32"]:
            return f"greedy hangs on {hair:.1e}"
        if len(set(self.ids[n:])) < self.n_greedy // 4:
            return "greedy repeats itself"
        return None

    def check_features(self):
        rows = positions_of(len(self.prompt))
        for name, change in WITHOUT[self.case].items():
            model = load_without(self.root, self.folder, name, self.config, change)
            moved = float(errors(logits_of(model, self.prompt), self.truth[:len(self.prompt)])
                          [rows].max())
            print(f"    without {name}: {moved:.2g}", flush=True)
            assert moved > 10 * TOLERANCE["f32" if name in FINE else "bf16"], (self.case, name)

    def lines(self):
        n, n_vocab = len(self.prompt), self.config["vocab_size"]
        columns = [i * n_vocab // COLUMNS for i in range(COLUMNS)]
        own = (self.bf16 - self.truth).abs()
        rows = positions_of(n)
        shown = own[rows][:, columns] / self.scales[rows][:, None]
        yield "# Made by golden.py; truth is transformers in float32, 'bf16' its own error there."
        yield f"seed {self.seed}"
        yield "config " + json.dumps(self.config)
        yield f"len_max {len(self.ids)}"
        yield "# largest and root mean square over the values below, relative to the row's scale;"
        yield "# largest in all rows of the greedy tokens, absolute"
        yield f"bf16 {shown.max():.4g} {shown.square().mean().sqrt():.4g} {own[n - 1:].max():.4g}"
        yield f"prompt {n}"
        for i in range(0, n, 20):
            yield " ".join(str(t) for t in self.prompt[i:i + 20])
        yield f"# position and scale, and the logits of every {n_vocab}/{COLUMNS}th id"
        yield f"rows {len(rows)}"
        for row in rows:
            yield f"{row} {self.scales[row]:.9g}"
            values = self.truth[row, columns].tolist()
            for i in range(0, COLUMNS, 8):
                yield " ".join(f"{value:.8g}" for value in values[i:i + 8])
        yield "# id, its logit, how far the next one is, and the row's scale"
        yield f"greedy {self.n_greedy}"
        for i in range(self.n_greedy):
            yield (f"{self.ids[n + i]} {self.top[i]:.9g} {self.margins[i]:.4g} "
                   f"{self.scales[n - 1 + i]:.9g}")


def numbers(line):
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return None


def check(golden, path):
    """Says how far the numbers of a file are from those made now."""
    with open(path, encoding="utf-8") as file:
        old = file.read().splitlines()
    new, worst = list(golden.lines()), 0.0
    assert len(old) == len(new), path
    for before, now in zip(old, new):
        a, b = numbers(before), numbers(now)
        if before.startswith("bf16"):
            print("    bf16 then and now:", before[5:], "|", now[5:])
        elif a is None:
            assert before == now, (path, before, now)
        else:
            worst = max([worst] + [abs(x - y) for x, y in zip(a, b)])
    print(f"    largest difference of any number: {worst:.2g}")


def seed_of(path):
    with open(path, encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("seed "))


def make_case(make, case, checking):
    path = os.path.join(HERE, case + ".txt")
    seeds = [seed_of(path)] if checking else range(1, SEEDS)
    for seed in seeds:
        with tempfile.TemporaryDirectory() as root:
            golden = Golden(root, make, case, seed)
            refusal = golden.refusal()
            print(f"{case}: seed {seed}: {refusal or 'good'}", flush=True)
            if refusal is not None and not checking:
                continue
            golden.check_features()
            if checking:
                check(golden, path)
                return
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in golden.lines())
            return
    raise AssertionError(f"{case}: no seed will do")


def main():
    arguments = [a for a in sys.argv[1:] if a != "--check"]
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    torch.set_grad_enabled(False)
    print("torch", torch.__version__, "transformers", transformers.__version__)
    for case in arguments[1:] or CONFIGS:
        make_case(arguments[0], case, "--check" in sys.argv)


if __name__ == "__main__":
    main()
