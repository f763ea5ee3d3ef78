/* The crash box: a sealed memory file, mapped by supervisor and node. The node's compute thread
 * writes the ids of a step and then its number, and takes the number back when the step is done:
 * stores only, so it costs nothing and survives any death of the process. What a crashed process
 * has left is not trusted: the reader bounds every count. */
#include "engine/crashbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

#define CRASHBOX_MAGIC UINT64_C(0x626174786f623031)

struct crashbox {
    uint64_t magic;
    uint64_t incarnation;
    _Atomic uint64_t step; /* 0: none executes; written last, emptied first */
    uint64_t n;
    struct wire_id reqs[CRASHBOX_REQUESTS_MAX];
};

_Static_assert(CRASHBOX_REQUESTS_MAX >= ENGINE_BATCH_MAX, "every row of a step has a place");

static struct crashbox *map(int fd)
{
    void *at = mmap(NULL, sizeof(struct crashbox), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

enum status crashbox_create(int *fd_out, struct crashbox **out)
{
    int fd = memfd_create("baton-crashbox", MFD_ALLOW_SEALING);
    if (fd < 0)
        return STATUS_IO;
    if (ftruncate(fd, sizeof(struct crashbox)) != 0)
        goto fail;
    /* Without the seal a node gone mad could shrink the file, and reading would kill us. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        goto fail;
    struct crashbox *box = map(fd);
    if (box == NULL)
        goto fail;
    box->magic = CRASHBOX_MAGIC;
    *fd_out = fd;
    *out = box;
    return STATUS_OK;
fail:
    close(fd);
    return STATUS_IO;
}

enum status crashbox_open(int fd, struct crashbox **out)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return errno == EBADF ? STATUS_INVALID : STATUS_IO;
    if (stat.st_size != (off_t)sizeof(struct crashbox))
        return STATUS_INVALID;
    struct crashbox *box = map(fd);
    if (box == NULL)
        return STATUS_IO;
    if (box->magic != CRASHBOX_MAGIC) {
        crashbox_close(box);
        return STATUS_INVALID;
    }
    *out = box;
    return STATUS_OK;
}

void crashbox_close(struct crashbox *box)
{
    if (box != NULL)
        munmap(box, sizeof *box);
}

void crashbox_begin(struct crashbox *box, uint64_t incarnation, const struct engine_step *step)
{
    CHECK(step->n_rows <= CRASHBOX_REQUESTS_MAX && step->number != 0);
    box->incarnation = incarnation;
    box->n = step->n_rows;
    for (uint32_t i = 0; i < step->n_rows; i++)
        box->reqs[i] = step->rows[i].req;
    atomic_store_explicit(&box->step, step->number, memory_order_release);
}

void crashbox_end(struct crashbox *box)
{
    atomic_store_explicit(&box->step, 0, memory_order_release);
    /* The next begin must not be seen before this. */
    atomic_thread_fence(memory_order_seq_cst);
}

enum status crashbox_read(const struct crashbox *box, uint64_t *incarnation_out, uint64_t *step_out,
                          struct wire_id *reqs, size_t max, size_t *n_out)
{
    uint64_t step = atomic_load_explicit(&box->step, memory_order_acquire);
    if (step == 0)
        return STATUS_NOT_FOUND;
    uint64_t n = box->n < CRASHBOX_REQUESTS_MAX ? box->n : CRASHBOX_REQUESTS_MAX;
    if (n > max)
        n = max;
    memcpy(reqs, box->reqs, n * sizeof *reqs);
    *incarnation_out = box->incarnation;
    *step_out = step;
    *n_out = n;
    return STATUS_OK;
}

void crashbox_reset(struct crashbox *box)
{
    box->incarnation = 0;
    box->n = 0;
    crashbox_end(box);
}
