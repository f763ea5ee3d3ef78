/* Text to tokens and back, exactly as the tokenizer.json of a published checkpoint says: byte-level
 * BPE, BPE with byte fallback (SentencePiece style) and Unigram, with the file's normalizers,
 * pre-tokenizers, post-processor, decoder and added tokens. The reference is Hugging Face's
 * `tokenizers`: the same file gives the same ids. A file that asks for something we do not do is
 * refused with a sentence when it is opened, never half obeyed.
 *
 * A tokenizer is immutable once open: any number of threads may use it, each with its own workspace
 * (scratch memory and a cache of words). A detokenizer belongs to one stream of one thread.
 * No function here blocks, except that opening reads a file. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define TOKENIZER_FILE_MAX ((size_t)256 << 20) /* bytes of a tokenizer.json */
#define TOKENIZER_TEXT_MAX ((size_t)64 << 20)  /* bytes of one text to encode */
#define TOKENIZER_IDS_MAX ((uint32_t)2 << 20)  /* ids are below this */
#define TOKENIZER_PIECE_MAX 4096u              /* bytes of one vocabulary entry */
#define TOKENIZER_ID_NONE UINT32_MAX

struct tokenizer;
struct tokenizer_workspace;

/* Filled when a call fails: one sentence that names what was expected, what was found and where. */
struct tokenizer_error {
    char text[320];
};

enum tokenizer_flags {
    /* Adds what the post-processor adds (a beginning-of-sequence token, say). */
    TOKENIZER_ADD_SPECIAL = 1,
    /* Special tokens written out in the text become their ids. Without it they are plain text:
     * only text that we made ourselves (a rendered chat template) may have it. */
    TOKENIZER_PARSE_SPECIAL = 2,
};

/* Opens a tokenizer.json, or the one in a directory. NOT_FOUND or IO: no such file, or unreadable.
 * MALFORMED: not a tokenizer.json. UNSUPPORTED: a valid one that asks for what we lack. TOO_BIG,
 * NO_MEMORY. `error` is filled on every failure and may be NULL. */
enum status tokenizer_open(const char *path, struct tokenizer_error *error, struct tokenizer **out);

/* The same from memory; `json` may be freed afterwards. */
enum status tokenizer_open_memory(const char *json, size_t len, struct tokenizer_error *error,
                                  struct tokenizer **out);

/* The tokenizer of the test model: 256 ids, each the byte of that value. */
enum status tokenizer_open_bytes(struct tokenizer **out);

/* Workspaces must be destroyed before. NULL is nothing. */
void tokenizer_close(struct tokenizer *tok);

/* Scratch memory for one thread. It grows to what the longest text needed, and shrinks back after a
 * very long one. It may serve several tokenizers only one after the other's last use of it: create
 * one for each pair of thread and tokenizer. */
enum status tokenizer_workspace_create(const struct tokenizer *tok,
                                       struct tokenizer_workspace **out);
void tokenizer_workspace_destroy(struct tokenizer_workspace *work);

/* Encodes `len` bytes; `flags` are of enum tokenizer_flags. Invalid UTF-8 counts as U+FFFD, one for
 * each maximal ill-formed run as Python's and Rust's decoders have it. *ids points into the
 * workspace, valid until its next use. TOO_BIG over TOKENIZER_TEXT_MAX; UNSUPPORTED if a pattern of
 * the file is too costly for this text or the vocabulary cannot express it; NO_MEMORY. */
enum status tokenizer_encode(const struct tokenizer *tok, const char *text, size_t len, int flags,
                             struct tokenizer_workspace *work, const uint32_t **ids, size_t *n_ids);

/* The largest id plus one. Ids below it may be unused. */
uint32_t tokenizer_n_ids(const struct tokenizer *tok);

/* How the file writes this id, as UTF-8 ("\u0120the"), into `out` [cap]; returns the length that it
 * has (written only if it fits; no end is added), or 0 for an unused id. */
size_t tokenizer_piece(const struct tokenizer *tok, uint32_t id, char *out, size_t cap);

/* The id that the file gives to this spelling, or TOKENIZER_ID_NONE. */
uint32_t tokenizer_find(const struct tokenizer *tok, const char *piece, size_t len);

/* Is it an added token with the `special` flag? */
bool tokenizer_is_special(const struct tokenizer *tok, uint32_t id);

/* --- ids to text, one at a time --- */

/* The text of a stream of ids. What the pushes and the flush return, put together, is the text of
 * all ids; each return is whole UTF-8 characters, and a character is returned as soon as its last
 * byte is known. Bytes that never become a character give U+FFFD. */
struct detokenizer;

/* `skip_special`: special tokens leave no text. `tok` must outlive it. */
enum status detokenizer_create(const struct tokenizer *tok, bool skip_special,
                               struct detokenizer **out);
void detokenizer_destroy(struct detokenizer *detok);

/* Back to the beginning of a stream. */
void detokenizer_reset(struct detokenizer *detok);

/* *text is the detokenizer's own memory, valid until its next use; *len may be 0. An id that the
 * vocabulary does not have leaves no text. Only NO_MEMORY. */
enum status detokenizer_push(struct detokenizer *detok, uint32_t id, const char **text,
                             size_t *len);

/* The end of the stream: what was still held back. */
enum status detokenizer_flush(struct detokenizer *detok, const char **text, size_t *len);
