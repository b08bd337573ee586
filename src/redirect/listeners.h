#pragma once

/* Listeners: where PID 1 really listens. A socket unit may count as active and have no socket any more (its unit was another one
 * at a daemon-reload), and another program may listen in its place. */

#include <linux/inet_diag.h>
#include "config/listen.h"
#include "util/strv.h"

typedef struct Listeners {
        bool known; /* false: nobody may look; then nothing is said against a unit */
        uint64_t *inodes; /* PID 1's sockets; sorted */
        size_t n_inodes;
        uint64_t tcp[(UINT16_MAX + 1) / 64]; /* ports, on whatever address */
        ListenAddress *addresses; /* where it listens, or has a port of UDP; none of AF_UNIX */
        size_t n_addresses;
        char **paths; /* of Unix sockets; sorted */
        size_t n_paths;
        uint64_t *foreign; /* inodes of those of TCP that listen and are not PID 1's, or not any more; sorted */
        size_t n_foreign;
} Listeners;

/* Of the caller's network namespace, which is PID 1's. */
int listeners_read(Listeners *ret);
void listeners_done(Listeners *listeners);

bool listeners_have_port(const Listeners *listeners, uint16_t port);
bool listeners_have_path(const Listeners *listeners, const char *path);
bool listeners_have(const Listeners *listeners, const ListenAddress *address);
/* Whether that process, which has been passed sockets, listens where PID 1 does not any more. */
bool listeners_has_foreign(const Listeners *listeners, unsigned pid);

/* A socket that listens, or has a port of UDP; /proc/net/unix, which is taken apart. For listeners_read() and tests: `inodes` come first. */
int listeners_add(Listeners *listeners, bool tcp, const struct inet_diag_msg *socket);
int listeners_parse_unix(Listeners *listeners, char *text);
