/* Keys on the wire: who is on the allow-list comes in, everybody else does not, and those inside
 * notice nothing. Key files and their refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/zpair.h"
#include "wire/zap.h"

#define LONG_MS 10000

struct fixture {
    struct zhouse house;
    struct zap *zap;
    struct keys server, client, stranger;
    struct seen router;
    char endpoint[ZSOCK_ENDPOINT_MAX];
};

static void fixture_open(struct fixture *fixture)
{
    char why[ZSOCK_WHY_MAX];
    memset(&fixture->router, 0, sizeof(fixture->router));
    zhouse_open(&fixture->house);
    assert_int_equal(zap_open(fixture->house.ctx, fixture->house.loop, &fixture->zap), STATUS_OK);
    assert_int_equal(keys_generate(&fixture->server), STATUS_OK);
    assert_int_equal(keys_generate(&fixture->client), STATUS_OK);
    assert_int_equal(keys_generate(&fixture->stranger), STATUS_OK);
    assert_int_equal(zap_allow(fixture->zap, ZAP_DOMAIN_CLIENTS, "c", fixture->client.public_key),
                     STATUS_OK);
    struct zsock_cfg cfg = zhouse_cfg(&fixture->house, ZSOCK_ROUTER);
    cfg.own = &fixture->server;
    cfg.domain = ZAP_DOMAIN_CLIENTS;
    zhouse_sock(&fixture->house, &cfg, &fixture->router);
    fixture->router.echo = true;
    assert_int_equal(zsock_bind(fixture->router.sock, "tcp://127.0.0.1:0", fixture->endpoint, why),
                     STATUS_OK);
}

static void fixture_close(struct fixture *fixture)
{
    zsock_close(fixture->router.sock);
    zap_close(fixture->zap);
    zhouse_close(&fixture->house);
}

static void join(struct fixture *fixture, const struct keys *own, const struct keys *server,
                 struct seen *seen)
{
    char why[ZSOCK_WHY_MAX];
    *seen = (struct seen){.sock = NULL};
    struct zsock_cfg cfg = zhouse_cfg(&fixture->house, ZSOCK_DEALER);
    cfg.own = own;
    cfg.server_key = server ? server->public_key : NULL;
    zhouse_sock(&fixture->house, &cfg, seen);
    assert_int_equal(zsock_connect(seen->sock, fixture->endpoint, why), STATUS_OK);
}

static void talk(struct fixture *fixture, struct seen *seen)
{
    uint32_t n = seen->n_messages;
    assert_int_equal(zsock_send(seen->sock, seen->link, "hi", 2), STATUS_OK);
    assert_true(zhouse_until(&fixture->house, &seen->n_messages, n + 1, LONG_MS));
}

static void only_the_list_comes_in(void **state)
{
    (void)state;
    struct fixture fixture;
    struct seen good, stranger, plain, misled;
    fixture_open(&fixture);
    join(&fixture, &fixture.client, &fixture.server, &good);
    assert_true(zhouse_until(&fixture.house, &good.n_up, 1, LONG_MS));
    talk(&fixture, &good);
    assert_string_equal(zsock_user(fixture.router.sock, fixture.router.link),
                        fixture.client.public_key);
    assert_int_equal(zap_n_allowed(fixture.zap), 1);

    /* A right key pair that nobody put on the list. */
    join(&fixture, &fixture.stranger, &fixture.server, &stranger);
    assert_true(zhouse_until(&fixture.house, &stranger.n_refused, 1, LONG_MS));
    assert_non_null(strstr(stranger.refused, "400"));
    assert_true(zap_n_denied(fixture.zap) >= 1);
    zsock_close(stranger.sock);

    /* No keys at all. */
    join(&fixture, NULL, NULL, &plain);
    assert_true(zhouse_until(&fixture.house, &plain.n_refused, 1, LONG_MS));
    zsock_close(plain.sock);

    /* The allowed key, but the wrong server. */
    join(&fixture, &fixture.client, &fixture.stranger, &misled);
    zhouse_turn(&fixture.house, 200);
    zsock_close(misled.sock);

    assert_int_equal(stranger.n_up + plain.n_up + misled.n_up, 0);
    assert_int_equal(stranger.n_messages + plain.n_messages + misled.n_messages, 0);
    assert_int_equal(fixture.router.n_up, 1);
    assert_int_equal(good.n_up, 1);
    assert_int_equal(good.n_down, 0);
    talk(&fixture, &good);
    zsock_close(good.sock);
    fixture_close(&fixture);
}

