/* The session's few rules; the table is in README.md. No I/O, no clock, no memory. */
#include "wire/session.h"

#include "base/clock.h"
#include "wire/plant.h"

void wire_session_open(struct wire_session *session, uint32_t link, uint32_t number, uint64_t self,
                       uint64_t peer, uint64_t now_ns)
{
    *session = (struct wire_session){.link = link,
                                     .number = number,
                                     .self = self,
                                     .peer = peer,
                                     .heard_ns = now_ns,
                                     .beat_ns = now_ns};
}

enum status wire_session_post(struct wire_session *session, struct wire_out *out,
                              struct wire_msg *msg)
{
    if (session->broken) {
        return STATUS_LOST;
    }
    msg->session = session->number;
    msg->seq = session->sent + 1;
    msg->from = session->self;
    msg->to = session->peer;
    enum status status = wire_out_post(out, session->link, msg);
    if (status == STATUS_OK) {
        session->sent++;
    }
    return status;
}

/* `to` is 0 where the opener does not know us yet; `peer` is 0 where we do not know it yet. */
static bool is_between_us(const struct wire_session *session, const struct wire_msg *msg)
{
    return (msg->to == session->self || msg->to == 0) && msg->from != 0 &&
           (msg->from == session->peer || session->peer == 0);
}

enum status wire_session_take(struct wire_session *session, const struct wire_msg *msg,
                              uint64_t now_ns)
{
    if (!is_between_us(session, msg) || msg->session > session->number) {
        return STATUS_STALE;
    }
    if (msg->session < session->number) {
        return STATUS_AGAIN;
    }
    if (session->broken) {
        return STATUS_LOST;
    }
    /* Who has no session with us can only say so outside of one. */
    bool unnumbered = msg->kind == WIRE_KIND_BYE && msg->seq == 0;
    if (!unnumbered && msg->seq <= session->seen) {
        return STATUS_AGAIN;
    }
    if (!unnumbered && msg->seq != session->seen + 1 && !PLANTED(21)) {
        session->broken = true;
        return STATUS_LOST;
    }
    session->seen = unnumbered ? session->seen : msg->seq;
    session->peer = msg->from;
    session->heard_ns = now_ns;
    return STATUS_OK;
}

/* A clock that seems to go back has told nothing. */
static bool passed(uint64_t since_ns, uint64_t now_ns, uint32_t ms)
{
    return now_ns > since_ns && now_ns - since_ns >= ms * NS_PER_MS;
}

bool wire_session_silent(const struct wire_session *session, uint64_t now_ns)
{
    return passed(session->heard_ns, now_ns, WIRE_SILENCE_MS);
}

bool wire_session_beat_due(const struct wire_session *session, uint64_t now_ns)
{
    return passed(session->beat_ns, now_ns, WIRE_HEARTBEAT_MS);
}
