/* See rounds.h. A round is three nodes and some jobs; what happens next is drawn: a job is opened
 * (whole, or prefill here and decode there), a node computes a step, KV is handed over, a sequence
 * or a node is lost and its jobs are opened anew with the ids that they had emitted. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "tests/exact/answer.h"
#include "tests/exact/rounds.h"
#include "wire/kvdigest.h"

#define N_NODES 3u
#define TASKS_MAX 40u
#define SLOW_TASKS_MAX 4u /* with a scalar node */
#define TURNS_MAX 200000u
#define NONE UINT32_MAX

struct answers {
    uint64_t epoch;
    struct answer_set sets[EXACT_N_KINDS][2];
};

/* A job on its way. */
struct task {
    const struct answer *answer;
    struct job job; /* with the ids emitted so far */
    uint32_t a, b;  /* nodes: where it is computed; where its KV will land; or NONE */
    uint64_t seq_a, seq_b;
    bool split; /* computed on `a` up to the first id only */
    bool held, done;
    uint32_t n_pieces;
    uint64_t digests[JOB_BLOCKS_MAX][MODEL_LAYERS_MAX]; /* [block][group]; 0: not reported */
};

struct round {
    struct exact *exact;
    struct answers *answers;
    struct rand rng;
    struct node nodes[N_NODES];
    struct task tasks[TASKS_MAX];
    uint32_t n, n_done;
};

/* ---- opening and losing ---- */

static bool open_on(struct round *round, struct task *task, uint32_t at, enum engine_mode mode,
                    uint64_t *seq)
{
    enum status status;

    task->job.job.mode = mode;
    status = engine_open(round->nodes[at].engine, &task->job.job, seq);
    CHECK(status == STATUS_OK || status == STATUS_FULL);
    return status == STATUS_OK;
}

/* A prompt in another place: by the same node later, or by another. */
static void start(struct round *round, struct task *task)
{
    const uint32_t at = (uint32_t)rand_below(&round->rng, N_NODES);
    const bool whole = rand_chance(&round->rng, 1, 3);

    if (!open_on(round, task, at, whole ? ENGINE_WHOLE : ENGINE_PREFILL, &task->seq_a))
        return;
    task->a = at;
    task->split = !whole;
    task->held = false;
    task->n_pieces = 0;
    memset(task->digests, 0, sizeof(task->digests));
}

/* Where its KV will land; before, while or after it is computed. */
static void reserve(struct round *round, struct task *task)
{
    const uint32_t at = (uint32_t)rand_below(&round->rng, N_NODES);

    if (at == task->a)
        return;
    task->job.job.emitted.n -= task->held; /* both get the same job; the first id comes with KV */
    if (open_on(round, task, at, ENGINE_DECODE, &task->seq_b))
        task->b = at;
    task->job.job.emitted.n += task->held;
}

static void lose(struct round *round, struct task *task)
{
    if (task->a != NONE)
        engine_close(round->nodes[task->a].engine, task->seq_a);
    if (task->b != NONE)
        engine_close(round->nodes[task->b].engine, task->seq_b);
    task->a = task->b = NONE;
    task->held = false;
    task->job.job.attempt++;
}

static void kill_node(struct round *round, uint32_t at)
{
    for (uint32_t i = 0; i < round->n; i++)
        if (!round->tasks[i].done && (round->tasks[i].a == at || round->tasks[i].b == at))
            lose(round, &round->tasks[i]);
    round->exact->tally.n_kills++;
    node_stop(&round->nodes[at]);
    node_start(&round->nodes[at]);
}

/* ---- a step ---- */

struct step_ctx {
    struct round *round;
    const struct node *node;
};

static void on_piece(void *ctx, const struct engine_row *row, uint32_t block, uint32_t group,
                     uint64_t digest)
{
    const struct step_ctx *step = ctx;
    uint32_t number;
    struct task *task;

    memcpy(&number, row->req.byte, sizeof(number));
    task = &step->round->tasks[number];
    CHECK(block < JOB_BLOCKS_MAX && group < MODEL_LAYERS_MAX && row->digest);
    if (task->digests[block][group] != 0)
        tally_differ(&step->round->exact->tally, "block %u, group %u of sequence %u reported twice",
                     block, group, number);
    task->digests[block][group] = digest;
    task->n_pieces++;
}

