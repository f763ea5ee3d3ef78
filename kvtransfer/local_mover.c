/* The in-process mover: workers, moves (one post's whole life) and a heap of what is due. A worker
 * or move that is gone leaves its number with a new serial, so that what is still due for the old
 * one falls to the ground. */
#include "kvtransfer/local_mover.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"

#define MILLION 1000000u
#define ADDRESS_MAGIC 0x4c4d4f56u
#define NODES_LIMIT 4096u
#define WORKERS_LIMIT 65536u
#define MOVES_LIMIT (1u << 20)

enum due_kind {
    DUE_OPENED, /* of a worker */
    DUE_ERROR,
    DUE_OFFER,  /* of a move: reaches D */
    DUE_HALF,   /* the first half is copied */
    DUE_REST,   /* the second, and D is told */
    DUE_POSTED, /* P is told */
};

struct due {
    uint64_t at_ns;
    uint64_t order;
    enum due_kind kind;
    uint32_t idx;
    uint32_t serial;
};

struct ref {
    uint32_t idx;
    uint32_t serial; /* 0: none */
};

struct worker {
    bool live;
    uint32_t serial;
    uint32_t node;
    uint32_t pair;
    enum kvt_path path;
    struct ref peer; /* after CONNECT */
    enum status error;
};

enum move_state { MOVE_FREE, MOVE_TRAVELLING, MOVE_OFFERED, MOVE_FETCHING, MOVE_FETCHED };

struct move {
    enum move_state state;
    uint32_t serial;
    bool p_done; /* P has been told, or has closed */
    bool d_done; /* D has fetched, released or closed, or was never told */
    bool evil;
    bool forged;
    bool half_copied;
    bool will_stall, will_fail, will_flip;
    struct ref from;
    struct ref to;
    struct kvt_header header;
    const uint8_t *src;
    uint8_t *dst;
    size_t bytes;
    uint64_t post_op;
    uint64_t fetch_op;
};

/* What CONNECT's address holds: a worker's name. */
struct address {
    uint32_t magic;
    uint32_t idx;
    uint32_t serial;
    uint32_t reserved;
};

struct local_mover {
    struct local_mover_cfg cfg;
    struct rand rng;
    struct worker *workers; /* [workers_max] */
    struct move *moves;     /* [moves_max] */
    bool *frozen;           /* [nodes_max] */
    struct due *heap;       /* [dues_max] */
    struct due *held;       /* [dues_max] of frozen nodes */
    size_t dues_max, n_heap, n_held;
    uint64_t next_order;
    uint32_t next_move; /* where to look for a free one */
    struct local_mover_counts counts;
};

/* ---- making -------------------------------------------------------------------------------- */

enum status local_mover_create(const struct local_mover_cfg *cfg, struct local_mover **out)
{
    if (cfg->nodes_max == 0 || cfg->nodes_max > NODES_LIMIT || cfg->workers_max == 0 ||
        cfg->workers_max > WORKERS_LIMIT || cfg->moves_max == 0 || cfg->moves_max > MOVES_LIMIT ||
        cfg->faults.delay_min_us > cfg->faults.delay_max_us) {
        return STATUS_INVALID;
    }
    struct local_mover *mover = mem_alloc_zero(1, sizeof(*mover));
    if (!mover) {
        return STATUS_NO_MEMORY;
    }
    mover->cfg = *cfg;
    rand_init(&mover->rng, cfg->seed);
    /* A worker: opened and error. A move: one at D and one at P. */
    mover->dues_max = 2 * (size_t)cfg->workers_max + 2 * (size_t)cfg->moves_max;
    mover->workers = mem_alloc_zero(cfg->workers_max, sizeof(*mover->workers));
    mover->moves = mem_alloc_zero(cfg->moves_max, sizeof(*mover->moves));
    mover->frozen = mem_alloc_zero(cfg->nodes_max, sizeof(*mover->frozen));
    mover->heap = mem_alloc_zero(mover->dues_max, sizeof(*mover->heap));
    mover->held = mem_alloc_zero(mover->dues_max, sizeof(*mover->held));
    if (!mover->workers || !mover->moves || !mover->frozen || !mover->heap || !mover->held) {
        local_mover_destroy(mover);
        return STATUS_NO_MEMORY;
    }
    *out = mover;
    return STATUS_OK;
}

