/* The three lists as one table: every field of OpenAI's two APIs and of vLLM's, old names included,
 * and a few that other servers know and that would change the answer. One row is one field of one
 * or more APIs. Who adds an honoured one adds its reader to openai_read.c or openai_chat.c. */
#include "router/openai_fields.h"

#include <float.h>
#include <string.h>

/* ---- values that ask for nothing ------------------------------------------------------------ */

static bool is_false(const json_t *value, const json_t *body)
{
    (void)body;
    return json_is_false(value);
}

static bool is_true(const json_t *value, const json_t *body)
{
    (void)body;
    return json_is_true(value);
}

static bool is_empty(const json_t *value, const json_t *body)
{
    (void)body;
    return (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

static bool is_text_format(const json_t *value, const json_t *body)
{
    const char *type = json_string_value(json_object_get(value, "type"));

    (void)body;
    return type != NULL && strcmp(type, "text") == 0;
}

static bool is_text_only(const json_t *value, const json_t *body)
{
    const char *only = json_string_value(json_array_get(value, 0));

    (void)body;
    return json_array_size(value) == 1 && only != NULL && strcmp(only, "text") == 0;
}

static bool is_medium(const json_t *value, const json_t *body)
{
    const char *text = json_string_value(value);

    (void)body;
    return text != NULL && strcmp(text, "medium") == 0;
}

static bool is_none(const json_t *value, const json_t *body)
{
    const char *text = json_string_value(value);

    (void)body;
    return text != NULL && strcmp(text, "none") == 0;
}

static bool is_unlimited(const json_t *value, const json_t *body)
{
    (void)body;
    return json_is_integer(value) && json_integer_value(value) == -1;
}

/* best_of draws that many and gives the n best: with as many, it does nothing. */
static bool is_as_n(const json_t *value, const json_t *body)
{
    const json_t *n = json_object_get(body, "n");
    const json_int_t choices = json_is_integer(n) ? json_integer_value(n) : 1;

    return json_is_integer(value) && json_integer_value(value) == choices;
}

/* ---- the table ------------------------------------------------------------------------------ */

#define C OPENAI_IN_COMPLETIONS
#define H OPENAI_IN_CHAT
#define T OPENAI_IN_TOKENIZE
#define D OPENAI_IN_DETOKENIZE
#define HONOURED(name, apis, read, member, low, high)                                              \
    {                                                                                              \
        name, apis, OPENAI_HONOURED, read, offsetof(struct openai_request, member), low, high,     \
            NULL, NULL                                                                             \
    }
#define HARMLESS(name, apis)                                                                       \
    {                                                                                              \
        name, apis, OPENAI_HARMLESS, NULL, 0, 0, 0, NULL, NULL                                     \
    }
#define REFUSED(name, apis, neutral, instead)                                                      \
    {                                                                                              \
        name, apis, OPENAI_REFUSED, NULL, 0, 0, 0, neutral, instead                                \
    }

#define NO_GRAMMAR "this server does not constrain what the model writes: ask for it in the prompt"
#define NO_MEDIA "this server reads and writes text only"
#define NO_BEAMS "this server samples; ask for n answers instead"

static const struct openai_field fields[] = {
    /* what is asked */
    HONOURED("model", C | H | T | D, openai_read_name, model, 1, WIRE_NAME_MAX),
    HONOURED("prompt", C | T, openai_read_prompt, prompts, 0, 0),
    HONOURED("tokens", D, openai_read_tokens, prompts, 0, 0),
    HONOURED("messages", H | T, openai_read_messages, messages, 0, 0),
    HONOURED("tools", H | T, openai_read_tools, tools, 0, 0),
    HONOURED("tool_choice", H, openai_read_tool_choice, tools, 0, 0),
    HONOURED("parallel_tool_calls", H, openai_read_flag, parallel_tool_calls, 0, 0),
    HONOURED("documents", H, openai_read_documents, documents, 0, 0),
    HONOURED("chat_template_kwargs", H | T, openai_read_template_kwargs, template_kwargs, 0, 0),
    HONOURED("reasoning_effort", H, openai_read_name, reasoning_effort, 1, WIRE_NAME_MAX),
    HONOURED("add_generation_prompt", H | T, openai_read_generation_prompt, add_generation_prompt,
             0, 0),
    HONOURED("continue_final_message", H | T, openai_read_flag, continue_final_message, 0, 0),
    HONOURED("add_special_tokens", C | H | T, openai_read_special_tokens, add_special_tokens, 0, 0),
    HONOURED("cache_salt", C | H, openai_read_name, cache_salt, 1, OPENAI_SALT_MAX),
    HONOURED("priority", C | H, openai_read_priority, priority, 0, 0),
    HONOURED("request_id", C | H, openai_read_name, request_id, 1, WIRE_NAME_MAX),
    HONOURED("deadline_ms", C | H, openai_read_u32, deadline_ms, 1, 86400000),

    /* how it is drawn */
    HONOURED("max_tokens", C | H, openai_read_max_tokens, sampling, 1, WIRE_TOKENS_MAX),
    HONOURED("max_completion_tokens", H, openai_read_max_completion, sampling, 1, WIRE_TOKENS_MAX),
    HONOURED("min_tokens", C | H, openai_read_u32, sampling.min_tokens, 0, WIRE_TOKENS_MAX),
    HONOURED("n", C | H, openai_read_u32, n, 1, OPENAI_N_MAX),
    HONOURED("seed", C | H, openai_read_seed, seed, 0, 0),
    HONOURED("temperature", C | H, openai_read_f64, sampling.temperature, 0, 100),
    HONOURED("top_p", C | H, openai_read_above, sampling.top_p, 0, 1),
    HONOURED("top_k", C | H, openai_read_top_k, sampling.top_k, -1, UINT32_MAX),
    HONOURED("min_p", C | H, openai_read_f64, sampling.min_p, 0, 1),
    HONOURED("repetition_penalty", C | H, openai_read_f64, sampling.repetition_penalty, 0.01, 100),
    HONOURED("presence_penalty", C | H, openai_read_f64, sampling.presence_penalty, -2, 2),
    HONOURED("frequency_penalty", C | H, openai_read_f64, sampling.frequency_penalty, -2, 2),
    HONOURED("logit_bias", C | H, openai_read_logit_bias, sampling.bias_ids, 0, WIRE_BIAS_MAX),
    HONOURED("allowed_token_ids", C | H, openai_read_ids, sampling.allowed_ids, 1,
             WIRE_ALLOWED_MAX),
    HONOURED("bad_words", C | H, openai_read_texts, bad_words, WIRE_BAD_MAX, WIRE_NAME_MAX),
    HONOURED("stop", C | H, openai_read_texts, stops, OPENAI_STOPS_MAX, OPENAI_STOP_BYTES_MAX),
    HONOURED("stop_token_ids", C | H, openai_read_ids, sampling.stop_ids, 0, WIRE_STOP_IDS_MAX),
    HONOURED("ignore_eos", C | H, openai_read_flag, sampling.ignore_eos, 0, 0),

    /* how it is answered */
    HONOURED("stream", C | H, openai_read_flag, stream, 0, 0),
    HONOURED("stream_options", C | H, openai_read_stream_options, include_usage, 0, 0),
    HONOURED("echo", C, openai_read_flag, echo, 0, 0),
    HONOURED("logprobs", C, openai_read_logprobs, sampling.logprobs, 0, WIRE_TOPS_MAX),
    HONOURED("logprobs", H, openai_read_flag, logprobs, 0, 0),
    HONOURED("top_logprobs", H, openai_read_top_logprobs, sampling.logprobs, 0, WIRE_TOPS_MAX),
    HONOURED("include_stop_str_in_output", C | H, openai_read_flag, include_stop, 0, 0),
    HONOURED("skip_special_tokens", C | H, openai_read_flag, skip_special_tokens, 0, 0),
    HONOURED("return_token_ids", C | H, openai_read_flag, return_token_ids, 0, 0),
    HONOURED("return_tokens_as_token_ids", C | H, openai_read_flag, tokens_as_ids, 0, 0),
    HONOURED("return_token_strs", T, openai_read_flag, token_strs, 0, 0),

    /* about the client, its accounts and caches, or hints that change no token */
    HARMLESS("user", C | H),
    HARMLESS("metadata", C | H),
    HARMLESS("store", C | H),
    HARMLESS("service_tier", C | H),
    HARMLESS("safety_identifier", C | H),
    HARMLESS("session_id", C | H),
    HARMLESS("prediction", H),
    HARMLESS("prompt_cache_key", C | H),
    HARMLESS("prompt_cache_options", C | H),
    HARMLESS("prompt_cache_retention", C | H),
    HARMLESS("stream_interval", C | H),
    HARMLESS("length_penalty", C | H), /* beam search's, as the next */
    HARMLESS("early_stopping", C | H),
    HARMLESS("spaces_between_special_tokens", C | H), /* no fast tokenizer obeys it */
    HARMLESS("truncation_side", C | H),               /* of truncate_prompt_tokens */
    HARMLESS("guided_decoding_backend", C | H),       /* of the guided_ fields, as the next */
    HARMLESS("guided_whitespace_pattern", C | H),
    HARMLESS("routed_experts_prompt_start", C | H),
    HARMLESS("return_token_offsets", C | H), /* as the next two, of vLLM's render endpoints */
    HARMLESS("mm_payload", C | H),
    HARMLESS("return_mm_kwargs", C | H),

    /* what the model may write */
    REFUSED("response_format", C | H, is_text_format, NO_GRAMMAR),
    REFUSED("structured_outputs", C | H, is_empty, NO_GRAMMAR),
    REFUSED("guided_json", C | H, NULL, NO_GRAMMAR),
    REFUSED("guided_regex", C | H, is_empty, NO_GRAMMAR),
    REFUSED("guided_choice", C | H, is_empty, NO_GRAMMAR),
    REFUSED("guided_grammar", C | H, is_empty, NO_GRAMMAR),
    REFUSED("structural_tag", C | H, is_empty, NO_GRAMMAR),
    REFUSED("json_schema", C | H, NULL, NO_GRAMMAR),
    REFUSED("regex", C | H, is_empty, NO_GRAMMAR),
    REFUSED("ebnf", C | H, is_empty, NO_GRAMMAR),
    REFUSED("grammar", C | H, is_empty, NO_GRAMMAR),
    REFUSED("functions", H, is_empty, "use tools"),
    REFUSED("function_call", H, is_none, "use tools and tool_choice"),
    REFUSED("verbosity", H, is_medium, "ask for it in the prompt"),
    REFUSED("thinking_token_budget", C | H, is_unlimited, "use max_tokens"),
    REFUSED("include_reasoning", H, is_true, "this server does not part reasoning from the answer"),
    REFUSED("repetition_detection", C | H, NULL, "use repetition_penalty"),
    REFUSED("watermarking", C | H, is_false, "this server does not watermark"),

    /* other ways to decode */
    REFUSED("use_beam_search", C | H, is_false, NO_BEAMS),
    REFUSED("best_of", C | H, is_as_n, NO_BEAMS),
    REFUSED("logits_processors", C | H, is_empty, "use logit_bias"),
    REFUSED("vllm_xargs", C | H, is_empty, "this server has no such extensions"),
    REFUSED("suffix", C, is_empty,
            "this server does not fill in: put all before the gap in prompt"),
    REFUSED("echo", H, is_false, "only completions echo"),
    REFUSED("truncate_prompt_tokens", C | H, NULL, "shorten the prompt"),
    REFUSED("chat_template", H | T, NULL, "the model's own template is used"),

    /* what the answer should hold beside the text */
    REFUSED("prompt_logprobs", C | H, NULL, "only tokens that were drawn have logprobs here"),
    REFUSED("logprob_token_ids", C | H, is_empty, "use logprobs, which gives the likeliest ids"),
    REFUSED("return_prompt_text", C | H, is_false, "use /tokenize and /detokenize"),
    REFUSED("return_weight_versions", C | H, is_false, "the weights never change here"),
    REFUSED("moderation", H, NULL, "this server does not moderate"),
    REFUSED("web_search_options", H, NULL, "this server does not search"),

    /* other media, other systems */
    REFUSED("audio", H, NULL, NO_MEDIA),
    REFUSED("modalities", H, is_text_only, NO_MEDIA),
    REFUSED("media_io_kwargs", H | T, is_empty, NO_MEDIA),
    REFUSED("mm_processor_kwargs", H | T, is_empty, NO_MEDIA),
    REFUSED("prompt_embeds", C, is_empty, "send a text or token ids"),
    REFUSED("kv_transfer_params", C | H, is_empty, "the router moves the KV cache by itself"),
    REFUSED("ec_transfer_params", C | H, is_empty, NO_MEDIA),
};

const struct openai_field *openai_fields(size_t *n_out)
{
    *n_out = sizeof(fields) / sizeof(fields[0]);
    return fields;
}

const struct openai_field *openai_field_find(enum openai_api api, const char *name)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if ((fields[i].apis & (1u << api)) && strcmp(fields[i].name, name) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}
