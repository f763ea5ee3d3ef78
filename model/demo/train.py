"""Makes the embedded model and its draft: text, tokenizer, training, checkpoints. See README.md.

usage: train.py [--steps N] [--draft-steps N] [--seed N] [--out FOLDER] [--only main|draft]

Everything follows from the seed; the same seed, versions of the libraries, kind of processor and
number of threads give the same files. Not part of the build: the results are committed.
"""

import argparse
import ctypes
import json
import math
import os
import pathlib
import random
import time

# Threads that wait must sleep: on a shared machine spinning made this four times slower.
os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"] = "PASSIVE", "0"

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers import trainers
from torch.nn import functional as F

import text
from network import Llama

ROLES = ("system", "user", "assistant")
SPECIALS = ["<|end|>", "<|begin|>"] + [f"<|{role}|>" for role in ROLES]
END, BEGIN, ASSISTANT = 0, 1, 4  # their ids
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('roles are system, user and assistant') }}{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+")
VOCABULARY = 4096
POSITIONS = 2048  # what the files say; the training sees ROW
ROW, ROWS = 512, 2  # tokens of a row, rows of a step
RATE, RATE_END, WARM_UP = 1.5e-3, 3e-5, 100

MAIN = dict(hidden_size=256, intermediate_size=704, num_hidden_layers=4, num_attention_heads=8,
            num_key_value_heads=4, head_dim=32)
DRAFT = dict(hidden_size=128, intermediate_size=320, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, head_dim=32)


def config_of(shape):
    """config.json for a shape."""
    return dict(
        architectures=["LlamaForCausalLM"], model_type="llama", vocab_size=VOCABULARY, **shape,
        max_position_embeddings=POSITIONS, rope_theta=10000.0, rms_norm_eps=1e-5,
        hidden_act="silu", attention_bias=False, mlp_bias=False, tie_word_embeddings=True,
        bos_token_id=BEGIN, eos_token_id=END, torch_dtype="bfloat16")


def rendered(document):
    """A document as the chat template writes it, and a story with its begin and end."""
    if document[0][0] == "text":
        return f"<|begin|>{document[0][1]}<|end|>"
    return "<|begin|>" + "".join(f"<|{role}|>{content}<|end|>" for role, content in document)


def make_tokenizer(seed, facts, exam):
    """A byte-level BPE of VOCABULARY tokens, learnt from a sample of the text."""
    rng = random.Random(seed)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    sample = [part for _ in range(15000) for _, part in text.document(rng, facts, exam)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, show_progress=False, min_frequency=1,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(sample, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A <|begin|> $B",
        special_tokens=[("<|begin|>", BEGIN)])
    return tokenizer


def write_json(path, value):
    """A JSON file as Hugging Face's libraries write it."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_texts(folder, tokenizer, shape):
    """All files of a checkpoint but the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "config.json", config_of(shape))
    write_json(folder / "generation_config.json", dict(
        bos_token_id=BEGIN, eos_token_id=END, do_sample=False))
    write_json(folder / "tokenizer_config.json", dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token="<|begin|>", eos_token="<|end|>",
        add_bos_token=True, clean_up_tokenization_spaces=False, model_max_length=POSITIONS,
        chat_template=TEMPLATE))


def learnt(ids):
    """Which tokens count in the loss: answers with their end, and whole stories."""
    chat, inside, marks = len(ids) > 1 and 2 <= ids[1] <= ASSISTANT, False, []
    for token in ids:
        marks.append((inside or not chat) and token != BEGIN)
        inside = token == ASSISTANT or (inside and token != END)
    return marks