void local_mover_destroy(struct local_mover *mover)
{
    if (!mover) {
        return;
    }
    mem_free(mover->workers);
    mem_free(mover->moves);
    mem_free(mover->frozen);
    mem_free(mover->heap);
    mem_free(mover->held);
    mem_free(mover);
}

/* ---- what is due --------------------------------------------------------------------------- */

static bool due_before(const struct due *a, const struct due *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static bool due_alive(const struct local_mover *mover, const struct due *due, bool *wait_out);

static void heap_insert(struct local_mover *mover, struct due due)
{
    size_t at = mover->n_heap++;
    while (at > 0 && due_before(&due, &mover->heap[(at - 1) / 2])) {
        mover->heap[at] = mover->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    mover->heap[at] = due;
}

/* What is due for the dead stays until it comes up or until there is no room. The living need at
 * most one entry a move and two a worker, so they fit. */
static void heap_push(struct local_mover *mover, struct due due)
{
    if (mover->n_heap == mover->dues_max) {
        size_t n = mover->n_heap;
        bool wait;
        mover->n_heap = 0;
        for (size_t i = 0; i < n; i++) {
            struct due old = mover->heap[i];
            if (due_alive(mover, &old, &wait)) {
                heap_insert(mover, old);
            }
        }
    }
    CHECK(mover->n_heap < mover->dues_max);
    heap_insert(mover, due);
}

static void hold(struct local_mover *mover, struct due due)
{
    bool wait;
    if (mover->n_held == mover->dues_max) {
        size_t n = 0;
        for (size_t i = 0; i < mover->n_held; i++) {
            if (due_alive(mover, &mover->held[i], &wait)) {
                mover->held[n++] = mover->held[i];
            }
        }
        mover->n_held = n;
    }
    CHECK(mover->n_held < mover->dues_max);
    mover->held[mover->n_held++] = due;
}

static struct due heap_pop(struct local_mover *mover)
{
    struct due top = mover->heap[0];
    struct due last = mover->heap[--mover->n_heap];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= mover->n_heap) {
            break;
        }
        if (child + 1 < mover->n_heap && due_before(&mover->heap[child + 1], &mover->heap[child])) {
            child++;
        }
        if (!due_before(&mover->heap[child], &last)) {
            break;
        }
        mover->heap[at] = mover->heap[child];
        at = child;
    }
    mover->heap[at] = last;
    return top;
}

static bool chance(struct local_mover *mover, uint32_t in_a_million)
{
    return in_a_million > 0 && rand_chance(&mover->rng, in_a_million, MILLION);
}

static void due_add(struct local_mover *mover, enum due_kind kind, uint32_t idx, uint32_t serial,
                    uint64_t now_ns)
{
    uint64_t delay_us =
        rand_between(&mover->rng, mover->cfg.faults.delay_min_us, mover->cfg.faults.delay_max_us);
    heap_push(mover, (struct due){.at_ns = now_ns + delay_us * NS_PER_US,
                                  .order = mover->next_order++,
                                  .kind = kind,
                                  .idx = idx,
                                  .serial = serial});
}

/* ---- workers ------------------------------------------------------------------------------- */

static struct worker *find_worker(struct local_mover *mover, uint32_t node, uint32_t pair)
{
    for (uint32_t i = 0; i < mover->cfg.workers_max; i++) {
        struct worker *worker = &mover->workers[i];
        if (worker->live && worker->node == node && worker->pair == pair) {
            return worker;
        }
    }
    return NULL;
}

static struct ref ref_of(const struct local_mover *mover, const struct worker *worker)
{
    return (struct ref){(uint32_t)(worker - mover->workers), worker->serial};
}

/* The worker, or NULL if it is gone. */
static struct worker *follow(const struct local_mover *mover, struct ref ref)
{
    struct worker *worker = &mover->workers[ref.idx];
    return ref.serial != 0 && worker->live && worker->serial == ref.serial ? worker : NULL;
}

static bool ref_equal(struct ref a, struct ref b)
{
    return a.idx == b.idx && a.serial == b.serial;
}

static void worker_error(struct local_mover *mover, struct worker *worker, enum status status,
                         uint64_t now_ns)
{
    if (worker->error == STATUS_OK) {
        worker->error = status;
        struct ref ref = ref_of(mover, worker);
        due_add(mover, DUE_ERROR, ref.idx, ref.serial, now_ns);
    }
}

