/* The shared parts of the loading's tests. */
#include "tests/model/fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "model/make_model.h"
#include "model/safetensors.h"

void fixture_init(struct fixture *fixture)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(fixture->folder, sizeof(fixture->folder), "%s/baton-model-XXXXXX",
             tmp != NULL && strlen(tmp) < 40 ? tmp : "/tmp");
    CHECK(mkdtemp(fixture->folder) != NULL);
}

void fixture_fini(struct fixture *fixture)
{
    DIR *folder = opendir(fixture->folder);
    struct dirent *entry;

    CHECK(folder != NULL);
    while ((entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            CHECK(unlink(fixture_path(fixture, entry->d_name)) == 0);
    closedir(folder);
    CHECK(rmdir(fixture->folder) == 0);
}

const char *fixture_path(const struct fixture *fixture, const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", fixture->folder, name);
    return path;
}

void fixture_write(const struct fixture *fixture, const char *name, const void *bytes, size_t len)
{
    FILE *file = fopen(fixture_path(fixture, name), "wb");

    CHECK(file != NULL);
    CHECK(fwrite(bytes, 1, len, file) == len);
    CHECK(fclose(file) == 0);
}

void fixture_write_text(const struct fixture *fixture, const char *name, const char *text)
{
    fixture_write(fixture, name, text, strlen(text));
}

uint8_t *fixture_safetensors(const char *header, size_t n_data, size_t *len)
{
    const size_t n_text = strlen(header), n = (n_text + 7) / 8 * 8;
    uint8_t *bytes = malloc(8 + n + n_data);

    CHECK(bytes != NULL);
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memset(bytes + 8, ' ', n);
    memcpy(bytes + 8, header, n_text);
    for (size_t i = 0; i < n_data; i++)
        bytes[8 + n + i] = (uint8_t)i;
    *len = 8 + n + n_data;
    return bytes;
}

void fixture_write_safetensors(const struct fixture *fixture, const char *name, const char *header,
                               size_t n_data)
{
    size_t len;
    uint8_t *bytes = fixture_safetensors(header, n_data, &len);

    fixture_write(fixture, name, bytes, len);
    free(bytes);
}

void fixture_make_model(struct fixture *fixture, const char *json, enum op_dtype dtype,
                        uint64_t seed, uint64_t shard_bytes)
{
    struct fixture source;
    struct model_error error = {""};
    struct make_model_result result;
    const struct make_model_args args = {
        .config = source.folder,
        .out = fixture->folder,
        .seed = seed,
        .deviation = 0.2,
        .dtype_given = true,
        .dtype = dtype,
        .shard_bytes = shard_bytes,
    };

    fixture_init(&source);
    fixture_init(fixture);
    fixture_write_text(&source, "config.json", json);
    if (make_model(&args, &error, &result) != STATUS_OK)
        CHECK_MSG(false, error.text);
    fixture_fini(&source);
}

void fixture_put_tensor(const struct fixture *fixture, const char *name, const void *bytes,
                        size_t len)
{
    FILE *file = fopen(fixture_path(fixture, SAFETENSORS_ONE_NAME), "r+b");
    struct safetensors *st = NULL;
    uint64_t n_header, at;
    uint32_t i = 0;

    CHECK(file != NULL && fread(&n_header, sizeof(n_header), 1, file) == 1);
    CHECK(safetensors_open(fixture->folder, NULL, &st) == STATUS_OK);
    at = sizeof(n_header) + n_header;
    for (; strcmp(safetensors_at(st, i)->name, name) != 0; i++) {
        at += safetensors_at(st, i)->bytes;
        CHECK_MSG(i + 1 < safetensors_n(st), name);
    }
    CHECK(safetensors_at(st, i)->bytes == len);
    CHECK(fseek(file, (long)at, SEEK_SET) == 0 && fwrite(bytes, 1, len, file) == len);
    CHECK(fclose(file) == 0);
    safetensors_close(st);
}
