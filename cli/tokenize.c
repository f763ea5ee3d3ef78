/* `baton tokenize`: everything here is read whole, done once and printed; main thread only. */
#include "cli/tokenize.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/buf.h"
#include "cli/chat_template.h"
#include "cli/process.h"
#include "cli/words.h"
#include "model/template.h"
#include "model/tmpl_json.h"
#include "model/tokenizer.h"

#define MEMORY_MAX ((size_t)512 << 20)

static const char help[] =
    "Usage: baton tokenize [OPTIONS] TOKENIZER [FILE]\n\n"
    "TOKENIZER is a tokenizer.json, a folder of a checkpoint, or `oracle` (the bytes\n"
    "of the test model). The text comes from FILE or standard input and its ids are\n"
    "printed.\n\n"
    "  --decode         the other way: ids in, separated by anything but digits;\n"
    "                   text out\n"
    "  --count          print only how many ids there are\n"
    "  --pieces         print one id and its piece a line\n"
    "  --add-special    add what the model's texts begin and end with\n"
    "  --parse-special  special tokens written in the text become their ids\n"
    "  --skip-special   with --decode: special tokens leave no text\n"
    "  --chat           the text is JSON: an array of messages, or an object with\n"
    "                   messages and whatever else the template uses (tools,\n"
    "                   add_generation_prompt); the chat template of the folder\n"
    "                   TOKENIZER is applied\n"
    "  --text           with --chat: print the prompt itself instead of its ids\n";

struct request {
    const char *tokenizer; /* path, or "oracle" */
    const char *file;      /* NULL: standard input */
    bool decode, count, pieces, skip_special, chat, text;
    int flags; /* of tokenizer_encode */
};

static bool read_stream(FILE *stream, struct buf *out)
{
    for (;;) {
        uint8_t *room;

        if (buf_reserve(out, 1 << 16, &room) != STATUS_OK)
            return false;
        size_t n = fread(room, 1, 1 << 16, stream);
        buf_grew(out, n);
        if (n == 0)
            return ferror(stream) == 0;
    }
}

/* Reads a file whole; NULL is standard input. */
static bool read_input(const char *path, struct buf *out)
{
    FILE *stream = path != NULL ? fopen(path, "rbe") : stdin;
    bool good = stream != NULL && read_stream(stream, out);

    if (!good)
        process_complain("cannot read %s: %s", path != NULL ? path : "standard input",
                         stream != NULL && errno == 0 ? "too large" : strerror(errno));
    if (path != NULL && stream != NULL)
        fclose(stream);
    return good;
}

/* --- the chat template of a checkpoint --- */

static void put_pair(struct tmpl_pair *pairs, size_t *n, const char *key, struct tmpl_value value)
{
    pairs[(*n)++] = (struct tmpl_pair){.key = tmpl_str(key, (uint32_t)strlen(key)), .value = value};
}

/* What the template sees: defaults, the checkpoint's special tokens, then the request's own. */
static bool make_vars(const struct chat_template *chat, const struct tmpl_value *input,
                      struct tmpl_value *vars)
{
    const struct tmpl_dict *tokens = chat->tokens.dict;
    const size_t n_own = input->kind == TMPL_DICT ? input->dict->n : 1;
    struct tmpl_pair *pairs;
    size_t n = 0;

    pairs = arena_alloc_zero(chat->arena, n_own + tokens->n + 3, sizeof(*pairs));
    if (pairs == NULL)
        return false;
    put_pair(pairs, &n, "tools", tmpl_none());
    put_pair(pairs, &n, "documents", tmpl_none());
    put_pair(pairs, &n, "add_generation_prompt", tmpl_bool(true));
    if (tokens->n > 0)
        memcpy(pairs + n, tokens->pairs, tokens->n * sizeof(*pairs));
    n += tokens->n;
    if (input->kind == TMPL_DICT) {
        memcpy(pairs + n, input->dict->pairs, n_own * sizeof(*pairs));
        n += n_own;
    } else {
        put_pair(pairs, &n, "messages", *input);
    }
    return tmpl_dict_make(chat->arena, pairs, n, vars) == STATUS_OK;
}

