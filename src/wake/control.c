#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-login.h>

#include "io/varlink.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"
#include "wake/control.h"

/* Control: a list of connections, some of which hold. Who calls is told by the unit of the peer's process (SO_PEERCRED): the front reads
 * bytes from the internet, so it may hold its own service and nothing else. */

#define CONTROL_PEERS_MAX 4096
#define ACCEPT_PAUSE (100 * USEC_PER_MSEC)
#define UID_INVALID ((uid_t) -1)

typedef struct Peer Peer;

struct Peer {
        Control *control;
        Peer *next, **previous; /* intrusive list: the pointer that points here */
        Varlink *varlink;
        bool front; /* of this service */
        bool foreign_front; /* of another */
        bool holds;
};

struct Control {
        sd_event *event; /* borrowed */
        int fd; /* borrowed */
        char *service;
        ControlStatus status;
        ControlHandler handler;
        void *userdata;
        sd_event_source *listening, *again;
        Peer *peers;
        size_t n_peers, n_holders;
        bool paused;
        json_object *failure; /* parameters of WakeFailed, once the wake has failed */
};

static Peer *peer_free(Peer *peer) {
        if (!peer)
                return NULL;

        if (peer->previous) {
                *peer->previous = peer->next;
                if (peer->next)
                        peer->next->previous = peer->previous;
                peer->control->n_peers--;
        }
        if (peer->holds)
                peer->control->n_holders--;
        varlink_free(peer->varlink);
        return mfree(peer);
}

static json_object *status_parameters(Control *control) {
        json_object *parameters = json_object_new_object(), *status = control->status(control->userdata);

        if (!parameters || !status) {
                json_object_put(parameters);
                json_object_put(status);
                return NULL;
        }
        json_object_object_add(parameters, "status", status);
        return parameters;
}

static void peer_send_status(Peer *peer, bool continues) {
        json_object *parameters = status_parameters(peer->control);
        int r;

        r = parameters ? varlink_reply(peer->varlink, parameters, continues) : -ENOMEM;
        json_object_put(parameters);
        if (r < 0)
                log_debug_errno(r, "Failed to tell a holder of the status, ignoring: %m");
}

/* The methods. Each answers, or is answered later. */

static void method_hold(Peer *peer, bool more) {
        Control *control = peer->control;

        if (!more) {
                (void) varlink_error(peer->varlink, "org.varlink.service.ExpectedMore", NULL);
                return;
        }
        if (peer->foreign_front) {
                (void) varlink_error(peer->varlink, "org.varlink.service.PermissionDenied", NULL);
                return;
        }
        if (control->failure) {
                (void) varlink_error(peer->varlink, "io.wakechain.WakeFailed", control->failure);
                return;
        }
        if (control->paused) {
                (void) varlink_error(peer->varlink, "io.wakechain.Stopping", NULL);
                return;
        }
        if (!peer->holds) {
                peer->holds = true;
                control->n_holders++;
                control->handler(control, CONTROL_HELD, peer->front ? TRIGGER_CONNECTION : TRIGGER_MANUAL,
                                 control->userdata);
        }
        peer_send_status(peer, true);
}

static void method_get_status(Peer *peer, bool more) {
        peer_send_status(peer, false);
}

static void method_sleep(Peer *peer, bool more) {
        if (peer->front || peer->foreign_front) {
                (void) varlink_error(peer->varlink, "org.varlink.service.PermissionDenied", NULL);
                return;
        }
        (void) varlink_reply(peer->varlink, NULL, false);
        peer->control->handler(peer->control, CONTROL_SLEEP, TRIGGER_MANUAL, peer->control->userdata);
}

static const char interface_description[] =
                "# Wakes a stack of containers and holds it awake.\n"
                "interface io.wakechain\n"
                "\n"
                "# Wakes the stack and holds it awake until the caller disconnects. To be called with `more`: the status follows at each change.\n"
                "method Hold() -> (status: object)\n"
                "\n"
                "method GetStatus() -> (status: object)\n"
                "\n"
                "# Puts the stack to sleep, whoever holds it.\n"
                "method Sleep() -> ()\n"
                "\n"
                "# The wake has failed; what it had started is stopped again.\n"
                "error WakeFailed (reason: string, message: string)\n"
                "\n"
                "# The stack is being put to sleep. Connect again to wake it.\n"
                "error Stopping ()\n";

