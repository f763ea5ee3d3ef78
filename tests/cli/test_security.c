/* Who may come in, and through which doors: keys, refusals, and what the fleet listens on. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "tests/cli/ask.h"
#include "tests/cli/run.h"

#define ROOM (64 * 1024)
#define SIZES ASK_MODEL
#define NODES                                                                                      \
    "nodes:\n- { name: r, role: router, clients: '127.0.0.1:0' }\n"                                \
    "- { name: p, role: prefill }\n- { name: d, role: decode }\n"

static char out[ROOM], err[ROOM];

/* ---- keys ---- */

static void folder_with_keys(char *path, size_t room)
{
    const char *file = run_file("keys.yaml", SIZES "security: { keys: keys }\n" NODES);

    snprintf(path, room, "%s", file);
    assert_int_equal(run_once(out, err, ROOM, "keygen", path, NULL), 0);
}

static void keygen_makes_private_files(void **state)
{
    static const char *const names[] = {"r.key", "p.key", "d.key", "client.key", "allow"};
    char path[256], file[600];
    struct stat at;

    (void)state;
    folder_with_keys(path, sizeof(path));
    for (size_t i = 0; i < 5; i++) {
        snprintf(file, sizeof(file), "%s/keys/%s", run_folder(), names[i]);
        assert_int_equal(stat(file, &at), 0);
        assert_int_equal(at.st_mode & 077, 0);
    }
    assert_non_null(strstr(out, "made"));
    /* Again: keys are kept, so a node can be added later. */
    assert_int_equal(run_once(out, err, ROOM, "keygen", path, NULL), 0);
    assert_non_null(strstr(out, "kept"));
    assert_null(strstr(out, "r.key\nmade"));
    assert_int_equal(run_once(out, err, ROOM, "keygen", run_file("none.yaml", NODES), NULL), 3);
    assert_non_null(strstr(err, "security: { keys: keys }"));
}

/* With keys all goes as without; who has none, or another's, gets no word. */
static void only_who_is_listed_gets_in(void **state)
{
    char path[256], endpoint[128], public_key[41], secret_key[41];
    struct baton_options stranger;
    struct baton *baton;
    struct run *up;

    (void)state;
    folder_with_keys(path, sizeof(path));
    up = run_start("up", path, NULL);
    run_clients(up, endpoint, sizeof(endpoint));
    assert_int_equal(run_once(out, err, ROOM, "chat", "--config", path, "--connect", endpoint,
                              "--tokens", "20", "--ignore-eos", "--seed", "1", "hello", NULL),
                     0);
    assert_int_equal(strlen(out), 21);
    /* Without keys. */
    assert_int_equal(run_once(out, err, ROOM, "chat", "--config",
                              run_file("plain.yaml", SIZES NODES), "--connect", endpoint, "--wait",
                              "1", "hello", NULL),
                     5);
    /* With the server's key, but a pair that is not on the list. */
    assert_int_equal(zmq_curve_keypair(public_key, secret_key), 0);
    stranger = (struct baton_options){
        .endpoint = endpoint, .public_key = public_key, .secret_key = secret_key};
    {
        char list[600], line[256], server[64] = "";
        FILE *file;

        snprintf(list, sizeof(list), "%s/keys/allow", run_folder());
        file = fopen(list, "re");
        assert_non_null(file);
        while (fgets(line, sizeof(line), file))
            if (sscanf(line, "nodes r %63s", server) == 1)
                break;
        fclose(file);
        stranger.server_key = server;
        assert_int_equal(baton_open(&stranger, &baton), BATON_OK);
        assert_int_equal(baton_wait(baton, 1000), BATON_UNREACHABLE);
        baton_close(baton);
    }
    run_await_err(up, "zap");
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* Both the fleet and the check refuse, before anything starts, and name the file. */
static void keys_refused(const char *path, const char *key)
{
    static const char *const commands[] = {"up", "check-config"};

    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(run_once(out, err, ROOM, commands[i], path, NULL), 3);
        assert_non_null(strstr(err, key));
        assert_null(strstr(err, "started"));
    }
}

/* Known to others, or not there: of the first node as of the last. */
static void bad_keys_are_refused(void **state)
{
    static const char *const names[] = {"r.key", "p.key", "d.key"};
    char path[256], file[600];

    (void)state;
    folder_with_keys(path, sizeof(path));
    for (size_t i = 0; i < 3; i++) {
        snprintf(file, sizeof(file), "%s/keys/%s", run_folder(), names[i]);
        assert_int_equal(chmod(file, 0644), 0);
        keys_refused(path, names[i]);
        assert_int_equal(unlink(file), 0);
        keys_refused(path, names[i]);
        assert_int_equal(run_once(out, err, ROOM, "keygen", path, NULL), 0);
    }
    assert_int_equal(unlink(file), 0); /* d's: no matter where d does not run */
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, "--only", "r,p", NULL), 0);
    assert_int_equal(run_once(out, err, ROOM, "check-config", path, "--only", "d", NULL), 3);
    assert_int_equal(run_once(out, err, ROOM, "keygen", path, NULL), 0);
}

