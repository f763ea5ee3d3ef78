/*
 * Feeds every file of a corpus folder to a fuzzer once, without libFuzzer: so the committed corpus
 * is a test of every build, with any compiler. It searches for nothing new; ./dev fuzz does.
 * An empty corpus is a failure: a fuzzer without one is no test.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { INPUT_BYTES_MAX = 16 << 20 };

/* Returns 1 if the file was fed, 0 if it is not a regular file, -1 on an error (said). */
static int replay_file(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
        return 0;
    }
    if (info.st_size > INPUT_BYTES_MAX) {
        fprintf(stderr, "replay: %s has more than %d bytes\n", path, INPUT_BYTES_MAX);
        return -1;
    }
    size_t size = (size_t)info.st_size;
    /* Exactly as large as the input, so that a sanitizer sees a read past its end. */
    uint8_t *data = malloc(size > 0 ? size : 1);
    FILE *file = fopen(path, "rb");
    int result = -1;
    if (data != NULL && file != NULL && fread(data, 1, size, file) == size) {
        LLVMFuzzerTestOneInput(data, size);
        result = 1;
    } else {
        fprintf(stderr, "replay: cannot read %s\n", path);
    }
    if (file != NULL) {
        fclose(file);
    }
    free(data);
    return result;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
        return 2;
    }
    DIR *folder = opendir(argv[1]);
    if (folder == NULL) {
        fprintf(stderr, "replay: there is no corpus at %s\n", argv[1]);
        return 1;
    }
    int n_fed = 0, n_bad = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        int result = replay_file(path);
        n_fed += result > 0;
        n_bad += result < 0;
    }
    closedir(folder);
    printf("%d inputs replayed\n", n_fed);
    return n_fed > 0 && n_bad == 0 ? 0 : 1;
}
