/* A session makes any transport either reliable and in order, or visibly broken. Each side numbers
 * what it sends from 1; the receiver drops what it has seen and breaks the session at a gap. The
 * heartbeat (every 250 ms) makes a lost last message visible, and silence of 2.8 s is death. A
 * broken session is never mended: the side that opens sessions (node to router, D to P) opens the
 * next one under a higher number, and everything of the old one counts as lost on both sides. So
 * drop, duplicate, reorder and reconnect are all one event, which the roles already survive. */
#pragma once

#include "wire/msg.h"
#include "wire/out.h"

#define WIRE_HEARTBEAT_MS 250u
#define WIRE_SILENCE_MS 2800u /* with the beat's tick and our own: noticed within 3 s */

struct wire_session {
    uint32_t link;
    uint32_t number;   /* chosen by the opener, grows by one at each try */
    uint64_t self;     /* own incarnation */
    uint64_t peer;     /* the other's incarnation, 0 until known */
    uint64_t sent;     /* seq of the last message posted */
    uint64_t seen;     /* seq of the last message taken */
    uint64_t heard_ns; /* when the last good message came */
    uint64_t beat_ns;  /* when the last heartbeat was posted; its poster writes it */
    bool broken;       /* a gap was seen: nothing is posted or taken any more */
};

/* Opens a session on a link (either side). */
void wire_session_open(struct wire_session *session, uint32_t link, uint32_t number, uint64_t self,
                       uint64_t peer, uint64_t now_ns);
/* Fills the envelope (from, to, session, seq) and posts. LOST where the session is broken; else as
 * wire_out_post, and a message that was not posted has used no number. */
enum status wire_session_post(struct wire_session *session, struct wire_out *out,
                              struct wire_msg *msg);
/* OK: take it. AGAIN: seen before, or from an older session, ignore. STALE: not for this
 * incarnation, from another, or of an unknown session: answer `bye` (but never to a `bye`).
 * LOST: a gap, the session is broken from now on. A `bye` with seq 0 comes from a side that has no
 * session of this number any more; it is taken out of turn. */
enum status wire_session_take(struct wire_session *session, const struct wire_msg *msg,
                              uint64_t now_ns);
bool wire_session_silent(const struct wire_session *session, uint64_t now_ns);
bool wire_session_beat_due(const struct wire_session *session, uint64_t now_ns);
