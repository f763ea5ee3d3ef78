/* The conversation with UCX about one pair.
 *
 * The fence (ucx_pair_close) is more than destroying the worker: UCX 1.13.1 asserts, and so aborts
 * the process, when a worker is destroyed while a fetch is under way. On the network a forced close
 * of the endpoint cancels all of them at once; a few rounds of progress must follow, because a
 * worker destroyed in the middle of such a close crashes (ucs_callbackq_remove_if). Shared memory
 * has no forced close (it needs the peer error mode, which has no shared memory), but there a fetch
 * needs nothing from the peer: the kernel copies out of its memory, be it frozen (that works) or
 * dead (that fails at once). So close lets the few fetches finish that were given to UCX, at most
 * KVT_UCX_LOCAL_WINDOW bytes; the others wait in our own queue and are simply dropped. Without CMA
 * the sender's bytes come through shared memory and a frozen sender sends none; those fetches UCX
 * does cancel in ucp_worker_destroy.
 *
 * A fetch is only accepted from the endpoint that the protocol connected: an offer that came over
 * another connection could not be cancelled that way, and has no business here.
 *
 * I/O thread. UCX's callbacks run inside ucx_pair_progress and ucx_pair_close, on this thread. */
#include "kvtransfer/ucx_pair.h"

#include <string.h>

#include "base/check.h"
#include "base/handles.h"
#include "base/log.h"
#include "base/objpool.h"

#define AM_ID 1u
#define CLOSE_ROUNDS 64u /* of progress after a forced close */

/* ---- lists ---- */

void ucx_list_init(struct ucx_node *head)
{
    head->prev = head->next = head;
}

bool ucx_list_is_empty(const struct ucx_node *head)
{
    return head->next == head;
}

void ucx_list_append(struct ucx_node *head, struct ucx_node *node)
{
    CHECK(node->next == NULL);
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

void ucx_list_remove(struct ucx_node *node)
{
    if (node->next != NULL) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        node->prev = node->next = NULL;
    }
}

/* ---- records and events ---- */

static struct ucx_record *record_take(struct ucx_pair *pair, struct objpool *pool,
                                      enum ucx_record_kind kind)
{
    struct ucx_record *record = objpool_take(pool);
    if (record != NULL) {
        memset(record, 0, sizeof(*record));
        record->kind = kind;
        record->event.pair = pair;
        record->event.record = record;
        ucx_list_append(&pair->records, &record->node);
    }
    return record;
}

void ucx_record_give(struct ucx_record *record)
{
    struct ucx_shared *shared = record->event.pair->shared;
    ucx_list_remove(&record->node);
    ucx_list_remove(&record->event.node);
    if (record->kind == UCX_POST) {
        objpool_give(shared->posts, record);
    } else {
        CHECK(handles_remove(shared->handles, record->handle) == record);
        shared->counts.fetches -= record->kind == UCX_OFFER ? 0 : 1;
        objpool_give(shared->offers, record);
    }
}

static void event_append(struct ucx_shared *shared, struct ucx_event *event,
                         enum kvt_event_kind kind, enum status status)
{
    event->kind = kind;
    event->status = status;
    ucx_list_append(&shared->events, &event->node);
}

void ucx_pair_fail(struct ucx_pair *pair, enum status status)
{
    if (!pair->closing && pair->failed.status == STATUS_OK) {
        event_append(pair->shared, &pair->failed, KVT_EVENT_ERROR, status);
    }
}

static enum status status_of(ucs_status_t status)
{
    switch (status) {
    case UCS_OK:
        return STATUS_OK;
    case UCS_ERR_NO_MEMORY:
        return STATUS_NO_MEMORY;
    case UCS_ERR_UNREACHABLE:
        return STATUS_UNREACHABLE;
    case UCS_ERR_CANCELED:
        return STATUS_CANCELLED;
    default:
        return STATUS_LOST;
    }
}

