/* Clients in numbers, for storms by hand (storm.py): thousands of connections from one thread.
 *
 *   storm HOST PORT streams N TOKENS   N streams at once, seeds 0 to N-1; prints how many tokens
 *                                      came, one hash over all texts in their order, and gaps
 *   storm HOST PORT loris N SECONDS    N connections whose requests dribble in
 *   storm HOST PORT leave N SECONDS    N clients at a time who leave at any moment */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rand.h"

#define ROOM 65536u
#define GAPS_MAX (1u << 24)
#define EVENTS 256
#define FNV 1099511628211u

static struct sockaddr_in server;

struct stream {
    int fd;
    uint32_t n_tokens;
    uint64_t hash, last_ns, bytes_left; /* of loris and leave: when, and what is still read */
    size_t n_held;
    char *held; /* [ROOM] */
    bool done, broken;
};

static struct gaps {
    uint32_t *us;
    size_t n;
} gaps, firsts;

static uint64_t now_ns(void)
{
    const struct clock clock = clock_monotonic();

    return clock_now_ns(&clock);
}

static int dial(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;

    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&server, sizeof(server)) != 0) {
        (void)close(fd);
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static size_t request(char out[1024], uint32_t seed, uint32_t n_tokens, bool stream)
{
    char body[400];
    const int len = snprintf(body, sizeof(body),
                             "{\"prompt\":\"stream %u\",\"seed\":%u,\"max_tokens\":%u,"
                             "\"ignore_eos\":true,\"stream\":%s}",
                             seed, seed, n_tokens, stream ? "true" : "false");

    return (size_t)snprintf(out, 1024,
                            "POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n"
                            "\r\n%s",
                            len, body);
}

static void add_gap(struct gaps *list, uint64_t ns)
{
    if (list->n < GAPS_MAX)
        list->us[list->n++] = (uint32_t)(ns / 1000);
}

/* ---- streams ---- */

static void take_event(struct stream *stream, const char *event, uint64_t at_ns)
{
    const char *text = strstr(event, "\"text\":\"");
    const char *end = text ? strstr(text, "\",\"logprobs\"") : NULL;

    if (strncmp(event, "[DONE]", 6) == 0) {
        stream->done = true;
    } else if (!end) {
        stream->broken = true;
    } else if (!strstr(end, "\"finish_reason\":\"")) {
        for (text += strlen("\"text\":\""); text < end; text++)
            stream->hash = (stream->hash ^ (unsigned char)*text) * FNV;
        stream->hash = (stream->hash ^ 0x1ff) * FNV;
        add_gap(stream->n_tokens ? &gaps : &firsts, at_ns - stream->last_ns);
        stream->last_ns = at_ns;
        stream->n_tokens++;
    }
}

static void read_stream(struct stream *stream)
{
    const ssize_t n = recv(stream->fd, stream->held + stream->n_held, ROOM - 1 - stream->n_held, 0);
    const uint64_t at_ns = now_ns();
    char *at = stream->held, *event, *end;

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        stream->broken = true;
        return;
    }
    stream->n_held += (size_t)n;
    stream->held[stream->n_held] = '\0';
    if (strncmp(stream->held, "HTTP/1.1 ", 9) == 0 && strncmp(stream->held + 9, "200", 3) != 0) {
        fprintf(stderr, "%s\n", stream->held);
        stream->broken = true;
        return;
    }
    while ((event = strstr(at, "data: ")) != NULL && (end = strstr(event, "\n\n")) != NULL) {
        *end = '\0';
        take_event(stream, event + 6, at_ns);
        at = end + 2;
    }
    stream->n_held -= (size_t)(at - stream->held);
    memmove(stream->held, at, stream->n_held + 1);
}

