/* The connections of one ROUTER socket: routing id <-> link number <-> descriptor. Numbers come
 * from a counter that all sockets of a process share, and are never given twice, so a late action
 * on an old connection cannot hit a new one. Fixed capacity; when it is full, the connection that
 * has been quiet for longest makes room. One owner, one thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define ZLINK_ID_MAX 255 /* ZeroMQ's bound of a routing id */
#define ZLINK_USER_MAX 40
#define ZLINK_NO_FD (-1)

struct zlink_table;

struct zlink {
    uint32_t number;
    int fd; /* of the connection, ZLINK_NO_FD if unknown */
    uint8_t id_len;
    uint8_t id[ZLINK_ID_MAX];
    char user[ZLINK_USER_MAX + 1]; /* the peer's public key in Z85, or "" */
};

/* `numbers` holds the number given last; it is shared and outlives the table. NO_MEMORY. */
enum status zlink_create(size_t capacity, uint32_t *numbers, struct zlink_table **out);
void zlink_destroy(struct zlink_table *table);

/* NULL if unknown. Pointers are good until the next add or drop. */
struct zlink *zlink_by_id(struct zlink_table *table, const void *id, size_t len);
struct zlink *zlink_by_number(struct zlink_table *table, uint32_t number);
struct zlink *zlink_by_fd(struct zlink_table *table, int fd);
/* Something came from it: it is now the last to make room. */
void zlink_use(struct zlink_table *table, struct zlink *link);

/* A new connection. The id must be unknown. When the table is full, *evicted_out is the number that
 * was dropped for it, else 0. FULL when all 2^32 numbers have been used. */
enum status zlink_add(struct zlink_table *table, const void *id, size_t len, int fd,
                      const char *user, struct zlink **out, uint32_t *evicted_out);
void zlink_drop(struct zlink_table *table, struct zlink *link);
size_t zlink_count(const struct zlink_table *table);

/* The next number of the shared counter; FULL at its end. */
enum status zlink_number_next(uint32_t *numbers, uint32_t *out);