/* UCX is done with a post or a fetch. */
static void record_done(struct ucx_record *record, ucs_status_t result)
{
    struct ucx_pair *pair = record->event.pair;
    struct kvt_ucx_counts *counts = &pair->shared->counts;
    bool is_post = record->kind == UCX_POST;
    if (!is_post) {
        CHECK(record->kind == UCX_FETCH);
        record->kind = UCX_FETCHED;
        pair->window_bytes -= record->bytes;
    }
    if (result != UCS_OK) {
        counts->failures++;
    } else if (is_post) {
        counts->bytes_posted += record->bytes;
    } else {
        counts->bytes_fetched += record->bytes;
    }
    if (!pair->closing) {
        event_append(pair->shared, &record->event, is_post ? KVT_EVENT_POSTED : KVT_EVENT_FETCHED,
                     status_of(result));
    }
}

/* ---- UCX's callbacks ---- */

static void on_sent(void *request, ucs_status_t status, void *user_data)
{
    record_done(user_data, status);
    ucp_request_free(request);
}

static void on_received(void *request, ucs_status_t status, size_t length, void *user_data)
{
    struct ucx_record *record = user_data;
    if (status == UCS_OK && length != record->bytes) {
        status = UCS_ERR_MESSAGE_TRUNCATED;
    }
    record_done(record, status);
    ucp_request_free(request);
}

static void on_ep_error(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    struct ucx_pair *pair = arg;
    (void)ep;
    if (!pair->closing) {
        LOG_INFO("kv", "the connection of a pair broke", log_u64("pair", pair->number),
                 log_str("error", ucs_status_string(status)));
        ucx_pair_fail(pair, STATUS_LOST);
    }
}

/* Judges an active message; counts it and returns false if it has no business here. */
static bool offer_is_sound(struct ucx_pair *pair, size_t header_len, size_t bytes,
                           const ucp_am_recv_param_t *param)
{
    struct kvt_ucx_counts *counts = &pair->shared->counts;
    if ((param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0) {
        counts->bad_eager++;
    } else if (header_len != sizeof(struct kvt_header)) {
        counts->bad_header++;
    } else if (bytes == 0 || bytes > KVT_UCX_PIECE_BYTES_MAX) {
        counts->bad_size++;
    } else if ((param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP) == 0 || pair->ep == NULL ||
               param->reply_ep != pair->ep) {
        counts->bad_stranger++;
    } else {
        return true;
    }
    return false;
}

/* UCS_OK makes UCX drop the message and tell the sender that it is done with. */
static ucs_status_t on_message(void *arg, const void *header, size_t header_len, void *data,
                               size_t bytes, const ucp_am_recv_param_t *param)
{
    struct ucx_pair *pair = arg;
    struct ucx_shared *shared = pair->shared;
    if (pair->closing || !offer_is_sound(pair, header_len, bytes, param)) {
        return UCS_OK;
    }
    struct ucx_record *record = record_take(pair, shared->offers, UCX_OFFER);
    if (record == NULL) {
        shared->counts.overflows++;
        LOG_WARN("kv", "a peer offers more than this node has records for; its pair is closed",
                 log_u64("pair", pair->number));
        ucx_pair_fail(pair, STATUS_FULL);
        return UCS_OK;
    }
    memcpy(&record->header, header, sizeof(record->header));
    record->bytes = bytes;
    record->data = data;
    CHECK(handles_insert(shared->handles, record, &record->handle) == STATUS_OK);
    event_append(shared, &record->event, KVT_EVENT_OFFERED, STATUS_OK);
    return UCS_INPROGRESS;
}

/* ---- open, connect, close ---- */

enum status ucx_pair_open(struct ucx_pair *pair)
{
    ucp_worker_params_t params = {
        .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE | UCP_WORKER_PARAM_FIELD_FLAGS,
        .thread_mode = UCS_THREAD_MODE_SINGLE,
        .flags = UCP_WORKER_FLAG_IGNORE_REQUEST_LEAK,
    };
    ucp_am_handler_param_t handler = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                      UCP_AM_HANDLER_PARAM_FIELD_ARG,
        .id = AM_ID,
        .cb = on_message, /* not WHOLE_MSG: UCX would buffer what a stranger announces */
        .arg = pair,
    };
    ucp_worker_h worker;
    ucs_status_t result = ucp_worker_create(pair->shared->ctx[pair->path], &params, &worker);
    if (result != UCS_OK) {
        goto fail;
    }
    result = ucp_worker_set_am_recv_handler(worker, &handler);
    if (result != UCS_OK) {
        goto fail_worker;
    }
    result = ucp_worker_get_efd(worker, &pair->fd);
    if (result != UCS_OK) {
        goto fail_worker;
    }
    result = ucp_worker_get_address(worker, &pair->address, &pair->address_len);
    if (result != UCS_OK) {
        goto fail_worker;
    }
    pair->worker = worker;
    event_append(pair->shared, &pair->opened, KVT_EVENT_OPENED, STATUS_OK);
    return STATUS_OK;

fail_worker:
    ucp_worker_destroy(worker);
fail:
    LOG_ERROR("kv", "UCX cannot create a worker; are descriptors or /dev/shm used up?",
              log_u64("pair", pair->number), log_str("error", ucs_status_string(result)));
    return result == UCS_ERR_NO_MEMORY ? STATUS_NO_MEMORY : STATUS_IO;
}

