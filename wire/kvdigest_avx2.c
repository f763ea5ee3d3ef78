/* The digest compiled with AVX2; only kvdigest.c calls it, after asking the machine. */
#include "wire/kvdigest_inline.h"

#ifdef __x86_64__
uint64_t kvdigest_piece_avx2(const struct wire_id *req, uint32_t attempt, uint32_t block,
                             uint32_t first_layer, const void *bytes, size_t len)
{
    return kvdigest_inline(req, attempt, block, first_layer, bytes, len);
}
#endif
