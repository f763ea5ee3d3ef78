/* Digests of KV pieces: takes the widest version that this machine has. Called by the writer's
 * compute side and the reader's landing; takes no memory, any thread. */
#include "wire/kvdigest.h"

#include "wire/kvdigest_inline.h"

uint64_t kvdigest_piece(const struct wire_id *req, uint32_t attempt, uint32_t block,
                        uint32_t first_layer, const void *bytes, size_t len)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        return kvdigest_piece_avx2(req, attempt, block, first_layer, bytes, len);
    }
#endif
    return kvdigest_inline(req, attempt, block, first_layer, bytes, len);
}