enum status ucx_pair_connect(struct ucx_pair *pair, const uint8_t *address, size_t len)
{
    uint8_t *copy = pair->shared->address;
    if (pair->worker == NULL || pair->ep != NULL || len == 0 || len > WIRE_ADDRESS_MAX) {
        return STATUS_INVALID;
    }
    memset(copy, 0, sizeof(pair->shared->address));
    memcpy(copy, address, len);
    ucp_ep_params_t params = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .address = (const ucp_address_t *)copy,
        .err_mode =
            pair->path == KVT_PATH_LOCAL ? UCP_ERR_HANDLING_MODE_NONE : UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {.cb = on_ep_error, .arg = pair},
    };
    ucs_status_t result = ucp_ep_create(pair->worker, &params, &pair->ep);
    if (result != UCS_OK) {
        pair->ep = NULL;
        LOG_WARN("kv", "UCX cannot connect a pair", log_u64("pair", pair->number),
                 log_str("error", ucs_status_string(result)));
        return status_of(result) == STATUS_NO_MEMORY ? STATUS_NO_MEMORY : STATUS_UNREACHABLE;
    }
    return STATUS_OK;
}

/* Tells the senders of all unread offers that we are done with them. */
static void release_unread(struct ucx_pair *pair)
{
    for (struct ucx_node *at = pair->records.next; at != &pair->records; at = at->next) {
        struct ucx_record *record = (struct ucx_record *)at;
        if (record->kind == UCX_OFFER) {
            ucp_am_data_release(pair->worker, record->data);
        }
    }
    for (struct ucx_node *at = pair->queue.next; at != &pair->queue; at = at->next) {
        ucp_am_data_release(pair->worker, ((struct ucx_record *)at)->data);
    }
}

static void ep_close_forced(struct ucx_pair *pair)
{
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
        .flags = UCP_EP_CLOSE_FLAG_FORCE,
    };
    ucs_status_ptr_t request = ucp_ep_close_nbx(pair->ep, &param);
    if (UCS_PTR_IS_PTR(request)) {
        ucp_request_free(request); /* what is left of it ends with the worker */
    }
}

void ucx_pair_close(struct ucx_pair *pair)
{
    pair->closing = true;
    ucx_list_remove(&pair->opened.node);
    ucx_list_remove(&pair->failed.node);
    if (pair->worker != NULL) {
        release_unread(pair);
        if (pair->path == KVT_PATH_NETWORK && pair->ep != NULL) {
            ep_close_forced(pair);
            for (uint32_t i = 0; i < CLOSE_ROUNDS && ucp_worker_progress(pair->worker) > 0; i++) {
            }
        }
        /* Local: see the top. Progress of 0 means that nothing of it is ours to finish. */
        while (pair->window_bytes > 0 && ucp_worker_progress(pair->worker) > 0) {
        }
        ucp_worker_release_address(pair->worker, pair->address);
        ucp_worker_destroy(pair->worker); /* may still call back, so the records go after it */
    }
    while (!ucx_list_is_empty(&pair->queue)) {
        ucx_record_give((struct ucx_record *)pair->queue.next);
    }
    while (!ucx_list_is_empty(&pair->records)) {
        ucx_record_give((struct ucx_record *)pair->records.next);
    }
    pair->worker = NULL;
    pair->ep = NULL;
}

