/* Where a socket may listen without keys: on this machine only, unless the user said otherwise. An
 * address counts as loopback only when it is one for sure; names that need a resolver do not. */
#include "wire/zsock.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return strcmp(host, "localhost") == 0 || strcmp(host, "lo") == 0;
}

/* The host of tcp://host:port, without the brackets of IPv6; false if there is none. */
static bool host_of(const char *endpoint, char host[ZSOCK_ENDPOINT_MAX])
{
    const char *at = endpoint + strlen("tcp://");
    const char *colon = strrchr(at, ':');
    size_t len = colon ? (size_t)(colon - at) : 0;
    if (len >= 2 && at[0] == '[' && at[len - 1] == ']') {
        at++;
        len -= 2;
    }
    if (len == 0 || len >= ZSOCK_ENDPOINT_MAX) {
        return false;
    }
    memcpy(host, at, len);
    host[len] = '\0';
    return true;
}

enum status zsock_check_exposure(const char *endpoint, bool has_keys, bool insecure,
                                 char why[ZSOCK_WHY_MAX])
{
    if (has_keys || insecure || strncmp(endpoint, "ipc://", 6) == 0 ||
        strncmp(endpoint, "inproc://", 9) == 0) {
        return STATUS_OK;
    }
    char host[ZSOCK_ENDPOINT_MAX];
    if (strncmp(endpoint, "tcp://", 6) == 0 && host_of(endpoint, host) && is_loopback(host)) {
        return STATUS_OK;
    }
    snprintf(why, ZSOCK_WHY_MAX,
             "%.*s would accept anybody who can reach this machine. Make keys with `baton keygen` "
             "and name them in the file, bind 127.0.0.1, or start with --insecure.",
             (int)(ZSOCK_WHY_MAX / 2), endpoint);
    return STATUS_DENIED;
}
