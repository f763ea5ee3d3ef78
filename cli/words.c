/* Takes options out of a list of words. */
#include "cli/words.h"

#include <stdio.h>
#include <string.h>

static void words_drop(struct words *words, int at, int n)
{
    words->n -= n;
    memmove(words->at + at, words->at + at + n, (size_t)(words->n - at) * sizeof(*words->at));
}

bool words_flag(struct words *words, const char *name)
{
    for (int i = 0; i < words->n; i++) {
        if (strcmp(words->at[i], name) != 0)
            continue;
        words_drop(words, i, 1);
        return true;
    }
    return false;
}

const char *words_value(struct words *words, const char *name)
{
    const size_t len = strlen(name);

    for (int i = 0; i < words->n; i++) {
        const char *word = words->at[i];
        const char *value;

        if (strncmp(word, name, len) == 0 && word[len] == '=') {
            words_drop(words, i, 1);
            return word + len + 1;
        }
        if (strcmp(word, name) != 0)
            continue;
        value = i + 1 < words->n ? words->at[i + 1] : "";
        words_drop(words, i, i + 1 < words->n ? 2 : 1);
        return value;
    }
    return NULL;
}

const char *words_option(const struct words *words)
{
    for (int i = 0; i < words->n; i++)
        if (words->at[i][0] == '-' && words->at[i][1] != '\0')
            return words->at[i];
    return NULL;
}

const char *words_quote(const char *word, char *out, size_t room)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:=+,@%";
    const bool is_plain = word[0] != '\0' && word[strspn(word, plain)] == '\0';
    size_t len = 0;

    if (is_plain) {
        snprintf(out, room, "%s", word);
        return out;
    }
    len += (size_t)snprintf(out, room, "'");
    for (const char *at = word; *at && len + 6 < room; at++)
        len += (size_t)(*at == '\'' ? snprintf(out + len, room - len, "'\\''")
                                    : snprintf(out + len, room - len, "%c", *at));
    snprintf(out + len, room - len, "'");
    return out;
}