static int by_value(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void print_gaps(const char *name, struct gaps *list)
{
    if (list->n == 0)
        return;
    qsort(list->us, list->n, sizeof(*list->us), by_value);
    printf(" %s_p50_us=%u %s_p99_us=%u %s_p999_us=%u %s_max_us=%u", name, list->us[list->n / 2],
           name, list->us[list->n * 99 / 100], name, list->us[list->n * 999 / 1000], name,
           list->us[list->n - 1]);
}

static int run_streams(uint32_t n, uint32_t n_tokens)
{
    struct stream *streams = calloc(n, sizeof(*streams));
    struct epoll_event events[EVENTS];
    const int poll = epoll_create1(EPOLL_CLOEXEC);
    const uint64_t begin_ns = now_ns();
    uint64_t hash = 0, n_all = 0;
    uint32_t n_open = n, n_broken = 0;
    char text[1024];

    CHECK(streams && poll >= 0);
    for (uint32_t i = 0; i < n; i++) {
        const size_t len = request(text, i, n_tokens, true);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &streams[i]};

        streams[i].fd = dial();
        CHECK(streams[i].fd >= 0 && (streams[i].held = malloc(ROOM)) != NULL);
        streams[i].hash = 14695981039346656037u;
        streams[i].last_ns = now_ns();
        CHECK(send(streams[i].fd, text, len, MSG_NOSIGNAL) == (ssize_t)len);
        CHECK(epoll_ctl(poll, EPOLL_CTL_ADD, streams[i].fd, &event) == 0);
    }
    while (n_open > 0) {
        const int n_ready = epoll_wait(poll, events, EVENTS, 60000);

        CHECK(n_ready > 0);
        for (int i = 0; i < n_ready; i++) {
            struct stream *stream = events[i].data.ptr;

            read_stream(stream);
            if (!stream->done && !stream->broken)
                continue;
            (void)close(stream->fd);
            n_open--;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        n_broken += streams[i].broken || streams[i].n_tokens != n_tokens;
        n_all += streams[i].n_tokens;
        hash = (hash ^ streams[i].hash) * FNV;
        free(streams[i].held);
    }
    printf("streams=%u tokens=%lu bad=%u hash=%016lx seconds=%.2f", n, n_all, n_broken, hash,
           (double)(now_ns() - begin_ns) / 1e9);
    print_gaps("first", &firsts);
    print_gaps("gap", &gaps);
    printf("\n");
    free(streams);
    (void)close(poll);
    return n_broken == 0 ? 0 : 1;
}

/* ---- nuisances ---- */

static int run_loris(uint32_t n, uint32_t seconds)
{
    static const char head[] = "POST /v1/completions HTTP/1.1\r\nHost: h\r\nX-Slow: ";
    int *fds = calloc(n, sizeof(*fds));
    uint32_t n_there = 0, n_refused = 0;

    CHECK(fds);
    for (uint32_t i = 0; i < n; i++) {
        fds[i] = dial();
        n_refused += fds[i] < 0 || send(fds[i], head, sizeof(head) - 1, MSG_NOSIGNAL) < 0;
    }
    for (uint32_t s = 0; s < seconds; s++) {
        const struct timespec second = {.tv_sec = 1};

        (void)nanosleep(&second, NULL);
        for (uint32_t i = 0; i < n; i++)
            if (fds[i] >= 0)
                (void)send(fds[i], "x", 1, MSG_NOSIGNAL);
    }
    for (uint32_t i = 0; i < n; i++) {
        char byte;

        if (fds[i] >= 0 && recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)
            n_there++;
        if (fds[i] >= 0)
            (void)close(fds[i]);
    }
    printf("loris=%u refused=%u left_after_%us=%u\n", n, n_refused, seconds, n_there);
    free(fds);
    return 0;
}

static void begin_leaver(struct stream *stream, struct rand *rng)
{
    char text[1024];
    size_t len = request(text, (uint32_t)rand_u64(rng), 1 + (uint32_t)(rand_u64(rng) % 400),
                         rand_u64(rng) & 1);

    stream->fd = dial();
    if (rand_u64(rng) % 4 == 0)
        len = rand_u64(rng) % len;
    stream->bytes_left = rand_u64(rng) % 3 == 0 ? 0 : rand_u64(rng) % 40000;
    stream->last_ns = now_ns() + rand_u64(rng) % (300 * NS_PER_MS); /* when it leaves at last */
    if (stream->fd >= 0)
        (void)!send(stream->fd, text, len, MSG_NOSIGNAL);
}

static int run_leavers(uint32_t n, uint32_t seconds)
{
    struct stream *streams = calloc(n, sizeof(*streams));
    const uint64_t end_ns = now_ns() + seconds * NS_PER_S;
    uint64_t n_left = 0;
    struct rand rng;

    CHECK(streams);
    rand_init(&rng, now_ns());
    for (uint32_t i = 0; i < n; i++)
        begin_leaver(&streams[i], &rng);
    while (now_ns() < end_ns) {
        const struct timespec pause = {.tv_nsec = 1000000};

        (void)nanosleep(&pause, NULL);
        for (uint32_t i = 0; i < n; i++) {
            char bytes[4096];
            const ssize_t got =
                streams[i].fd < 0 ? 0 : recv(streams[i].fd, bytes, sizeof(bytes), MSG_DONTWAIT);
            const uint64_t taken = got > 0 ? (uint64_t)got : 0;

            streams[i].bytes_left -= taken < streams[i].bytes_left ? taken : streams[i].bytes_left;
            if (got != 0 && streams[i].bytes_left > 0 && now_ns() < streams[i].last_ns)
                continue;
            if (streams[i].fd >= 0)
                (void)close(streams[i].fd);
            n_left++;
            begin_leaver(&streams[i], &rng);
        }
    }
    for (uint32_t i = 0; i < n; i++)
        if (streams[i].fd >= 0)
            (void)close(streams[i].fd);
    printf("left=%lu\n", n_left);
    free(streams);
    return 0;
}

int main(int argc, char **argv)
{
    uint32_t n, much;

    if (argc != 6) {
        fprintf(stderr, "storm HOST PORT streams|loris|leave N TOKENS|SECONDS\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    CHECK(inet_pton(AF_INET, argv[1], &server.sin_addr) == 1);
    n = (uint32_t)atoi(argv[4]);
    much = (uint32_t)atoi(argv[5]);
    gaps.us = malloc(GAPS_MAX * sizeof(*gaps.us));
    firsts.us = malloc(GAPS_MAX * sizeof(*firsts.us));
    CHECK(gaps.us && firsts.us);
    if (strcmp(argv[3], "streams") == 0)
        return run_streams(n, much);
    return strcmp(argv[3], "loris") == 0 ? run_loris(n, much) : run_leavers(n, much);
}