/* Every piece was reported, and its bytes are still those of the digest. */
static void check_digests(struct round *round, const struct task *task,
                          const struct engine_view *view)
{
    const struct node *node = &round->nodes[task->a];
    const struct kvgeom *geom = &node->cfg.geom;
    const uint32_t n_blocks = kvgeom_blocks(view->n_kv), n_groups = kvgeom_n_groups(geom);

    if (task->n_pieces != n_blocks * n_groups)
        tally_differ(&round->exact->tally, "sequence %u: %u pieces reported of %u", view->tag,
                     task->n_pieces, n_blocks * n_groups);
    for (uint32_t i = 0; i < n_blocks * n_groups; i++) {
        const uint32_t block = i / n_groups, group = i % n_groups;
        size_t offset, len;

        kvgeom_piece(geom, group, &offset, &len);
        if (task->digests[block][group] !=
            kvdigest_piece(&view->req, view->attempt, block, group * geom->group_layers,
                           node_block(node, view, block) + offset, len))
            tally_differ(&round->exact->tally,
                         "digest of block %u, group %u of sequence %u is not that of its bytes",
                         block, group, view->tag);
    }
}

static void finish(struct round *round, struct task *task)
{
    struct tally *tally = &round->exact->tally;

    if (task->job.job.emitted.n != task->answer->n)
        tally_differ(tally, "sequence %u ends after %zu ids, alone after %u", task->job.job.tag,
                     task->job.job.emitted.n, task->answer->n);
    lose(round, task);
    task->done = true;
    round->n_done++;
    tally->n_sequences++;
}

static void take_result(struct round *round, uint32_t at, const struct engine_result *result)
{
    struct task *task = &round->tasks[result->tag];
    struct engine_view view;

    if (result->state == ENGINE_READY && !result->sampled)
        return; /* a chunk that was not the last */
    CHECK(!task->done && task->a == at);
    answer_check(task->answer, result, &round->exact->tally);
    if (result->sampled) {
        CHECK(result->index == task->job.job.emitted.n && result->index < JOB_OUT_MAX);
        task->job.emitted[task->job.job.emitted.n++] = result->token;
    }
    if (result->state == ENGINE_READY)
        return;
    CHECK(engine_look(round->nodes[at].engine, result->seq, &view) == STATUS_OK);
    answer_check_kv(task->answer, &round->nodes[at], &view, &round->exact->tally);
    task->held = result->state == ENGINE_HELD;
    if (task->held)
        check_digests(round, task, &view);
    else
        finish(round, task);
}

static void run_step(struct round *round, uint32_t at)
{
    struct node *node = &round->nodes[at];
    struct step_ctx ctx = {round, node};
    const uint64_t took_ns =
        rand_chance(&round->rng, 1, 2) ? 0 : rand_between(&round->rng, 1000000, 2000000000);
    uint64_t yielded[ENGINE_YIELDS_MAX];
    size_t n;

    if (node_step(node, took_ns, on_piece, &ctx)) {
        if (node->step->n_rows > round->exact->tally.n_rows_max)
            round->exact->tally.n_rows_max = node->step->n_rows;
        for (size_t i = 0; i < node->n_results; i++)
            take_result(round, at, &node->results[i]);
    }
    n = engine_yielded(node->engine, yielded, ENGINE_YIELDS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct engine_view view;

        CHECK(engine_look(node->engine, yielded[i], &view) == STATUS_OK);
        lose(round, &round->tasks[view.tag]);
    }
}

/* The KV moves as kvtransfer would move it: whole blocks. */
static void hand_over(struct round *round, struct task *task)
{
    struct node *from = &round->nodes[task->a], *to = &round->nodes[task->b];
    struct engine_view held, landing;

    CHECK(engine_look(from->engine, task->seq_a, &held) == STATUS_OK);
    CHECK(engine_look(to->engine, task->seq_b, &landing) == STATUS_OK);
    for (uint32_t i = 0; i < kvgeom_blocks(held.n_kv); i++)
        memcpy(node_block(to, &landing, i), node_block(from, &held, i),
               kvgeom_block_bytes(&from->cfg.geom));
    round->exact->tally.n_hand_overs++;
    engine_landed(to->engine, task->seq_b, held.tokens[held.n_kv]);
    engine_close(from->engine, task->seq_a);
    task->a = task->b;
    task->seq_a = task->seq_b;
    task->b = NONE;
    task->split = task->held = false;
}

/* ---- a round ---- */

static void turn(struct round *round)
{
    struct task *task = &round->tasks[rand_below(&round->rng, round->n)];

    switch (rand_below(&round->rng, 8)) {
    case 0:
    case 1:
    case 2:
        run_step(round, (uint32_t)rand_below(&round->rng, N_NODES));
        return;
    case 3:
        if (rand_chance(&round->rng, 1, 8) && task->a != NONE) {
            lose(round, task);
            round->exact->tally.n_losses++;
        } else if (rand_chance(&round->rng, 1, 200)) {
            kill_node(round, (uint32_t)rand_below(&round->rng, N_NODES));
        }
        return;
    default:
        break;
    }
    if (task->done)
        return;
    if (task->a == NONE)
        start(round, task);
    else if (task->split && task->b == NONE && (task->held || rand_chance(&round->rng, 1, 3)))
        reserve(round, task);
    else if (task->held && task->b != NONE)
        hand_over(round, task);
}