static void do_open(struct local_mover *mover, uint32_t node, const struct kvt_act *act,
                    uint64_t now_ns)
{
    uint32_t idx = 0;
    while (idx < mover->cfg.workers_max && mover->workers[idx].live) {
        idx++;
    }
    CHECK_MSG(idx < mover->cfg.workers_max, "workers_max is smaller than what the nodes open");
    struct worker *worker = &mover->workers[idx];
    *worker = (struct worker){.live = true,
                              .serial = worker->serial + 1,
                              .node = node,
                              .pair = act->pair,
                              .path = act->path};
    if (chance(mover, mover->cfg.faults.open_error)) {
        mover->counts.errors++;
        worker_error(mover, worker, STATUS_IO, now_ns);
    } else {
        due_add(mover, DUE_OPENED, idx, worker->serial, now_ns);
    }
}

static void do_connect(struct local_mover *mover, struct worker *worker, const struct kvt_act *act,
                       uint64_t now_ns)
{
    struct address address;
    if (act->address_len != sizeof(address) || worker->peer.serial != 0) {
        mover->counts.misuse++;
        return;
    }
    memcpy(&address, act->address, sizeof(address));
    if (address.magic != ADDRESS_MAGIC || address.idx >= mover->cfg.workers_max) {
        mover->counts.misuse++;
        return;
    }
    worker->peer = (struct ref){address.idx, address.serial};
    if (!follow(mover, worker->peer) && worker->path == KVT_PATH_NETWORK) {
        worker_error(mover, worker, STATUS_UNREACHABLE, now_ns);
    }
}

/* ---- moves --------------------------------------------------------------------------------- */

static void move_try_free(struct local_mover *mover, struct move *move)
{
    if (move->p_done && move->d_done) {
        move->state = MOVE_FREE;
        move->serial++;
        mover->counts.moves--;
    }
}

static struct move *move_take(struct local_mover *mover)
{
    uint32_t tried = 0;
    while (tried < mover->cfg.moves_max && mover->moves[mover->next_move].state != MOVE_FREE) {
        mover->next_move = (mover->next_move + 1) % mover->cfg.moves_max;
        tried++;
    }
    CHECK_MSG(tried < mover->cfg.moves_max, "moves_max is smaller than what the nodes post");
    struct move *move = &mover->moves[mover->next_move];
    *move = (struct move){.state = MOVE_TRAVELLING, .serial = move->serial};
    mover->counts.moves++;
    return move;
}

static uint32_t move_idx(const struct local_mover *mover, const struct move *move)
{
    return (uint32_t)(move - mover->moves);
}

static void move_due(struct local_mover *mover, enum due_kind kind, const struct move *move,
                     uint64_t now_ns)
{
    due_add(mover, kind, move_idx(mover, move), move->serial, now_ns);
}

static void do_post(struct local_mover *mover, struct worker *worker, const struct kvt_act *act,
                    uint64_t now_ns)
{
    if (worker->peer.serial == 0 || act->bytes == 0) {
        mover->counts.misuse++;
        return;
    }
    struct move *move = move_take(mover);
    move->from = ref_of(mover, worker);
    move->to = worker->peer;
    move->header = act->header;
    move->src = act->at;
    move->bytes = act->bytes;
    move->post_op = act->op;
    if (chance(mover, mover->cfg.faults.lose_offer)) {
        mover->counts.offers_lost++;
        move->d_done = true;
    } else {
        move_due(mover, DUE_OFFER, move, now_ns);
    }
}

static uint64_t handle_of(const struct local_mover *mover, const struct move *move)
{
    return (uint64_t)move->serial << 32 | (move_idx(mover, move) + 1);
}

/* The offer behind a handle that this worker may still answer; else the caller broke the rules. */
static struct move *find_offer(struct local_mover *mover, const struct worker *worker,
                               uint64_t handle)
{
    uint64_t number = handle & UINT32_MAX;
    if (number >= 1 && number <= mover->cfg.moves_max) {
        struct move *move = &mover->moves[number - 1];
        if (move->serial == handle >> 32 && move->state == MOVE_OFFERED &&
            ref_equal(move->to, ref_of(mover, worker))) {
            return move;
        }
    }
    mover->counts.misuse++;
    return NULL;
}

