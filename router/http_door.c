/* Routes, keys, and the table of calls. */
#include "router/http_door.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "model/tokenizer.h"
#include "router/access.h"
#include "router/http_call.h"
#include "router/http_page.h"
#include "router/meters.h"
#include "router/openai_info.h"

#define DOOR_UNSENT_MAX ((size_t)256 << 10)
#define DOOR_HEAD_MS 10000u
#define DOOR_BODY_MS 60000u
#define DOOR_IDLE_MS 75000u
#define DOOR_STALLED_MS 30000u
#define DOOR_RETRY_S 2u                    /* a node that died is back */
#define DOOR_EVENT_MAX ((size_t)8 << 20)   /* one event of a stream */
#define DOOR_SCRATCH_MAX ((size_t)8 << 20) /* what is made of one message */
#define DOOR_INFO_MAX ((size_t)64 << 10)

#define JSON_TYPE "application/json"
#define TEXT_TYPE "text/plain; charset=utf-8"
#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* ---- small answers ---- */

static void answer(struct http_conn *conn, const char *type, const char *text)
{
    http_reply(conn, 200, type, "", text, strlen(text));
}

/* req NULL: it could not be read. */
__attribute__((format(printf, 5, 6))) static void refuse(struct http_conn *conn,
                                                         const struct http_request *req, int http,
                                                         const char *code, const char *format, ...)
{
    struct openai_error error;
    char text[WIRE_ERROR_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    openai_error_set(&error, http, code, NULL, "%s", text);
    call_refuse(conn, &error, req ? call_label(req) : (struct wire_span){"", 0});
}

static void get_health(struct http_door *door, struct http_conn *conn,
                       const struct http_request *req)
{
    (void)door;
    (void)req;
    answer(conn, TEXT_TYPE, "");
}

/* Not ready is an answer like any other, for who looks after the fleet and for who would ask it
 * something: 503, why, and when to try again. The core would let a request wait without a word. */
static bool is_ready(struct http_door *door, struct http_conn *conn, const struct http_request *req)
{
    struct openai_error error;

    if (router_ready(door->core))
        return true;
    openai_error_set(
        &error, 503, "not_ready", NULL,
        "no prefill and decode node are ready to serve: they are starting or stopping; "
        "see the router's log");
    error.retry_s = DOOR_RETRY_S;
    call_refuse(conn, &error, call_label(req));
    return false;
}

static void get_ready(struct http_door *door, struct http_conn *conn,
                      const struct http_request *req)
{
    if (is_ready(door, conn, req))
        answer(conn, TEXT_TYPE, "ready\n");
}

static void reply_buf(struct http_conn *conn, enum status status, struct buf *body)
{
    if (status == STATUS_OK)
        http_reply(conn, 200, JSON_TYPE, "", buf_data(body), buf_len(body));
    else
        refuse(conn, NULL, 500, "internal_error", "%s", status_text(status));
    buf_fini(body);
}

static void get_version(struct http_door *door, struct http_conn *conn,
                        const struct http_request *req)
{
    struct buf body;

    (void)req;
    buf_init(&body, DOOR_INFO_MAX);
    reply_buf(conn, openai_info_version(door->cfg.version, &body), &body);
}

static struct openai_model model_of(const struct http_door *door)
{
    return (struct openai_model){.name = wire_span_of(door->cfg.model),
                                 .root = wire_span_of(door->cfg.root),
                                 .created = door->started_unix_s,
                                 .max_model_len = router_len_limit(door->core)};
}

static void get_models(struct http_door *door, struct http_conn *conn,
                       const struct http_request *req)
{
    const struct openai_model model = model_of(door);
    struct buf body;

    if (!is_ready(door, conn, req))
        return;
    buf_init(&body, DOOR_INFO_MAX);
    reply_buf(conn, openai_info_models(&model, 1, &body), &body);
}

static void get_model(struct http_door *door, struct http_conn *conn,
                      const struct http_request *req)
{
    const struct openai_model model = model_of(door);
    const size_t skip = strlen("/v1/models/");
    const struct http_span name = {req->path.at + skip, req->path.len - skip};
    struct buf body;

    if (!http_span_is(name, door->cfg.model)) {
        refuse(conn, req, 404, "model_not_found", "model '%.*s' is not served here, '%s' is",
               (int)(name.len < 100 ? name.len : 100), name.at, door->cfg.model);
        return;
    }
    if (!is_ready(door, conn, req))
        return;
    buf_init(&body, DOOR_INFO_MAX);
    reply_buf(conn, openai_info_model(&model, &body), &body);
}

static void get_metrics(struct http_door *door, struct http_conn *conn,
                        const struct http_request *req)
{
    struct http_server_counts counts;
    struct buf body;
    enum status status;

    http_server_counts(door->server, &counts);
    buf_init(&body, METERS_TEXT_MAX);
    status = meters_print(door->cfg.meters, door->core, &counts, &body);
    if (status == STATUS_OK)
        http_reply(conn, 200, METRICS_TYPE, "", buf_data(&body), buf_len(&body));
    else
        refuse(conn, req, 500, "internal_error", "%s", status_text(status));
    buf_fini(&body);
}

/* ---- calls ---- */

static void post_completions(struct http_door *door, struct http_conn *conn,
                             const struct http_request *req)
{
    if (is_ready(door, conn, req))
        call_begin(door, conn, req, OPENAI_COMPLETIONS);
}

static void post_chat(struct http_door *door, struct http_conn *conn,
                      const struct http_request *req)
{
    if (is_ready(door, conn, req))
        call_begin(door, conn, req, OPENAI_CHAT);
}

static void post_tokenize(struct http_door *door, struct http_conn *conn,
                          const struct http_request *req)
{
    call_begin(door, conn, req, OPENAI_TOKENIZE);
}

static void post_detokenize(struct http_door *door, struct http_conn *conn,
                            const struct http_request *req)
{
    call_begin(door, conn, req, OPENAI_DETOKENIZE);
}

/* ---- keys ---- */

/* Takes the same time whatever the guess was. */
static bool key_equal(const char *key, struct http_span guess)
{
    const size_t len = strlen(key);
    unsigned differ = (unsigned)(len ^ guess.len);

    for (size_t i = 0; i < guess.len && i < HTTP_KEY_MAX; i++)
        differ |=
            (unsigned)((unsigned char)key[len > 0 ? i % len : 0] ^ (unsigned char)guess.at[i]);
    return differ == 0;
}

/* *key_out: which key it is, counted from 1; 0: none. */
static bool may_ask(const struct http_door *door, const struct http_request *req, uint32_t *key_out)
{
    const struct http_span *header = http_header_find(req, "authorization");
    const size_t skip = strlen("bearer ");
    struct http_span guess = {"", 0};
    uint32_t key = 0;

    if (header && header->len > skip &&
        http_span_is_word((struct http_span){header->at, skip}, "bearer "))
        guess = (struct http_span){header->at + skip, header->len - skip};
    for (size_t i = 0; i < door->cfg.n_keys; i++)
        if (key_equal(door->cfg.keys[i].key, guess))
            key = (uint32_t)i + 1;
    *key_out = key;
    return key > 0 || door->cfg.n_keys == 0;
}

static const char *key_name(const struct http_door *door, uint32_t tag)
{
    return TAG_KEY(tag) > 0 ? door->cfg.keys[TAG_KEY(tag) - 1].name : "";
}

/* ---- routes ---- */

typedef void (*route_fn)(struct http_door *door, struct http_conn *conn,
                         const struct http_request *req);

struct route {
    const char *method;
    const char *path; /* one that ends in '/' is the beginning of many, but "/" */
    bool open;        /* needs no key */
    route_fn fn;
};

static const struct route routes[] = {
    {"GET", "/health", true, get_health},
    {"GET", "/livez", true, get_health},
    {"GET", "/readyz", true, get_ready},
    {"GET", "/version", true, get_version},
    {"GET", "/", true, page_get_file},
    {"GET", "/page.css", true, page_get_file},
    {"GET", "/page.js", true, page_get_file},
    {"GET", "/chat.js", true, page_get_file},
    {"GET", "/fleet.json", false, page_get_fleet},
    {"GET", "/metrics", true, get_metrics},
    {"GET", "/v1/models", false, get_models},
    {"GET", "/v1/models/", false, get_model},
    {"POST", "/v1/completions", false, post_completions},
    {"POST", "/v1/chat/completions", false, post_chat},
    {"POST", "/tokenize", false, post_tokenize},
    {"POST", "/detokenize", false, post_detokenize},
};

static bool matches(const struct route *route, struct http_span path)
{
    const size_t len = strlen(route->path);

    if (len > 1 && route->path[len - 1] == '/')
        return path.len > len && memcmp(path.at, route->path, len) == 0;
    return http_span_is(path, route->path);
}

static bool method_fits(const struct route *route, const struct http_request *req)
{
    return http_span_is(req->method, route->method) ||
           (req->head && strcmp(route->method, "GET") == 0);
}

static void on_request(void *ctx, struct http_conn *conn, const struct http_request *req)
{
    struct http_door *door = ctx;
    const struct route *found = NULL;
    uint32_t key = 0;
    bool may;

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!matches(&routes[i], req->path))
            continue;
        found = &routes[i];
        if (method_fits(found, req))
            break;
    }
    may = may_ask(door, req, &key);
    http_conn_set_tag(conn, TAG_OF(found ? (uint32_t)(found - routes) + 1 : 0, key));
    if (!found)
        refuse(conn, req, 404, "not_found",
               "there is nothing at %.*s; OpenAI's API is at /v1/models, /v1/chat/completions and "
               "/v1/completions",
               (int)(req->path.len < 200 ? req->path.len : 200), req->path.at);
    else if (!method_fits(found, req))
        refuse(conn, req, 405, "method_not_allowed", "%s takes %s only", found->path,
               found->method);
    else if (!found->open && !may)
        refuse(conn, req, 401, "invalid_api_key",
               "the API key is missing or wrong: send the header Authorization: Bearer KEY");
    else
        found->fn(door, conn, req);
}

