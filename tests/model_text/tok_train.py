#!/usr/bin/env python3
"""Trains small tokenizers of the kinds that published models have, with Hugging Face `tokenizers`
and the published patterns, from a corpus made of the Python installation's own sources and of
characters of all scripts. The result depends on the package's version, not on chance.

Usage: tok_train.py [--small] FOLDER [KIND..]      writes FOLDER/KIND.json

--small makes vocabularies of a few hundred tokens, for the vectors that are stored with the tests.
"""
import glob
import os
import random
import sys
import sysconfig
import tempfile
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACES
QWEN35 = (CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" +
          SPACES)
O200K = (UPPER + "*" + LOWER + "+" + CONTRACTIONS + "?|" + UPPER + "+" + LOWER + "*" +
         CONTRACTIONS + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES)
TEKKEN = (UPPER + "*" + LOWER + "+|" + UPPER + "+" + LOWER +
          r"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACES)
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|" + SPACES)


SMALL = "--small" in sys.argv


def corpus():
    rng = random.Random(1)
    texts = []
    for path in sorted(glob.glob(os.path.join(sysconfig.get_path("stdlib"), "[a-p]*.py"))):
        texts.append(open(path, encoding="utf-8", errors="ignore").read()[:20000])
    blocks = [(0xC0, 0x250), (0x370, 0x400), (0x400, 0x500), (0x5D0, 0x5EB), (0x620, 0x650),
              (0x904, 0x940), (0xE01, 0xE3A), (0x3041, 0x30FF), (0x4E00, 0x5200), (0xAC00, 0xAE00),
              (0x1F300, 0x1F650)]
    for low, high in blocks[:2] if SMALL else blocks:
        words = ["".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 5)))
                 for _ in range(300)]
        texts += [" ".join(rng.choices(words, k=40)) for _ in range(60)]
    return texts


def split(pattern, behavior="isolated"):
    return pre_tokenizers.Split(Regex(pattern), behavior)


def byte_level(use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def special(*texts):
    return [AddedToken(t, special=True, normalized=False) for t in texts]


def bpe(pre, size=4000, normalizer=None, ignore_merges=False, spaces=True):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600 if SMALL else size, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(corpus(), trainer)
    tok.add_special_tokens(special("<|begin|>", "<|end|>", "<|im_start|>"))
    tok.add_tokens([AddedToken("<think>", normalized=False),
                    AddedToken("new token", single_word=True)])
    if spaces:
        tok.add_tokens([AddedToken("  ", normalized=True)])
    return tok


def begin_of_text(tok):
    begin = tok.token_to_id("<|begin|>")
    tok.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin|> $A",
                                      special_tokens=[("<|begin|>", begin)])])
    return tok


def sequence(*steps):
    return pre_tokenizers.Sequence(list(steps))


def llama3():
    return begin_of_text(bpe(sequence(split(LLAMA3), byte_level()), ignore_merges=True))


def qwen2():
    return bpe(sequence(split(QWEN2), byte_level()), normalizer=normalizers.NFC())


def qwen35():
    return bpe(sequence(split(QWEN35), byte_level()), normalizer=normalizers.NFC())


def deepseek():
    return bpe(sequence(split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
                        split(DEEPSEEK), byte_level()))


def sentencepiece(scheme):
    """Llama 2 (legacy: normalizers) or newer Mistral (Metaspace)."""
    tok = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    strip = [decoders.Strip(" ", 1, 0)]
    if scheme is None:
        tok.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"),
                                               normalizers.Replace(" ", "\u2581")])
        training = pre_tokenizers.Metaspace()
    else:
        training = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    tok.decoder = decoders.Sequence(steps + (strip if scheme != "never" else []))
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=900 if SMALL else 6000, show_progress=False,
        limit_alphabet=200 if SMALL else 600,
        special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])
    tok.train_from_iterator(corpus(), trainer)
    tok.pre_tokenizer = None if scheme is None else training
    tok = without_bytes(tok)
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return tok


def without_bytes(tok):
    """Byte tokens are entries of the vocabulary, not special tokens."""
    import json
    data = json.loads(tok.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(data))