/* Refused is not for ever: once the key is on the list, the dealer that goes on trying is in. */
static void a_late_key_comes_in(void **state)
{
    (void)state;
    struct fixture fixture;
    struct seen late;
    fixture_open(&fixture);
    join(&fixture, &fixture.stranger, &fixture.server, &late);
    assert_true(zhouse_until(&fixture.house, &late.n_refused, 2, LONG_MS));
    assert_int_equal(late.n_up, 0);
    assert_int_equal(zap_allow(fixture.zap, ZAP_DOMAIN_CLIENTS, "s", fixture.stranger.public_key),
                     STATUS_OK);
    assert_true(zhouse_until(&fixture.house, &late.n_up, 1, LONG_MS));
    talk(&fixture, &late);
    assert_int_equal(zap_n_allowed(fixture.zap), 1);
    zsock_close(late.sock);
    fixture_close(&fixture);
}

static void domains_are_apart(void **state)
{
    (void)state;
    struct fixture fixture;
    struct seen node;
    fixture_open(&fixture);
    assert_int_equal(zap_allow(fixture.zap, ZAP_DOMAIN_NODES, "n", fixture.stranger.public_key),
                     STATUS_OK);
    assert_int_equal(zap_allow(fixture.zap, ZAP_DOMAIN_NODES, "n", fixture.stranger.public_key),
                     STATUS_EXISTS);
    assert_int_equal(zap_allow(fixture.zap, "", "n", fixture.stranger.public_key), STATUS_INVALID);
    assert_int_equal(zap_allow(fixture.zap, "x", "n", "short"), STATUS_INVALID);
    join(&fixture, &fixture.stranger, &fixture.server, &node);
    assert_true(zhouse_until(&fixture.house, &node.n_refused, 1, LONG_MS));
    assert_int_equal(node.n_up, 0);
    zsock_close(node.sock);
    fixture_close(&fixture);
}

/* A dealer with keys and a router without: neither side takes it for good. */
static void keys_do_not_meet_plain(void **state)
{
    (void)state;
    struct fixture fixture;
    struct seen dealer, router = {.sock = NULL};
    char why[ZSOCK_WHY_MAX];
    fixture_open(&fixture);
    struct zsock_cfg cfg = zhouse_cfg(&fixture.house, ZSOCK_ROUTER);
    zhouse_sock(&fixture.house, &cfg, &router);
    assert_int_equal(zsock_bind(router.sock, "tcp://127.0.0.1:0", fixture.endpoint, why),
                     STATUS_OK);
    join(&fixture, &fixture.client, &fixture.server, &dealer);
    assert_true(zhouse_until(&fixture.house, &dealer.n_refused, 1, LONG_MS));
    assert_int_equal(dealer.n_up, 0);
    assert_int_equal(router.n_up, 0);
    zsock_close(dealer.sock);
    zsock_close(router.sock);
    fixture_close(&fixture);
}

static void unexpected(void *ctx, uint32_t link)
{
    (void)ctx;
    (void)link;
    fail();
}

static void unheard(void *ctx, uint32_t link, const void *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    unexpected(ctx, link);
}