static void on_refused(void *ctx, struct http_conn *conn, unsigned code, const char *why)
{
    (void)ctx;
    refuse(conn, NULL, (int)code, "invalid_request", "%s", why);
}

static void on_gone(void *ctx, struct http_conn *conn, const char *why)
{
    struct call *call = http_conn_user(conn);

    (void)ctx;
    LOG_DEBUG("http", "a client is gone", log_str("peer", http_conn_peer(conn)),
              log_str("why", why));
    if (call)
        call_gone(call);
}

/* A line for what the core does not tell of; who looks after the fleet all the time is no request.
 */
static void on_answered(void *ctx, struct http_conn *conn, const struct http_request *req,
                        unsigned code)
{
    const struct http_door *door = ctx;
    const uint32_t tag = http_conn_tag(conn);
    const struct route *route = TAG_ROUTE(tag) > 0 ? &routes[TAG_ROUTE(tag) - 1] : NULL;
    const bool is_post = route && strcmp(route->method, "POST") == 0;

    meters_answered(door->cfg.meters, route ? route->path : "none", code, (size_t)TAG_KEY(tag) - 1);
    if (door->cfg.access_log && !(tag & TAG_CORE) && (is_post || code >= 400))
        access_http(http_conn_peer(conn), req, key_name(door, tag), code);
}

