/*
 * The one function that libFuzzer calls, declared so that every fuzzer defines it alike.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Feeds one input to the code under test. Returns 0; a fault shows as an abort or a sanitizer
 * report. Keeps no state between calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