/* ---- post, fetch, release, progress ---- */

void ucx_pair_post(struct ucx_pair *pair, const struct kvt_act *act)
{
    struct ucx_shared *shared = pair->shared;
    struct ucx_record *record = record_take(pair, shared->posts, UCX_POST);
    CHECK_MSG(record != NULL, "posts_max is smaller than what the protocol posts");
    record->op = act->op;
    record->at = act->at;
    record->bytes = act->bytes;
    record->header = act->header;
    CHECK(act->bytes > 0 && act->bytes <= KVT_UCX_PIECE_BYTES_MAX);
    if (pair->ep == NULL || pair->failed.status != STATUS_OK) {
        record_done(record, UCS_ERR_NOT_CONNECTED);
        return;
    }
    ucp_request_param_t param = {
        .op_attr_mask =
            UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb = {.send = on_sent},
        .flags = UCP_AM_SEND_FLAG_RNDV | UCP_AM_SEND_FLAG_REPLY,
        .user_data = record,
    };
    ucs_status_ptr_t request =
        ucp_am_send_nbx(pair->ep, AM_ID, &record->header, sizeof(record->header), record->at,
                        record->bytes, &param);
    if (!UCS_PTR_IS_PTR(request)) {
        record_done(record, UCS_PTR_STATUS(request));
    }
}

static void fetch_start(struct ucx_pair *pair, struct ucx_record *record)
{
    ucp_request_param_t param = {
        .op_attr_mask =
            UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
        .cb = {.recv_am = on_received},
        .user_data = record,
    };
    record->kind = UCX_FETCH;
    ucx_list_append(&pair->records, &record->node);
    pair->window_bytes += record->bytes;
    ucs_status_ptr_t request =
        ucp_am_recv_data_nbx(pair->worker, record->data, record->at, record->bytes, &param);
    if (!UCS_PTR_IS_PTR(request)) {
        record_done(record, UCS_PTR_STATUS(request));
    }
}

/* Gives queued fetches to UCX as far as the window allows; at least one, whatever its size. */
static bool fetches_start(struct ucx_pair *pair)
{
    bool any = false;
    while (!ucx_list_is_empty(&pair->queue)) {
        struct ucx_record *record = (struct ucx_record *)pair->queue.next;
        if (pair->path == KVT_PATH_LOCAL && pair->window_bytes > 0 &&
            pair->window_bytes + record->bytes > KVT_UCX_LOCAL_WINDOW) {
            break;
        }
        ucx_list_remove(&record->node);
        fetch_start(pair, record);
        any = true;
    }
    return any;
}

void ucx_pair_fetch(struct ucx_pair *pair, struct ucx_record *record, const struct kvt_act *act)
{
    CHECK(record->kind == UCX_OFFER && record->event.node.next == NULL);
    CHECK(record->event.pair == pair && act->bytes == record->bytes);
    record->at = act->at;
    record->op = act->op;
    record->kind = UCX_QUEUED;
    pair->shared->counts.fetches++;
    ucx_list_remove(&record->node);
    ucx_list_append(&pair->queue, &record->node);
    fetches_start(pair);
}

void ucx_pair_release(struct ucx_pair *pair, struct ucx_record *record)
{
    CHECK(record->kind == UCX_OFFER && record->event.pair == pair);
    ucp_am_data_release(pair->worker, record->data);
    pair->shared->counts.offers_released++;
    ucx_record_give(record);
}

bool ucx_pair_progress(struct ucx_pair *pair)
{
    bool any = ucp_worker_progress(pair->worker) > 0;
    return fetches_start(pair) || any;
}