/* ---- the core's messages ---- */

static struct call *find(const struct http_door *door, uint32_t link)
{
    const struct idmap_key key = idmap_key((uint8_t[16]){0}, link);
    uint32_t idx;

    return idmap_find(door->links, &key, &idx) == STATUS_OK ? door->calls[idx] : NULL;
}

bool http_door_who(const struct http_door *door, uint32_t link, struct access_who *out,
                   size_t *key_out)
{
    const struct call *call = find(door, link);

    if (!call)
        return false;
    out->door = "http";
    out->api = call->api == OPENAI_CHAT ? "chat" : "completions";
    out->key = key_name(door, call->tag);
    snprintf(out->text, sizeof(out->text), "%.*s", (int)call->label.len, call->label.at);
    out->label = out->text;
    out->trace = call->trace;
    *key_out = (size_t)TAG_KEY(call->tag) - 1;
    return true;
}

bool http_door_take(struct http_door *door, uint32_t link, const void *bytes, size_t len)
{
    struct call *call = find(door, link);
    const char *why = "";
    struct wire_msg msg;

    if (!call)
        return false;
    arena_reset(door->message);
    CHECK(wire_msg_decode(bytes, len, door->message, &msg, &why) == STATUS_OK);
    call_take(call, &msg);
    return true;
}

