/* Who may work together. The numerics identity says which bits a computation gives; the node
 * fingerprint says everything two nodes must share before KV moves between them. Both are short
 * texts, equal exactly when the things are, and comparable part by part, so that a refusal can say
 * what differs. */
#pragma once

#include "wire/kvgeom.h"
#include "wire/msg.h"

#define FINGERPRINT_TEXT_MAX (WIRE_NAME_MAX + 1) /* with the end */
#define FINGERPRINT_WHY_MAX 320                  /* with the end; fits WIRE_ERROR_MAX */

/* NUMERICS.md's tuple; texts of letters, digits, '_', '+' and '.'. */
struct numerics_identity {
    uint32_t contract;   /* version of the numerics contract */
    const char *backend; /* "cpu", "sm_80", "sm_90a", "oracle" */
    uint32_t tp;         /* tensor parallel degree */
    const char *mode;    /* "strict" or "fast" */
    const char *dtypes;  /* of weights and activations, "bf16" */
};

/* "2-cpu-tp1-strict-bf16" and so on. INVALID for a character or length that could be confused. */
enum status numerics_print(const struct numerics_identity *id, char text[FINGERPRINT_TEXT_MAX]);

struct fingerprint {
    uint64_t config_hash;  /* of the model's config, 0 where there is none */
    uint64_t weights_hash; /* of the repacked weights */
    const char *kv_dtype;  /* "bf16", "f32" */
    struct kvgeom geom;
    const char *numerics; /* numerics_print's text */
    uint32_t protocol;    /* WIRE_VERSION_MAX */
};

/* "c=<config hash> w=<weights hash> k=<KV dtype> g=<layout> n=<numerics> p=<protocol>", short
 * enough for WIRE_NAME_MAX. INVALID for characters as above, TOO_BIG where it does not fit. */
enum status fingerprint_print(const struct fingerprint *print, char text[FINGERPRINT_TEXT_MAX]);

/* True if equal. Else *why is a sentence that names the first part that differs, what was expected
 * and what was found. Texts from peers may be anything. */
bool fingerprint_compare(struct wire_span expected, struct wire_span found,
                         char why[FINGERPRINT_WHY_MAX]);
