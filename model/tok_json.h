/* A pull reader over JSON text in memory: a cursor that is asked for the next key, element or
 * value. Nothing is built and nothing is allocated, so a vocabulary of any size costs no more than
 * one walk over its bytes. A cursor is a plain struct: copy it to come back to a place later.
 * Strict: RFC 8259, UTF-8 checked, duplicate keys refused where we look for them, depth bounded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "model/tokenizer.h"

#define TOK_JSON_DEPTH_MAX 64u

struct tok_json {
    const char *text; /* [len] */
    size_t len;
    size_t pos;                    /* of the next byte to read */
    struct tokenizer_error *error; /* where sentences go; may be NULL */
};

/* A string as it stands in the file, without the quotes. Its UTF-8 is known to be valid. */
struct tok_json_string {
    const char *raw; /* [len] */
    size_t len;
    bool escaped; /* has a backslash: must go through tok_json_unescape */
};

/* Walks an object or array: init, then `next` until *more is false. */
struct tok_json_walk {
    char close;
    bool started;
};

void tok_json_init(struct tok_json *json, const char *text, size_t len,
                   struct tokenizer_error *error);

/* Writes "at byte N: expected ..., found ..." and returns MALFORMED. */
enum status tok_json_expected(struct tok_json *json, const char *what);

/* The first byte of the next value ('{', '[', '"', a digit, ...), 0 at the end of the text. */
char tok_json_peek(struct tok_json *json);

/* Enters '{' or '['. */
enum status tok_json_enter(struct tok_json *json, char open, struct tok_json_walk *walk);

/* On *more the cursor stands on an element's value; the caller must consume it. */
enum status tok_json_next_element(struct tok_json *json, struct tok_json_walk *walk, bool *more);
enum status tok_json_next_member(struct tok_json *json, struct tok_json_walk *walk,
                                 struct tok_json_string *key, bool *more);

enum status tok_json_string(struct tok_json *json, struct tok_json_string *out);
enum status tok_json_u32(struct tok_json *json, uint32_t *out);
enum status tok_json_double(struct tok_json *json, double *out);
enum status tok_json_bool(struct tok_json *json, bool *out);

/* If the next value is null, consumes it and returns true. */
bool tok_json_null(struct tok_json *json);

/* Consumes one value of any kind, checking its form. */
enum status tok_json_skip(struct tok_json *json);

/* At the end of the text but for white space? MALFORMED with a sentence if not. */
enum status tok_json_end(struct tok_json *json);

/* Looks `key` up in the object that `object` stands on (which is not moved) and puts `value` on its
 * value. NOT_FOUND without a sentence if the key is absent or null; MALFORMED if it is there twice.
 * For small objects: it reads all of them. */
enum status tok_json_find(const struct tok_json *object, const char *key, struct tok_json *value);

/* tok_json_find and one read; an absent key leaves the default that *out holds. */
enum status tok_json_find_bool(const struct tok_json *object, const char *key, bool *out);

/* As above into a fixed text with an end; TOO_BIG if it does not fit. Absent: NOT_FOUND. */
enum status tok_json_find_text(const struct tok_json *object, const char *key, char *out,
                               size_t cap, size_t *len);

/* Is it this ASCII text? (Escaped keys count as different; nobody writes them.) */
bool tok_json_string_is(const struct tok_json_string *string, const char *text);

/* Decodes escapes into `out` [string->len], never longer than the raw text. Returns the length; the
 * string came from tok_json_string, so it cannot fail. */
size_t tok_json_unescape(const struct tok_json_string *string, char *out);
