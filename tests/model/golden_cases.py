"""The tiny models of golden.py: one config for each family and rope, and for each what a forward
pass could leave out. Leaving out is done in the reference: by another config over the same
weights, or by a change to the loaded model."""

import torch

WINDOW = 48
ORIGINAL = 64  # rope scaling begins here

BASE = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "torch_dtype": "bfloat16"}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": ORIGINAL}
SHORT = [1.0 + 0.02 * i for i in range(12)]
LONG = [1.0 + 0.35 * i for i in range(12)]
LONGROPE = {"type": "longrope", "short_factor": SHORT, "long_factor": LONG}
GEMMA = {"hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True,
         "num_hidden_layers": 3, "sliding_window": WINDOW}


def family(model_type, architecture, **fields):
    return {"architectures": [architecture], "model_type": model_type, **BASE, **fields}


PHI3_LONG = family("phi3", "Phi3ForCausalLM", hidden_size=128, partial_rotary_factor=0.75,
                   rope_scaling=LONGROPE, original_max_position_embeddings=ORIGINAL,
                   sliding_window=None)

CONFIGS = {
    "llama3": family("llama", "LlamaForCausalLM", vocab_size=258, hidden_size=96,
                     num_attention_heads=6, rope_theta=500000.0, rope_scaling=LLAMA3),
    "llama_tied": family("llama", "LlamaForCausalLM", num_key_value_heads=4, attention_bias=True,
                         tie_word_embeddings=True),
    "mistral": family("mistral", "MistralForCausalLM", hidden_size=96, head_dim=32,
                      num_key_value_heads=1, sliding_window=WINDOW, torch_dtype="float32"),
    "qwen2": family("qwen2", "Qwen2ForCausalLM", use_sliding_window=True, sliding_window=WINDOW,
                    max_window_layers=1),
    "qwen3": family("qwen3", "Qwen3ForCausalLM", head_dim=32, rope_theta=1000000.0),
    "gemma2": family("gemma2", "Gemma2ForCausalLM", **{
        **GEMMA, "num_hidden_layers": 2, "hidden_size": 96, "head_dim": 32,
        "query_pre_attn_scalar": 24, "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0}),
    "gemma3": family("gemma3_text", "Gemma3ForCausalLM", **{
        **GEMMA, "hidden_size": 80, "head_dim": 16, "query_pre_attn_scalar": 20,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    "phi3": family("phi3", "Phi3ForCausalLM", vocab_size=300, hidden_size=96,
                   num_attention_heads=6, sliding_window=WINDOW),
    "phi3_long": PHI3_LONG,
    "phi3_short": PHI3_LONG,
    "mixtral": family("mixtral", "MixtralForCausalLM", intermediate_size=96, num_local_experts=4,
                      num_experts_per_tok=2, sliding_window=None),
    "qwen3_moe": family("qwen3_moe", "Qwen3MoeForCausalLM", head_dim=32, num_experts=8,
                        num_experts_per_tok=2, moe_intermediate_size=48, mlp_only_layers=[1],
                        norm_topk_prob=False),
}
# Prompt and greedy tokens: 200 and 64, but for what long rope does within its first border.
LENGTHS = {"phi3_short": (40, 24)}

# --- what is left out ----------------------------------------------------------------------------


def modules(model, *endings):
    """Parent, name and module of each module whose name ends so."""
    found = []
    for path, module in model.named_modules():
        if path.endswith(endings):
            parent, _, name = path.rpartition(".")
            found.append((model.get_submodule(parent), name, module))
    assert found, endings
    return found


def drop(*endings):
    def change(model):
        for parent, name, _ in modules(model, *endings):
            setattr(parent, name, torch.nn.Identity())
    return change


def drop_bias(*endings):
    def change(model):
        for _, _, module in modules(model, *endings):
            module.bias.zero_()
    return change


def drop_embed_scale(model):
    scale = model.config.hidden_size ** 0.5
    model.get_input_embeddings().register_forward_hook(lambda _m, _a, out: out / scale)


def drop_adds_one(model):
    for _, _, module in modules(model, "norm"):
        module.weight.sub_(1)


def drop_attention_factor(model):
    model.model.rotary_emb.attention_scaling = 1.0


def rope(**fields):
    return {"rope_scaling": {**LONGROPE, **fields}}


WINDOWS = {"window": {"sliding_window": 4096}, "window's last token":
           {"sliding_window": WINDOW - 1}}
FINE = ("window's last token", "gelu", "query scalar")  # small, but float32 sees them
QK_NORM = {"qk-norm": drop("q_norm", "k_norm")}
GEMMAS = {
    **WINDOWS,
    "embed scale": drop_embed_scale,
    "norms after blocks": drop("post_attention_layernorm", "post_feedforward_layernorm"),
    "norm adds one": drop_adds_one,
    "query scalar": {"query_pre_attn_scalar": 64},
    "gelu": {"hidden_activation": "silu"},
}
WITHOUT = {
    "llama3": {"rope scaling": {"rope_scaling": None}},
    "llama_tied": {"qkv bias": drop_bias("q_proj", "k_proj", "v_proj"),
                   "out bias": drop_bias("o_proj")},
    "mistral": WINDOWS,
    "qwen2": {"q bias": drop_bias("q_proj"), "k bias": drop_bias("k_proj"),
              "v bias": drop_bias("v_proj"), "first layer sees all": {"max_window_layers": 0},
              **WINDOWS},
    "qwen3": QK_NORM,
    "gemma2": {**GEMMAS, "alternation": {"layer_types": ["sliding_attention"] * 2},
               "attention soft cap": {"attn_logit_softcapping": None},
               "final soft cap": {"final_logit_softcapping": None}},
    "gemma3": {**GEMMAS, "alternation": {"layer_types": ["sliding_attention"] * 3},
               **QK_NORM, "rope scaling": {"rope_scaling": None},
               "local rope": {"rope_local_base_freq": 1000000.0}},
    "phi3": WINDOWS,
    "phi3_long": {"rope scaling": {"rope_scaling": None}, "long factors": rope(long_factor=SHORT),
                  "attention factor": drop_attention_factor,
                  "partial rotation": {"partial_rotary_factor": 1.0,
                                       **rope(long_factor=LONG + [1.0] * 4,
                                              short_factor=SHORT + [1.0] * 4)}},
    "phi3_short": {"short factors": rope(short_factor=LONG),
                   "attention factor": drop_attention_factor},
    "mixtral": {"one expert": {"num_experts_per_tok": 1}},
    "qwen3_moe": {"one expert": {"num_experts_per_tok": 1}, **QK_NORM,
                  "weights of all experts": {"norm_topk_prob": True}},
}
