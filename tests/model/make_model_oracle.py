"""Reads what `baton make-model` wrote with Hugging Face's own libraries: safetensors opens every
file and finds the same bytes for every way to shard, and, where torch is installed, transformers
loads each checkpoint without a missing, unexpected or misshapen tensor.

usage: make_model_oracle.py BATON    (needs safetensors and numpy; torch and transformers if there)
"""

import json
import os
import subprocess
import sys
import tempfile

from safetensors import safe_open

SMALL = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0,
         "eos_token_id": 2, "bos_token_id": 1}
CONFIGS = {
    "llama": {},
    "llama, biased": {"attention_bias": True},
    "llama, tied": {"tie_word_embeddings": True},
    "mistral": {},
    "qwen2": {},
    "qwen3": {"head_dim": 32},
    "gemma2": {"head_dim": 16},
    "gemma3_text": {"head_dim": 16},
    "phi3": {},
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
                  "mlp_only_layers": [1]},
}
SHARD_BYTES = 100000


def make(baton, config, out, dtype, *options):
    subprocess.run([baton, "make-model", "--config", config, "--seed", "5", "--out", out, "--dtype",
                    dtype, *options], check=True, stdout=subprocess.DEVNULL)


def bytes_of(data, header, name):
    begin, end = header[name]["data_offsets"]
    return data[begin:end]


def read_raw(path):
    """Header and data of a file, without any library."""
    with open(path, "rb") as file:
        n = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(n)), file.read()


def read_folder(folder):
    """Name -> (dtype, shape, bytes); every file is opened by safetensors too."""
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".safetensors"):
            continue
        path = os.path.join(folder, name)
        header, data = read_raw(path)
        with safe_open(path, framework="numpy") as file:
            keys = set(file.keys())
            assert keys == set(header) - {"__metadata__"}, name
            for key in keys:
                part = file.get_slice(key)
                assert key not in tensors, key
                tensors[key] = (part.get_dtype(), part.get_shape(), bytes_of(data, header, key))
    return tensors


def check_index(folder):
    with open(os.path.join(folder, "model.safetensors.index.json"), encoding="utf-8") as file:
        index = json.load(file)
    total = 0
    for name, shard in index["weight_map"].items():
        header, data = read_raw(os.path.join(folder, shard))
        total += len(bytes_of(data, header, name))
    assert total == index["metadata"]["total_size"]


def check_loads(folder):
    """The reference's verdict; None where it is not installed."""
    try:
        import torch  # pylint: disable=import-outside-toplevel
        from transformers import AutoModelForCausalLM  # pylint: disable=import-outside-toplevel
    except ImportError:
        return None
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[problem], (problem, info[problem])
    with torch.no_grad():
        logits = model(torch.tensor([[1, 5, 9]])).logits
    assert torch.isfinite(logits).all()
    return True


def main():
    baton = sys.argv[1]
    counts = {"checkpoints": 0, "tensors": 0, "loaded by transformers": 0}
    for title, fields in CONFIGS.items():
        with tempfile.TemporaryDirectory() as root:
            source = os.path.join(root, "config.json")
            with open(source, "w", encoding="utf-8") as file:
                json.dump({"model_type": title.split(",")[0], **SMALL, **fields}, file)
            for dtype, name in (("bf16", "BF16"), ("fp16", "F16"), ("fp32", "F32")):
                one, many = os.path.join(root, dtype), os.path.join(root, dtype + "s")
                make(baton, source, one, dtype)
                make(baton, source, many, dtype, "--shard-bytes", str(SHARD_BYTES))
                tensors = read_folder(one)
                assert tensors == read_folder(many), title
                assert {t[0] for t in tensors.values()} == {name}
                check_index(many)
                counts["checkpoints"] += 2
                counts["tensors"] += 2 * len(tensors)
                for folder in (one, many):
                    counts["loaded by transformers"] += bool(check_loads(folder))
    print(counts)


if __name__ == "__main__":
    main()
