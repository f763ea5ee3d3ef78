/* The fields of the access log's lines. */
#include "router/access.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define N_OF(fields) (sizeof(fields) / sizeof((fields)[0]))
#define PATH_SHOWN 128

/* Of what is refused so many lines a second as the log has for one place: who may not ask must not
 * be able to fill the disk. */
static struct log_site refused_site;

static void write_line(struct log_site *site, const struct log_field *fields, size_t n)
{
    log_write(site, LOG_LEVEL_INFO, "access", "request", fields, n);
}

/* A span as a text; what is too long is cut. */
static const char *text_of(char *out, size_t room, const char *at, size_t len)
{
    snprintf(out, room, "%.*s", (int)(len < room ? len : room - 1), len > 0 ? at : "");
    return out;
}

void access_over(const struct access_who *who, const char *model, const struct router_over *over)
{
    const struct wire_ledger *ledger = &over->ledger;
    const bool is_done = over->code == STATUS_DONE, is_http = strcmp(who->door, "http") == 0;
    char path[WIRE_NAME_MAX + 1], prefill[WIRE_NAME_MAX + 1], decode[WIRE_NAME_MAX + 1];

    if (!log_enabled(LOG_LEVEL_INFO))
        return;
    const struct log_field fields[] = {
        log_req(over->id.byte),
        log_str("label", who->label),
        log_str("key", who->key),
        log_str("door", who->door),
        log_str("api", who->api),
        is_http ? log_str("choice", over->label) : log_none(),
        who->trace[0] ? log_str("traceparent", who->trace) : log_none(),
        log_str("model", model),
        log_status(over->code),
        log_str(is_done ? "finish" : "why", over->reason),
        log_u64("prompt_tokens", ledger->prompt_tokens),
        log_u64("tokens", ledger->emitted_tokens),
        log_u64("sent", over->n_sent),
        log_u64("ttft_us", ledger->first_token_us),
        log_u64("total_us", ledger->total_us),
        log_u64("queue_us", ledger->router_queue_us),
        log_u64("prefill_queue_us", ledger->prefill_queue_us),
        log_u64("prefill_us", ledger->prefill_us),
        log_u64("transfer_us", ledger->transfer_us),
        log_u64("transfer_bytes", ledger->transfer_bytes),
        log_str("path",
                text_of(path, sizeof(path), ledger->transfer_path.at, ledger->transfer_path.len)),
        log_u64("decode_queue_us", ledger->decode_queue_us),
        log_u64("decode_us", ledger->decode_us),
        log_str("prefill", text_of(prefill, sizeof(prefill), ledger->prefill_node.at,
                                   ledger->prefill_node.len)),
        log_str("decode",
                text_of(decode, sizeof(decode), ledger->decode_node.at, ledger->decode_node.len)),
        log_u64("attempts", ledger->attempts),
    };
    _Static_assert(N_OF(fields) <= LOG_FIELDS_MAX, "all fields are written");

    write_line(NULL, fields, N_OF(fields));
}

void access_refused(const struct access_who *who, const char *model, enum status code,
                    const char *why)
{
    const struct log_field fields[] = {
        log_str("label", who->label), log_str("key", who->key), log_str("door", who->door),
        log_str("api", who->api),     log_str("model", model),  log_status(code),
        log_str("why", why),
    };

    write_line(&refused_site, fields, N_OF(fields));
}

void access_http(const char *peer, const struct http_request *req, const char *key, unsigned code)
{
    const struct http_span *header = req ? http_header_find(req, "x-request-id") : NULL;
    const struct http_span none = {"", 0}, label = header ? *header : none;
    char label_text[WIRE_NAME_MAX + 1], path[PATH_SHOWN + 1], method[17];
    const struct log_field fields[] = {
        log_str("label", text_of(label_text, sizeof(label_text), label.at, label.len)),
        log_str("key", key),
        log_str("door", "http"),
        log_str("peer", peer),
        req ? log_str("method", text_of(method, sizeof(method), req->method.at, req->method.len))
            : log_none(),
        req ? log_str("path", text_of(path, sizeof(path), req->path.at, req->path.len))
            : log_none(),
        log_u64("http", code),
    };

    write_line(code >= 400 ? &refused_site : NULL, fields, N_OF(fields));
}
