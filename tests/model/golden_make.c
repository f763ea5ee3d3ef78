/* Makes a tiny checkpoint for golden.py: golden_make FOLDER SEED, where FOLDER has a config.json.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/model/golden_model.h"

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: golden_make FOLDER SEED\n");
        return 2;
    }
    golden_model_write(argv[1], strtoull(argv[2], NULL, 10));
    return 0;
}
