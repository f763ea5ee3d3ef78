#!/usr/bin/env python3
"""Turns the vocabulary of a GGUF file into a tokenizer.json, so that the vocabularies that
llama.cpp keeps for its tests, with their texts and ids, test ours.

Usage: gguf_to_tokenizer_json.py FILE.gguf > tokenizer.json
"""
import json
import struct
import sys

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
           12: "d"}
TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED = 2, 3, 4, 5


class Reader:
    def __init__(self, data):
        self.data, self.pos = data, 0

    def take(self, fmt):
        value, = struct.unpack_from("<" + fmt, self.data, self.pos)
        self.pos += struct.calcsize("<" + fmt)
        return value

    def text(self):
        n = self.take("Q")
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, n = self.take("I"), self.take("Q")
            return [self.value(inner) for _ in range(n)]
        return self.take(SCALARS[kind])


def read_metadata(path):
    reader = Reader(open(path, "rb").read())
    if reader.take("I") != 0x46554747:
        sys.exit(f"{path}: expected a GGUF file, found something else")
    reader.take("I")
    reader.take("Q")
    n = reader.take("Q")
    out = {}
    for _ in range(n):
        key = reader.text().decode()
        out[key] = reader.value(reader.take("I"))
    return out


def merges_from_scores(vocab, scores):
    """SentencePiece merges the pair whose result scores best. As merges: every way to cut a piece
    into two pieces, the best results first."""
    merges = []
    for piece, score in scores.items():
        cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        cuts = [cut for cut in cuts if cut[0] in vocab and cut[1] in vocab]
        cuts.sort(key=lambda cut: (vocab[cut[0]], vocab[cut[1]]))
        merges += [(score, cut) for cut in cuts]
    merges.sort(key=lambda merge: -merge[0])
    return [list(cut) for _, cut in merges]


def byte_level(meta, tokens):
    merges = [m.decode() for m in meta["tokenizer.ggml.merges"]]
    steps = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}
    if meta.get("tokenizer.ggml.pre") == b"falcon":
        digits = {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated",
                  "invert": False}
        steps = {"type": "Sequence", "pretokenizers": [
            {"type": "Punctuation", "behavior": "Contiguous"}, steps,
            {"type": "Digits", "individual_digits": False}, digits]}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
             "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}
    decoder = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
               "use_regex": True}
    return None, steps, decoder, model


def sentencepiece(meta, tokens):
    scores = dict(zip(tokens, meta["tokenizer.ggml.scores"]))
    vocab = {t: i for i, t in enumerate(tokens)}
    plain = {t: s for t, s, k in zip(tokens, scores.values(), meta["tokenizer.ggml.token_type"])
             if k == 1}
    normalizer = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}
    decoder = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>",
             "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
             "byte_fallback": True, "vocab": vocab, "merges": merges_from_scores(vocab, plain)}
    return normalizer, None, decoder, model


def main():
    meta = read_metadata(sys.argv[1])
    tokens = [t.decode() for t in meta["tokenizer.ggml.tokens"]]
    kinds = meta["tokenizer.ggml.token_type"]
    make = sentencepiece if meta["tokenizer.ggml.model"] == b"llama" else byte_level
    normalizer, pre, decoder, model = make(meta, tokens)
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True}
             for i, (t, k) in enumerate(zip(tokens, kinds))
             if k in (TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER)]
    json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
               "normalizer": normalizer, "pre_tokenizer": pre, "post_processor": None,
               "decoder": decoder, "model": model}, sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    main()
