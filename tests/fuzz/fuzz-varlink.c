#include <sys/socket.h>
#include <unistd.h>

#include "control/varlink.h"
#include "model/status.h"

/* What a peer may send on a control socket: messages in pieces of every size, and the status object in them, which
 * is written again when it can be read. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_message(Varlink *varlink, json_object *message, void *userdata) {
        json_object *parameters = NULL, *object = NULL, *again;
        Status *status = NULL;

        (void) json_object_object_get_ex(message, "parameters", &parameters);
        if (json_object_is_type(parameters, json_type_object))
                (void) json_object_object_get_ex(parameters, "status", &object);
        if (status_from_json(&status, object ? object : message) >= 0) {
                again = status_to_json(status);
                if (!again)
                        abort();
                json_object_put(again);
                status_free(status);
        }
        (void) varlink_reply(varlink, parameters, true);
}

static void on_end(Varlink *varlink, int error, void *userdata) {
        *(bool *) userdata = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        sd_event *event = NULL;
        Varlink *varlink = NULL;
        bool ended = false;
        size_t done = 0;
        int pair[2];

        if (sd_event_new(&event) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
            varlink_new(&varlink, event, pair[0], on_message, on_end, &ended) < 0)
                abort();

        while (!ended) {
                char replies[4096];

                if (done < size) {
                        ssize_t n = send(pair[1], data + done, MIN(size - done, 1 + data[done] * (size_t) 16),
                                         MSG_NOSIGNAL | MSG_DONTWAIT);

                        done = n < 0 ? size : done + (size_t) n;
                        if (done >= size)
                                (void) shutdown(pair[1], SHUT_WR);
                } else if (size == 0)
                        (void) shutdown(pair[1], SHUT_WR);
                (void) sd_event_run(event, 0);
                (void) recv(pair[1], replies, sizeof(replies), MSG_DONTWAIT);
        }

        varlink_free(varlink);
        (void) close(pair[1]);
        sd_event_unref(event);
        return 0;
}