/* A router with keys but without a list would let everybody in: it does not open. */
static void no_list_no_socket(void **state)
{
    (void)state;
    struct fixture fixture;
    struct seen seen = {.sock = NULL};
    fixture_open(&fixture);
    zsock_close(fixture.router.sock);
    fixture.router.sock = NULL;
    zap_close(fixture.zap);
    fixture.zap = NULL;
    struct zsock_cfg cfg = zhouse_cfg(&fixture.house, ZSOCK_ROUTER);
    cfg.own = &fixture.server;
    cfg.domain = ZAP_DOMAIN_CLIENTS;
    const struct zsock_handler handler = {.up = unexpected, .down = unexpected, .message = unheard};
    assert_int_equal(zsock_open(fixture.house.ctx, &cfg, fixture.house.loop, &handler, &seen.sock),
                     STATUS_INVALID);
    fixture_close(&fixture);
}

/* ---- files ---------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static void key_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/baton-keys-XXXXXX", path[64], why[KEYS_WHY_MAX] = "";
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/k", dir);
    struct keys keys, other, back;
    assert_int_equal(keys_generate(&keys), STATUS_OK);
    assert_int_equal(keys_generate(&other), STATUS_OK);
    assert_string_not_equal(keys.secret_key, other.secret_key);
    assert_int_equal(keys_load(path, &back, why), STATUS_NOT_FOUND);
    assert_int_equal(keys_save(path, &keys, why), STATUS_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(keys_load(path, &back, why), STATUS_OK);
    assert_memory_equal(&back, &keys, sizeof(keys));
    assert_int_equal(keys_save(path, &other, why), STATUS_EXISTS);
    assert_non_null(strstr(why, "never overwritten"));
    static const mode_t open_modes[] = {0640, 0604, 0620, 0602, 0610, 0601};
    for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_int_equal(keys_load(path, &back, why), STATUS_DENIED);
        assert_non_null(strstr(why, "0600"));
    }
    char text[256];
    snprintf(text, sizeof(text), "public %s\nsecret %s\n", other.public_key, keys.secret_key);
    write_file(path, text, 0600);
    assert_int_equal(keys_load(path, &back, why), STATUS_MALFORMED);
    assert_non_null(strstr(why, "not the secret key's"));
    snprintf(text, sizeof(text), "public %s\nsecret %s\n\n", keys.public_key, keys.secret_key);
    write_file(path, text, 0600);
    assert_int_equal(keys_load(path, &back, why), STATUS_MALFORMED);
    write_file(path, "", 0600);
    assert_int_equal(keys_load(path, &back, why), STATUS_MALFORMED);
    assert_int_equal(keys_load(dir, &back, why), STATUS_MALFORMED);
    keys_wipe(&keys);
    assert_int_equal(keys.secret_key[0], 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void allow_lists(void **state)
{
    (void)state;
    char dir[] = "/tmp/baton-zap-XXXXXX", path[64], why[KEYS_WHY_MAX] = "", text[512];
    struct fixture f;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/allow", dir);
    fixture_open(&f);
    assert_int_equal(zap_load(f.zap, path, why), STATUS_NOT_FOUND);
    snprintf(text, sizeof(text), "# who may come\n\nclients a %s\nnodes  n0\t%s\n",
             f.stranger.public_key, f.client.public_key);
    write_file(path, text, 0600);
    assert_int_equal(zap_load(f.zap, path, why), STATUS_OK);
    assert_int_equal(zap_n_keys(f.zap), 3);
    assert_int_equal(zap_load(f.zap, path, why), STATUS_EXISTS);
    assert_int_equal(zap_n_keys(f.zap), 3);
    static const char *const bad[] = {"clients a\n", "clients a b c\n", "clients a tooshort\n"};
    for (size_t i = 0; i < 3; i++) {
        write_file(path, bad[i], 0600);
        assert_int_equal(zap_load(f.zap, path, why), STATUS_MALFORMED);
        assert_non_null(strstr(why, "/allow:1: expected"));
    }
    assert_int_equal(zap_n_keys(f.zap), 3);
    fixture_close(&f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_list_comes_in),
        cmocka_unit_test(a_late_key_comes_in),
        cmocka_unit_test(domains_are_apart),
        cmocka_unit_test(keys_do_not_meet_plain),
        cmocka_unit_test(no_list_no_socket),
        cmocka_unit_test(key_files),
        cmocka_unit_test(allow_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
