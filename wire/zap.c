/* The allow-list and the ZAP 1.0 handler in front of it. The list is an array sorted by key and
 * domain, at most ZAP_KEYS_MAX long; it changes seldom and is searched at each handshake. */
#include "wire/zap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/log.h"
#include "base/mem.h"

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_FRAMES 7      /* version, request, domain, address, identity, mechanism, credentials */
#define ZAP_FRAME_MAX 255 /* what is kept of one */
#define LINE_BYTES_MAX 512

struct allowed {
    char key[KEYS_Z85_LEN + 1];
    char domain[ZAP_DOMAIN_MAX + 1];
    char name[ZAP_NAME_MAX + 1];
};

struct zap {
    struct zctx *ctx;
    void *handle;
    struct loop_source *source;
    struct allowed *list; /* [capacity], sorted, n used */
    size_t n;
    size_t capacity;
    uint64_t n_allowed;
    uint64_t n_denied;
};

/* ---- the list ------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const struct allowed *left = a, *right = b;
    int order = strcmp(left->key, right->key);
    return order ? order : strcmp(left->domain, right->domain);
}

static const struct allowed *find(const struct zap *zap, const char *domain, const char *key)
{
    struct allowed wanted = {.name = ""};
    snprintf(wanted.key, sizeof(wanted.key), "%s", key);
    snprintf(wanted.domain, sizeof(wanted.domain), "%s", domain);
    return zap->n == 0 ? NULL : bsearch(&wanted, zap->list, zap->n, sizeof(wanted), compare);
}

/* Puts one behind the others, unsorted. */
static enum status append(struct zap *zap, const char *domain, const char *name, const char *key)
{
    if (!keys_valid(key) || domain[0] == '\0' || strlen(domain) > ZAP_DOMAIN_MAX ||
        strlen(name) > ZAP_NAME_MAX) {
        return STATUS_INVALID;
    }
    if (zap->n == ZAP_KEYS_MAX) {
        return STATUS_TOO_BIG;
    }
    if (zap->n == zap->capacity) {
        size_t capacity = zap->capacity ? 2 * zap->capacity : 16;
        struct allowed *list = mem_realloc(zap->list, capacity * sizeof(*list));
        if (!list) {
            return STATUS_NO_MEMORY;
        }
        zap->list = list;
        zap->capacity = capacity;
    }
    struct allowed *entry = &zap->list[zap->n++];
    snprintf(entry->key, sizeof(entry->key), "%s", key);
    snprintf(entry->domain, sizeof(entry->domain), "%s", domain);
    snprintf(entry->name, sizeof(entry->name), "%s", name);
    return STATUS_OK;
}

static void sort(struct zap *zap)
{
    if (zap->n > 0) {
        qsort(zap->list, zap->n, sizeof(*zap->list), compare);
    }
}

enum status zap_allow(struct zap *zap, const char *domain, const char *name, const char *public_key)
{
    if (find(zap, domain, public_key)) {
        return STATUS_EXISTS;
    }
    enum status status = append(zap, domain, name, public_key);
    if (status == STATUS_OK) {
        sort(zap);
    }
    return status;
}

static enum status explain(enum status status, const char *path, size_t line, const char *text,
                           char *why)
{
    snprintf(why, KEYS_WHY_MAX, "%.*s:%zu: %s", KEYS_WHY_MAX / 2, path, line, text);
    return status;
}

/* One line; the file's own entries are not yet sorted in, so doubles are found by the caller. */
static enum status take_line(struct zap *zap, const char *path, size_t number, char *line,
                             char *why)
{
    char *rest = NULL;
    const char *domain = strtok_r(line, " \t\r\n", &rest);
    if (!domain || domain[0] == '#') { /* only whole lines: '#' is also a letter of Z85 */
        return STATUS_OK;
    }
    const char *name = strtok_r(NULL, " \t\r\n", &rest);
    const char *key = strtok_r(NULL, " \t\r\n", &rest);
    if (!name || !key || strtok_r(NULL, " \t\r\n", &rest)) {
        return explain(STATUS_MALFORMED, path, number, "expected `domain name key`", why);
    }
    enum status status = append(zap, domain, name, key);
    switch (status) {
    case STATUS_OK:
        return STATUS_OK;
    case STATUS_INVALID:
        return explain(STATUS_MALFORMED, path, number,
                       "expected a domain and a name of few letters and a public key in Z85 (40 "
                       "characters)",
                       why);
    default:
        return explain(status, path, number, status_text(status), why);
    }
}

