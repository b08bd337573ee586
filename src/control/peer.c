#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-login.h>

#include "control/peer.h"

/* Peer: by its unit, which is what a front cannot leave, and by its user, which is what its child keeps that connects, ends, and whose process
 * can be told no more. */

#define FRONT_USER "wakechain-front"
#define FRONT_PREFIX "wake-front@"
#define FRONT_SUFFIX ".service"
#define UID_INVALID ((uid_t) -1)

/* From the file, not from the name service, which might wait for a server. If it cannot be read, as by who has no descriptor left, everybody is. */
static bool is_front_user(uid_t uid) {
        struct passwd entry, *found;
        char buffer[4096];
        FILE *file;
        int r = 0;

        file = fopen("/etc/passwd", "re");
        if (!file)
                return errno != ENOENT;
        while (r == 0) {
                r = fgetpwent_r(file, &entry, buffer, sizeof(buffer), &found);
                if (r == 0 && streq(found->pw_name, FRONT_USER) && found->pw_uid == uid)
                        break;
        }
        (void) fclose(file);
        return r != ENOENT;
}

/* "wake-front@NAME.service" → "NAME", or NULL. */
static char *unit_service(const char *unit) {
        size_t size = strlen(unit), prefix = strlen(FRONT_PREFIX), suffix = strlen(FRONT_SUFFIX);

        if (size <= prefix + suffix || !streq(unit + size - suffix, FRONT_SUFFIX))
                return NULL;
        return strndup(unit + prefix, size - prefix - suffix);
}

void peer_identify(PeerIdentity *ret, int fd) {
        struct ucred credentials = { .uid = UID_INVALID };
        socklen_t size = sizeof(credentials);
        _cleanup_free_ char *unit = NULL;

        assert(ret);

        (void) getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size);
        *ret = (PeerIdentity){ .uid = credentials.uid };

        if (sd_peer_get_unit(fd, &unit) >= 0 && strncmp(unit, FRONT_PREFIX, strlen(FRONT_PREFIX)) == 0) {
                ret->front = true;
                ret->service = unit_service(unit);
        } else if (credentials.uid != 0)
                ret->front = credentials.uid == UID_INVALID || is_front_user(credentials.uid);
}

void peer_identity_done(PeerIdentity *identity) {
        identity->service = mfree(identity->service);
}
