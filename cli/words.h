/* What is left of a command line when the options of the fleet file are taken out: a command's own
 * options and its words. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct words {
    char **at; /* [n] */
    int n;
};

/* Takes --name out; true if it was there. */
bool words_flag(struct words *words, const char *name);
/* Takes --name VALUE or --name=VALUE out; NULL if it is not there, "" if its value is missing. */
const char *words_value(struct words *words, const char *name);
/* The first word that is an option (nobody has taken it), or NULL. */
const char *words_option(const struct words *words);

/* The word as a shell takes it, in quotes where it needs them; cut where there is no room. */
const char *words_quote(const char *word, char *out, size_t room);
