/* The UCX mover's table of pairs and its order of progress. What a pair says to UCX is in
 * ucx_pair.c, how UCX is set up in ucx_context.c.
 *
 * Progress. Each worker has a descriptor; one epoll descriptor holds them all, so the loop sees one
 * source. A pair is active (progressed at every drain), resting (gave no progress, not yet armed)
 * or armed (in neither list; its descriptor tells when there is more). An action makes its pair
 * active, because posting may take away the announcement of input. The loop sleeps only when every
 * pair is armed. Armed descriptors stay readable until progress has taken what they announced, so
 * looking at them once in a while is enough and nothing is lost.
 *
 * I/O thread. */
#include "kvtransfer/ucx_mover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "base/handles.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/objpool.h"
#include "base/rand.h"
#include "kvtransfer/ucx_context.h"
#include "kvtransfer/ucx_pair.h"

#define SPARE_PAIRS 8u        /* slots for pairs that could not be opened, until they are closed */
#define DESCRIPTORS_REST 256u /* left for the rest of the process */
#define READY_AT_ONCE 64      /* descriptors looked at in one epoll_wait */
#define LOOK_EVERY 16u        /* drains between two looks while pairs are active */

struct kvt_ucx {
    struct ucx_shared shared;
    struct ucx_pair *pairs; /* [n_slots] */
    uint32_t n_slots;
    uint32_t peers_max;
    int epoll_fd;
    struct ucx_node active, resting; /* struct ucx_pair */
    uint32_t n_drains;               /* since the last look at the descriptors */
};

struct kvt_ucx_cfg kvt_ucx_cfg_default(void)
{
    return (struct kvt_ucx_cfg){
        .devices = "lo",
        .tls = "tcp",
        .local_tls = "posix,cma",
        .peers_max = 64,
        .posts_max = 4096,
        .offers_max = 4096,
    };
}

/* ---- create, destroy ---- */

/* Raises the soft limit of descriptors to what peers_max pairs need. */
static enum status descriptors_ensure(uint32_t peers_max, char *error)
{
    uint64_t need = (uint64_t)peers_max * KVT_UCX_DESCRIPTORS_EACH + DESCRIPTORS_REST;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need) {
        return STATUS_OK;
    }
    if (limit.rlim_max < need) {
        snprintf(
            error, KVT_UCX_ERROR_MAX,
            "kv.peers_max: %u pairs need %llu file descriptors (%u each and %u for the rest), "
            "the hard limit is %llu; raise it (ulimit -Hn, LimitNOFILE=) or lower kv.peers_max",
            peers_max, (unsigned long long)need, KVT_UCX_DESCRIPTORS_EACH, DESCRIPTORS_REST,
            (unsigned long long)limit.rlim_max);
        return STATUS_FULL;
    }
    limit.rlim_cur = need;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        snprintf(error, KVT_UCX_ERROR_MAX, "the limit of file descriptors cannot be raised to %llu",
                 (unsigned long long)need);
        return STATUS_FULL;
    }
    return STATUS_OK;
}