class Rows:
    """Rows of ROW + 1 tokens, each made of whole documents but for the last one."""

    def __init__(self, seed, tokenizer, facts, exam):
        self.rng, self.tokenizer = random.Random(seed), tokenizer
        self.facts, self.exam = facts, exam

    def row(self):
        """One row's tokens and marks."""
        ids, marks = [], []
        while len(ids) <= ROW:
            document = text.document(self.rng, self.facts, self.exam)
            new = self.tokenizer.encode(rendered(document), add_special_tokens=False).ids
            ids, marks = ids + new, marks + learnt(new)
        return ids[:ROW + 1], marks[:ROW + 1]

    def batch(self):
        """Inputs, and the targets at the positions that count."""
        rows = [self.row() for _ in range(ROWS)]
        ids = torch.tensor([row for row, _ in rows])
        wanted = torch.tensor([marks for _, marks in rows])[:, 1:]
        return ids[:, :-1], wanted, ids[:, 1:][wanted]


def loss_of(network, batch):
    """Mean cross-entropy of a batch, in nats a token."""
    ids, wanted, targets = batch
    return F.cross_entropy(network(ids, wanted).float(), targets)


def rate_at(step, steps):
    """The learning rate: up in a line, down in a cosine."""
    if step < WARM_UP:
        return RATE * (step + 1) / WARM_UP
    turn = math.pi * (step - WARM_UP) / max(1, steps - WARM_UP)
    return RATE_END + (RATE - RATE_END) * (1 + math.cos(turn)) / 2


def optimizer_of(network):
    """Float32 masters of the bf16 weights, and what improves them."""
    masters = [p.detach().float().clone() for p in network.parameters()]
    groups = [dict(params=[m for m in masters if m.dim() == 2], weight_decay=0.05),
              dict(params=[m for m in masters if m.dim() == 1], weight_decay=0.0)]
    network.to(torch.bfloat16)
    return masters, torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


def train(shape, steps, rows, check):
    """A network of that shape after so many steps, computing in bf16 as it will be served."""
    network = Llama(config_of(shape))
    masters, optimizer = optimizer_of(network)
    begin, total = time.time(), 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps)
        network.zero_grad()
        loss = loss_of(network, rows.batch())
        loss.backward()
        for master, weight in zip(masters, network.parameters()):
            master.grad = weight.grad.float()
        torch.nn.utils.clip_grad_norm_(masters, 1.0)
        optimizer.step()
        with torch.no_grad():
            for master, weight in zip(masters, network.parameters()):
                weight.copy_(master)
        total += loss.item()
        if (step + 1) % 100 == 0:
            speed = (step + 1) * ROW * ROWS / (time.time() - begin)
            print(f"step {step + 1}: loss {total / 100:.4f}, {speed:.0f} tokens/s", flush=True)
            total = 0.0
    with torch.no_grad():
        unseen = sum(loss_of(network, batch).item() for batch in check) / len(check)
    weights = sum(p.numel() for p in network.parameters())
    print(f"{weights} weights, {(time.time() - begin) / 60:.1f} minutes, loss on fresh text "
          f"{unseen:.4f}", flush=True)
    return network


def steady():
    """Same results each time, and memory that the allocator keeps instead of giving it back."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # twice as fast with glibc: no page faults for each tensor
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--draft-steps", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=text.HERE)
    parser.add_argument("--only", choices=("main", "draft"))
    args = parser.parse_args()
    steady()
    facts = text.read_facts()
    exam = {text.normal(question) for question, _ in text.read_exam()}
    tokenizer = make_tokenizer(args.seed, facts, exam)
    print(f"{len(facts)} facts, {tokenizer.get_vocab_size()} tokens", flush=True)
    fresh = Rows(args.seed + 1, tokenizer, facts, exam)
    check = [fresh.batch() for _ in range(24)]
    for name, folder, shape, steps in (("main", args.out, MAIN, args.steps),
                                       ("draft", args.out / "draft", DRAFT, args.draft_steps)):
        if args.only not in (None, name):
            continue
        torch.manual_seed(args.seed)
        write_texts(folder, tokenizer, shape)
        network = train(shape, steps, Rows(args.seed + 2, tokenizer, facts, exam), check)
        weights = {key: w.detach().contiguous() for key, w in network.state_dict().items()}
        save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    main()
