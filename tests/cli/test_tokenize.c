/* `baton tokenize --chat` over folders with chat templates of all sorts, right and wrong: what is
 * absent is absent, and what is there but cannot be used is said. A router reads them the same way.
 * The tokenizer is the demo model's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/cli/run.h"

#define ROOM (64 * 1024)
#define PATH_ROOM 1024
#define CHAT "[{\"role\":\"user\",\"content\":\"hi\"}]"
#define JINJA "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
#define TOKENS "\"bos_token\":{\"content\":\"^\"}"

static char out[ROOM], err[ROOM];

/* A folder of this name in the test's, with a tokenizer and, where they are not NULL, these. */
static const char *make_folder(const char *name, const char *config, const char *jinja)
{
    static char folder[PATH_ROOM];
    char from[PATH_ROOM], to[PATH_ROOM];

    (void)snprintf(folder, sizeof(folder), "%.500s/%.60s", run_folder(), name);
    assert_int_equal(mkdir(folder, 0755), 0);
    (void)snprintf(from, sizeof(from), "%.800s/model/demo/tokenizer.json", getenv("BATON_ROOT"));
    (void)snprintf(to, sizeof(to), "%.800s/tokenizer.json", folder);
    assert_int_equal(symlink(from, to), 0);
    (void)snprintf(to, sizeof(to), "%.60s/tokenizer_config.json", name);
    if (config)
        (void)run_file(to, config);
    (void)snprintf(to, sizeof(to), "%.60s/chat_template.jinja", name);
    if (jinja)
        (void)run_file(to, jinja);
    return folder;
}

static int apply(const char *folder)
{
    return run_once(out, err, ROOM, "tokenize", "--chat", "--text", folder,
                    run_file("chat.json", CHAT), NULL);
}

static void gives(const char *folder, const char *text)
{
    if (apply(folder) != 0)
        fail_msg("%s: %s", folder, err);
    assert_string_equal(out, text);
}

static void is_refused(const char *folder, const char *file, const char *part)
{
    assert_int_not_equal(apply(folder), 0);
    assert_string_equal(out, "");
    if (!strstr(err, folder) || !strstr(err, file) || !strstr(err, part))
        fail_msg("expected '%s' and '%s' in: %s", file, part, err);
}

static int teardown(void **state)
{
    (void)state;
    run_folder_remove();
    return 0;
}

static void where_a_template_is(void **state)
{
    static const char config[] = "{" TOKENS ",\"chat_template\":\"{{ bos_token }}config\"}";

    (void)state;
    gives(make_folder("config", config, NULL), "^config");
    gives(make_folder("both", config, JINJA), "^<user>hi"); /* the file of its own wins */
    gives(make_folder("jinja", NULL, JINJA), "<user>hi");
    gives(make_folder("named",
                      "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"rag\"},"
                      "{\"name\":\"default\",\"template\":\"the default\"}]}",
                      NULL),
          "the default");
    is_refused(make_folder("none", NULL, NULL), "chat_template.jinja", "neither");
    is_refused(make_folder("null", "{\"chat_template\":null}", NULL), "tokenizer_config.json",
               "neither");
}

static void what_is_wrong_in_a_config(void **state)
{
    (void)state;
    is_refused(make_folder("list",
                           "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"rag\"},"
                           "{\"name\":\"defaults\",\"template\":\"x\"}]}",
                           NULL),
               "tokenizer_config.json", "no template in it is named \"default\"");
    is_refused(make_folder("empty", "{\"chat_template\":[]}", NULL), "tokenizer_config.json",
               "is named \"default\"");
    is_refused(make_folder("number", "{\"chat_template\":7}", NULL), "tokenizer_config.json",
               "chat_template is no text");
    is_refused(
        make_folder("half", "{\"chat_template\":[{\"name\":\"default\",\"template\":1}]}", NULL),
        "tokenizer_config.json", "chat_template is no text");
    is_refused(make_folder("array", "[]", NULL), "tokenizer_config.json",
               "a JSON object is expected");
    is_refused(make_folder("syntax", "{\"chat_template\"", NULL), "tokenizer_config.json",
               "at byte 16");
    gives(make_folder("unused", "{\"chat_template\":[]}", JINJA), "<user>hi");
}

/* Neither a folder, nor a loop of links, nor a file that is too large is an absent file. */
static void what_cannot_be_read(void **state)
{
    static const char *const names[] = {"chat_template.jinja", "tokenizer_config.json"};
    static const off_t too_big[] = {((off_t)1 << 20) + 1, ((off_t)16 << 20) + 1};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char name[32], path[PATH_ROOM];
        const char *folder;

        (void)snprintf(name, sizeof(name), "folder%zu", i);
        folder = make_folder(name, NULL, NULL);
        (void)snprintf(path, sizeof(path), "%.900s/%s", folder, names[i]);
        assert_int_equal(mkdir(path, 0755), 0);
        is_refused(folder, names[i], "is no regular file");
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(symlink(names[i], path), 0);
        is_refused(folder, names[i], "cannot be opened: Too many levels of symbolic links");
        assert_int_equal(unlink(path), 0);
        (void)snprintf(name, sizeof(name), "folder%zu/%s", i, names[i]);
        (void)run_file(name, " ");
        assert_int_equal(truncate(path, too_big[i]), 0);
        is_refused(folder, names[i], "such a file has at most");
        assert_int_equal(truncate(path, 0), 0);
        assert_int_equal(chmod(path, 0), 0);
        if (access(path, R_OK) != 0) /* root may read everything */
            is_refused(folder, names[i], "cannot be opened: Permission denied");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_a_template_is),
        cmocka_unit_test(what_is_wrong_in_a_config),
        cmocka_unit_test(what_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
