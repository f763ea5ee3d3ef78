/* Continuous batching. First every sequence whose next token needs a new block gets one, oldest
 * first; then rows are chosen:
 *   - decode rows (one token) in TURN order: who ran longest ago comes first;
 *   - prompt chunks in the rest, oldest prompt first, in whole blocks.
 * One row is kept for the oldest prompt, so that running streams cannot keep prompts out, and each
 * prompt comes to its turn because older ones end. Places of suspects are kept in the same way.
 *
 * Blocks are cleared lazily: a row names those that it is the first to write (engine_row.clear).
 * Nobody reads a block before that, so this is as good as clearing when the block was taken, and
 * costs nothing for sequences that never come so far. Who clears what:
 *   - computed here (PREFILL, WHOLE): every block of the row, so the tail of the last one is zero;
 *   - landed from a peer (DECODE): the landing overwrites those blocks whole, and their tails are
 *     the zeros of the peer that computed them; only blocks that come after them are cleared here.
 * A row past the end that decoding reaches is overwritten, whatever it held. */
#include "engine/plan.h"

#include "base/check.h"

#define BLOCK KVGEOM_BLOCK_TOKENS

/* Rows and places still to give away in this step. */
struct room {
    uint32_t n_rows, n_suspects, n_tokens;
};

static bool runnable(const struct seq *seq)
{
    return seq->state == ENGINE_READY && !seq->needy;
}

