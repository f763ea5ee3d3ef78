"""Asks a checkpoint of this folder, with transformers, and counts right answers.

usage: ask.py [--model FOLDER] [--dtype float32|bfloat16] [--exam FILE] [--write FILE]
              [--drawn N [--seed S]] [--draft FOLDER] [--text BEGINNING] [QUESTION...]

Without questions it asks those of an examination and prints the score: exam.txt (the training
leaves its questions out) or --exam exam_fresh.txt (written afterwards). --text goes on with a text
that is no conversation, such as the beginning of a story. --write FILE asks all of exam.txt and
known.txt in float32 and bfloat16 and writes those that both answer rightly and surely, as lines
for a test. --drawn N draws N questions of each kind as the training draws them (they may be among
its own), with seed S, and counts the answers that are right to the letter. --draft FOLDER feeds
that model with this one's answers to the examination and counts the tokens that it would have
chosen too. Greedy throughout.
"""

import argparse
import pathlib
import random

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import text

SURE = 0.5  # logits between the first and the second token, for a question that a test relies on


class Model:
    """A checkpoint and its tokenizer."""

    def __init__(self, folder, dtype):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.network = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
        self.network.eval()

        self.margin = 0.0  # of the last answer: the least by which a token won, in logits

    def answer_ids(self, ids, limit=160):
        """The tokens that follow the ids, the end among them."""
        with torch.no_grad():
            out = self.network.generate(torch.tensor([ids]), max_new_tokens=limit, do_sample=False,
                                        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                                        output_logits=True, return_dict_in_generate=True)
        best = torch.cat(out.logits).float().topk(2).values
        self.margin = (best[:, 0] - best[:, 1]).min().item()
        return out.sequences[0, len(ids):].tolist()

    def go_on(self, ids):
        """The text that follows the ids."""
        return self.tokenizer.decode(self.answer_ids(ids), skip_special_tokens=True)

    def prompt_ids(self, question):
        """The chat in which it is asked."""
        prompt = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False)
        return self.tokenizer(prompt, add_special_tokens=False).input_ids

    def ask(self, question):
        """The answer to one question."""
        return self.go_on(self.prompt_ids(question))

    def choices(self, prompt, answer):
        """What it would choose in place of each token of the answer."""
        with torch.no_grad():
            logits = self.network(torch.tensor([prompt + answer])).logits[0]
        return logits[len(prompt) - 1:-1].argmax(dim=-1).tolist()


def examine(model, questions, margin=0.0):
    """The questions that are answered rightly, and with at least that margin."""
    right = []
    for question, word in questions:
        answer = model.ask(question)
        if word not in answer:
            print(f"WRONG {question} [{word}]: {answer}", flush=True)
        elif model.margin >= margin:
            right.append((question, word))
    return right


def write_questions(folder, path):
    """The questions that both precisions answer rightly, into a file."""
    questions = text.read_exam() + text.read_exam("known.txt")
    for dtype in ("float32", "bfloat16"):
        questions = examine(Model(folder, dtype), questions, SURE)
    lines = [f"{question}\t{word}\n" for question, word in questions]
    path.write_text("# A question, and what its greedy answer contains. Written by ask.py.\n"
                    + "".join(lines), encoding="utf-8")
    print(f"{len(lines)} questions written")


def examine_drawn(model, n, seed):
    """Counts answers to the letter, of n questions of each kind."""
    facts = text.read_facts()
    weights = [4 + len(questions) for _, questions, _ in facts]
    kinds = (("facts", lambda rng: text.ask_fact(rng, rng.choices(facts, weights)[0])),
             ("anything else", text.ask_unknown), ("sums", text.ask_sum))
    for name, draw in kinds:
        rng = random.Random(seed)
        drawn = [draw(rng) for _ in range(n)]
        right = sum(model.ask(question) == answer for question, answer in drawn)
        print(f"{name}: {right} of {n} to the letter (seed {seed})", flush=True)


def examine_draft(model, draft, questions):
    """Counts the tokens of the model's answers that the draft would have chosen too."""
    same = n = 0
    for question, _ in questions:
        prompt = model.prompt_ids(question)
        answer = model.answer_ids(prompt)
        same += sum(a == b for a, b in zip(draft.choices(prompt, answer), answer))
        n += len(answer)
    print(f"{same} of {n} tokens of {len(questions)} answers chosen too")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=pathlib.Path, default=text.HERE)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--exam", default="exam.txt")
    parser.add_argument("--drawn", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draft", type=pathlib.Path)
    parser.add_argument("--text")
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("question", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.write:
        write_questions(args.model, args.write)
        return
    model = Model(args.model, args.dtype)
    if args.drawn:
        examine_drawn(model, args.drawn, args.seed)
        return
    if args.draft:
        examine_draft(model, Model(args.draft, args.dtype), text.read_exam(args.exam))
        return
    if args.text:
        print(args.text + model.go_on(model.tokenizer(args.text).input_ids))
    for question in args.question:
        print(f"> {question}\n{model.ask(question)}\n")
    if not args.question and not args.text:
        questions = text.read_exam(args.exam)
        right = examine(model, questions)
        print(f"{len(right)} of {len(questions)} right ({args.dtype})")


if __name__ == "__main__":
    main()
