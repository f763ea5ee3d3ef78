/* See openai_error.h. */
#include "router/openai_error.h"

#include <stdarg.h>
#include <stdio.h>

#include "router/json_pen.h"

static const char *type_of(int http)
{
    if (http == 429) {
        return "rate_limit_error";
    }
    return http >= 500 ? "server_error" : "invalid_request_error";
}

void openai_error_set(struct openai_error *error, int http, const char *code, const char *param,
                      const char *format, ...)
{
    va_list args;

    *error = (struct openai_error){.http = http, .type = type_of(http), .code = code};
    if (param != NULL) {
        snprintf(error->param, sizeof(error->param), "%s", param);
    }
    va_start(args, format);
    vsnprintf(error->message, sizeof(error->message), format, args);
    va_end(args);
}

/* Whose fault it is decides: 4xx says that asking again in the same way is useless (429: now),
 * 503 that it may well go well next time, 500 that somebody should look. */
static const struct {
    enum status status;
    int http;
    const char *code;
} answers[] = {
    {STATUS_INVALID, 400, "invalid_value"},
    {STATUS_MALFORMED, 400, "invalid_value"},
    {STATUS_UNSUPPORTED, 400, "unsupported_parameter"},
    {STATUS_EXISTS, 400, "invalid_value"},
    {STATUS_TOO_BIG, 400, "context_length_exceeded"},
    {STATUS_NOT_FOUND, 404, "model_not_found"},
    {STATUS_DENIED, 401, "invalid_api_key"},
    {STATUS_FULL, 429, "rate_limit_exceeded"},
    {STATUS_AGAIN, 503, "unavailable"},
    {STATUS_CANCELLED, 503, "cancelled"},
    {STATUS_DEADLINE, 503, "deadline_exceeded"},
    {STATUS_YIELDED, 503, "unavailable"},
    {STATUS_POISONED, 500, "request_quarantined"},
    {STATUS_MISMATCH, 500, "kv_mismatch"},
    {STATUS_SLOW_READER, 503, "slow_reader"},
    {STATUS_DRAINING, 503, "shutting_down"},
    {STATUS_LOST, 503, "unavailable"},
    {STATUS_STUCK, 503, "unavailable"},
    {STATUS_REFUSED, 503, "unavailable"},
    {STATUS_UNREACHABLE, 503, "unavailable"},
    {STATUS_NO_MEMORY, 503, "out_of_memory"},
};

void openai_error_of_status(enum status status, struct wire_span text, uint32_t retry_ms,
                            struct openai_error *error)
{
    int http = 500;
    const char *code = "internal_error";

    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        if (answers[i].status == status) {
            http = answers[i].http;
            code = answers[i].code;
        }
    }
    if (text.len == 0) {
        text = wire_span_of(status_text(status));
    }
    openai_error_set(error, http, code, status == STATUS_NOT_FOUND ? "model" : NULL, "%.*s",
                     (int)(text.len < WIRE_ERROR_MAX ? text.len : WIRE_ERROR_MAX), text.at);
    if (http == 429 || http == 503) {
        error->retry_s = retry_ms == 0 ? 1 : (uint32_t)(((uint64_t)retry_ms + 999) / 1000);
    }
}

static void write_error(struct json_pen *pen, const void *what)
{
    const struct openai_error *error = what;

    pen_str(pen, "{\"error\":{");
    pen_member(pen, "message", wire_span_of(error->message));
    pen_raw(pen, ",", 1);
    pen_member(pen, "type", wire_span_of(error->type));
    pen_raw(pen, ",", 1);
    pen_member_or_null(pen, "param", wire_span_of(error->param));
    pen_raw(pen, ",", 1);
    pen_member_or_null(pen, "code", wire_span_of(error->code == NULL ? "" : error->code));
    pen_str(pen, "}}");
}

static void write_event(struct json_pen *pen, const void *what)
{
    pen_str(pen, "data: ");
    write_error(pen, what);
    pen_str(pen, "\n\n");
}

enum status openai_error_body(const struct openai_error *error, struct buf *out)
{
    return pen_append(out, write_error, error);
}

enum status openai_error_event(const struct openai_error *error, struct buf *out)
{
    return pen_append(out, write_event, error);
}
