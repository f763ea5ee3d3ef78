/* Connections of the supervisor to the routers' doors for nodes. */
#include "cli/up_report.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "cli/allow.h"
#include "wire/bond.h"

#define REPORT_BYTES_MAX (256u << 10)

struct report_line {
    struct zsock *sock;
    uint32_t link; /* 0 while down */
    char server_key[KEYS_Z85_LEN + 1];
};

struct up_report {
    uint64_t incarnation;
    uint32_t numbers;
    struct keys own;
    size_t n_lines;
    struct report_line lines[BOND_ROUTERS_MAX];
};

static void on_up(void *ctx, uint32_t link)
{
    ((struct report_line *)ctx)->link = link;
}

static void on_down(void *ctx, uint32_t link)
{
    (void)link;
    ((struct report_line *)ctx)->link = 0;
}

static void on_message(void *ctx, uint32_t link, const void *bytes, size_t len)
{
    (void)ctx; /* routers have nothing to say to a supervisor */
    (void)link;
    (void)bytes;
    (void)len;
}

static enum status line_open(struct up_report *report, const struct fleet *fleet, struct loop *loop,
                             struct zctx *zctx, const struct fleet_node *router)
{
    struct report_line *line = &report->lines[report->n_lines];
    const bool has_keys = fleet->keys[0] != '\0';
    const struct zsock_cfg cfg = {.type = ZSOCK_DEALER,
                                  .name = "crash reports",
                                  .numbers = &report->numbers,
                                  .queue_max = 64,
                                  .bytes_max = REPORT_BYTES_MAX,
                                  .linger_ms = 200,
                                  .reconnect_ms = 50,
                                  .own = has_keys ? &report->own : NULL,
                                  .server_key = line->server_key};
    const struct zsock_handler handler = {
        .up = on_up, .down = on_down, .message = on_message, .ctx = line};
    char why[FLEET_WHY_MAX] = "";
    enum status status =
        has_keys ? allow_find(fleet, router->name, line->server_key, why) : STATUS_OK;

    if (status == STATUS_OK)
        status = zsock_open(zctx, &cfg, loop, &handler, &line->sock);
    if (status == STATUS_OK) {
        report->n_lines++;
        status = zsock_connect(line->sock, fleet_reach(router), why);
    }
    if (status != STATUS_OK)
        LOG_ERROR("up", "crashes cannot be told to a router", log_str("router", router->name),
                  log_str("why", why));
    return status;
}

enum status up_report_open(const struct fleet *fleet, struct loop *loop, struct zctx *zctx,
                           const char *name, struct up_report **out)
{
    struct up_report *report = mem_alloc_zero(1, sizeof(*report));
    char path[PATH_MAX + 80];
    char why[KEYS_WHY_MAX];
    enum status status = STATUS_OK;

    if (!report)
        return STATUS_NO_MEMORY;
    rand_entropy(&report->incarnation, sizeof(report->incarnation));
    report->incarnation |= 1;
    if (fleet->keys[0]) {
        snprintf(path, sizeof(path), "%s/%s.key", fleet->keys, name);
        status = keys_load(path, &report->own, why);
        if (status != STATUS_OK)
            LOG_ERROR("up", "no keys", log_str("why", why));
    }
    for (size_t i = 0; i < fleet->n_nodes && status == STATUS_OK; i++)
        if (fleet->nodes[i].role == OPTIONS_ROUTER)
            status = line_open(report, fleet, loop, zctx, &fleet->nodes[i]);
    if (status != STATUS_OK) {
        up_report_close(report);
        return status;
    }
    *out = report;
    return STATUS_OK;
}

void up_report_close(struct up_report *report)
{
    if (!report)
        return;
    for (size_t i = 0; i < report->n_lines; i++)
        zsock_close(report->lines[i].sock);
    keys_wipe(&report->own);
    mem_free(report);
}

void up_report_crash(struct up_report *report, const struct wire_crash *crash)
{
    struct wire_msg msg;
    size_t len = 0;
    uint8_t *bytes;

    wire_msg_init(&msg, WIRE_KIND_CRASH);
    msg.from = report->incarnation;
    msg.crash = *crash;
    bytes = mem_alloc(wire_msg_bound(&msg));
    if (!bytes || wire_msg_encode(&msg, bytes, wire_msg_bound(&msg), &len) != STATUS_OK) {
        mem_free(bytes);
        return;
    }
    for (size_t i = 0; i < report->n_lines; i++) {
        struct report_line *line = &report->lines[i];
        enum status status = STATUS_UNREACHABLE;

        if (line->link)
            status = zsock_send(line->sock, line->link, bytes, len);
        LOG_INFO("up", "a crash was told to a router", log_hex("incarnation", crash->incarnation),
                 log_u64("step", crash->step), log_u64("requests", crash->requests.n / 2),
                 log_status(status));
    }
    mem_free(bytes);
}