/* ---- what is listened on ---- */

/* Every listening TCP socket of the process must be on 127.0.0.1; gives how many there are. */
static size_t check_listeners(pid_t pid)
{
    static const char *const tables[] = {"tcp", "tcp6"};
    char path[300], link[64], line[512];
    unsigned long inodes[4096];
    size_t n_inodes = 0, n = 0;
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL && n_inodes < 4096) {
        ssize_t len;

        snprintf(path, sizeof(path), "/proc/%d/fd/%.20s", pid, entry->d_name);
        len = readlink(path, link, sizeof(link) - 1);
        if (len <= 0)
            continue;
        link[len] = '\0';
        n_inodes += sscanf(link, "socket:[%lu]", &inodes[n_inodes]) == 1;
    }
    closedir(dir);
    for (size_t t = 0; t < 2; t++) {
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, tables[t]);
        file = fopen(path, "re");
        while (file && fgets(line, sizeof(line), file)) {
            char address[64];
            unsigned long inode;
            unsigned state;

            if (sscanf(line, " %*d: %63[^:]:%*x %*s %x %*s %*s %*s %*u %*u %lu", address, &state,
                       &inode) != 3 ||
                state != 0x0a)
                continue;
            for (size_t i = 0; i < n_inodes; i++) {
                if (inodes[i] != inode)
                    continue;
                n++;
                if (strcmp(address, "0100007F") != 0)
                    fail_msg("process %d listens on %s", pid, address);
            }
        }
        if (file)
            fclose(file);
    }
    return n;
}

/* The clients' door and UCX over TCP are all there is on the network, both on loopback. */
static void listens_where_it_says(void **state)
{
    struct run *up =
        run_start("up", run_file("scan.yaml", SIZES NODES), "--kv.shared_memory=false", NULL);
    static struct ask_answer answer;
    struct baton_request request;
    char endpoint[128];
    struct baton *baton;
    size_t n_workers;

    (void)state;
    run_clients(up, endpoint, sizeof(endpoint));
    baton = ask_open(endpoint);
    ask_request(&request, "open", 1, 10);
    ask_well(baton, &request, &answer);
    baton_close(baton);
    assert_int_equal(check_listeners(run_node(up, "r")), 1);
    n_workers = check_listeners(run_node(up, "p")) + check_listeners(run_node(up, "d"));
    assert_true(n_workers >= 2); /* UCX of each pair: the scan does see it */
    assert_int_equal(check_listeners(up->pid), 0);
    assert_int_equal(run_stop(up, SIGTERM), 0);
    /* With shared memory there is no TCP at all but for the clients. */
    up = run_start("up", run_file("scan.yaml", SIZES NODES), NULL);
    run_clients(up, endpoint, sizeof(endpoint));
    assert_int_equal(check_listeners(run_node(up, "r")), 1);
    assert_int_equal(check_listeners(run_node(up, "p")), 0);
    assert_int_equal(check_listeners(run_node(up, "d")), 0);
    assert_int_equal(run_stop(up, SIGTERM), 0);
}

/* The nodes of a file with addresses run apart, as on several machines. */
static void nodes_run_apart(void **state)
{
    char text[1200], endpoint[128];
    struct run *router, *prefill, *decode;
    const char *path;

    (void)state;
    snprintf(text, sizeof(text),
             SIZES "security: { keys: keys }\nnodes:\n"
                   "- { name: r, role: router, clients: '127.0.0.1:0', listen: 'ipc://%s/r' }\n"
                   "- { name: p, role: prefill, listen: 'ipc://%s/p' }\n"
                   "- { name: d, role: decode }\n",
             run_folder(), run_folder());
    path = run_file("apart.yaml", text);
    assert_int_equal(run_once(out, err, ROOM, "keygen", path, NULL), 0);
    prefill = run_start("up", path, "--only", "p", NULL);
    decode = run_start("decode", path, "--name", "d", NULL);
    run_await_err(decode, "no router answers"); /* they come first, and say what they wait for */
    router = run_start("router", path, NULL);
    run_await_out(router, "\nready");
    snprintf(endpoint, sizeof(endpoint), "%s",
             strstr(router->out.text, " clients=") + strlen(" clients="));
    endpoint[strcspn(endpoint, "\n")] = '\0';
    assert_int_equal(run_once(out, err, ROOM, "chat", "--config", path, "--connect", endpoint,
                              "--tokens", "5", "--ignore-eos", "hello", NULL),
                     0);
    assert_int_equal(strlen(out), 6);
    assert_int_equal(run_stop(decode, SIGTERM), 0);
    assert_int_equal(run_stop(prefill, SIGINT), 0);
    assert_int_equal(run_stop(router, SIGTERM), 0);
}

static int teardown(void **state)
{
    (void)state;
    run_folder_remove();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keygen_makes_private_files),
        cmocka_unit_test(only_who_is_listed_gets_in),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(listens_where_it_says),
        cmocka_unit_test(nodes_run_apart),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
