/* The messages of the client protocol (wire/PROTOCOL.md), between libbaton's structs and bytes.
 * Internal to this folder. Writing goes through msgpack-c; reading is a bounded scan of our own,
 * because msgpack-c reserves whatever five bytes announce. */
#pragma once

#include "baton.h"

#define BATON_ID_BYTES 16
#define BATON_MESSAGE_BYTES_MAX (8u << 20)

enum baton_kind {
    BATON_KIND_OTHER, /* nothing for us: skipped */
    BATON_KIND_WELCOME,
    BATON_KIND_ACCEPTED,
    BATON_KIND_TOKEN,
    BATON_KIND_DONE,
    BATON_KIND_FAILED,
    BATON_KIND_HEARTBEAT,
    BATON_KIND_MODEL_LIST
};

/* What came, with all fields of all kinds. */
struct baton_in {
    enum baton_kind kind;
    bool has_req;
    uint8_t req[BATON_ID_BYTES];
    uint8_t resume[BATON_ID_BYTES];
    char label[BATON_NAME_MAX];
    uint32_t n_top_logprobs;  /* as many as event.n_tops */
    struct baton_event event; /* filled but for kind and stream */
};

/* False where the bytes are no message of the protocol. */
bool baton_wire_read(const uint8_t *bytes, size_t len, struct baton_in *out);

/* Each gives a malloc'ed message, or NULL when out of memory. */
char *baton_wire_hello(const char *agent, size_t *len_out);
char *baton_wire_models(size_t *len_out);
char *baton_wire_generate(const char *label, const struct baton_request *request, size_t *len_out);
char *baton_wire_cancel(const uint8_t *req, const uint8_t *resume, size_t *len_out);
char *baton_wire_credit(const uint8_t *req, const uint8_t *resume, uint32_t credits,
                        size_t *len_out);
char *baton_wire_attach(const uint8_t *req, const uint8_t *resume, uint32_t next, uint32_t credits,
                        size_t *len_out);
