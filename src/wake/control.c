#include <fcntl.h>
#include <sys/socket.h>

#include "control/peer.h"
#include "control/varlink.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/log.h"
#include "util/time.h"
#include "wake/control.h"

/* Control: a list of connections, some of which hold. Who calls is told by peer_identify(): the front reads bytes from the internet, so it
 * may hold its own service and nothing else, and those of other services are turned away.
 *
 * Whoever may connect costs a bounded amount of what a waker has: so many connections a user (and a front, whose user all fronts share),
 * each with so much to say and to be told, and none for longer than a moment unless it holds or waits for the stack's sleep. */

#define PEERS_PER_USER_MAX 256U
#define PEERS_OF_FRONT_MAX 64U
#define CALL_MAX ((size_t) 16 * 1024)
#define ANSWERS_MAX ((size_t) 1024 * 1024)
#define SILENCE_USEC (5 * USEC_PER_SEC)
#define ACCEPT_PAUSE (100 * USEC_PER_MSEC)

typedef struct Peer Peer;

struct Peer {
        Control *control;
        Peer *next, **previous; /* intrusive list: the pointer that points here */
        Varlink *varlink;
        sd_event_source *silence; /* until it is disconnected; off for who may stay */
        uid_t uid;
        bool front; /* of this service */
        bool holds;
        bool awaits_sleep; /* has asked for it: the end of the connection tells */
        bool oneway; /* its call under way is not answered */
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
        sd_event_source_disable_unref(peer->silence);
        varlink_free(peer->varlink);
        return mfree(peer);
}

static json_object *status_parameters(Control *control) {
        json_object *parameters = json_object_new_object();

        return json_built(parameters, json_add(parameters, "status", control->status(control->userdata)));
}

static void peer_reply(Peer *peer, json_object *parameters, bool continues) {
        int r;

        if (peer->oneway)
                return;
        r = varlink_reply(peer->varlink, parameters, continues);
        if (r < 0)
                log_debug_errno(r, "Failed to answer a caller of the control socket, ignoring: %m");
}

static void peer_refuse(Peer *peer, const char *error, json_object *parameters) {
        if (!peer->oneway)
                (void) varlink_error(peer->varlink, error, parameters);
}

/* The errors of varlink itself name what they mean in one parameter. */
static void peer_refuse_value(Peer *peer, const char *error, const char *key, const char *value) {
        _cleanup_(json_freep) json_object *parameters = json_object_new_object();

        (void) json_add_text(parameters, key, value);
        peer_refuse(peer, error, parameters);
}

static void peer_send_status(Peer *peer, bool continues) {
        _cleanup_(json_freep) json_object *parameters = status_parameters(peer->control);

        if (parameters)
                peer_reply(peer, parameters, continues);
        else
                log_debug("Failed to tell a caller of the status: out of memory.");
}

/* The methods. Each answers, or is answered later. */

static bool parse_trigger(json_object *parameters, WakeTrigger *ret) {
        json_object *value = json_member(parameters, "trigger");
        const char *text = json_text(value);

        *ret = !value ? TRIGGER_MANUAL : text ? wake_trigger_from_string(text) : _TRIGGER_INVALID;
        return *ret >= 0;
}

static void method_hold(Peer *peer, json_object *parameters, bool more) {
        WakeTrigger trigger = TRIGGER_CONNECTION;
        Control *control = peer->control;

        if (!more || peer->oneway) {
                peer_refuse(peer, "org.varlink.service.ExpectedMore", NULL);
                return;
        }
        /* A front can say nothing about what it holds for. */
        if (!peer->front && !parse_trigger(parameters, &trigger)) {
                peer_refuse_value(peer, "org.varlink.service.InvalidParameter", "parameter", "trigger");
                return;
        }
        if (control->failure) {
                peer_refuse(peer, "io.wakechain.WakeFailed", control->failure);
                return;
        }
        if (control->paused) {
                peer_refuse(peer, "io.wakechain.Stopping", NULL);
                return;
        }
        if (!peer->holds) {
                peer->holds = true;
                control->n_holders++;
                control->handler(control, CONTROL_HELD, trigger, control->userdata);
        }
        peer_send_status(peer, true);
}

static void method_get_status(Peer *peer, json_object *parameters, bool more) {
        peer_send_status(peer, false);
}

static void method_sleep(Peer *peer, json_object *parameters, bool more) {
        json_object *all = json_member(parameters, "all");
        Control *control = peer->control;

        if (peer->front) {
                peer_refuse(peer, "org.varlink.service.PermissionDenied", NULL);
                return;
        }
        if (all && !json_object_is_type(all, json_type_boolean)) {
                peer_refuse_value(peer, "org.varlink.service.InvalidParameter", "parameter", "all");
                return;
        }
        peer->awaits_sleep = true;
        peer_reply(peer, NULL, false);
        control->handler(control, json_object_get_boolean(all) ? CONTROL_SLEEP_ALL : CONTROL_SLEEP, TRIGGER_MANUAL,
                         control->userdata);
}