static bool is_decode(const struct seq *seq)
{
    return seq->n_tokens - seq->n_kv == 1;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* May be made to yield, or is on its way out; HELD ones end by their hand-over. */
static bool may_yield(const struct seq *seq)
{
    return !seq->closed && (seq->state == ENGINE_READY || seq->state == ENGINE_LANDING);
}

static bool is_leaving(const struct seq *seq)
{
    return seq->closed || seq->state == ENGINE_YIELDED || seq->state == ENGINE_ENDED;
}

/* The youngest that may yield, or NULL where it is also the oldest. */
static struct seq *find_victim(struct engine *engine)
{
    struct seq *victim = NULL;
    uint32_t n = 0;
    for (struct seq *seq = engine->first[SEQ_ADMISSION]; seq != NULL;
         seq = seq->link[SEQ_ADMISSION].next) {
        if (may_yield(seq)) {
            victim = seq;
            n++;
        }
    }
    return n < 2 ? NULL : victim;
}

/* Blocks of those that leave count as coming: nobody yields for what is on its way already. */
static void make_yield(struct engine *engine)
{
    uint64_t coming = 0;
    for (struct seq *seq = engine->first[SEQ_ADMISSION]; seq != NULL;
         seq = seq->link[SEQ_ADMISSION].next) {
        if (is_leaving(seq))
            coming += seq->n_blocks;
    }
    while (coming < engine->n_needy) {
        struct seq *victim = find_victim(engine);
        if (victim == NULL)
            return;
        victim->state = ENGINE_YIELDED;
        seq_set_needy(engine, victim, false);
        coming += victim->n_blocks;
        engine->yields++;
    }
}

static void grant_blocks(struct engine *engine)
{
    for (struct seq *seq = engine->first[SEQ_ADMISSION]; seq != NULL;
         seq = seq->link[SEQ_ADMISSION].next) {
        if (seq->state != ENGINE_READY || seq->n_blocks >= kvgeom_blocks(seq->n_tokens))
            continue;
        CHECK(seq->n_blocks < seq->blocks_cap);
        uint32_t *block = &seq->blocks[seq->n_blocks];
        bool granted = blocks_take(engine->blocks, BLOCK_HOLDER_SEQ, 1, block) == STATUS_OK;
        seq->n_blocks += granted;
        seq_set_needy(engine, seq, !granted);
    }
    if (engine->n_needy > 0)
        make_yield(engine);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void add_row(struct engine *engine, struct seq *seq, uint32_t n, struct room *room)
{
    uint32_t end = seq->n_kv + n, n_blocks = kvgeom_blocks(end);
    CHECK(n > 0 && end <= seq->n_tokens && n_blocks <= seq->n_blocks);
    uint32_t n_clear = n_blocks > seq->n_clean ? n_blocks - seq->n_clean : 0;
    bool sample = end == seq->n_tokens;
    uint32_t n_tops = sample ? seq->sampling.logprobs : 0;
    struct engine_top *tops = engine->tops + (size_t)engine->step.n_rows * WIRE_TOPS_MAX;
    for (uint32_t i = 0; i < n_tops; i++)
        tops[i].token = ENGINE_NO_TOKEN;
    engine->step.rows[engine->step.n_rows] = (struct engine_row){
        .seq = seq->handle,
        .req = seq->req,
        .attempt = seq->attempt,
        .tokens = seq->tokens,
        .blocks = seq->blocks,
        .first = seq->n_kv,
        .n = n,
        .n_clear = n_clear,
        .clear = seq->n_clean,
        .sample = sample,
        .digest = seq->mode == ENGINE_PREFILL,
        .n_prompt = seq->n_prompt,
        .sampling = &seq->sampling,
        .seed = seq->seed,
        .out_tops = n_tops > 0 ? tops : NULL,
    };
    engine->row_seqs[engine->step.n_rows++] = seq;
    seq->n_clean += n_clear;
    seq->state = ENGINE_RUNNING;
    seq_unlink(engine, SEQ_TURN, seq);
    seq_append(engine, SEQ_TURN, seq);
    room->n_rows--;
    room->n_suspects -= seq->suspect;
}

/* The largest chunk that fits: up to the end, or up to a block border. 0: none. */
static uint32_t chunk_of(const struct seq *seq, uint32_t n_tokens)
{
    uint32_t rest = seq->n_tokens - seq->n_kv;
    if (rest <= n_tokens)
        return rest;
    uint32_t end = seq->n_kv + n_tokens;
    end -= end % BLOCK;
    return end > seq->n_kv ? end - seq->n_kv : 0;
}

static struct seq *oldest_prompt(struct engine *engine)
{
    struct seq *seq = engine->first[SEQ_ADMISSION];
    while (seq != NULL && (!runnable(seq) || is_decode(seq)))
        seq = seq->link[SEQ_ADMISSION].next;
    return seq;
}

/* The decode row that has waited longest, if it has waited longer than the prompt. */
static bool decode_before(struct engine *engine, const struct seq *prompt)
{
    for (struct seq *seq = engine->first[SEQ_TURN]; seq != prompt; seq = seq->link[SEQ_TURN].next) {
        if (runnable(seq) && is_decode(seq))
            return true;
    }
    return false;
}

static void add_decodes(struct engine *engine, struct room *room)
{
    struct seq *end = engine->last[SEQ_TURN];
    struct seq *seq = engine->first[SEQ_TURN], *next;
    for (; seq != NULL && room->n_rows > 0; seq = seq == end ? NULL : next) {
        next = seq->link[SEQ_TURN].next; /* before add_row moves it behind `end` */
        if (runnable(seq) && is_decode(seq) && (!seq->suspect || room->n_suspects > 0)) {
            add_row(engine, seq, 1, room);
            engine->load.n_rows++;
        }
    }
}

static void add_chunks(struct engine *engine, struct room *room)
{
    for (struct seq *seq = engine->first[SEQ_ADMISSION]; seq != NULL && room->n_rows > 0;
         seq = seq->link[SEQ_ADMISSION].next) {
        if (!runnable(seq) || is_decode(seq) || (seq->suspect && room->n_suspects == 0))
            continue;
        uint32_t n = chunk_of(seq, room->n_tokens);
        if (n == 0)
            continue;
        add_row(engine, seq, n, room);
        engine->load.n_tokens += n;
        room->n_tokens -= n;
    }
}

uint32_t plan_rows(struct engine *engine)
{
    engine->step.n_rows = 0;
    engine->load = (struct rate_load){0};
    grant_blocks(engine);
    struct room room = {
        .n_rows = engine->cfg.batch_max,
        .n_suspects = ENGINE_SUSPECTS_MAX,
        .n_tokens = rate_chunk(&engine->rate, engine->cfg.chunk_max, engine->cfg.chunk_ms),
    };
    struct seq *prompt = oldest_prompt(engine);
    if (prompt != NULL && (room.n_rows > 1 || !decode_before(engine, prompt))) {
        room.n_rows--;
        room.n_suspects -= prompt->suspect;
        add_decodes(engine, &room);
        room.n_rows++;
        room.n_suspects += prompt->suspect;
    } else {
        add_decodes(engine, &room);
    }
    add_chunks(engine, &room);
    return engine->step.n_rows;
}