static void do_fetch(struct local_mover *mover, struct worker *worker, const struct kvt_act *act,
                     uint64_t now_ns)
{
    struct move *move = find_offer(mover, worker, act->handle);
    if (!move) {
        return;
    }
    if (act->bytes != move->bytes) {
        mover->counts.misuse++;
        return;
    }
    mover->counts.evil_fetched += move->evil;
    move->state = MOVE_FETCHING;
    move->dst = act->at;
    move->fetch_op = act->op;
    move->will_stall = chance(mover, mover->cfg.faults.stall);
    move->will_fail = chance(mover, mover->cfg.faults.fetch_error);
    move->will_flip = chance(mover, mover->cfg.faults.flip);
    move_due(mover, DUE_HALF, move, now_ns);
}

static void do_release(struct local_mover *mover, struct worker *worker, const struct kvt_act *act,
                       uint64_t now_ns)
{
    struct move *move = find_offer(mover, worker, act->handle);
    if (move) {
        move->state = MOVE_FETCHED;
        move->d_done = true;
        if (!move->p_done) {
            move_due(mover, DUE_POSTED, move, now_ns);
        }
        move_try_free(mover, move);
    }
}

static void copy(struct local_mover *mover, struct move *move, size_t from, size_t to)
{
    struct worker *source = follow(mover, move->from);
    struct worker *target = follow(mover, move->to);
    if (mover->cfg.watch && !move->forged && to > from) {
        mover->cfg.watch(mover->cfg.watch_ctx, source->node, move->src + from, target->node,
                         move->dst + from, to - from);
    }
    memcpy(move->dst + from, move->src + from, to - from);
}

static bool readable(const struct local_mover *mover, const struct move *move)
{
    return move->forged || follow(mover, move->from) != NULL;
}

/* Nothing of this worker moves after this. A fetch under way may have got its first half in. */
static void worker_close(struct local_mover *mover, struct worker *worker, bool killed,
                         uint64_t now_ns)
{
    struct ref ref = ref_of(mover, worker);
    for (uint32_t i = 0; i < mover->cfg.moves_max; i++) {
        struct move *move = &mover->moves[i];
        if (move->state == MOVE_FREE) {
            continue;
        }
        if (ref_equal(move->to, ref) && move->state != MOVE_TRAVELLING && !move->d_done) {
            bool half = move->state == MOVE_FETCHING && !move->half_copied;
            if (half && !killed && readable(mover, move) && rand_chance(&mover->rng, 1, 2)) {
                copy(mover, move, 0, move->bytes / 2);
                mover->counts.torn++;
            }
            move->d_done = true;
        }
        if (!move->forged && ref_equal(move->from, ref)) {
            move->p_done = true;
            move->d_done = move->d_done || move->state == MOVE_TRAVELLING;
        }
        move_try_free(mover, move);
    }
    struct worker *peer = follow(mover, worker->peer);
    if (peer && ref_equal(peer->peer, ref) && peer->path == KVT_PATH_NETWORK) {
        worker_error(mover, peer, STATUS_LOST, now_ns);
    }
    worker->live = false;
}

/* ---- due things happen --------------------------------------------------------------------- */

static void on_opened(struct local_mover *mover, struct worker *worker,
                      local_mover_deliver *deliver, void *ctx)
{
    struct ref ref = ref_of(mover, worker);
    struct address address = {.magic = ADDRESS_MAGIC, .idx = ref.idx, .serial = ref.serial};
    struct kvt_event event = {
        .kind = KVT_EVENT_OPENED,
        .pair = worker->pair,
        .address = (const uint8_t *)&address,
        .address_len = sizeof(address),
    };
    rand_bytes(&mover->rng, event.secret, sizeof(event.secret));
    deliver(ctx, worker->node, &event);
}

static void on_offer(struct local_mover *mover, struct move *move, uint64_t now_ns,
                     local_mover_deliver *deliver, void *ctx)
{
    struct worker *target = follow(mover, move->to);
    struct worker *source = follow(mover, move->from);
    if (!target) {
        move->d_done = true;
        if (source && source->path == KVT_PATH_NETWORK) {
            worker_error(mover, source, STATUS_LOST, now_ns);
        }
        move_try_free(mover, move);
        return;
    }
    if (!move->forged && !ref_equal(target->peer, move->from)) {
        mover->counts.strangers++;
        move->d_done = true;
        move_due(mover, DUE_POSTED, move, now_ns);
        return;
    }
    move->state = MOVE_OFFERED;
    struct kvt_event event = {
        .kind = KVT_EVENT_OFFERED,
        .pair = target->pair,
        .header = move->header,
        .bytes = move->bytes,
        .handle = handle_of(mover, move),
    };
    deliver(ctx, target->node, &event);
}

