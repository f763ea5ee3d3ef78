/* The CPU as a device: memory, threads, and the choice of a table. */
#include "kernels/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "kernels/cpu/cpu.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define WORK_ROWS 510u              /* rows that a linear packs at once */
#define WORK_MORE ((size_t)4 << 20) /* sums of such a block; attention's tiles */
#define K_MAX_MAX (1u << 20)

/* Whole huge pages where the request is that large; the system then may give them. */
static void *map_memory(size_t bytes)
{
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : 4096;
    size_t padded = (bytes + align - 1) / align * align + (align > 4096 ? align : 0);
    uint8_t *at, *begin;

    if (padded < bytes)
        return NULL;
    at = mmap(NULL, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    if (align == 4096)
        return at;
    /* One huge page more was mapped, so that an aligned part fits; the rest is given back. */
    begin = (uint8_t *)(((uintptr_t)at + align - 1) / align * align);
    if (begin > at)
        (void)munmap(at, (size_t)(begin - at));
    if (at + padded > begin + padded - align)
        (void)munmap(begin + padded - align, (size_t)(at + align - begin));
    (void)madvise(begin, padded - align, MADV_HUGEPAGE); /* only a wish */
    return begin;
}

static void unmap_memory(void *memory, size_t bytes)
{
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : 4096;

    if (memory != NULL)
        CHECK(munmap(memory, (bytes + align - 1) / align * align) == 0);
}

static const struct cpu_table *find_table(const char *name)
{
    for (uint32_t i = 0; i < cpu_n_tables; i++)
        if (strcmp(cpu_tables[i].name, name) == 0)
            return &cpu_tables[i];
    return NULL;
}

size_t device_tables(const char **names, size_t max)
{
    size_t n = 0;

    for (uint32_t i = 0; i < cpu_n_tables; i++) {
        if (!cpu_tables[i].usable())
            continue;
        if (n < max)
            names[n] = cpu_tables[i].name;
        n++;
    }
    return n;
}

/* ", scalar, avx2": those that can be had. */
static void put_tables(char *out, size_t room)
{
    size_t len = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < cpu_n_tables && len < room; i++)
        if (cpu_tables[i].usable())
            len += (size_t)snprintf(out + len, room - len, ", %s", cpu_tables[i].name);
}

static enum status choose_table(const char *name, const struct cpu_table **out, char *why)
{
    const struct cpu_table *table = NULL;
    char list[64];

    if (name == NULL || strcmp(name, "auto") == 0) {
        for (uint32_t i = 0; i < cpu_n_tables; i++)
            if (cpu_tables[i].usable())
                table = &cpu_tables[i];
        *out = table;
        return STATUS_OK;
    }
    table = find_table(name);
    if (table == NULL || !table->usable()) {
        put_tables(list, sizeof(list));
        (void)snprintf(why, DEVICE_WHY_MAX,
                       table == NULL ? "no kernel table is called '%.32s' in this build: there are "
                                       "auto%s"
                                     : "this CPU cannot run the kernel table '%.32s': there are "
                                       "auto%s",
                       name, list);
        return table == NULL ? STATUS_NOT_FOUND : STATUS_UNSUPPORTED;
    }
    *out = table;
    return STATUS_OK;
}

enum status device_open(const struct device_cfg *cfg, struct device **out, char why[DEVICE_WHY_MAX])
{
    const struct cpu_table *table;
    struct device *dev;
    enum status status = choose_table(cfg->table, &table, why);

    if (status != STATUS_OK)
        return status;
    if (cfg->k_max == 0 || cfg->k_max > K_MAX_MAX || cfg->n_threads > DEVICE_THREADS_MAX) {
        (void)snprintf(why, DEVICE_WHY_MAX, "a device of %u threads for rows of %u is not made",
                       cfg->n_threads, cfg->k_max);
        return STATUS_INVALID;
    }
    dev = calloc(1, sizeof(*dev));
    if (dev == NULL)
        goto fail_memory;
    dev->table = table;
    dev->k_max = cfg->k_max;
    status = pool_create(cfg->n_threads, cfg->pin, &dev->pool);
    if (status != STATUS_OK)
        goto fail_pool;
    dev->work_bytes = (size_t)WORK_ROWS * cfg->k_max * 4 + WORK_MORE;
    dev->work = map_memory(dev->work_bytes * pool_n_threads(dev->pool));
    if (dev->work == NULL)
        goto fail_work;
    *out = dev;
    return STATUS_OK;
fail_work:
    pool_destroy(dev->pool);
fail_memory:
    (void)snprintf(why, DEVICE_WHY_MAX, "out of memory for the kernels' workspace");
    free(dev);
    return STATUS_NO_MEMORY;
fail_pool:
    (void)snprintf(why, DEVICE_WHY_MAX, "the kernel threads could not be started");
    free(dev);
    return status;
}

void device_close(struct device *dev)
{
    if (dev == NULL)
        return;
    unmap_memory(dev->work, dev->work_bytes * pool_n_threads(dev->pool));
    pool_destroy(dev->pool);
    free(dev);
}

void *cpu_work(struct device *dev, uint32_t thread, size_t bytes)
{
    CHECK(bytes <= dev->work_bytes);
    return dev->work + thread * dev->work_bytes;
}

struct device_info device_info(const struct device *dev)
{
    struct device_info info = {
        .table = dev->table->name,
#if defined(__x86_64__)
        .kind = "cpu",
#else
        .kind = "cpu_arm",
#endif
        .n_threads = pool_n_threads(dev->pool),
    };

    return info;
}

const struct ops *device_ops(const struct device *dev)
{
    return dev->table->ops;
}

enum status device_alloc(struct device *dev, size_t bytes, void **out)
{
    void *memory = map_memory(bytes);

    (void)dev;
    CHECK(bytes > 0);
    if (memory == NULL)
        return STATUS_NO_MEMORY;
    *out = memory;
    return STATUS_OK;
}

void device_free(struct device *dev, void *memory, size_t bytes)
{
    (void)dev;
    unmap_memory(memory, bytes);
}

void device_copy(struct device *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    memcpy(dst, src, bytes);
}

void device_clear(struct device *dev, void *dst, size_t bytes)
{
    (void)dev;
    memset(dst, 0, bytes);
}

enum status device_wait(struct device *dev)
{
    (void)dev;
    return STATUS_OK;
}
