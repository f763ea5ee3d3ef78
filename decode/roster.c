/* The union of the routers' rosters, prefill nodes only. See roster.h. */
#include "decode/roster.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"

struct roster {
    uint64_t version;
    size_t n;
    struct decode_peer peers[ROSTER_PEERS_MAX];
    uint32_t named[ROSTER_PEERS_MAX][BOND_ROUTERS_MAX]; /* links that name it, 0 empty */
};

enum status roster_create(struct roster **out)
{
    struct roster *roster = mem_alloc_zero(1, sizeof(*roster));

    if (!roster)
        return STATUS_NO_MEMORY;
    *out = roster;
    return STATUS_OK;
}

void roster_destroy(struct roster *roster)
{
    mem_free(roster);
}

static size_t peer_index(const struct roster *roster, uint64_t peer)
{
    size_t i = 0;

    while (i < roster->n && roster->peers[i].incarnation != peer)
        i++;
    return i;
}

static bool list_names(const struct wire_roster *list, uint64_t peer)
{
    for (size_t i = 0; i < list->incarnations.n; i++)
        if (list->incarnations.at[i] == peer)
            return true;
    return false;
}

/* Writes down or strikes out that the link names the peer; true while anyone does. */
static bool peer_name(struct roster *roster, const struct bond *bond, size_t idx, uint32_t link,
                      bool names)
{
    uint32_t *named = roster->named[idx];
    bool any = false;

    for (size_t i = 0; i < BOND_ROUTERS_MAX; i++) {
        if (named[i] == link || (named[i] && !bond_has(bond, named[i])))
            named[i] = 0;
        if (named[i] == 0 && names) {
            named[i] = link;
            names = false;
        }
        any |= named[i] != 0;
    }
    return any;
}

static void peer_add(struct roster *roster, uint32_t link, uint64_t peer, struct wire_span endpoint,
                     struct wire_span host, const char *own_host)
{
    struct decode_peer *slot = &roster->peers[roster->n];

    if (roster->n == ROSTER_PEERS_MAX || endpoint.len >= sizeof(slot->endpoint)) {
        LOG_WARN("decode", "a prefill node of the roster is left out",
                 log_u64("peers_max", ROSTER_PEERS_MAX));
        return;
    }
    *slot = (struct decode_peer){.incarnation = peer, .added = ++roster->version};
    memcpy(slot->endpoint, endpoint.at, endpoint.len);
    slot->local = host.len > 0 && wire_span_equal(host, wire_span_of(own_host));
    memset(roster->named[roster->n], 0, sizeof(roster->named[0]));
    roster->named[roster->n][0] = link;
    roster->n++;
}

void roster_take(struct roster *roster, const struct bond *bond, uint32_t link,
                 const struct wire_roster *list, const char *host)
{
    const size_t n = list->incarnations.n;

    if (list->roles.n != n || list->endpoints.n != n || list->hosts.n != n)
        return;
    for (size_t i = 0; i < roster->n; i++)
        roster->peers[i].absent =
            !peer_name(roster, bond, i, link, list_names(list, roster->peers[i].incarnation));
    for (size_t i = 0; i < n; i++)
        if (list->roles.at[i] == WIRE_ROLE_PREFILL &&
            peer_index(roster, list->incarnations.at[i]) == roster->n)
            peer_add(roster, link, list->incarnations.at[i], list->endpoints.at[i],
                     list->hosts.at[i], host);
}

uint64_t roster_take_gone(struct roster *roster, const struct kvt *kvt)
{
    for (size_t i = 0; i < roster->n; i++) {
        const uint64_t peer = roster->peers[i].incarnation;

        if (!roster->peers[i].absent || kvt_paired(kvt, peer))
            continue;
        roster->n--;
        roster->peers[i] = roster->peers[roster->n];
        memcpy(roster->named[i], roster->named[roster->n], sizeof(roster->named[i]));
        roster->version++;
        return peer;
    }
    return 0;
}

const struct decode_peer *roster_find(const struct roster *roster, uint64_t peer)
{
    const size_t idx = peer_index(roster, peer);

    return idx < roster->n ? &roster->peers[idx] : NULL;
}

size_t roster_peers(const struct roster *roster, const struct decode_peer **peers_out,
                    uint64_t *version_out)
{
    *peers_out = roster->peers;
    *version_out = roster->version;
    return roster->n;
}