static enum status take_file(struct zap *zap, FILE *file, const char *path, char *why)
{
    char line[LINE_BYTES_MAX];
    enum status status = STATUS_OK;
    for (size_t number = 1; status == STATUS_OK && fgets(line, sizeof(line), file); number++) {
        if (!strchr(line, '\n') && !feof(file)) {
            return explain(STATUS_MALFORMED, path, number, "the line is too long", why);
        }
        status = take_line(zap, path, number, line, why);
    }
    if (status == STATUS_OK && ferror(file)) {
        status = explain(STATUS_IO, path, 0, "cannot read", why);
    }
    return status;
}

enum status zap_load(struct zap *zap, const char *path, char why[KEYS_WHY_MAX])
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return explain(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, path, 0, strerror(errno),
                       why);
    }
    struct zap next = *zap;
    next.list = NULL;
    next.n = next.capacity = 0;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < zap->n && status == STATUS_OK; i++) {
        const struct allowed *old = &zap->list[i];
        status = append(&next, old->domain, old->name, old->key);
    }
    status = status == STATUS_OK ? take_file(&next, file, path, why) : status;
    fclose(file);
    sort(&next);
    for (size_t i = 1; i < next.n && status == STATUS_OK; i++) {
        if (compare(&next.list[i - 1], &next.list[i]) == 0) {
            status = explain(STATUS_EXISTS, path, 0, "a key is there twice for one domain", why);
        }
    }
    if (status != STATUS_OK) {
        mem_free(next.list);
        return status;
    }
    mem_free(zap->list);
    *zap = next;
    return STATUS_OK;
}

/* ---- the handler ---------------------------------------------------------------------------- */

struct frame {
    size_t len; /* of the whole frame, also where less is kept */
    char bytes[ZAP_FRAME_MAX + 1];
};

/* Reads one request of any number of frames; false if there is none. */
static bool read_frames(struct zap *zap, struct frame frames[ZAP_FRAMES], size_t *n_out)
{
    int more = 1;
    size_t n = 0;
    for (; more; n++) {
        struct frame extra;
        struct frame *frame = n < ZAP_FRAMES ? &frames[n] : &extra;
        int len = zmq_recv(zap->handle, frame->bytes, ZAP_FRAME_MAX, ZMQ_DONTWAIT);
        if (len < 0) {
            return false;
        }
        frame->len = (size_t)len;
        frame->bytes[frame->len < ZAP_FRAME_MAX ? frame->len : ZAP_FRAME_MAX] = '\0';
        size_t size = sizeof(more);
        if (zmq_getsockopt(zap->handle, ZMQ_RCVMORE, &more, &size) != 0) {
            return false;
        }
    }
    *n_out = n;
    return true;
}

static bool is_text(const struct frame *frame, const char *text)
{
    return frame->len == strlen(text) && memcmp(frame->bytes, text, frame->len) == 0;
}

/* NULL and *key_out is the peer's key, or why it is denied. */
static const char *judge(const struct zap *zap, const struct frame *frames, size_t n,
                         char key[KEYS_Z85_LEN + 1])
{
    key[0] = '\0';
    if (n != ZAP_FRAMES || !is_text(&frames[0], "1.0")) {
        return "it does not use CURVE";
    }
    if (!is_text(&frames[5], "CURVE") || frames[6].len != 32) {
        return "it does not use CURVE";
    }
    if (!zmq_z85_encode(key, (const uint8_t *)frames[6].bytes, 32)) {
        return "its key cannot be read";
    }
    if (frames[2].len > ZAP_DOMAIN_MAX || !find(zap, frames[2].bytes, key)) {
        return "its public key is not on the allow-list of this domain";
    }
    return NULL;
}