static bool render(const struct tmpl_value *vars, const struct chat_template *chat, struct buf *out)
{
    struct template_options options = {.now_unix_s = time(NULL)};
    struct template_error error = {0};
    struct template *tmpl = NULL;
    char why[CHAT_TEMPLATE_WHY_MAX];
    enum status status = chat_template_compile(&chat->source, &tmpl, why);

    if (status != STATUS_OK) {
        process_complain("%s", why);
        return false;
    }
    status = template_render(tmpl, vars, &options, &error, out);
    template_destroy(tmpl);
    if (status == STATUS_OK)
        return true;
    if (error.line > 0)
        process_complain("chat template, line %u: %s", (unsigned)error.line, error.text);
    else
        process_complain("chat template: %s", error.text[0] ? error.text : status_text(status));
    return false;
}

/* Turns `text`, which holds messages, into the prompt. */
static bool apply_template(const char *folder, struct buf *text)
{
    struct tmpl_json_error error = {0};
    struct tmpl_value input, vars;
    struct chat_template chat;
    char why[CHAT_TEMPLATE_WHY_MAX];
    struct buf prompt;
    bool good = false;

    if (chat_template_read(folder, &chat, why) != STATUS_OK) {
        process_complain("%s", why);
        return false;
    }
    buf_init(&prompt, MEMORY_MAX);
    if (tmpl_json_read(chat.arena, (const char *)buf_data(text), buf_len(text), &error, &input) !=
        STATUS_OK)
        process_complain("the input is no JSON: at byte %zu: %s", error.offset, error.text);
    else if (buf_len(&chat.source) == 0)
        process_complain("%s has neither chat_template.jinja nor a chat_template in its "
                         "tokenizer_config.json",
                         folder);
    else if (make_vars(&chat, &input, &vars))
        good = render(&vars, &chat, &prompt);
    if (good) {
        buf_fini(text);
        *text = prompt;
    } else {
        buf_fini(&prompt);
    }
    chat_template_fini(&chat);
    return good;
}

/* --- ids --- */

static void print_pieces(const struct tokenizer *tok, const uint32_t *ids, size_t n)
{
    char piece[TOKENIZER_PIECE_MAX];

    for (size_t i = 0; i < n; i++) {
        size_t len = tokenizer_piece(tok, ids[i], piece, sizeof(piece));

        printf("%u\t%.*s\n", (unsigned)ids[i], (int)len, piece);
    }
}

static enum exit_code encode(const struct tokenizer *tok, const struct request *request,
                             const struct buf *text)
{
    struct tokenizer_workspace *work;
    const uint32_t *ids;
    size_t n;
    enum status status = tokenizer_workspace_create(tok, &work);

    if (status != STATUS_OK) {
        process_complain("tokenize: %s", status_text(status));
        return EXIT_FAILED;
    }
    status = tokenizer_encode(tok, (const char *)buf_data(text), buf_len(text), request->flags,
                              work, &ids, &n);
    if (status != STATUS_OK) {
        process_complain("tokenize: the text cannot be encoded: %s", status_text(status));
    } else if (request->count) {
        printf("%zu\n", n);
    } else if (request->pieces) {
        print_pieces(tok, ids, n);
    } else {
        for (size_t i = 0; i < n; i++)
            printf("%s%u", i > 0 ? " " : "", (unsigned)ids[i]);
        printf("\n");
    }
    tokenizer_workspace_destroy(work);
    return status == STATUS_OK ? EXIT_DONE : EXIT_FAILED;
}

/* The next number of the text, or false at its end. A number too large for an id is no id. */
static bool next_id(const uint8_t *text, size_t len, size_t *pos, uint32_t *id)
{
    uint64_t value = 0;

    while (*pos < len && (text[*pos] < '0' || text[*pos] > '9'))
        (*pos)++;
    if (*pos == len)
        return false;
    for (; *pos < len && text[*pos] >= '0' && text[*pos] <= '9'; (*pos)++)
        value = value > UINT32_MAX ? value : value * 10 + (uint64_t)(text[*pos] - '0');
    *id = value < TOKENIZER_ID_NONE ? (uint32_t)value : TOKENIZER_ID_NONE;
    return true;
}

