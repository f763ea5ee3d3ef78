"""Compares what Baton reads from config.json with what Hugging Face's configuration classes make of
the same file: the classes' defaults, random fields of every family, and published files.

usage: config_oracle.py CONFIG_PIPE [FOLDER_OF_CONFIGS]    (needs transformers 4.57 or 5)
"""

import json
import math
import os
import random
import subprocess
import sys
import tempfile

import transformers
from transformers import AutoConfig

SEED = 1
PER_FAMILY = 60
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "mixtral",
            "qwen3_moe"]
GEMMAS = ("gemma2", "gemma3_text")
MOES = ("mixtral", "qwen3_moe")
SHAPE = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
         "num_attention_heads")


def random_rope(rng, family, positions, dim):
    if family == "phi3":
        if rng.random() < 0.5:
            return None
        factors = [[round(rng.uniform(1, 9), 3) for _ in range(dim // 2)] for _ in range(2)]
        return {"type": "longrope", "short_factor": factors[0], "long_factor": factors[1]}
    return rng.choice([
        None,
        {"rope_type": "linear", "factor": rng.choice([2.0, 8.0])},
        {"type": "linear", "factor": 4.0},
        {"rope_type": "default"},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": positions // 4},
    ])


def random_config(rng, family):
    """A config of random fields, each there or absent."""
    heads = rng.choice([4, 8])
    dim = rng.choice([16, 32])
    layers = rng.randint(1, 12)
    fields = {"num_key_value_heads": rng.choice([1, 2, 4]),
              "rms_norm_eps": rng.choice([1e-5, 1e-6]),
              "rope_theta": rng.choice([1e4, 5e5, 1e6]), "tie_word_embeddings": rng.random() < 0.5,
              "bos_token_id": rng.randint(0, 50),
              "eos_token_id": rng.choice([7, [7, 8], [9]])}
    if family != "llama":
        fields["sliding_window"] = rng.choice([48, 128])
    if family.startswith("qwen"):
        fields["use_sliding_window"] = rng.random() < 0.5
    if family in ("qwen2", "qwen3"):
        fields["max_window_layers"] = rng.randint(0, layers)
    if family == "gemma3_text":
        fields.update(rope_local_base_freq=rng.choice([1e4, 3e4]),
                      sliding_window_pattern=rng.randint(2, 6))
    if family in GEMMAS:
        fields.update(attn_logit_softcapping=rng.choice([None, 20.0]),
                      final_logit_softcapping=rng.choice([None, 15.0]),
                      query_pre_attn_scalar=rng.choice([16, 144, 256]))
    if family in GEMMAS + ("qwen3", "qwen3_moe", "llama"):
        fields["attention_bias"] = rng.random() < 0.5
    if family in MOES:
        name = "num_local_experts" if family == "mixtral" else "num_experts"
        fields.update({name: rng.randint(8, 16), "num_experts_per_tok": rng.randint(1, 4)})
    if family == "qwen3_moe":
        fields.update(moe_intermediate_size=2 * rng.randint(8, 99), norm_topk_prob=True,
                      decoder_sparse_step=rng.randint(1, 3), mlp_only_layers=[layers - 1])
    config = {k: v for k, v in fields.items() if rng.random() < 0.7}
    if "num_key_value_heads" not in config and rng.random() < 0.5 and family != "mixtral":
        config["num_key_value_heads"] = rng.choice([1, 2, 4])
    config.setdefault("num_key_value_heads", 2)
    positions = rng.choice([4096, 8192, 32768])
    config.update(model_type=family, hidden_size=heads * dim, num_attention_heads=heads,
                  num_hidden_layers=layers, max_position_embeddings=positions,
                  vocab_size=rng.randint(100, 9000), intermediate_size=2 * rng.randint(10, 900))
    if family != "phi3" and rng.random() < 0.5:
        config["head_dim"] = rng.choice([16, 32, 64])
    scaling = random_rope(rng, family, positions, dim)
    if scaling is not None or rng.random() < 0.3:
        config["rope_scaling"] = scaling
    return config


def rope_of(config, kind, head_dim):
    """(kind, theta, factor, partial) of transformers' config, of either version."""
    parameters = getattr(config, "rope_parameters", None)
    if parameters and kind in parameters:
        parameters = parameters[kind]
    if not parameters:  # version 4
        local = kind == "sliding_attention"
        parameters = dict((None if local else getattr(config, "rope_scaling", None)) or {})
        parameters["rope_theta"] = config.rope_local_base_freq if local else config.rope_theta
        parameters["partial_rotary_factor"] = getattr(config, "partial_rotary_factor", 1.0)
    name = parameters.get("rope_type", parameters.get("type", "default"))
    rope = {"kind": name, "theta": parameters["rope_theta"],
            "dim": int(head_dim * parameters.get("partial_rotary_factor", 1.0)),
            "factor": parameters.get("factor", 1.0), "attention_factor": 1.0}
    if name == "llama3":
        rope.update(low=parameters["low_freq_factor"], high=parameters["high_freq_factor"],
                    original=parameters["original_max_position_embeddings"])
    if name == "longrope":
        original = config.original_max_position_embeddings
        factor = config.max_position_embeddings / original
        scale = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
        rope.update(original=original, factor=factor, attention_factor=scale,
                    short=parameters["short_factor"], long=parameters["long_factor"])
    return rope


def windows_of(config, family):
    window = getattr(config, "sliding_window", None) or 0
    if family in ("qwen2", "qwen3") + GEMMAS:
        return [window if t == "sliding_attention" else 0 for t in config.layer_types]
    return [0 if family == "llama" else window] * config.num_hidden_layers


def expected(config, family):
    """The same fields as config_pipe prints, from transformers' object."""
    heads, hidden = config.num_attention_heads, config.hidden_size
    head_dim = getattr(config, "head_dim", None) or hidden // heads
    bias = bool(getattr(config, "attention_bias", False))
    eos = config.eos_token_id
    layers = config.num_hidden_layers
    want = {
        "family": family, "vocab": config.vocab_size, "hidden": hidden, "n_layers": layers,
        "n_heads": heads, "n_kv_heads": config.num_key_value_heads or heads, "head_dim": head_dim,
        "positions_max": config.max_position_embeddings, "tied": int(config.tie_word_embeddings),
        "qkv_bias": int(bias or family == "qwen2"), "out_bias": int(bias and family != "qwen2"),
        "norm_eps": config.rms_norm_eps, "gelu": int(family in GEMMAS),
        "attention_scale": getattr(config, "query_pre_attn_scalar", head_dim) ** -0.5,
        "attention_softcap": getattr(config, "attn_logit_softcapping", None) or 0.0,
        "final_softcap": getattr(config, "final_logit_softcapping", None) or 0.0,
        "bos": -1 if config.bos_token_id is None else config.bos_token_id,
        "eos": eos if isinstance(eos, list) else [] if eos is None else [eos],
        "windows": windows_of(config, family),
        "rope": rope_of(config, "full_attention", head_dim),
    }
    if family == "gemma3_text":
        want["rope_local"] = rope_of(config, "sliding_attention", head_dim)
    if family in MOES:
        moe = family == "qwen3_moe"
        experts = config.num_experts if moe else config.num_local_experts
        want.update(n_experts=experts, top_k=config.num_experts_per_tok,
                    renormalise=int(config.norm_topk_prob) if moe else 1,
                    expert_intermediate=config.moe_intermediate_size if moe
                    else config.intermediate_size,
                    experts=[int(not moe or i not in config.mlp_only_layers
                                 and (i + 1) % config.decoder_sparse_step == 0)
                             for i in range(layers)])
    if family != "mixtral":
        want["intermediate"] = config.intermediate_size
    return want


def same(want, got):
    if isinstance(want, dict):
        return all(key in got and same(value, got[key]) for key, value in want.items())
    if isinstance(want, list):
        return len(want) == len(got) and all(map(same, want, got))
    if isinstance(want, float):
        return math.isclose(want, got, rel_tol=1e-7)
    return want == got


def open_config(path):
    """What transformers makes of the file; None if it refuses it too."""
    try:
        return AutoConfig.from_pretrained(path)
    except (KeyError, ValueError):
        return None


def compare(pipe, config, path):
    """(equal, refused or differs, what there is to say about it)."""
    out = subprocess.run([pipe, path], capture_output=True, text=True, check=True)
    got = json.loads(out.stdout)
    if "refused" in got:
        return "refused", out.stderr.strip()
    if config is None:
        return "differs", "transformers refuses it"
    want = expected(config, got["family"])
    wrong = [f"{k}: transformers {v}, baton {got.get(k)}" for k, v in want.items()
             if not same(v, got.get(k))]
    return ("differs", "; ".join(wrong)) if wrong else ("equal", "")


def main():
    pipe = sys.argv[1]
    rng = random.Random(SEED)
    counts = {"equal": 0, "refused": 0, "differs": 0}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "config.json")
        for family in FAMILIES:
            whole = AutoConfig.for_model(family)
            configs = [{"model_type": family, **{name: getattr(whole, name) for name in SHAPE}}]
            configs += [random_config(rng, family) for _ in range(PER_FAMILY)]
            for config in configs:
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(config, file)
                result, why = compare(pipe, open_config(folder), path)
                counts[result] += 1
                if result != "equal":
                    print(result, family, why, json.dumps(config))
    for name in sorted(os.listdir(sys.argv[2])) if len(sys.argv) > 2 else []:
        path = os.path.join(sys.argv[2], name)
        with open(path, encoding="utf-8") as file:
            model_type = json.load(file)["model_type"]
        config = open_config(path) if model_type in FAMILIES else None
        result, why = compare(pipe, config, path)
        print(name, result, why)
        counts[result] += 1
    print(f"transformers {transformers.__version__}:", counts)
    return 1 if counts["differs"] else 0


if __name__ == "__main__":
    sys.exit(main())
