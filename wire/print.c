/* A message as one readable line for logs and failing tests. What a user wrote, what a model
 * answered, secrets and resume tokens are shown as lengths only. Any thread. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/msg.h"
#include "wire/table.h"

/* Longest part of a text that is shown. */
#define SHOWN_MAX 160

struct printer {
    char *at;
    size_t left; /* with the place of the final zero */
};

__attribute__((format(printf, 2, 3))) static void put(struct printer *printer, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(printer->at, printer->left, fmt, args);
    va_end(args);
    size_t done = n < 0 ? 0 : (size_t)n;
    if (done >= printer->left) {
        done = printer->left - 1;
    }
    printer->at += done;
    printer->left -= done;
}

/* Quoted, with everything but printable ASCII escaped, so that no peer can forge a line. */
static void put_text(struct printer *printer, const struct wire_span *span)
{
    size_t shown = span->len < SHOWN_MAX ? span->len : SHOWN_MAX;
    put(printer, "\"");
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)span->at[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
            put(printer, "\\x%02x", c);
        } else {
            put(printer, "%c", c);
        }
    }
    put(printer, shown < span->len ? "\"..." : "\"");
}

/* Texts that users or models wrote. */
static bool is_private(enum wire_kind kind, const struct wire_field *field)
{
    return ((kind == WIRE_KIND_GENERATE || kind == WIRE_KIND_TOKEN) &&
            strcmp(field->key, "text") == 0) ||
           (kind == WIRE_KIND_DONE && strcmp(field->key, "stop_text") == 0);
}

static void put_table(struct printer *printer, enum wire_kind kind, const struct wire_table *table,
                      const char *base);

static void put_value(struct printer *printer, enum wire_kind kind, const struct wire_field *field,
                      const void *at)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_u32:
        put(printer, "%" PRIu32, *(const uint32_t *)at);
        break;
    case WIRE_TYPE_u64:
        put(printer, "%" PRIu64, *(const uint64_t *)at);
        break;
    case WIRE_TYPE_f64:
        put(printer, "%.17g", *(const double *)at);
        break;
    case WIRE_TYPE_flag:
        put(printer, "%s", *(const bool *)at ? "true" : "false");
        break;
    case WIRE_TYPE_text:
        if (!is_private(kind, field)) {
            put_text(printer, at);
            break;
        }
        put(printer, "<%zu bytes>", ((const struct wire_span *)at)->len);
        break;
    case WIRE_TYPE_bytes:
        put(printer, "<%zu bytes>", ((const struct wire_span *)at)->len);
        break;
    case WIRE_TYPE_id:
        put(printer, "<16 bytes>");
        break;
    case WIRE_TYPE_u32s:
        put(printer, "[%zu]", ((const struct wire_u32s *)at)->n);
        break;
    case WIRE_TYPE_u64s:
        put(printer, "[%zu]", ((const struct wire_u64s *)at)->n);
        break;
    case WIRE_TYPE_f64s:
        put(printer, "[%zu]", ((const struct wire_f64s *)at)->n);
        break;
    case WIRE_TYPE_texts:
    case WIRE_TYPE_bodies:
        put(printer, "[%zu]", ((const struct wire_texts *)at)->n);
        break;
    case WIRE_TYPE_sampling:
    case WIRE_TYPE_ledger:
        put(printer, "{");
        put_table(printer, kind, wire_table_nested(field->type), at);
        put(printer, " }");
        break;
    }
}

static void put_table(struct printer *printer, enum wire_kind kind, const struct wire_table *table,
                      const char *base)
{
    for (uint32_t i = 0; i < table->n_fields; i++) {
        const struct wire_field *field = &table->fields[i];
        const char *at = base + field->offset;
        if (!wire_field_is_default(field, at)) {
            put(printer, " %s=", field->key);
            put_value(printer, kind, field, at);
        }
    }
}

static void put_envelope(struct printer *printer, const struct wire_msg *msg)
{
    if (msg->session || msg->seq) {
        put(printer, " session=%" PRIu32 "/%" PRIu64, msg->session, msg->seq);
    }
    if (msg->from || msg->to) {
        put(printer, " from=%016" PRIx64 " to=%016" PRIx64, msg->from, msg->to);
    }
    if (!wire_id_is_zero(&msg->req)) {
        char id[33];
        wire_id_print(&msg->req, id);
        put(printer, " req=%s/%" PRIu32 ".%" PRIu32, id, msg->attempt, msg->generation);
    }
}

void wire_msg_print(const struct wire_msg *msg, char *text, size_t capacity)
{
    if (capacity == 0) {
        return;
    }
    struct printer printer = {.at = text, .left = capacity};
    text[0] = '\0';
    put(&printer, "%s", wire_kind_name(msg->kind));
    put_envelope(&printer, msg);
    put_table(&printer, msg->kind, wire_table_of(msg->kind), (const char *)msg + WIRE_BODY_OFFSET);
}
