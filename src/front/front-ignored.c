#include <stdio.h>

#include "front/front-internal.h"
#include "io/status-file.h"

/* Ignored clients: monitors and the like, which are served while the stack is awake, and neither wake it nor keep it
 * awake. */

#define IGNORED_RETRY_USEC USEC_PER_MINUTE

/* The stack may be awake though we do not hold it, which the waker does for a while after the last client. Only an
 * ignored client asks: anybody else dials. */
static bool front_find_awake(Front *front) {
        _cleanup_(backends_freep) Backends *backends = NULL;
        _cleanup_(status_freep) Status *status = NULL;

        if (front->state == FRONT_AWAKE)
                return true;
        if (status_file_read_at(&status, front->options.status) < 0 || status->state != SERVICE_AWAKE ||
            backends_new(&backends, status->backends) < 0)
                return false;
        if (!backends_equal(backends, front->backends))
                front_use_backends(front, TAKE_PTR(backends));
        return true;
}

bool front_is_asleep(const Front *front) {
        _cleanup_(status_freep) Status *status = NULL;

        return status_file_read_at(&status, front->options.status) < 0 ||
               (status->state != SERVICE_AWAKE && status->state != SERVICE_WAKING);
}

void front_take_ignored(Front *front, Client *client) {
        _cleanup_(answer_unrefp) Answer *answer = NULL;
        _cleanup_free_ char *sentence = NULL;

        if (front_find_awake(front)) {
                client_connect(client, front->backends);
                return;
        }
        if (asprintf(&sentence, "%s is not awake.", front->options.service) < 0)
                sentence = NULL;
        if (sentence)
                (void) answer_new(&answer, sentence, IGNORED_RETRY_USEC);
        client_close(client, answer);
}
