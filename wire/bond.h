/* A node's end of its sessions with the routers: joins, joins again after a loss, sends heartbeats,
 * and tells the role which router is gone, so that the role forgets that router's requests. No I/O:
 * the role above passes messages and time in, and its shell sends the out list.
 *
 *   state     event                     next      what happens
 *   DOWN      link up                   JOINING   join posted under the next session number
 *   JOINING   welcome                   UP        the router's incarnation is learnt
 *   JOINING   bye (incompatible, ...)   REFUSED   the sentence is logged; tried again after 2 s
 *   REFUSED   2 s passed                JOINING   join posted under the next session number
 *   UP        gap, silence, bye         JOINING   the router is reported lost; joins again
 *   any       link down                 DOWN      the router is reported lost if it was UP */
#pragma once

#include "wire/msg.h"
#include "wire/out.h"

#define BOND_ROUTERS_MAX 16u
#define BOND_REFUSED_MS 2000u

struct bond;

struct bond_cfg {
    uint64_t self;         /* own incarnation */
    struct wire_join join; /* what is said at each join; its texts outlive the bond */
};

enum status bond_create(const struct bond_cfg *cfg, struct bond **out);
void bond_destroy(struct bond *bond);

/* The shell has a connection to a router / it broke. FULL over BOND_ROUTERS_MAX. */
enum status bond_link_up(struct bond *bond, uint32_t link, struct wire_out *out, uint64_t now_ns);
void bond_link_down(struct bond *bond, uint32_t link);
/* Whether the link leads to a router. */
bool bond_has(const struct bond *bond, uint32_t link);
/* OK: a good message of an open session; the caller handles it. AGAIN: nothing left to do. */
enum status bond_take(struct bond *bond, uint32_t link, const struct wire_msg *msg,
                      struct wire_out *out, uint64_t now_ns);
/* Posts to one router; silently nothing while that session is not up (its requests are gone). */
void bond_post(struct bond *bond, uint32_t link, struct wire_out *out, struct wire_msg *msg);
/* Heartbeats that are due (`beat` is this node's state), silence, joining again. */
void bond_tick(struct bond *bond, const struct wire_heartbeat *beat, struct wire_out *out,
               uint64_t now_ns);
/* Takes one router link whose session has ended since the last call, or false. Call until false
 * after every call above: all requests of that link are to be forgotten. */
bool bond_take_lost(struct bond *bond, uint32_t *link_out);
/* Says bye to all; for the end of a process. */
void bond_leave(struct bond *bond, enum status code, struct wire_out *out);
uint32_t bond_n_up(const struct bond *bond);