static void answer(struct zap *zap, const struct frame *request, bool allowed, const char *key)
{
    const char *code = allowed ? "200" : "400";
    const char *text = allowed ? "OK" : "not allowed";
    const char *user = allowed ? key : "";
    size_t request_len = request->len < ZAP_FRAME_MAX ? request->len : ZAP_FRAME_MAX;
    int more = ZMQ_SNDMORE | ZMQ_DONTWAIT;
    bool sent = zmq_send(zap->handle, "1.0", 3, more) >= 0 &&
                zmq_send(zap->handle, request->bytes, request_len, more) >= 0 &&
                zmq_send(zap->handle, code, 3, more) >= 0 &&
                zmq_send(zap->handle, text, strlen(text), more) >= 0 &&
                zmq_send(zap->handle, user, strlen(user), more) >= 0 &&
                zmq_send(zap->handle, "", 0, ZMQ_DONTWAIT) >= 0;
    if (!sent) {
        LOG_WARN("zap", "cannot answer", log_str("error", zmq_strerror(zmq_errno())));
    }
    loop_touch(zap->source);
}

static bool zap_drain(void *ctx)
{
    struct zap *zap = ctx;
    struct frame frames[ZAP_FRAMES] = {{.len = 0}};
    char key[KEYS_Z85_LEN + 1];
    size_t n = 0;
    if (!read_frames(zap, frames, &n)) {
        return false;
    }
    const char *denied = judge(zap, frames, n, key);
    if (denied) {
        zap->n_denied++;
        LOG_WARN("zap", "denied a connection", log_str("why", denied),
                 log_str("domain", frames[2].bytes), log_str("address", frames[3].bytes),
                 log_str("public_key", key));
    } else {
        zap->n_allowed++;
        LOG_DEBUG("zap", "allowed a connection", log_str("domain", frames[2].bytes),
                  log_str("name", find(zap, frames[2].bytes, key)->name),
                  log_str("address", frames[3].bytes));
    }
    answer(zap, &frames[1], !denied, key);
    return true;
}

static bool zap_arm(void *ctx)
{
    struct zap *zap = ctx;
    int events = 0;
    size_t len = sizeof(events);
    return zmq_getsockopt(zap->handle, ZMQ_EVENTS, &events, &len) != 0 || !(events & ZMQ_POLLIN);
}

enum status zap_open(struct zctx *ctx, struct loop *loop, struct zap **out)
{
    struct zap *zap = mem_alloc_zero(1, sizeof(*zap));
    if (!zap) {
        return STATUS_NO_MEMORY;
    }
    int none = 0, fd = -1;
    size_t len = sizeof(fd);
    zap->ctx = ctx;
    zap->handle = zmq_socket(zctx_handle(ctx), ZMQ_REP);
    enum status status = STATUS_IO;
    if (zap->handle && zmq_setsockopt(zap->handle, ZMQ_LINGER, &none, sizeof(none)) == 0 &&
        zmq_bind(zap->handle, ZAP_ENDPOINT) == 0 &&
        zmq_getsockopt(zap->handle, ZMQ_FD, &fd, &len) == 0) {
        const struct loop_source_desc desc = {
            .name = "zap", .fd = fd, .drain = zap_drain, .arm = zap_arm, .ctx = zap};
        status = loop_source_add(loop, &desc, &zap->source);
    } else {
        LOG_ERROR("zap", "cannot serve", log_str("error", zmq_strerror(zmq_errno())));
    }
    if (status != STATUS_OK) {
        zap_close(zap);
        return status;
    }
    zctx_guarded_set(ctx, true);
    *out = zap;
    return STATUS_OK;
}

void zap_close(struct zap *zap)
{
    if (!zap) {
        return;
    }
    if (zap->source) { /* else the list in this context is another one */
        zctx_guarded_set(zap->ctx, false);
    }
    loop_source_remove(zap->source);
    if (zap->handle) {
        zmq_close(zap->handle);
    }
    mem_free(zap->list);
    mem_free(zap);
}

size_t zap_n_keys(const struct zap *zap)
{
    return zap->n;
}

uint64_t zap_n_allowed(const struct zap *zap)
{
    return zap->n_allowed;
}

uint64_t zap_n_denied(const struct zap *zap)
{
    return zap->n_denied;
}
