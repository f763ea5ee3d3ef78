/* Who may connect: the ZAP handler of the process's ZeroMQ context. CURVE encrypts for anybody who
 * knows the server's public key; only this allow-list authenticates. Everything that is not on it
 * is denied with 400 and logged with the reason. It must be open before the first socket with keys
 * binds, for without a handler ZeroMQ lets everybody in. One for each context; it is served by a
 * loop, and a busy loop only delays new connections. */
#pragma once

#include "base/loop.h"
#include "base/status.h"
#include "wire/keys.h"
#include "wire/zctx.h"

#define ZAP_DOMAIN_MAX 32
#define ZAP_NAME_MAX 64
#define ZAP_KEYS_MAX 65536
#define ZAP_DOMAIN_CLIENTS "clients" /* may send requests */
#define ZAP_DOMAIN_NODES "nodes"     /* may join, pair, and report */

struct zap;

enum status zap_open(struct zctx *ctx, struct loop *loop, struct zap **out);
/* NULL is nothing. */
void zap_close(struct zap *zap);

/* Lets this public key (Z85) into a domain. INVALID for a text that is no key, EXISTS, TOO_BIG over
 * ZAP_KEYS_MAX, NO_MEMORY. The name is for the log. */
enum status zap_allow(struct zap *zap, const char *domain, const char *name,
                      const char *public_key);
/* Reads an allow-list: lines of `domain name key`; a line that begins with '#' is a comment.
 * Nothing is taken from a file with a fault; `why` then names the line. NOT_FOUND, MALFORMED, IO,
 * and as zap_allow. */
enum status zap_load(struct zap *zap, const char *path, char why[KEYS_WHY_MAX]);
size_t zap_n_keys(const struct zap *zap);
uint64_t zap_n_allowed(const struct zap *zap);
uint64_t zap_n_denied(const struct zap *zap);