static const struct {
        const char *name, *description;
} interfaces[] = {
        { "org.varlink.service",
          "# What every varlink service has.\n"
          "interface org.varlink.service\n"
          "\n"
          "method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)\n"
          "\n"
          "method GetInterfaceDescription(interface: string) -> (description: string)\n"
          "\n"
          "error InterfaceNotFound (interface: string)\n"
          "\n"
          "error MethodNotFound (method: string)\n"
          "\n"
          "error InvalidParameter (parameter: string)\n"
          "\n"
          "error PermissionDenied ()\n"
          "\n"
          "error ExpectedMore ()\n" },
        { "io.wakechain",
          "# Wakes a stack of containers and holds it awake.\n"
          "interface io.wakechain\n"
          "\n"
          "type Trigger (connection, manual, schedule, prewarm, api, outside)\n"
          "\n"
          "# Wakes the stack and holds it awake until the caller disconnects. To be called with `more`: the status follows at each change.\n"
          "# The trigger is what the wake is recorded to be for, by default `manual`.\n"
          "method Hold(trigger: ?Trigger) -> (status: object)\n"
          "\n"
          "method GetStatus() -> (status: object)\n"
          "\n"
          "# Puts the stack to sleep, whoever holds it; with `all` also what ran before wakechain woke it, but nothing that another stack\n"
          "# uses or that is to be kept. Answered at once; the connection ends when the stack sleeps.\n"
          "method Sleep(all: ?bool) -> ()\n"
          "\n"
          "# The wake has failed; what it had started is stopped again.\n"
          "error WakeFailed (reason: string, message: string)\n"
          "\n"
          "# The stack is being put to sleep. Connect again to wake it.\n"
          "error Stopping ()\n" },
};

static void method_get_info(Peer *peer, json_object *parameters, bool more) {
        _cleanup_(json_freep) json_object *info = json_tokener_parse(
                        "{\"vendor\":\"wakechain\",\"product\":\"wakechain-wake\",\"version\":\"1\","
                        "\"url\":\"https://varlink.org\",\"interfaces\":[]}");

        for (size_t i = 0; i < ELEMENTSOF(interfaces); i++)
                (void) json_append(json_member(info, "interfaces"), json_object_new_string(interfaces[i].name));
        peer_reply(peer, info, false);
}

static void method_get_description(Peer *peer, json_object *parameters, bool more) {
        _cleanup_(json_freep) json_object *reply = json_object_new_object();
        const char *name = json_member_text(parameters, "interface");

        for (size_t i = 0; name && i < ELEMENTSOF(interfaces); i++)
                if (streq(interfaces[i].name, name)) {
                        (void) json_add_text(reply, "description", interfaces[i].description);
                        peer_reply(peer, reply, false);
                        return;
                }
        if (name)
                peer_refuse_value(peer, "org.varlink.service.InterfaceNotFound", "interface", name);
        else
                peer_refuse_value(peer, "org.varlink.service.InvalidParameter", "parameter", "interface");
}

static const struct {
        const char *name;
        void (*call)(Peer *peer, json_object *parameters, bool more);
} methods[] = {
        { "io.wakechain.Hold", method_hold },
        { "io.wakechain.GetStatus", method_get_status },
        { "io.wakechain.Sleep", method_sleep },
        { "org.varlink.service.GetInfo", method_get_info },
        { "org.varlink.service.GetInterfaceDescription", method_get_description },
};

static void peer_call(Peer *peer, json_object *message) {
        const char *method = json_member_text(message, "method");

        peer->oneway = json_member_is_true(message, "oneway");
        if (!method) {
                peer_refuse_value(peer, "org.varlink.service.InvalidParameter", "parameter", "method");
                return;
        }
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (streq(methods[i].name, method)) {
                        methods[i].call(peer, json_member(message, "parameters"),
                                        json_member_is_true(message, "more"));
                        return;
                }
        peer_refuse_value(peer, "org.varlink.service.MethodNotFound", "method", method);
}

/* From now on, or from its last call on. */
static int peer_arm_silence(Peer *peer) {
        int r;

        r = sd_event_source_set_time_relative(peer->silence, SILENCE_USEC);
        return r < 0 ? r
                     : sd_event_source_set_enabled(peer->silence, peer->holds || peer->awaits_sleep
                                                                                  ? SD_EVENT_OFF
                                                                                  : SD_EVENT_ONESHOT);
}

