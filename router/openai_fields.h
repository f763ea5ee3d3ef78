/* The table of all known fields of a request, and the readers that fill a struct from them. Inside
 * openai_request only, and for the test that walks the lists; callers use openai_request.h. */
#pragma once

#include <jansson.h>

#include "router/openai_request.h"

/* APIs as bits. */
#define OPENAI_IN_COMPLETIONS (1u << OPENAI_COMPLETIONS)
#define OPENAI_IN_CHAT (1u << OPENAI_CHAT)
#define OPENAI_IN_TOKENIZE (1u << OPENAI_TOKENIZE)
#define OPENAI_IN_DETOKENIZE (1u << OPENAI_DETOKENIZE)

enum openai_fate {
    OPENAI_HONOURED,
    OPENAI_HARMLESS, /* changes no token and no text of an answer of ours */
    OPENAI_REFUSED   /* would change it, and we cannot */
};

/* One request while it is read. */
struct openai_reader {
    struct openai_request_cfg cfg;
    struct arena *arena;
    struct openai_error *error;
    struct openai_request *req;
    bool top_logprobs_given, max_completion_given, generation_prompt_given, tool_choice_none;
    bool tool_choice_auto, stream_options_given, special_tokens_given;
};

struct openai_field {
    const char *name;
    uint8_t apis; /* OPENAI_IN_ bits; a name may have one row for each API */
    enum openai_fate fate;
    /* HONOURED: puts a value that is not null into the request, at `offset` of it if it is a plain
     * member, between low and high. */
    enum status (*read)(struct openai_reader *reader, const struct openai_field *field,
                        const json_t *value);
    size_t offset;
    double low, high;
    /* REFUSED: whether the value asks for nothing; NULL: only null does. */
    bool (*neutral)(const json_t *value, const json_t *body);
    const char *instead; /* REFUSED: what to do, a clause */
};

/* All rows; *n_out of them. */
const struct openai_field *openai_fields(size_t *n_out);
/* NULL: unknown. */
const struct openai_field *openai_field_find(enum openai_api api, const char *name);

/* ---- what every reader says when it refuses; all return INVALID ---- */

/* Where in the request, as "messages[2].content", cut at OPENAI_PARAM_MAX. */
__attribute__((format(printf, 2, 3))) void openai_place(char *out, const char *format, ...);
/* "NAME: expected WHAT, found VALUE" */
__attribute__((format(printf, 4, 5))) enum status openai_wrong(struct openai_reader *reader,
                                                               const char *name,
                                                               const json_t *found,
                                                               const char *expected, ...);
/* "NAME: SENTENCE" */
__attribute__((format(printf, 4, 5))) enum status openai_refuse(struct openai_reader *reader,
                                                                const char *name, const char *code,
                                                                const char *format, ...);
/* The arena is full: TOO_BIG, with 413. */
enum status openai_no_room(struct openai_reader *reader);

/* INVALID or TOO_BIG where a text of JSON is deeper or has more values than allowed; not whether it
 * is JSON. `param` may be NULL. */
enum status openai_json_check(struct openai_reader *reader, const char *text, size_t len,
                              const char *param);

/* ---- plain values ---- */

/* A number as an integer between low and high; 16.0 is one. */
bool openai_integer(const json_t *value, int64_t low, int64_t high, int64_t *out);
/* The same as an error of the field `name`. */
enum status openai_integer_read(struct openai_reader *reader, const char *name, const json_t *value,
                                int64_t low, int64_t high, int64_t *out);
/* A copy of a text of low to high bytes. */
enum status openai_text_read(struct openai_reader *reader, const char *name, const json_t *value,
                             size_t low, size_t high, struct wire_span *out);
/* A copy of an array of low to high ids. */
enum status openai_ids_read(struct openai_reader *reader, const char *name, const json_t *value,
                            size_t low, size_t high, struct wire_u32s *out);

/* ---- readers of the table ---- */

#define OPENAI_READER(name)                                                                        \
    enum status name(struct openai_reader *reader, const struct openai_field *field,               \
                     const json_t *value)
OPENAI_READER(openai_read_flag);  /* bool at offset */
OPENAI_READER(openai_read_u32);   /* uint32_t at offset */
OPENAI_READER(openai_read_f64);   /* double at offset */
OPENAI_READER(openai_read_above); /* the same, low excluded */
OPENAI_READER(openai_read_name);  /* wire_span at offset, 1 to high bytes */
OPENAI_READER(openai_read_ids);   /* wire_u32s at offset, low to high of them */
OPENAI_READER(openai_read_texts); /* wire_texts at offset, up to low texts of 1 to high bytes; one
                                     text alone is a list of one */
OPENAI_READER(openai_read_prompt);
OPENAI_READER(openai_read_tokens);
OPENAI_READER(openai_read_seed);
OPENAI_READER(openai_read_priority);
OPENAI_READER(openai_read_top_k);
OPENAI_READER(openai_read_logit_bias);
OPENAI_READER(openai_read_max_tokens);
OPENAI_READER(openai_read_max_completion);
OPENAI_READER(openai_read_logprobs);     /* completions: how many */
OPENAI_READER(openai_read_top_logprobs); /* chat */
OPENAI_READER(openai_read_stream_options);
OPENAI_READER(openai_read_generation_prompt);
OPENAI_READER(openai_read_special_tokens);
OPENAI_READER(openai_read_tool_choice);
OPENAI_READER(openai_read_messages);
OPENAI_READER(openai_read_tools);
OPENAI_READER(openai_read_documents);
OPENAI_READER(openai_read_template_kwargs);
