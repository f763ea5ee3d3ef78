/* The UCX mover beside UCX's own benchmark: GB/s per piece size on both paths, and the time of one
 * piece alone. The last column is ucx_perftest (package ucx-utils) with the same transports and
 * sizes, run right after; a dash if it is not installed. Not a test: run it by hand.
 *
 *     bench_ucx [perftest port, default 23456] */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "kvtransfer/ucx_bench.h"

static const char *const path_name[] = {"local", "network"};
static const char *const path_env[] = {"UCX_TLS=posix,cma", "UCX_TLS=tcp UCX_NET_DEVICES=lo"};

/* MB/s as ucx_perftest counts (2^20), in GB/s; 0 if it cannot be had. */
static double perftest(enum kvt_path path, size_t bytes, uint32_t n, int port)
{
    char command[600];
    snprintf(command, sizeof(command),
             "export UCX_RNDV_THRESH=0 UCX_RNDV_SCHEME=get_zcopy %s; command -v ucx_perftest "
             ">/dev/null || exit 1; ucx_perftest -p %d >/dev/null 2>&1 & sleep 0.3; ucx_perftest "
             "-p %d 127.0.0.1 -t ucp_am_bw -s %zu -n %u -w 20 -f -v 2>/dev/null | tail -n 1 | cut "
             "-d, -f6; wait",
             path_env[path], port, port, bytes, n);
    FILE *pipe = popen(command, "r");
    double mb_per_s = 0;
    if (pipe == NULL || fscanf(pipe, "%lf", &mb_per_s) != 1) {
        mb_per_s = 0;
    }
    if (pipe != NULL) {
        pclose(pipe);
    }
    return mb_per_s * 1048576.0 / 1e9;
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {65536, 262144, 524288, 1 << 20, 4 << 20, 8 << 20};
    int port = argc > 1 ? atoi(argv[1]) : 23456;
    struct log_options quiet = {.level = LOG_LEVEL_WARN};
    log_open(&quiet);
    printf("%-8s %9s %9s %11s %9s %9s  %-24s %s\n", "path", "bytes", "GB/s", "alone us", "P cpu us",
           "D cpu us", "transport", "ucx_perftest GB/s");
    for (int path = KVT_PATH_LOCAL; path <= KVT_PATH_NETWORK; path++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            struct kvt_ucx_bench bench = {.cfg = kvt_ucx_cfg_default(),
                                          .path = (enum kvt_path)path,
                                          .bytes = sizes[i],
                                          .n = (uint32_t)((2000u << 20) / sizes[i]),
                                          .window = 16};
            struct kvt_ucx_bench_row many, one;
            enum status status = kvt_ucx_bench(&bench, &many);
            bench.window = 1;
            bench.n = 500;
            status = status == STATUS_OK ? kvt_ucx_bench(&bench, &one) : status;
            if (status != STATUS_OK) {
                fprintf(stderr, "%s %zu: %s\n", path_name[path], sizes[i], status_text(status));
                return 1;
            }
            double beside = perftest((enum kvt_path)path, sizes[i],
                                     (uint32_t)((2000u << 20) / sizes[i]), port++);
            printf("%-8s %9zu %9.2f %11.1f %9.1f %9.1f  %-24s ", path_name[path], sizes[i],
                   many.gb_per_s, one.us_per_piece, many.cpu_us_sender, many.cpu_us_receiver,
                   many.transport);
            printf(beside > 0 ? "%.2f\n" : "-\n", beside);
            fflush(stdout);
        }
    }
    return 0;
}
