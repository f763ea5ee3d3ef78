/* Host identity from the boot id, /dev/shm, the namespaces and the user. */
#include "cli/host.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rand.h"
#include "wire/siphash.h"

/* What must be equal; hashed as it lies. */
struct identity {
    char boot[64];
    uint64_t shm_dev;
    uint64_t shm_ino;
    uint64_t pid_namespace; /* cross memory attach goes by process number */
    uint64_t user;          /* and asks for the same user, as does /dev/shm */
};

static int read_boot_id(char *text, size_t max)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, max - 1) : -1;

    if (fd >= 0)
        close(fd);
    return n > 0 ? 0 : -1;
}

void host_identity(char text[HOST_TEXT_MAX], bool share)
{
    static const struct siphash_key key = {.byte = "baton host ident"};
    struct identity identity;
    struct stat shm, pid;
    uint8_t hash[16];

    memset(&identity, 0, sizeof(identity));
    if (share && read_boot_id(identity.boot, sizeof(identity.boot)) == 0 &&
        stat("/dev/shm", &shm) == 0 && stat("/proc/self/ns/pid", &pid) == 0) {
        identity.shm_dev = shm.st_dev;
        identity.shm_ino = shm.st_ino;
        identity.pid_namespace = pid.st_ino;
        identity.user = geteuid();
        siphash_128(&key, &identity, sizeof(identity), hash);
    } else {
        rand_entropy(hash, sizeof(hash));
    }
    for (size_t i = 0; i < sizeof(hash); i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
}
