/* Which prefill nodes there are, as the routers' rosters tell it. A peer stays until no router
 * names it any more; a lost router's word stands until the next roster of any router, so that the
 * loss of a router alone tears down no pair. */
#pragma once

#include "decode/decode.h"

#define ROSTER_PEERS_MAX 1024u

struct roster;

enum status roster_create(struct roster **out);
void roster_destroy(struct roster *roster);
/* Takes a router's new roster whole, and forgets what links said that the bond has no more. Peers
 * that are gone are written to gone[ROSTER_PEERS_MAX]; returns how many. host: this machine's, for
 * `local`. */
size_t roster_take(struct roster *roster, const struct bond *bond, uint32_t link,
                   const struct wire_roster *list, const char *host, uint64_t *gone);
const struct decode_peer *roster_find(const struct roster *roster, uint64_t peer);
size_t roster_peers(const struct roster *roster, const struct decode_peer **peers_out,
                    uint64_t *version_out);
