/* What the UCX mover refuses: configurations, strangers, malformed messages; and what it leaves
 * alone: other devices, our signal handlers. */
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <ucp/api/ucp.h>

#include "base/check.h"
#include "tests/kvtransfer/ucx_duo.h"

/* ---- configuration ---- */

static void refused(const struct kvt_ucx_cfg *cfg, enum status want, const char *words)
{
    char error[KVT_UCX_ERROR_MAX];
    struct kvt_ucx *mover = NULL;
    assert_int_equal(kvt_ucx_create(cfg, error, &mover), want);
    assert_null(mover);
    if (strstr(error, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error, words);
    }
}

static void bad_configurations(void **state)
{
    (void)state;
    struct kvt_ucx_cfg cfg = kvt_ucx_cfg_default();
    cfg.devices = "nosuch0";
    refused(&cfg, STATUS_INVALID, "no network device \"nosuch0\"");
    cfg.devices = "lo,";
    refused(&cfg, STATUS_INVALID, "kv.devices: expected");
    cfg.devices = "all";
    refused(&cfg, STATUS_INVALID, "\"all\"");
    cfg.devices = "../../etc";
    refused(&cfg, STATUS_INVALID, "kv.devices");
    cfg.devices = "";
    refused(&cfg, STATUS_INVALID, "kv.devices");
    cfg = kvt_ucx_cfg_default();
    cfg.tls = "all";
    refused(&cfg, STATUS_INVALID, "choose from tcp");
    cfg.tls = "tcp,posix";
    refused(&cfg, STATUS_INVALID, "\"posix\" is not possible");
    cfg = kvt_ucx_cfg_default();
    cfg.local_tls = "posix,xpmem";
    refused(&cfg, STATUS_INVALID, "choose from posix sysv cma");
    cfg = kvt_ucx_cfg_default();
    cfg.tls = "rc"; /* no RDMA port on the loopback device */
    refused(&cfg, STATUS_UNSUPPORTED, "ucx_info -d");
    cfg = kvt_ucx_cfg_default();
    cfg.peers_max = 0;
    refused(&cfg, STATUS_INVALID, "kv.peers_max");
}

static void beyond_loopback_needs_private(void **state)
{
    (void)state;
    char name[IF_NAMESIZE] = "";
    struct ifaddrs *all;
    assert_int_equal(getifaddrs(&all), 0);
    for (struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
        if ((at->ifa_flags & IFF_LOOPBACK) == 0 && (at->ifa_flags & IFF_UP) != 0 &&
            at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET) {
            snprintf(name, sizeof(name), "%s", at->ifa_name);
        }
    }
    freeifaddrs(all);
    if (name[0] == '\0') {
        skip();
    }
    struct kvt_ucx_cfg cfg = kvt_ucx_cfg_default();
    cfg.devices = name;
    refused(&cfg, STATUS_DENIED, "kv.network: private");
    cfg.network_private = true;
    struct end end;
    end_open(&end, &cfg);
    end_act(&end, KVT_ACT_OPEN, KVT_PATH_NETWORK);
    assert_true(duo_pump(&end, NULL, &end.n_opened, 1));
    end_close(&end);
}

static void too_few_descriptors(void **state)
{
    (void)state;
    struct rlimit before, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = 300;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    struct end end;
    end_open(&end, NULL); /* raises the soft limit */
    struct rlimit now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    assert_true(now.rlim_cur >= 64 * KVT_UCX_DESCRIPTORS_EACH);
    end_close(&end);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* ---- what is left alone ---- */

/* Asked before cmocka takes signals for itself: no handler lies in a library of UCX. */
static bool signals_are_ours(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGHUP};
    bool all = true;
    struct end end;
    end_open(&end, NULL);
    for (int i = 0; i < 5; i++) {
        struct sigaction action;
        Dl_info info;
        CHECK(sigaction(signals[i], NULL, &action) == 0);
        void *handler = (void *)(uintptr_t)action.sa_handler;
        if (dladdr(handler, &info) != 0 && strstr(info.dli_fname, "libuc") != NULL) {
            all = false;
        }
    }
    end_close(&end);
    return all;
}