static enum exit_code decode(const struct tokenizer *tok, const struct request *request,
                             const struct buf *text)
{
    struct detokenizer *detok;
    const char *piece;
    size_t len, pos = 0;
    uint32_t id;
    enum status status = detokenizer_create(tok, request->skip_special, &detok);

    if (status != STATUS_OK) {
        process_complain("tokenize: %s", status_text(status));
        return EXIT_FAILED;
    }
    while (status == STATUS_OK && next_id(buf_data(text), buf_len(text), &pos, &id)) {
        if (id >= tokenizer_n_ids(tok)) {
            process_complain("tokenize: there is no id %u: they end at %u", (unsigned)id,
                             (unsigned)tokenizer_n_ids(tok) - 1);
            status = STATUS_INVALID;
            break;
        }
        status = detokenizer_push(detok, id, &piece, &len);
        if (status == STATUS_OK)
            fwrite(piece, 1, len, stdout);
    }
    if (status == STATUS_OK)
        status = detokenizer_flush(detok, &piece, &len);
    if (status == STATUS_OK)
        fwrite(piece, 1, len, stdout);
    detokenizer_destroy(detok);
    return status == STATUS_OK ? EXIT_DONE : EXIT_FAILED;
}

static enum exit_code run_with(const struct tokenizer *tok, const struct request *request)
{
    enum exit_code code = EXIT_FAILED;
    struct buf text;

    buf_init(&text, MEMORY_MAX);
    if (read_input(request->file, &text) &&
        (!request->chat || apply_template(request->tokenizer, &text))) {
        if (request->decode) {
            code = decode(tok, request, &text);
        } else if (request->text) {
            fwrite(buf_data(&text), 1, buf_len(&text), stdout);
            code = EXIT_DONE;
        } else {
            code = encode(tok, request, &text);
        }
    }
    buf_fini(&text);
    if (fflush(stdout) != 0)
        code = EXIT_FAILED;
    return code;
}

static enum exit_code run(const struct request *request)
{
    struct tokenizer_error error = {""};
    struct tokenizer *tok;
    enum status status = strcmp(request->tokenizer, "oracle") == 0
                             ? tokenizer_open_bytes(&tok)
                             : tokenizer_open(request->tokenizer, &error, &tok);

    if (status != STATUS_OK) {
        process_complain("%s", error.text[0] ? error.text : status_text(status));
        return EXIT_FAILED;
    }
    enum exit_code code = run_with(tok, request);
    tokenizer_close(tok);
    return code;
}

enum exit_code command_tokenize(int n_args, char **args)
{
    struct words words = {.at = args, .n = n_args};
    struct request request = {.flags = 0};

    if (words_flag(&words, "--help")) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    request.decode = words_flag(&words, "--decode");
    request.count = words_flag(&words, "--count");
    request.pieces = words_flag(&words, "--pieces");
    request.skip_special = words_flag(&words, "--skip-special");
    request.chat = words_flag(&words, "--chat");
    request.text = words_flag(&words, "--text");
    request.flags |= words_flag(&words, "--add-special") ? TOKENIZER_ADD_SPECIAL : 0;
    /* A template writes special tokens out; they are ours, not a user's. */
    request.flags |=
        words_flag(&words, "--parse-special") || request.chat ? TOKENIZER_PARSE_SPECIAL : 0;
    if (words_option(&words) != NULL) {
        process_complain("tokenize: '%s' is not understood", words_option(&words));
        return EXIT_USAGE;
    }
    if (words.n < 1 || words.n > 2 || (request.decode && request.chat) ||
        (request.text && !request.chat)) {
        fputs(help, stderr);
        return EXIT_USAGE;
    }
    request.tokenizer = words.at[0];
    request.file = words.n == 2 ? words.at[1] : NULL;
    return run(&request);
}