static void method_get_info(Peer *peer, bool more) {
        json_object *parameters = json_tokener_parse("{\"vendor\":\"wakechain\",\"product\":\"wakechain-wake\","
                                                     "\"version\":\"1\",\"url\":\"https://varlink.org\","
                                                     "\"interfaces\":[\"org.varlink.service\",\"io.wakechain\"]}");

        (void) varlink_reply(peer->varlink, parameters, false);
        json_object_put(parameters);
}

static void method_get_description(Peer *peer, bool more) {
        json_object *parameters = json_object_new_object();

        if (!parameters)
                return;
        json_object_object_add(parameters, "description", json_object_new_string(interface_description));
        (void) varlink_reply(peer->varlink, parameters, false);
        json_object_put(parameters);
}

static const struct {
        const char *name;
        void (*call)(Peer *peer, bool more);
} methods[] = {
        { "io.wakechain.Hold", method_hold },
        { "io.wakechain.GetStatus", method_get_status },
        { "io.wakechain.Sleep", method_sleep },
        { "org.varlink.service.GetInfo", method_get_info },
        { "org.varlink.service.GetInterfaceDescription", method_get_description },
};

static void peer_on_message(Varlink *varlink, json_object *message, void *userdata) {
        Peer *peer = ASSERT_PTR(userdata);
        json_object *value, *parameters;
        const char *method;
        bool more;

        if (!json_object_object_get_ex(message, "method", &value) ||
            !json_object_is_type(value, json_type_string)) {
                (void) varlink_error(varlink, "org.varlink.service.InvalidParameter", NULL);
                return;
        }
        method = json_object_get_string(value);
        more = json_object_object_get_ex(message, "more", &value) && json_object_get_boolean(value);

        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (streq(methods[i].name, method)) {
                        methods[i].call(peer, more);
                        return;
                }

        parameters = json_object_new_object();
        if (parameters)
                json_object_object_add(parameters, "method", json_object_new_string(method));
        (void) varlink_error(varlink, "org.varlink.service.MethodNotFound", parameters);
        json_object_put(parameters);
}

static void peer_on_end(Varlink *varlink, int error, void *userdata) {
        Peer *peer = ASSERT_PTR(userdata);
        Control *control = peer->control;
        bool held = peer->holds;

        if (error < 0)
                log_debug_errno(error, "A caller of the control socket was disconnected: %m");
        (void) peer_free(peer);
        if (held)
                control->handler(control, CONTROL_RELEASED, TRIGGER_MANUAL, control->userdata);
}

/* A process that cannot be told any more, because it has ended, is taken for somebody else's front unless it was root's: a front could
 * have a child call and end. */
static void peer_identify(Peer *peer, int fd) {
        _cleanup_free_ char *unit = NULL, *own = NULL;
        struct ucred credentials = { .uid = UID_INVALID };
        socklen_t size = sizeof(credentials);

        if (sd_peer_get_unit(fd, &unit) < 0) {
                (void) getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size);
                peer->foreign_front = credentials.uid != 0;
                return;
        }
        if (strncmp(unit, "wake-front@", strlen("wake-front@")) != 0)
                return;
        if (asprintf(&own, "wake-front@%s.service", peer->control->service) < 0)
                own = NULL;
        peer->front = own && streq(unit, own);
        peer->foreign_front = !peer->front;
}

/* Takes the fd in any case. NULL: it was refused. */
static Peer *control_add_peer(Control *control, int connection) {
        _cleanup_close_ int fd = connection;
        Peer *peer;
        int r;

        if (control->n_peers >= CONTROL_PEERS_MAX)
                return NULL;
        peer = new0(Peer, 1);
        if (!peer)
                return NULL;
        *peer = (Peer){ .control = control };
        peer_identify(peer, fd);

        r = varlink_new(&peer->varlink, control->event, fd, peer_on_message, peer_on_end, peer);
        if (r < 0) {
                log_debug_errno(r, "Failed to take a caller of the control socket: %m");
                return peer_free(peer);
        }
        (void) TAKE_FD(fd);

        peer->next = control->peers;
        peer->previous = &control->peers;
        if (peer->next)
                peer->next->previous = &peer->next;
        control->peers = peer;
        control->n_peers++;
        return peer;
}

