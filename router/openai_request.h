/* The bodies of POST /v1/completions, /v1/chat/completions, /tokenize and /detokenize: from the
 * bytes of the JSON to a struct, or to an error that names the field, what was expected and what
 * was found. Speaks OpenAI's fields and vLLM's. Every field is in one of three lists
 * (openai_fields.c): honoured; harmless (accepted without effect); refused, unless its value asks
 * for nothing. Unknown names are accepted and told. Null is the same as absent.
 *
 * Pure: no sockets, clock or state. What only a tokenizer or a fleet can know (whether the model is
 * served, the prompt's length, single-token bad_words) is left to the caller. Takes time in
 * proportion to the body, 10 to 25 ns a byte: large bodies belong on the text thread. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "model/tmpl_value.h"
#include "router/openai_error.h"
#include "wire/msg.h"

#define OPENAI_BODY_MAX ((size_t)8 << 20)           /* bytes of a body; more is 413 */
#define OPENAI_ARENA_MAX ((size_t)256 << 20)        /* good for every body of that size */
#define OPENAI_DEPTH_MAX 64                         /* arrays and objects inside one another */
#define OPENAI_VALUES_MAX (WIRE_TOKENS_MAX + 65536) /* values in a body: its memory */
#define OPENAI_OBJECTS_MAX 131072                   /* of them objects, which cost most */
#define OPENAI_PROMPTS_MAX 128
#define OPENAI_N_MAX 128
#define OPENAI_CHOICES_MAX 256 /* prompts times n */
#define OPENAI_STOPS_MAX 16
#define OPENAI_STOP_BYTES_MAX 256
#define OPENAI_TOOLS_MAX 1024
#define OPENAI_CALLS_MAX 128 /* tool calls in one message */
#define OPENAI_SALT_MAX 1024
#define OPENAI_UNKNOWN_MAX 8 /* names of unknown fields told */

enum openai_api { OPENAI_COMPLETIONS, OPENAI_CHAT, OPENAI_TOKENIZE, OPENAI_DETOKENIZE };

/* A text, or ids where ids.n > 0. */
struct openai_prompt {
    struct wire_span text;
    struct wire_u32s ids;
};

/* What the caller knows and the body does not say. */
struct openai_request_cfg {
    const struct wire_sampling *defaults; /* of temperature, top_p, top_k, min_p and the penalties,
                                             as the model's generation_config.json wants them;
                                             NULL: OpenAI's (1, 1, all, 0, none) */
    uint32_t vocab;                       /* ids from here on are refused; 0: not checked */
};

/* Everything lies in the arena that was passed, and dies with it. */
struct openai_request {
    enum openai_api api;
    struct wire_span model;      /* empty: not said */
    struct wire_span request_id; /* the client's label; empty: none */
    struct wire_span cache_salt; /* empty: none */
    int64_t priority;            /* smaller is sooner */
    uint32_t deadline_ms;        /* 0: the router's own */

    /* Completions, and tokenize of a text: at least one. Detokenize: one, of ids. */
    const struct openai_prompt *prompts; /* [n_prompts] */
    size_t n_prompts;
    bool add_special_tokens; /* the tokenizer's own (BOS): default yes, for a chat no */

    /* Chat. See openai_template_vars. */
    bool is_chat;               /* messages were given */
    struct tmpl_value messages; /* LIST of DICT, at least one; content is always a text */
    struct tmpl_value tools;    /* LIST, or NONE: none given, or not to be used */
    struct tmpl_value documents, template_kwargs; /* LIST, DICT, or NONE */
    struct wire_span reasoning_effort;            /* empty: not said */
    bool add_generation_prompt;
    bool continue_final_message; /* cut what the template put behind the last content */
    bool parse_tool_calls;       /* tools may be called: tools.kind is LIST */
    bool parallel_tool_calls;    /* false: only the first call is told */

    /* The answer. */
    uint32_t n; /* choices of each prompt */
    bool stream;
    bool include_usage, continuous_usage;
    bool echo;     /* completions: the prompt comes before the text */
    bool logprobs; /* sampling.logprobs: how many of the likeliest beside each */
    bool return_token_ids;
    bool tokens_as_ids; /* tokens of logprobs as "token_id:17" */
    bool token_strs;    /* tokenize: the tokens as texts too */
    bool skip_special_tokens;
    bool include_stop;       /* a stop string ends the text instead of being cut off */
    struct wire_texts stops; /* [at most OPENAI_STOPS_MAX], none empty */

    /* To the sampler. max_tokens 0 (a chat that does not say): what the context leaves. */
    struct wire_sampling sampling;
    struct wire_texts bad_words; /* to become sampling.bad_ids: the caller has the tokenizer */
    bool seeded;                 /* else the caller draws: below 2^53 every client keeps it whole */
    uint64_t seed;               /* a negative number of the client as two's complement */

    /* For counters and the log. */
    uint32_t n_harmless;
    uint32_t n_unknown;
    struct wire_span unknown[OPENAI_UNKNOWN_MAX]; /* the first of them, cut to WIRE_NAME_MAX */
};

/* Reads one body. `cfg` may be NULL. INVALID (400), TOO_BIG (413), NO_MEMORY (503): *error says it
 * all. The body is not needed afterwards. */
enum status openai_request_read(const struct openai_request_cfg *cfg, enum openai_api api,
                                const char *body, size_t len, struct arena *arena,
                                struct openai_error *error, struct openai_request *out);

/* The variables of a chat's template, as template_render wants them: `base` (DICT of bos_token and
 * the like, or NULL), over it the client's chat_template_kwargs, over these messages, tools,
 * documents and add_generation_prompt. NO_MEMORY. */
enum status openai_template_vars(const struct openai_request *req, const struct tmpl_value *base,
                                 struct arena *arena, struct tmpl_value *out);
