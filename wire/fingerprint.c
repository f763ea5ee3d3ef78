/* Prints and compares identities. The texts travel in `join` and `pair`, so they stay within
 * WIRE_NAME_MAX: hence the one-letter keys. Any thread, no memory. */
#include "wire/fingerprint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PART_SHOWN_MAX 80

/* The parts in the order of the text; the long names are for the sentence. */
static const struct part {
    const char *key;
    const char *name;
} parts[] = {{"c", "model config"}, {"w", "weights"},           {"k", "KV dtype"},
             {"g", "KV layout"},    {"n", "numerics identity"}, {"p", "protocol version"}};
#define N_PARTS (sizeof(parts) / sizeof(parts[0]))

/* A word of ours has no separators of the texts it stands in. */
static bool is_word(const char *text)
{
    if (!text || text[0] == '\0') {
        return false;
    }
    size_t good = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.");
    return text[good] == '\0';
}

enum status numerics_print(const struct numerics_identity *id, char text[FINGERPRINT_TEXT_MAX])
{
    if (!is_word(id->backend) || !is_word(id->mode) || !is_word(id->dtypes)) {
        return STATUS_INVALID;
    }
    char line[FINGERPRINT_TEXT_MAX];
    int n = snprintf(line, sizeof(line), "%u-%s-tp%u-%s-%s", id->contract, id->backend, id->tp,
                     id->mode, id->dtypes);
    if (n < 0 || (size_t)n >= sizeof(line)) {
        return STATUS_TOO_BIG;
    }
    memcpy(text, line, (size_t)n + 1);
    return STATUS_OK;
}

enum status fingerprint_print(const struct fingerprint *print, char text[FINGERPRINT_TEXT_MAX])
{
    if (!is_word(print->kv_dtype) || !print->numerics || strpbrk(print->numerics, " =")) {
        return STATUS_INVALID;
    }
    char layout[64];
    kvgeom_print(&print->geom, layout);
    char line[FINGERPRINT_TEXT_MAX];
    int n =
        snprintf(line, sizeof(line), "c=%016" PRIx64 " w=%016" PRIx64 " k=%s g=%s n=%s p=%" PRIu32,
                 print->config_hash, print->weights_hash, print->kv_dtype, layout, print->numerics,
                 print->protocol);
    if (n < 0 || (size_t)n >= sizeof(line)) {
        return STATUS_TOO_BIG;
    }
    memcpy(text, line, (size_t)n + 1);
    return STATUS_OK;
}

/* The value behind "key=", up to the next space; empty if the key is not there. */
static struct wire_span value_of(struct wire_span text, const char *key)
{
    const char *at = text.at;
    const char *end = text.at + text.len;
    while (at < end) {
        const char *stop = memchr(at, ' ', (size_t)(end - at));
        stop = stop ? stop : end;
        size_t key_len = strlen(key);
        if ((size_t)(stop - at) > key_len && memcmp(at, key, key_len) == 0 && at[key_len] == '=') {
            at += key_len + 1;
            return (struct wire_span){.at = at, .len = (size_t)(stop - at)};
        }
        at = stop < end ? stop + 1 : end;
    }
    return (struct wire_span){.at = "", .len = 0};
}

/* A peer's bytes, made fit for a sentence. */
static void show(struct wire_span span, char text[PART_SHOWN_MAX + 1])
{
    size_t n = span.len < PART_SHOWN_MAX ? span.len : PART_SHOWN_MAX;
    for (size_t i = 0; i < n; i++) {
        char c = span.at[i];
        text[i] = c > 0x20 && c < 0x7f ? c : '?';
    }
    text[n] = '\0';
    if (n == 0) {
        snprintf(text, PART_SHOWN_MAX + 1, "nothing");
    }
}

bool fingerprint_compare(struct wire_span expected, struct wire_span found,
                         char why[FINGERPRINT_WHY_MAX])
{
    if (wire_span_equal(expected, found)) {
        return true;
    }
    for (size_t i = 0; i < N_PARTS; i++) {
        struct wire_span a = value_of(expected, parts[i].key);
        struct wire_span b = value_of(found, parts[i].key);
        if (!wire_span_equal(a, b)) {
            char shown_a[PART_SHOWN_MAX + 1], shown_b[PART_SHOWN_MAX + 1];
            show(a, shown_a);
            show(b, shown_b);
            snprintf(why, FINGERPRINT_WHY_MAX,
                     "The %s differs: expected %s, found %s. Give both nodes the same model, "
                     "configuration and program version.",
                     parts[i].name, shown_a, shown_b);
            return false;
        }
    }
    snprintf(why, FINGERPRINT_WHY_MAX,
             "The fingerprint has an unknown form. Run the same program version on both nodes.");
    return false;
}