static void open_node(struct round *round, uint32_t at, struct setup *setup, uint32_t group)
{
    struct node *node = &round->nodes[at];
    struct rand *rng = &round->rng;

    setup_choose(&round->exact->checkpoints, rng, setup);
    if (setup_is_slow(setup) && (round->exact->quick || setup->kind == EXACT_DEMO))
        setup->table = round->exact->checkpoints.tables[round->exact->checkpoints.n_tables - 1];
    setup_print(setup, round->exact->tally.setup);
    node_open(node, &round->exact->checkpoints, setup);
    node->cfg.geom.group_layers = group < node->cfg.geom.n_layers ? group : node->cfg.geom.n_layers;
    node->cfg.batch_max = (uint32_t)rand_between(rng, 1, NODE_SEQS_MAX);
    node->cfg.chunk_max = (uint32_t)rand_between(rng, 1, 8) * KVGEOM_BLOCK_TOKENS;
    node->cfg.n_blocks += (uint32_t)rand_below(rng, rand_chance(rng, 1, 2) ? 4 : 60);
    node_start(node);
}

static void add_tasks(struct round *round, const struct setup *setup)
{
    struct answer_set *set = &round->answers->sets[setup->kind][setup->dtype == OP_F32];
    uint32_t n = (uint32_t)rand_between(&round->rng, 1, round->exact->quick ? 3 : TASKS_MAX);

    for (uint32_t i = 0; i < N_NODES; i++)
        if (setup_is_slow(&round->nodes[i].setup) && n > SLOW_TASKS_MAX)
            n = SLOW_TASKS_MAX;
    for (uint32_t i = 0; i < n; i++) {
        struct task *task = &round->tasks[round->n++];

        task->answer = answer_get(set, &round->exact->checkpoints, setup, round->answers->epoch,
                                  (uint32_t)rand_below(&round->rng, ANSWERS));
        task->job = task->answer->job;
        memcpy(task->job.job.req.byte, &i, sizeof(i));
        task->job.job.tag = i;
        task->job.job.prompt.at = task->job.prompt;
        task->job.job.emitted = (struct wire_u32s){task->job.emitted, 0};
        task->job.job.sampling = &task->answer->job.sampling;
        task->a = task->b = NONE;
    }
}

static struct answers *answers_of(struct exact *exact, uint64_t seed)
{
    const uint64_t epoch = seed / ROUNDS_EPOCH;

    if (exact->answers != NULL && exact->answers->epoch != epoch)
        answers_fini(exact);
    if (exact->answers == NULL)
        exact->answers = mem_alloc_zero(1, sizeof(*exact->answers));
    CHECK(exact->answers != NULL);
    exact->answers->epoch = epoch;
    return exact->answers;
}

void answers_fini(struct exact *exact)
{
    for (uint32_t i = 0; exact->answers != NULL && i < 2 * EXACT_N_KINDS; i++)
        answer_set_fini(&exact->answers->sets[i / 2][i % 2]);
    mem_free(exact->answers);
    exact->answers = NULL;
}

void round_engine(struct exact *exact, uint64_t seed)
{
    struct round *round = mem_alloc_zero(1, sizeof(*round));
    struct setup setup = {0};
    uint32_t group = 0, turns = 0;

    CHECK(round != NULL);
    round->exact = exact;
    round->answers = answers_of(exact, seed);
    rand_init(&round->rng, seed);
    setup.kind = setup_choose_kind(&round->rng, exact->quick);
    setup.dtype = rand_chance(&round->rng, 1, 3) ? OP_F32 : OP_BF16;
    group = (uint32_t)rand_between(&round->rng, 1, 4);
    for (uint32_t i = 0; i < N_NODES; i++)
        open_node(round, i, &setup, group);
    add_tasks(round, &setup);
    for (uint32_t i = 0; i < round->n; i++)
        if (rand_chance(&round->rng, 1, 2))
            start(round, &round->tasks[i]);
    while (round->n_done < round->n && exact->tally.n_differ == 0) {
        CHECK_MSG(turns++ < TURNS_MAX, "a round does not come to its end");
        turn(round);
    }
    for (uint32_t i = 0; i < N_NODES; i++)
        node_close(&round->nodes[i]);
    mem_free(round);
}