static void on_half(struct local_mover *mover, struct move *move, uint64_t now_ns)
{
    if (!readable(mover, move)) {
        return; /* its source is closed: never completes */
    }
    copy(mover, move, 0, move->bytes / 2);
    move->half_copied = true;
    if (move->will_stall) {
        mover->counts.stalled++;
        return;
    }
    move_due(mover, DUE_REST, move, now_ns);
}

static void on_rest(struct local_mover *mover, struct move *move, uint64_t now_ns,
                    local_mover_deliver *deliver, void *ctx)
{
    if (!readable(mover, move)) {
        return;
    }
    struct worker *target = follow(mover, move->to);
    struct kvt_event event = {
        .kind = KVT_EVENT_FETCHED, .pair = target->pair, .op = move->fetch_op};
    uint32_t node = target->node;
    if (move->will_fail) {
        mover->counts.errors++;
        event.status = STATUS_IO;
    } else {
        copy(mover, move, move->bytes / 2, move->bytes);
        mover->counts.fetched++;
        if (move->will_flip) {
            uint64_t bit = rand_below(&mover->rng, (uint64_t)move->bytes * 8);
            move->dst[bit / 8] = (uint8_t)(move->dst[bit / 8] ^ (1u << (bit % 8)));
            mover->counts.flipped++;
        }
    }
    move->state = MOVE_FETCHED;
    move->d_done = true;
    if (!move->p_done) {
        move_due(mover, DUE_POSTED, move, now_ns);
    }
    move_try_free(mover, move);
    deliver(ctx, node, &event);
}

static void on_posted(struct local_mover *mover, struct move *move, local_mover_deliver *deliver,
                      void *ctx)
{
    struct worker *source = follow(mover, move->from);
    struct kvt_event event = {.kind = KVT_EVENT_POSTED, .pair = source->pair, .op = move->post_op};
    uint32_t node = source->node;
    move->p_done = true;
    move_try_free(mover, move);
    deliver(ctx, node, &event);
}

/* Whether the due thing is still about something, and the frozen node it must wait for, if any. */
static bool due_alive(const struct local_mover *mover, const struct due *due, bool *wait_out)
{
    struct worker *worker;
    bool source_too = false;
    if (due->kind == DUE_OPENED || due->kind == DUE_ERROR) {
        worker = follow(mover, (struct ref){due->idx, due->serial});
    } else {
        const struct move *move = &mover->moves[due->idx];
        if (move->state == MOVE_FREE || move->serial != due->serial) {
            return false;
        }
        if (due->kind == DUE_POSTED) {
            worker = follow(mover, move->from);
        } else {
            worker = follow(mover, move->to);
            struct worker *source = follow(mover, move->from);
            source_too = source && source->path == KVT_PATH_NETWORK && mover->frozen[source->node];
        }
        if (!worker && due->kind == DUE_OFFER) {
            *wait_out = false;
            return true; /* it must still be cleared away */
        }
    }
    *wait_out = worker && (mover->frozen[worker->node] || source_too);
    return worker != NULL;
}

static void due_handle(struct local_mover *mover, const struct due *due, uint64_t now_ns,
                       local_mover_deliver *deliver, void *ctx)
{
    struct worker *worker = &mover->workers[due->kind <= DUE_ERROR ? due->idx : 0];
    struct move *move = &mover->moves[due->kind <= DUE_ERROR ? 0 : due->idx];
    struct kvt_event error = {
        .kind = KVT_EVENT_ERROR, .pair = worker->pair, .status = worker->error};
    switch (due->kind) {
    case DUE_OPENED:
        on_opened(mover, worker, deliver, ctx);
        break;
    case DUE_ERROR:
        deliver(ctx, worker->node, &error);
        break;
    case DUE_OFFER:
        on_offer(mover, move, now_ns, deliver, ctx);
        break;
    case DUE_HALF:
        on_half(mover, move, now_ns);
        break;
    case DUE_REST:
        on_rest(mover, move, now_ns, deliver, ctx);
        break;
    case DUE_POSTED:
        on_posted(mover, move, deliver, ctx);
        break;
    }
}

uint64_t local_mover_next_ns(const struct local_mover *mover)
{
    return mover->n_heap > 0 ? mover->heap[0].at_ns : CLOCK_NEVER;
}