static void peer_on_message(Varlink *varlink, json_object *message, void *userdata) {
        Peer *peer = ASSERT_PTR(userdata);

        (void) varlink_set_priority(varlink, SD_EVENT_PRIORITY_NORMAL);
        peer_call(peer, message);
        (void) peer_arm_silence(peer);
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

static int peer_on_silence(sd_event_source *source, uint64_t usec, void *userdata) {
        log_debug("A caller of the control socket that says nothing is disconnected.");
        (void) peer_free(ASSERT_PTR(userdata));
        return 0;
}

static bool control_has_room(const Control *control, uid_t uid, bool front) {
        size_t n = 0;

        for (const Peer *peer = control->peers; peer; peer = peer->next)
                n += peer->front == front && (front || peer->uid == uid);
        return n < (front ? PEERS_OF_FRONT_MAX : PEERS_PER_USER_MAX);
}

/* Takes the fd in any case. NULL: it was refused. */
static Peer *control_add_peer(Control *control, int connection, uid_t uid, bool front) {
        _cleanup_close_ int fd = fd_move_up(connection);
        Peer *peer;
        int r;

        peer = new0(Peer, 1);
        if (!peer)
                return NULL;
        *peer = (Peer){ .control = control, .uid = uid, .front = front };

        r = sd_event_add_time(control->event, &peer->silence, CLOCK_MONOTONIC, 0, 0, peer_on_silence, peer);
        if (r >= 0)
                r = peer_arm_silence(peer);
        if (r >= 0)
                r = varlink_new(&peer->varlink, control->event, fd, peer_on_message, peer_on_end, peer);
        if (r < 0) {
                log_debug_errno(r, "Failed to take a caller of the control socket: %m");
                return peer_free(peer);
        }
        (void) TAKE_FD(fd);
        varlink_set_limits(peer->varlink, CALL_MAX, ANSWERS_MAX);
        /* Its first call says what the wake is for, which is told as soon as the engine has answered. */
        (void) varlink_set_priority(peer->varlink, SD_EVENT_PRIORITY_IMPORTANT);

        peer->next = control->peers;
        peer->previous = &control->peers;
        if (peer->next)
                peer->next->previous = &peer->next;
        control->peers = peer;
        control->n_peers++;
        return peer;
}

/* The same for the fd. */
static void control_admit(Control *control, int fd) {
        _cleanup_(peer_identity_done) PeerIdentity identity = {};
        Peer *peer = NULL;
        bool front;

        peer_identify(&identity, fd);
        front = identity.service && streq(identity.service, control->service);
        if (control_has_room(control, identity.uid, front))
                peer = control_add_peer(control, fd, identity.uid, front);
        else
                (void) fd_close(fd);
        if (!peer || front || !identity.front)
                return;
        /* Whatever it wants. */
        (void) varlink_error(peer->varlink, "org.varlink.service.PermissionDenied", NULL);
        (void) peer_free(peer);
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

size_t control_accept_pending(Control *control) {
        for (size_t n = 0;;) {
                int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd >= 0) {
                        control_admit(control, fd);
                        n++;
                } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                        log_debug_errno(-errno, "Failed to take a caller of the control socket, pausing: %m");
                        control_pause_accepting(control);
                        return n;
                } else if (errno != EINTR && errno != ECONNABORTED)
                        return n;
        }
}

static int control_on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        (void) control_accept_pending(ASSERT_PTR(userdata));
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
                r = sd_event_source_set_priority(control->listening, SD_EVENT_PRIORITY_IMPORTANT);
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
        _cleanup_(json_freep) json_object *parameters = control->n_holders > 0 ? status_parameters(control) : NULL;

        /* A holder that does not read is disconnected by its own varlink, later, never from inside. */
        for (Peer *peer = control->peers; parameters && peer; peer = peer->next)
                if (peer->holds)
                        (void) varlink_reply(peer->varlink, parameters, true);
}

void control_pause(Control *control) {
        control->paused = true;
        (void) sd_event_source_set_enabled(control->listening, SD_EVENT_OFF);
}

void control_drop(Control *control) {
        control_pause(control);
        for (Peer *peer = control->peers, *next; peer; peer = next) {
                next = peer->next;
                if (peer->front)
                        (void) peer_free(peer);
        }
}

void control_fail(Control *control, FailureReason reason, const char *message) {
        if (!control->failure) {
                control->failure = json_object_new_object();
                (void) json_add_text(control->failure, "reason", failure_reason_to_string(reason));
                (void) json_add_text(control->failure, "message", message);
        }

        /* Whoever is in the backlog would start the next process at once: they asked for this wake, and get its answer. */
        (void) control_accept_pending(control);
        while (control->peers) {
                (void) varlink_error(control->peers->varlink, "io.wakechain.WakeFailed", control->failure);
                (void) peer_free(control->peers);
        }
}
