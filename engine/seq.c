/* Records of sequences: their memory, the lists, and when a sequence ends. All memory of a sequence
 * is one allocation at admission, sized for its longest life, so nothing is allocated per token. */
#include "engine/seq.h"

#include <string.h>

#include "base/check.h"
#include "base/handles.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "base/objpool.h"
#include "wire/sampling.h"

void seq_append(struct engine *engine, enum seq_list list, struct seq *seq)
{
    seq->link[list].prev = engine->last[list];
    seq->link[list].next = NULL;
    if (engine->last[list] != NULL)
        engine->last[list]->link[list].next = seq;
    else
        engine->first[list] = seq;
    engine->last[list] = seq;
}

void seq_unlink(struct engine *engine, enum seq_list list, struct seq *seq)
{
    struct seq *prev = seq->link[list].prev, *next = seq->link[list].next;
    if (prev != NULL)
        prev->link[list].next = next;
    else
        engine->first[list] = next;
    if (next != NULL)
        next->link[list].prev = prev;
    else
        engine->last[list] = prev;
}

static bool has_id(const uint32_t *ids, size_t n, uint32_t id)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

bool seq_ends(const struct wire_sampling *sampling, const uint32_t *eos, uint32_t n_eos,
              uint32_t n_emitted, uint32_t token, bool *stop_out)
{
    bool stop = (!sampling->ignore_eos && has_id(eos, n_eos, token)) ||
                has_id(sampling->stop_ids.at, sampling->stop_ids.n, token);
    *stop_out = stop && n_emitted >= sampling->min_tokens;
    return *stop_out || n_emitted + 1 >= sampling->max_tokens;
}

/* Blocks of the whole life: the last id sampled needs no KV. */
static uint32_t blocks_of_life(const struct engine_job *job, uint32_t known)
{
    if (job->mode == ENGINE_PREFILL)
        return kvgeom_blocks(known);
    return kvgeom_blocks((uint32_t)job->prompt.n + job->sampling->max_tokens - 1);
}

uint32_t seq_blocks_at_open(const struct engine_job *job, uint32_t known)
{
    uint32_t life = blocks_of_life(job, known), n = kvgeom_blocks(known);
    return job->mode != ENGINE_PREFILL && n < life ? n + 1 : n;
}

enum status seq_create(struct engine *engine, const struct engine_job *job, struct seq **out)
{
    uint32_t n_prompt = (uint32_t)job->prompt.n, n_emitted = (uint32_t)job->emitted.n;
    uint32_t tokens_cap = n_prompt + job->sampling->max_tokens;
    uint32_t blocks_cap = blocks_of_life(job, n_prompt + n_emitted);
    size_t sampling_bytes = wire_sampling_bytes(job->sampling);
    struct seq *seq = objpool_take(engine->seqs);
    if (seq == NULL)
        return STATUS_FULL;
    uint8_t *memory =
        mem_alloc(sampling_bytes + ((size_t)tokens_cap + blocks_cap) * sizeof(uint32_t));
    if (memory == NULL) {
        objpool_give(engine->seqs, seq);
        return STATUS_NO_MEMORY;
    }
    uint32_t *words = (uint32_t *)(void *)(memory + sampling_bytes);
    *seq = (struct seq){
        .req = job->req,
        .attempt = job->attempt,
        .tag = job->tag,
        .mode = job->mode,
        .state = job->mode == ENGINE_DECODE ? ENGINE_LANDING : ENGINE_READY,
        .suspect = job->suspect,
        .seed = job->seed,
        .n_eos = job->n_eos,
        .sampling = wire_sampling_copy(job->sampling, memory),
        .memory = memory,
        .tokens = words,
        .n_prompt = n_prompt,
        .n_tokens = n_prompt + n_emitted,
        .tokens_cap = tokens_cap,
        .blocks = words + tokens_cap,
        .blocks_cap = blocks_cap,
    };
    memcpy(seq->tokens, job->prompt.at, n_prompt * sizeof *words);
    if (job->n_eos > 0)
        memcpy(seq->eos, job->eos, job->n_eos * sizeof *job->eos);
    if (n_emitted > 0)
        memcpy(seq->tokens + n_prompt, job->emitted.at, n_emitted * sizeof *words);
    *out = seq;
    return STATUS_OK;
}

void seq_destroy(struct engine *engine, struct seq *seq)
{
    mem_free(seq->memory);
    seq->memory = NULL;
    objpool_give(engine->seqs, seq);
}

void seq_leave(struct engine *engine, struct seq *seq)
{
    seq_set_needy(engine, seq, false);
    for (enum seq_list list = 0; list < SEQ_N_LISTS; list++)
        seq_unlink(engine, list, seq);
    CHECK(handles_remove(engine->handles, seq->handle) == seq);
    blocks_drop(engine->blocks, BLOCK_HOLDER_SEQ, seq->blocks, seq->n_blocks);
    seq_destroy(engine, seq);
}

void seq_set_needy(struct engine *engine, struct seq *seq, bool needy)
{
    if (seq->needy == needy)
        return;
    seq->needy = needy;
    if (needy)
        engine->n_needy++;
    else
        engine->n_needy--;
}

void seq_add_token(struct seq *seq, uint32_t token)
{
    CHECK(seq->n_tokens < seq->tokens_cap);
    seq->tokens[seq->n_tokens++] = token;
}