/* ---- life ---- */

static enum status create_parts(struct http_door *door)
{
    const struct http_door_cfg *cfg = &door->cfg;
    enum status status;
    uint64_t hash_key[2];

    rand_entropy(hash_key, sizeof(hash_key));
    door->calls_cap = 2 * cfg->conns_max; /* those whose client has left included */
    door->calls = mem_alloc_zero(door->calls_cap, sizeof(struct call *));
    door->free_calls = mem_alloc_zero(door->calls_cap, sizeof(*door->free_calls));
    if (!door->calls || !door->free_calls)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < door->calls_cap; i++)
        door->free_calls[door->n_free_calls++] = i;
    if ((status = idmap_create(door->calls_cap, hash_key, &door->links)) != STATUS_OK ||
        (status = tokenizer_workspace_create(cfg->reader->tok, &door->work)) != STATUS_OK ||
        (status = detokenizer_create(cfg->reader->tok, false, &door->clerk_detok)) != STATUS_OK ||
        (status = detokenizer_create(cfg->reader->tok, false, &door->detok)) != STATUS_OK ||
        (status = arena_create(CALL_ARENA_CHUNK, DOOR_SCRATCH_MAX, &door->scratch)) != STATUS_OK)
        return status;
    return arena_create(CALL_ARENA_CHUNK, DOOR_SCRATCH_MAX, &door->message);
}

enum status http_door_open(const struct http_door_cfg *cfg, struct loop *loop, struct router *core,
                           struct clerk *clerk, struct http_door **out, char why[HTTP_WHY_MAX])
{
    const struct http_server_cfg server = {.address = cfg->address,
                                           .body_max = OPENAI_BODY_MAX,
                                           .conns_max = cfg->conns_max,
                                           .unsent_max = DOOR_UNSENT_MAX,
                                           .head_ms = DOOR_HEAD_MS,
                                           .body_ms = DOOR_BODY_MS,
                                           .idle_ms = DOOR_IDLE_MS,
                                           .stalled_ms = DOOR_STALLED_MS};
    struct http_door *door = mem_alloc_zero(1, sizeof(*door));
    const struct http_handler handler = {.request = on_request,
                                         .refused = on_refused,
                                         .gone = on_gone,
                                         .answered = on_answered,
                                         .ctx = door};
    enum status status;

    strcpy(why, "out of memory");
    if (!door)
        return STATUS_NO_MEMORY;
    door->cfg = *cfg;
    door->loop = loop;
    door->core = core;
    door->clerk = clerk;
    door->started_unix_s = (int64_t)(loop_now_ns(loop) / NS_PER_S) + cfg->unix_offset_s;
    buf_init(&door->out, DOOR_EVENT_MAX);
    status = create_parts(door);
    if (status == STATUS_OK)
        status = http_server_open(&server, loop, &handler, &door->server, why);
    if (status != STATUS_OK) {
        http_door_close(door);
        return status;
    }
    *out = door;
    return STATUS_OK;
}

void http_door_close(struct http_door *door)
{
    if (!door)
        return;
    http_server_close(door->server);
    for (uint32_t i = 0; door->calls && i < door->calls_cap; i++)
        if (door->calls[i])
            call_free(door->calls[i]);
    buf_fini(&door->out);
    arena_destroy(door->message);
    arena_destroy(door->scratch);
    detokenizer_destroy(door->detok);
    detokenizer_destroy(door->clerk_detok);
    tokenizer_workspace_destroy(door->work);
    idmap_destroy(door->links);
    mem_free(door->free_calls);
    mem_free(door->calls);
    mem_free(door);
}

const char *http_door_endpoint(const struct http_door *door)
{
    return http_server_endpoint(door->server);
}

void http_door_drain(struct http_door *door)
{
    http_server_drain(door->server);
}

bool http_door_busy(const struct http_door *door)
{
    struct http_server_counts counts;

    http_server_counts(door->server, &counts);
    return door->n_reading > 0 || idmap_count(door->links) > 0 || counts.open > 0;
}
