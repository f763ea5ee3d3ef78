/* Which prefill nodes there are, as the routers' rosters tell it. A peer that no router names any
 * more is absent, and goes when its pair is not well either: a router that lost its sessions, or
 * has just started, tears down no pair by a short roster. */
#pragma once

#include "decode/decode.h"

#define ROSTER_PEERS_MAX 1024u

struct roster;

enum status roster_create(struct roster **out);
void roster_destroy(struct roster *roster);
/* Takes a router's new roster whole, and forgets what links said that the bond has no more. host:
 * this machine's, for `local`. */
void roster_take(struct roster *roster, const struct bond *bond, uint32_t link,
                 const struct wire_roster *list, const char *host);
/* Takes one absent peer off the list whose pair is not well, or returns 0. Call until 0. */
uint64_t roster_take_gone(struct roster *roster, const struct kvt *kvt);
const struct decode_peer *roster_find(const struct roster *roster, uint64_t peer);
size_t roster_peers(const struct roster *roster, const struct decode_peer **peers_out,
                    uint64_t *version_out);