static int control_on_accept_again(sd_event_source *source, uint64_t usec, void *userdata) {
        Control *control = ASSERT_PTR(userdata);

        if (!control->paused)
                (void) sd_event_source_set_enabled(control->listening, SD_EVENT_ON);
        return 0;
}

/* Out of descriptors or memory: the connection stays in the backlog and would wake the loop for ever. */
static void control_pause_accepting(Control *control) {
        (void) sd_event_source_set_enabled(control->listening, SD_EVENT_OFF);
        if (sd_event_source_set_time_relative(control->again, ACCEPT_PAUSE) < 0 ||
            sd_event_source_set_enabled(control->again, SD_EVENT_ONESHOT) < 0)
                log_warning("Failed to pause the control socket, ignoring.");
}

void control_accept_pending(Control *control) {
        for (;;) {
                int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd >= 0)
                        (void) control_add_peer(control, fd);
                else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                        log_debug_errno(-errno, "Failed to take a caller of the control socket, pausing: %m");
                        control_pause_accepting(control);
                        return;
                } else if (errno != EINTR && errno != ECONNABORTED)
                        return;
        }
}

static int control_on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        control_accept_pending(ASSERT_PTR(userdata));
        return 0;
}

int control_new(Control **ret, sd_event *event, int fd, const char *service, ControlStatus status,
                ControlHandler handler, void *userdata) {
        _cleanup_(control_freep) Control *control = NULL;
        int r;

        assert(ret);
        assert(fd >= 0);

        control = malloc(sizeof(*control));
        if (!control)
                return -ENOMEM;
        *control = (Control){
                .event = event,
                .fd = fd,
                .service = strdup(service),
                .status = status,
                .handler = handler,
                .userdata = userdata,
        };
        if (!control->service)
                return -ENOMEM;
        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
                return -errno;

        r = sd_event_add_io(event, &control->listening, fd, EPOLLIN, control_on_connection, control);
        if (r >= 0)
                r = sd_event_add_time(event, &control->again, CLOCK_MONOTONIC, 0, 0, control_on_accept_again,
                                      control);
        if (r >= 0)
                r = sd_event_source_set_enabled(control->again, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(control);
        return 0;
}

Control *control_free(Control *control) {
        if (!control)
                return NULL;

        sd_event_source_disable_unref(control->listening);
        sd_event_source_disable_unref(control->again);
        while (control->peers)
                (void) peer_free(control->peers);
        json_object_put(control->failure);
        free(control->service);
        return mfree(control);
}

size_t control_holders(const Control *control) {
        return control->n_holders;
}

bool control_has_front(const Control *control) {
        for (const Peer *peer = control->peers; peer; peer = peer->next)
                if (peer->front)
                        return true;
        return false;
}

void control_publish(Control *control) {
        json_object *parameters;

        if (control->n_holders == 0)
                return;
        parameters = status_parameters(control);
        if (!parameters)
                return;

        /* A holder that does not read is disconnected by its own varlink, later, never from inside. */
        for (Peer *peer = control->peers; peer; peer = peer->next)
                if (peer->holds)
                        (void) varlink_reply(peer->varlink, parameters, true);
        json_object_put(parameters);
}

void control_pause(Control *control) {
        control->paused = true;
        (void) sd_event_source_set_enabled(control->listening, SD_EVENT_OFF);
}

void control_resume(Control *control) {
        control->paused = false;
        (void) sd_event_source_set_enabled(control->listening, SD_EVENT_ON);
}

void control_fail(Control *control, FailureReason reason, const char *message) {
        if (!control->failure) {
                control->failure = json_object_new_object();
                if (control->failure) {
                        json_object_object_add(control->failure, "reason",
                                               json_object_new_string(failure_reason_to_string(reason)));
                        json_object_object_add(control->failure, "message", json_object_new_string(message));
                }
        }

        /* Whoever is in the backlog would start the next process at once: they asked for this wake, and get its answer. */
        control_accept_pending(control);
        while (control->peers) {
                (void) varlink_error(control->peers->varlink, "io.wakechain.WakeFailed", control->failure);
                (void) peer_free(control->peers);
        }
}