static void signals_stay_ours(void **state)
{
    assert_true(*(bool *)*state);
}

/* True if a descriptor of this process is the socket with this inode. */
static bool is_own_socket(unsigned long inode)
{
    char want[64];
    bool found = false;
    snprintf(want, sizeof(want), "socket:[%lu]", inode);
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[300], target[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
        ssize_t len = readlink(path, target, sizeof(target) - 1);
        if (len > 0) {
            target[len] = '\0';
            found = found || strcmp(target, want) == 0;
        }
    }
    closedir(dir);
    return found;
}

/* Counts this process's listening (TCP) or bound (UDP) sockets; fails if one is not on 127/8. */
static int sockets_on_loopback_only(const char *table, const char *loopback_end, bool tcp)
{
    char line[512];
    int n = 0;
    FILE *file = fopen(table, "r");
    if (file == NULL) {
        return 0; /* no IPv6 here */
    }
    assert_non_null(fgets(line, sizeof(line), file));
    while (fgets(line, sizeof(line), file) != NULL) {
        char local[64];
        unsigned state;
        unsigned long inode;
        assert_int_equal(
            sscanf(line, "%*d: %63s %*s %x %*s %*s %*s %*s %*s %lu", local, &state, &inode), 3);
        if ((tcp && state != 10) || !is_own_socket(inode)) {
            continue; /* 10: listening */
        }
        n++;
        *strchr(local, ':') = '\0';
        size_t len = strlen(local), end_len = strlen(loopback_end);
        if (len < end_len || strcmp(local + len - end_len, loopback_end) != 0) {
            fail_msg("%s: a socket is bound to %s", table, local);
        }
    }
    fclose(file);
    return n;
}

static void listens_on_loopback_only(void **state)
{
    (void)state;
    struct end p, d;
    static uint8_t source[4096], land[4096];
    end_open(&p, NULL);
    end_open(&d, NULL);
    d.land = land;
    d.stride = sizeof(land);
    duo_pair(&p, &d, KVT_PATH_NETWORK);
    end_post(&p, 0, source, sizeof(source));
    assert_true(duo_pump(&p, &d, &d.n_fetched, 1));
    /* 0100007F is 127.0.0.1 as a little-endian word. */
    assert_int_equal(sockets_on_loopback_only("/proc/net/tcp", "7F", true), 2);
    assert_int_equal(sockets_on_loopback_only("/proc/net/tcp6", "01000000", true), 0);
    assert_int_equal(sockets_on_loopback_only("/proc/net/udp", "7F", false), 0);
    assert_int_equal(sockets_on_loopback_only("/proc/net/udp6", "01000000", false), 0);
    end_close(&p);
    end_close(&d);
}

/* A container's /dev/shm often has 64 MiB; with UCX's own setting a pair takes 4 MiB of it. */
static void a_local_pair_is_small(void **state)
{
    (void)state;
    struct end end;
    size_t bytes = 0;
    int n = 0;
    end_open(&end, NULL);
    end_act(&end, KVT_ACT_OPEN, KVT_PATH_LOCAL);
    assert_true(duo_pump(&end, NULL, &end.n_opened, 1));
    for (int fd = 3; fd < 1000; fd++) {
        char path[64], target[256] = "";
        struct stat stat;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "/shm/") != NULL &&
            fstat(fd, &stat) == 0) {
            bytes += (size_t)stat.st_size;
            n++;
        }
    }
    assert_true(n > 0);
    assert_in_range(bytes, 1, 3 * 512 * 1024);
    end_close(&end);
}

/* What the user's environment says about our own settings does not count. */
static void environment_is_overruled(void **state)
{
    setenv("UCX_TLS", "self", 1);
    setenv("UCX_NET_DEVICES", "nosuch0", 1);
    setenv("UCX_RNDV_THRESH", "inf", 1);
    setenv("UCX_RNDV_SCHEME", "put_zcopy", 1);
    setenv("UCX_PROTO_ENABLE", "y", 1);
    listens_on_loopback_only(state);
    unsetenv("UCX_TLS");
    unsetenv("UCX_NET_DEVICES");
    unsetenv("UCX_RNDV_THRESH");
    unsetenv("UCX_RNDV_SCHEME");
    unsetenv("UCX_PROTO_ENABLE");
}