def charsmap():
    """The map that T5 and XLM-R have (--small: one with a few rules), if the sentencepiece package
    is there to make it."""
    try:
        import io
        import sentencepiece
        out, rules = io.BytesIO(), {}
        if SMALL:
            with tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False) as table:
                table.write("1C5\t44 17E\n65 301\tE9\nFB01\t66 69\n9\t20\nA\t20\n200B\t\nC5\t41\n")
            rules = {"normalization_rule_tsv": table.name}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["some words, a few more words"] * 9), model_writer=out,
            vocab_size=40,
            minloglevel=3, hard_vocab_limit=False,
            **rules)
        from sentencepiece import sentencepiece_model_pb2 as pb
        proto = pb.ModelProto()
        proto.ParseFromString(out.getvalue())
        return proto.normalizer_spec.precompiled_charsmap
    except ImportError:
        return None


def unigram(byte_fallback):
    """T5 and XLM-R (with a map, Metaspace), or with byte fallback and NFKC."""
    tok = Tokenizer(models.Unigram())
    steps = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    table = None if byte_fallback else charsmap()
    if table is not None:
        steps = [normalizers.Precompiled(table), normalizers.Replace(Regex(" {2,}"), " ")]
    tok.normalizer = normalizers.Sequence(steps)
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=900 if SMALL else 3000, show_progress=False, unk_token="<unk>",
        special_tokens=["<unk>", "<s>", "</s>"] +
        ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else []))
    tok.train_from_iterator((t[:3000] for t in corpus()), trainer)
    if byte_fallback:
        import json
        data = json.loads(tok.to_str())
        data["model"]["byte_fallback"] = True
        data["decoder"] = json.loads(sentencepiece("always").to_str())["decoder"]
        data["added_tokens"] = [t for t in data["added_tokens"]
                                if not t["content"].startswith("<0x")]
        tok = Tokenizer.from_str(json.dumps(data))
    tok.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 2)])
    return tok


def odd_steps():
    """Everything that no published model combines."""
    tok = bpe(sequence(pre_tokenizers.Punctuation("merged_with_previous"),
                       pre_tokenizers.Digits(individual_digits=True),
                       split(r"\w+\b|\s{2,}", "contiguous"), split("ing", "merged_with_next"),
                       pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)),
              normalizer=normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(),
                                               normalizers.Lowercase(), normalizers.Strip()]),
              spaces=False)
    tok.add_tokens([AddedToken("<left>", lstrip=True, normalized=False),
                    AddedToken("<right>", rstrip=True, normalized=False),
                    AddedToken("Upper", normalized=True), AddedToken("\u00e9t\u00e9")])
    return tok


def word_marks():
    """The first BPE models: words end in </w>, characters may be unknown."""
    tok = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=True))
    tok.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    tok.pre_tokenizer = sequence(pre_tokenizers.Whitespace(),
                                 pre_tokenizers.CharDelimiterSplit("_"))
    tok.decoder = decoders.BPEDecoder("</w>")
    trainer = trainers.BpeTrainer(vocab_size=2000, show_progress=False, limit_alphabet=100,
                                  special_tokens=["<unk>"], end_of_word_suffix="</w>")
    tok.train_from_iterator(corpus(), trainer)
    return tok


KINDS = {
    "gpt2": lambda: bpe(byte_level(True)),
    "llama3": llama3,
    "qwen2": qwen2,
    "qwen35": qwen35,
    "o200k": lambda: bpe(sequence(split(O200K), byte_level())),
    "tekken": lambda: bpe(sequence(split(TEKKEN), byte_level()), ignore_merges=True),
    "deepseek": deepseek,
    "llama2": lambda: sentencepiece(None),
    "metaspace": lambda: sentencepiece("first"),
    "metaspace_never": lambda: sentencepiece("never"),
    "unigram": lambda: unigram(False),
    "unigram_bytes": lambda: unigram(True),
    "odd_steps": odd_steps,
    "word_marks": word_marks,
}

if __name__ == "__main__":
    folder, *kinds = [a for a in sys.argv[1:] if a != "--small"]
    os.makedirs(folder, exist_ok=True)
    for kind in kinds or KINDS:
        KINDS[kind]().save(os.path.join(folder, kind + ".json"), pretty=False)
        print(kind)