/* Everything but the contexts. */
static enum status tables_create(struct kvt_ucx *mover, const struct kvt_ucx_cfg *cfg)
{
    mover->peers_max = cfg->peers_max;
    mover->n_slots = cfg->peers_max + SPARE_PAIRS;
    mover->pairs = mem_alloc_zero(mover->n_slots, sizeof(*mover->pairs));
    if (mover->pairs == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct ucx_shared *shared = &mover->shared;
    enum status status =
        objpool_create("kv posts", sizeof(struct ucx_record), cfg->posts_max, &shared->posts);
    if (status == STATUS_OK) {
        status = objpool_create("kv offers", sizeof(struct ucx_record), cfg->offers_max,
                                &shared->offers);
    }
    if (status == STATUS_OK) {
        status = handles_create(cfg->offers_max, &shared->handles);
    }
    ucx_list_init(&shared->events);
    ucx_list_init(&mover->active);
    ucx_list_init(&mover->resting);
    return status;
}

static void tables_destroy(struct kvt_ucx *mover)
{
    handles_destroy(mover->shared.handles);
    objpool_destroy(mover->shared.offers);
    objpool_destroy(mover->shared.posts);
    mem_free(mover->pairs);
}

enum status kvt_ucx_create(const struct kvt_ucx_cfg *cfg, char *error, struct kvt_ucx **out)
{
    error[0] = '\0';
    enum status status = ucx_cfg_check(cfg, error);
    if (status == STATUS_OK) {
        status = descriptors_ensure(cfg->peers_max, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct kvt_ucx *mover = mem_alloc_zero(1, sizeof(*mover));
    if (mover == NULL) {
        snprintf(error, KVT_UCX_ERROR_MAX, "out of memory");
        return STATUS_NO_MEMORY;
    }
    status = tables_create(mover, cfg);
    if (status != STATUS_OK) {
        snprintf(error, KVT_UCX_ERROR_MAX, "the tables of the KV mover: %s", status_text(status));
        goto fail_tables;
    }
    mover->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (mover->epoll_fd < 0) {
        snprintf(error, KVT_UCX_ERROR_MAX, "no file descriptor is left for the KV mover");
        status = STATUS_IO;
        goto fail_tables;
    }
    ucx_process_setup();
    status = ucx_context_open(cfg, KVT_PATH_LOCAL, error, &mover->shared.ctx[KVT_PATH_LOCAL]);
    if (status != STATUS_OK) {
        goto fail_epoll;
    }
    status = ucx_context_open(cfg, KVT_PATH_NETWORK, error, &mover->shared.ctx[KVT_PATH_NETWORK]);
    if (status != STATUS_OK) {
        goto fail_local;
    }
    LOG_INFO("kv", "UCX is ready", log_str("devices", cfg->devices), log_str("tls", cfg->tls),
             log_str("local_tls", cfg->local_tls), log_u64("peers_max", cfg->peers_max),
             log_u64("bytes_max", (uint64_t)cfg->peers_max * KVT_UCX_BYTES_EACH),
             log_u64("descriptors_max", (uint64_t)cfg->peers_max * KVT_UCX_DESCRIPTORS_EACH));
    *out = mover;
    return STATUS_OK;

fail_local:
    ucp_cleanup(mover->shared.ctx[KVT_PATH_LOCAL]);
fail_epoll:
    close(mover->epoll_fd);
fail_tables:
    tables_destroy(mover);
    mem_free(mover);
    return status;
}

static void pair_close(struct kvt_ucx *mover, struct ucx_pair *pair);

void kvt_ucx_destroy(struct kvt_ucx *mover)
{
    if (mover == NULL) {
        return;
    }
    for (uint32_t i = 0; i < mover->n_slots; i++) {
        if (mover->pairs[i].used) {
            pair_close(mover, &mover->pairs[i]);
        }
    }
    ucp_cleanup(mover->shared.ctx[KVT_PATH_NETWORK]);
    ucp_cleanup(mover->shared.ctx[KVT_PATH_LOCAL]);
    close(mover->epoll_fd);
    tables_destroy(mover);
    mem_free(mover);
}

/* ---- pairs ---- */

static struct ucx_pair *pair_find(struct kvt_ucx *mover, uint32_t number)
{
    for (uint32_t i = 0; i < mover->n_slots; i++) {
        if (mover->pairs[i].used && mover->pairs[i].number == number) {
            return &mover->pairs[i];
        }
    }
    return NULL;
}

static void pair_make_active(struct kvt_ucx *mover, struct ucx_pair *pair)
{
    if (pair->worker != NULL) {
        ucx_list_remove(&pair->node);
        ucx_list_append(&mover->active, &pair->node);
    }
}

/* A pair that cannot be opened keeps its slot, so that its ERROR has a place, until it is closed.
 */
static void pair_open(struct kvt_ucx *mover, uint32_t number, enum kvt_path path)
{
    struct ucx_pair *pair = NULL;
    for (uint32_t i = 0; i < mover->n_slots && pair == NULL; i++) {
        pair = mover->pairs[i].used ? NULL : &mover->pairs[i];
    }
    CHECK_MSG(pair != NULL, "pairs that failed to open must be closed, too");
    memset(pair, 0, sizeof(*pair));
    pair->used = true;
    pair->shared = &mover->shared;
    pair->number = number;
    pair->path = path;
    pair->opened.pair = pair->failed.pair = pair;
    ucx_list_init(&pair->records);
    ucx_list_init(&pair->queue);
    mover->shared.counts.pairs++;
    enum status status =
        mover->shared.counts.pairs > mover->peers_max ? STATUS_FULL : ucx_pair_open(pair);
    struct epoll_event watch = {.events = EPOLLIN, .data.ptr = pair};
    if (status == STATUS_OK && epoll_ctl(mover->epoll_fd, EPOLL_CTL_ADD, pair->fd, &watch) != 0) {
        ucx_pair_close(pair);
        pair->closing = false;
        status = STATUS_IO;
    }
    if (status != STATUS_OK) {
        ucx_pair_fail(pair, status);
    }
    pair_make_active(mover, pair);
}

static void pair_close(struct kvt_ucx *mover, struct ucx_pair *pair)
{
    ucx_list_remove(&pair->node);
    if (pair->worker != NULL) {
        epoll_ctl(mover->epoll_fd, EPOLL_CTL_DEL, pair->fd, NULL);
    }
    ucx_pair_close(pair);
    pair->used = false;
    mover->shared.counts.pairs--;
}

/* ---- actions and events ---- */

static void act_offer(struct kvt_ucx *mover, struct ucx_pair *pair, const struct kvt_act *act)
{
    struct ucx_record *record = handles_find(mover->shared.handles, act->handle);
    CHECK_MSG(record != NULL, "an offer is fetched or released once");
    if (act->kind == KVT_ACT_FETCH) {
        ucx_pair_fetch(pair, record, act);
    } else {
        ucx_pair_release(pair, record);
    }
}

void kvt_ucx_act(struct kvt_ucx *mover, const struct kvt_act *act)
{
    struct ucx_pair *pair = pair_find(mover, act->pair);
    if (act->kind == KVT_ACT_OPEN) {
        CHECK_MSG(pair == NULL, "a pair's number is used once");
        pair_open(mover, act->pair, act->path);
        return;
    }
    if (pair == NULL) {
        return;
    }
    enum status status = STATUS_OK;
    switch (act->kind) {
    case KVT_ACT_OPEN:
        break;
    case KVT_ACT_CONNECT:
        status = ucx_pair_connect(pair, act->address, act->address_len);
        break;
    case KVT_ACT_CLOSE:
        pair_close(mover, pair);
        return;
    case KVT_ACT_POST:
        ucx_pair_post(pair, act);
        break;
    case KVT_ACT_FETCH:
    case KVT_ACT_RELEASE:
        act_offer(mover, pair, act);
        break;
    }
    if (status != STATUS_OK) {
        ucx_pair_fail(pair, status);
    }
    pair_make_active(mover, pair);
}

bool kvt_ucx_event_next(struct kvt_ucx *mover, struct kvt_event *out)
{
    if (ucx_list_is_empty(&mover->shared.events)) {
        return false;
    }
    struct ucx_event *event = (struct ucx_event *)mover->shared.events.next;
    struct ucx_record *record = event->record;
    ucx_list_remove(&event->node);
    memset(out, 0, sizeof(*out));
    out->kind = event->kind;
    out->pair = event->pair->number;
    out->status = event->status;
    if (event->kind == KVT_EVENT_OPENED) {
        out->address = (const uint8_t *)event->pair->address;
        out->address_len = event->pair->address_len;
        rand_entropy(out->secret, sizeof(out->secret));
    }
    if (record != NULL) {
        out->header = record->header;
        out->bytes = record->bytes;
        out->handle = record->handle;
        out->op = record->op;
        if (event->kind != KVT_EVENT_OFFERED) {
            ucx_record_give(record);
        }
    }
    return true;
}

/* ---- progress ---- */

/* Makes those pairs active whose descriptors are readable. */
static void look(struct kvt_ucx *mover)
{
    struct epoll_event ready[READY_AT_ONCE];
    int n = epoll_wait(mover->epoll_fd, ready, READY_AT_ONCE, 0);
    for (int i = 0; i < n; i++) {
        struct ucx_pair *pair = ready[i].data.ptr;
        pair_make_active(mover, pair);
    }
    mover->n_drains = 0;
}

bool kvt_ucx_drain(struct kvt_ucx *mover)
{
    if (ucx_list_is_empty(&mover->active) || ++mover->n_drains >= LOOK_EVERY) {
        look(mover);
    }
    bool any = false;
    while (!any && !ucx_list_is_empty(&mover->active)) {
        struct ucx_pair *pair = (struct ucx_pair *)mover->active.next;
        any = ucx_pair_progress(pair);
        ucx_list_remove(&pair->node);
        ucx_list_append(any ? &mover->active : &mover->resting, &pair->node);
    }
    return any || !ucx_list_is_empty(&mover->shared.events);
}

bool kvt_ucx_arm(struct kvt_ucx *mover)
{
    struct ucx_node *at = mover->resting.next;
    while (at != &mover->resting) {
        struct ucx_pair *pair = (struct ucx_pair *)at;
        at = at->next;
        ucs_status_t status = ucp_worker_arm(pair->worker);
        ucx_list_remove(&pair->node);
        if (status != UCS_OK) {
            ucx_list_append(&mover->active, &pair->node);
        }
        if (status != UCS_OK && status != UCS_ERR_BUSY) {
            ucx_pair_fail(pair, STATUS_IO);
        }
    }
    return ucx_list_is_empty(&mover->active) && ucx_list_is_empty(&mover->shared.events);
}

int kvt_ucx_fd(const struct kvt_ucx *mover)
{
    return mover->epoll_fd;
}

/* ---- looking ---- */

/* UCX prints an endpoint as text; lines like " lane[0]:  0:posix/memory.0 md[0] -> ..." name what
 * it uses. 1.13 has no other way to learn it. */
static void transport_parse(const char *print, char text[KVT_UCX_TRANSPORT_MAX])
{
    size_t len = 0;
    text[0] = '\0';
    for (const char *at = strstr(print, "lane["); at != NULL; at = strstr(at + 1, "lane[")) {
        const char *name = strstr(at, "]:");
        const char *end = strchr(at, '\n');
        name = name == NULL ? NULL : strchr(name + 2, ':');
        if (name == NULL || (end != NULL && name > end)) {
            continue;
        }
        size_t name_len = strcspn(++name, ". \n");
        int added = snprintf(text + len, KVT_UCX_TRANSPORT_MAX - len, "%s%.*s", len > 0 ? ", " : "",
                             (int)name_len, name);
        if (added < 0 || len + (size_t)added >= KVT_UCX_TRANSPORT_MAX) {
            return;
        }
        len += (size_t)added;
    }
}

enum status kvt_ucx_transport(struct kvt_ucx *mover, uint32_t number,
                              char text[KVT_UCX_TRANSPORT_MAX])
{
    struct ucx_pair *pair = pair_find(mover, number);
    if (pair == NULL || pair->ep == NULL) {
        return STATUS_NOT_FOUND;
    }
    char *print = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&print, &len);
    if (stream == NULL) {
        return STATUS_NO_MEMORY;
    }
    ucp_ep_print_info(pair->ep, stream);
    if (fclose(stream) != 0) {
        free(print);
        return STATUS_NO_MEMORY;
    }
    transport_parse(print, text);
    free(print); /* from libc, not from our heap */
    return STATUS_OK;
}

void kvt_ucx_counts(const struct kvt_ucx *mover, struct kvt_ucx_counts *out)
{
    *out = mover->shared.counts;
    out->posts = objpool_used(mover->shared.posts);
    out->offers = objpool_used(mover->shared.offers) - out->fetches;
}