/* ---- strangers ---- */

/* Somebody with plain UCX who got hold of D's worker address. */
struct stranger {
    ucp_context_h ctx;
    ucp_worker_h worker;
    ucp_ep_h ep;
};

static void stranger_open(struct stranger *s, const uint8_t *address)
{
    ucp_config_t *config;
    CHECK(ucp_config_read(NULL, NULL, &config) == UCS_OK);
    CHECK(ucp_config_modify(config, "TLS", "tcp") == UCS_OK);
    CHECK(ucp_config_modify(config, "NET_DEVICES", "lo") == UCS_OK);
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_AM};
    CHECK(ucp_init(&params, config, &s->ctx) == UCS_OK);
    ucp_config_release(config);
    ucp_worker_params_t worker = {.field_mask = 0};
    CHECK(ucp_worker_create(s->ctx, &worker, &s->worker) == UCS_OK);
    ucp_ep_params_t ep = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE,
        .address = (const ucp_address_t *)address,
        .err_mode = UCP_ERR_HANDLING_MODE_PEER,
    };
    CHECK(ucp_ep_create(s->worker, &ep, &s->ep) == UCS_OK);
}

/* Sends, and lets both sides run until it is done with and a little longer. */
static void stranger_send(struct stranger *s, struct end *d, size_t header_len, size_t bytes,
                          uint32_t flags)
{
    static uint8_t header[1024], payload[1024 * 1024];
    struct kvt_header good = {.magic = KVT_HEADER_MAGIC, .version = KVT_HEADER_VERSION};
    memcpy(header, &good, sizeof(good));
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = flags};
    ucs_status_ptr_t request =
        ucp_am_send_nbx(s->ep, 1, header, header_len, payload, bytes, &param);
    CHECK(!UCS_PTR_IS_ERR(request));
    bool done = false;
    uint64_t end_us = now_us() + 5000000;
    uint64_t calm_us = end_us;
    while (now_us() < end_us && now_us() < calm_us) {
        ucp_worker_progress(s->worker);
        duo_idle(d, NULL, 1);
        if (!done && (request == NULL || ucp_request_check_status(request) != UCS_INPROGRESS)) {
            done = true;
            calm_us = now_us() + 30000;
        }
    }
    assert_true(done);
    if (request != NULL) {
        ucp_request_free(request);
    }
}

static void stranger_close(struct stranger *s)
{
    ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                 .flags = UCP_EP_CLOSE_FLAG_FORCE};
    ucs_status_ptr_t request = ucp_ep_close_nbx(s->ep, &param);
    ucp_worker_progress(s->worker);
    if (UCS_PTR_IS_PTR(request)) {
        ucp_request_free(request);
    }
    ucp_worker_destroy(s->worker);
    ucp_cleanup(s->ctx);
}

static void strangers_change_nothing(void **state)
{
    (void)state;
    struct end p, d;
    struct stranger s;
    static uint8_t source[65536], land[65536];
    size_t header = sizeof(struct kvt_header);
    uint32_t rndv = UCP_AM_SEND_FLAG_RNDV | UCP_AM_SEND_FLAG_REPLY;
    end_open(&p, NULL);
    end_open(&d, NULL);
    d.land = land;
    d.stride = sizeof(land);
    memset(land, 0xEE, sizeof(land));
    duo_pair(&p, &d, KVT_PATH_NETWORK);
    stranger_open(&s, d.address);
    stranger_send(&s, &d, header, 4096, UCP_AM_SEND_FLAG_EAGER);
    stranger_send(&s, &d, header, 0, UCP_AM_SEND_FLAG_EAGER);
    stranger_send(&s, &d, header, 1024 * 1024, UCP_AM_SEND_FLAG_EAGER);
    stranger_send(&s, &d, header - 1, 4096, rndv);
    stranger_send(&s, &d, 0, 4096, rndv);
    stranger_send(&s, &d, 1024, 4096, rndv);
    stranger_send(&s, &d, header, 4096, rndv);
    stranger_send(&s, &d, header, 4096, UCP_AM_SEND_FLAG_RNDV);
    assert_int_equal(d.n_offered + d.n_errors + d.n_fetched, 0);
    struct kvt_ucx_counts counts;
    kvt_ucx_counts(d.mover, &counts);
    assert_true(counts.bad_eager >= 3); /* the long one may come in several parts */
    assert_int_equal(counts.bad_header, 3);
    assert_int_equal(counts.bad_stranger, 2);
    assert_int_equal(counts.offers + counts.fetches, 0);
    /* The true peer is served as before, also while the stranger goes away. */
    pattern_fill(source, 0, sizeof(source));
    end_post(&p, 0, source, sizeof(source));
    stranger_close(&s);
    assert_true(duo_pump(&p, &d, &d.n_fetched, 1));
    assert_true(pattern_is(land, 0, sizeof(land)));
    duo_idle(&p, &d, 30);
    assert_int_equal(d.n_errors + d.n_failed + p.n_errors + p.n_failed, 0);
    end_close(&p);
    end_close(&d);
}