void local_mover_run(struct local_mover *mover, uint64_t now_ns, local_mover_deliver *deliver,
                     void *ctx)
{
    while (mover->n_heap > 0 && mover->heap[0].at_ns <= now_ns) {
        struct due due = heap_pop(mover);
        bool wait;
        if (!due_alive(mover, &due, &wait)) {
            continue;
        }
        if (wait) {
            hold(mover, due);
            continue;
        }
        due_handle(mover, &due, now_ns, deliver, ctx);
    }
}

/* ---- the caller's side --------------------------------------------------------------------- */

void local_mover_execute(struct local_mover *mover, uint32_t node, const struct kvt_act *act,
                         uint64_t now_ns)
{
    CHECK(node < mover->cfg.nodes_max);
    struct worker *worker = find_worker(mover, node, act->pair);
    if ((worker == NULL) != (act->kind == KVT_ACT_OPEN)) {
        mover->counts.misuse++;
        return;
    }
    switch (act->kind) {
    case KVT_ACT_OPEN:
        do_open(mover, node, act, now_ns);
        break;
    case KVT_ACT_CONNECT:
        do_connect(mover, worker, act, now_ns);
        break;
    case KVT_ACT_CLOSE:
        worker_close(mover, worker, false, now_ns);
        break;
    case KVT_ACT_POST:
        do_post(mover, worker, act, now_ns);
        break;
    case KVT_ACT_FETCH:
        do_fetch(mover, worker, act, now_ns);
        break;
    case KVT_ACT_RELEASE:
        do_release(mover, worker, act, now_ns);
        break;
    }
}

void local_mover_set_faults(struct local_mover *mover, const struct local_mover_faults *faults)
{
    CHECK(faults->delay_min_us <= faults->delay_max_us);
    mover->cfg.faults = *faults;
}

void local_mover_kill(struct local_mover *mover, uint32_t node, uint64_t now_ns)
{
    CHECK(node < mover->cfg.nodes_max);
    local_mover_freeze(mover, node, false, now_ns);
    for (uint32_t i = 0; i < mover->cfg.workers_max; i++) {
        if (mover->workers[i].live && mover->workers[i].node == node) {
            worker_close(mover, &mover->workers[i], true, now_ns);
        }
    }
}

void local_mover_freeze(struct local_mover *mover, uint32_t node, bool frozen, uint64_t now_ns)
{
    CHECK(node < mover->cfg.nodes_max);
    mover->frozen[node] = frozen;
    if (frozen) {
        return;
    }
    /* What still waits for another frozen node goes back to the held when it is due again. */
    size_t n = mover->n_held;
    mover->n_held = 0;
    for (size_t i = 0; i < n; i++) {
        struct due due = mover->held[i];
        due.at_ns = now_ns;
        heap_push(mover, due);
    }
}

bool local_mover_forge(struct local_mover *mover, uint32_t node, uint32_t pair,
                       const struct kvt_header *header, const void *payload, size_t bytes,
                       bool evil, uint64_t now_ns)
{
    struct worker *worker = find_worker(mover, node, pair);
    if (!worker || bytes == 0) {
        return false;
    }
    struct move *move = move_take(mover);
    move->forged = true;
    move->evil = evil;
    move->p_done = true;
    move->to = ref_of(mover, worker);
    move->header = *header;
    move->src = payload;
    move->bytes = bytes;
    move_due(mover, DUE_OFFER, move, now_ns);
    return true;
}

static bool overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    uintptr_t x = (uintptr_t)a;
    uintptr_t y = (uintptr_t)b;
    return x < y + b_bytes && y < x + a_bytes;
}

bool local_mover_touches(const struct local_mover *mover, const void *at, size_t bytes)
{
    for (uint32_t i = 0; i < mover->cfg.moves_max; i++) {
        const struct move *move = &mover->moves[i];
        if (move->state == MOVE_FREE) {
            continue;
        }
        if (!move->p_done && overlap(move->src, move->bytes, at, bytes)) {
            return true;
        }
        if (move->state == MOVE_FETCHING && !move->d_done &&
            overlap(move->dst, move->bytes, at, bytes)) {
            return true;
        }
    }
    return false;
}

void local_mover_counts(const struct local_mover *mover, struct local_mover_counts *out)
{
    *out = mover->counts;
    out->workers = 0;
    for (uint32_t i = 0; i < mover->cfg.workers_max; i++) {
        out->workers += mover->workers[i].live;
    }
}