/* ---- more than there is room for ---- */

static void too_many_offers(void **state)
{
    (void)state;
    struct end p, d;
    struct kvt_ucx_cfg cfg = kvt_ucx_cfg_default();
    static uint8_t source[4096];
    cfg.offers_max = 10;
    end_open(&p, NULL);
    end_open(&d, &cfg);
    d.on_offer = END_KEEP;
    duo_pair(&p, &d, KVT_PATH_LOCAL);
    for (uint32_t i = 0; i < 20; i++) {
        end_post(&p, i, source, sizeof(source));
    }
    assert_true(duo_pump(&p, &d, &d.n_errors, 1));
    assert_int_equal(d.n_offered, 10);
    assert_int_equal(d.n_errors, 1);
    end_act(&d, KVT_ACT_CLOSE, KVT_PATH_LOCAL);
    end_close(&p);
    end_close(&d);
}

static void too_many_pairs(void **state)
{
    (void)state;
    struct kvt_ucx_cfg cfg = kvt_ucx_cfg_default();
    char error[KVT_UCX_ERROR_MAX];
    struct kvt_ucx *mover;
    struct kvt_event event;
    cfg.peers_max = 2;
    assert_int_equal(kvt_ucx_create(&cfg, error, &mover), STATUS_OK);
    for (uint32_t i = 1; i <= 3; i++) {
        struct kvt_act act = {.kind = KVT_ACT_OPEN, .pair = i, .path = KVT_PATH_LOCAL};
        kvt_ucx_act(mover, &act);
        assert_true(kvt_ucx_event_next(mover, &event));
        assert_int_equal(event.pair, i);
        assert_int_equal(event.kind, i <= 2 ? KVT_EVENT_OPENED : KVT_EVENT_ERROR);
    }
    assert_int_equal(event.status, STATUS_FULL);
    struct kvt_act act = {.kind = KVT_ACT_POST, .pair = 1, .at = &act, .bytes = 1, .op = 99};
    kvt_ucx_act(mover, &act); /* not connected */
    assert_true(kvt_ucx_event_next(mover, &event));
    assert_int_equal(event.kind, KVT_EVENT_POSTED);
    assert_int_equal(event.status, STATUS_LOST);
    assert_int_equal(event.op, 99);
    act = (struct kvt_act){.kind = KVT_ACT_CONNECT, .pair = 2};
    act.address = (const uint8_t *)"no address";
    act.address_len = 0;
    kvt_ucx_act(mover, &act);
    assert_true(kvt_ucx_event_next(mover, &event));
    assert_int_equal(event.kind, KVT_EVENT_ERROR);
    kvt_ucx_destroy(mover);
}

int main(void)
{
    bool ours = signals_are_ours();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(signals_stay_ours, &ours),
        cmocka_unit_test(bad_configurations),
        cmocka_unit_test(beyond_loopback_needs_private),
        cmocka_unit_test(too_few_descriptors),
        cmocka_unit_test(listens_on_loopback_only),
        cmocka_unit_test(a_local_pair_is_small),
        cmocka_unit_test(environment_is_overruled),
        cmocka_unit_test(strangers_change_nothing),
        cmocka_unit_test(too_many_offers),
        cmocka_unit_test(too_many_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
