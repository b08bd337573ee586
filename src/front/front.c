#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "front/front-internal.h"
#include "util/fd.h"
#include "util/log.h"

/* Front: a state machine between the clients and the one Hold on the waker. "Waiting" clients are those held or not
 * yet connected to a backend; forwarded ones are never touched by anything below.
 *
 *           | new client | waking       | awake              | stopping     | WakeFailed | Stopping      | lost
 *  ---------+------------+--------------+--------------------+--------------+------------+---------------+-----
 *  IDLE     | hold; dial |              |                    |              |            |               |
 *  DIALING  | hold       |              |                    |              |            |               |
 *  WAKING   | hold       |              | connect; AWAKE     | (1) STOPPING | (3)        | (1), then (2) | (4)
 *  AWAKE    | connect    | hold; WAKING | other backends:    | STOPPING     | (3)        | (1), then (2) | (4)
 *           |            |              | connect anew       |              |            |               |
 *  STOPPING | hold       | WAKING       | connect; AWAKE     |              | (3)        | (2)           | (2)
 *  PAUSED   | answer     |              |                    |              |            |               |
 *
 *  Asleep is stopping, once the stack was seen waking or awake; failed is waking, until the error comes.
 *
 *  (1) The stack is put to sleep although we hold it: somebody decided so, and the waiting get the answer. But if
 *      this Hold has never seen it waking or awake, it only came upon a stack that was going to sleep already: the
 *      waiting go on waiting.
 *  (2) Those who wait (they came after the decision) dial again, with short pauses: the connection stays in the
 *      control socket's backlog until PID 1 has a waker that takes it. Nobody waits: IDLE, so that a stop sticks.
 *  (3) The waiting get the answer. After a first failure the next client tries again; after more of them new
 *      clients get the answer at once for a while: PAUSED, see front_pause_usec().
 *  (4) A waker tells before it goes, so this one has crashed: dial again while there is any client, a few times;
 *      then (3), or IDLE when nobody waits.
 *
 * Flows of UDP are clients, too, and wait if they have datagrams that wait. There is no answer for them: where
 * others get one, they end. When a stack stops, or rests, all of them end, also those that were forwarded: whoever
 * goes on sending is a new client then.
 *
 * Dialing fails: (3) for a first try, (4) for a further one. No word from the waker for PATIENCE_USEC: (3). Awake
 * forgets all failures. Without a client the Hold is dropped after LINGER_USEC, and the program ends after
 * exit_idle_usec, but not in a pause, which nobody else would remember. A connection that comes in just then starts
 * the next front.
 *
 * Clients that the rules ignore are in none of this: they are connected while the stack is awake, be it for a Hold of
 * ours or by the status file, and turned away otherwise; they are not "waiting", nor "a client" for LINGER_USEC. With
 * idleBytes, those that are forwarded and have sent nothing from one look to the next are not, either; the waker counts
 * the rest of the time, and somebody who speaks again makes us dial again.
 *
 * Clients that are held or answered and want to see a page are passed to the web service; the page is theirs from then
 * on, but the wake is still ours: a wake under way for such a client keeps its Hold as if the client were here. Where
 * the web service does not take a client, the front answers, or, when the stack is awake meanwhile, connects it. */

#define LINGER_USEC USEC_PER_SEC
#define PATIENCE_USEC (2 * USEC_PER_MINUTE)
#define LOSSES_MAX 5U
#define LOSS_PAUSE_USEC (50 * USEC_PER_MSEC) /* after a crash: PID 1 starts the next waker */
#define LOSS_PAUSE_MAX_USEC USEC_PER_SEC
#define BUSY_PAUSE_USEC (5 * USEC_PER_MSEC) /* a waker that is going, or a full backlog */
#define BUSY_PAUSE_MAX_USEC (250 * USEC_PER_MSEC)
#define FAILURE_PAUSE_USEC (100 * USEC_PER_MSEC)
#define PAGELESS_RETRY_USEC (5 * USEC_PER_SEC) /* what a browser is told that no page could be shown to */
#define QUIET_LOOKS 8U /* per time of idleBytes */
#define QUIET_LOOK_MIN_USEC (50 * USEC_PER_MSEC)
#define QUIET_LOOK_MAX_USEC (10 * USEC_PER_SEC)

/* Descriptors that are not clients', beside those from the start: the program's own. */
#define DESCRIPTORS_OWN 17U
#define PIPES_MAX 64U
#define FLOWS_MAX 16384U /* some 40 MiB of the kernel's memory */

static void front_dial(Front *front);

static const char *const state_names[_FRONT_STATE_MAX] = {
        [FRONT_IDLE] = "idle",   [FRONT_DIALING] = "dialing",   [FRONT_WAKING] = "waking",
        [FRONT_AWAKE] = "awake", [FRONT_STOPPING] = "stopping", [FRONT_PAUSED] = "paused",
};

uint64_t front_pause_usec(unsigned n, uint64_t max_usec) {
        if (n <= 1)
                return 0;
        return MIN(FAILURE_PAUSE_USEC << MIN(n - 2, 20U), max_usec);
}

static void front_set_state(Front *front, FrontState state) {
        if (front->state != state)
                log_debug("%s: %s -> %s", front->options.service, state_names[front->state], state_names[state]);
        front->state = state;
}

/* Whoever sees the page of a wake waits for it, too. */
static bool front_is_watched(const Front *front) {
        return front->shown && (front->state == FRONT_DIALING || front->state == FRONT_WAKING);
}

static size_t front_waiting(Front *front) {
        return clients_waiting(front->clients) + udp_waiting(front->udp);
}

/* Whoever needs the stack, waiting or served. */
static size_t front_holding(Front *front) {
        return clients_holding(front->clients) + udp_count(front->udp);
}

/* Whether nobody needs the Hold, and whether nobody needs us. */
static bool front_can_linger(Front *front) {
        return front_holding(front) == 0 && !front_is_watched(front) && front->state != FRONT_IDLE &&
               front->state != FRONT_PAUSED;
}

static bool front_can_exit(Front *front) {
        return clients_total(front->clients) + udp_count(front->udp) == 0 && !front_is_watched(front) &&
               front->state != FRONT_PAUSED && front->options.exit_idle_usec != USEC_INFINITY;
}

static uint64_t front_quiet_look_usec(const Front *front) {
        return CLAMP(front->options.idle_bytes_usec / QUIET_LOOKS, QUIET_LOOK_MIN_USEC, QUIET_LOOK_MAX_USEC);
}

/* Since when is there nobody? */
void front_update(Front *front) {
        if (front_can_linger(front))
                front_note_unused(front, TIMER_LINGER, LINGER_USEC);
        else
                front_note_used(front, TIMER_LINGER);
        if (front_can_exit(front))
                front_note_unused(front, TIMER_EXIT, front->options.exit_idle_usec);
        else
                front_note_used(front, TIMER_EXIT);

        front_check_drained(front);

        if (front->options.idle_bytes_usec == 0)
                return;
        if (clients_total(front->clients) == 0)
                front_timer_stop(front, TIMER_QUIET);
        else if (!front_timer_is_on(front, TIMER_QUIET))
                front_timer_start(front, TIMER_QUIET, front_quiet_look_usec(front));
}

/* No Hold, and none wanted, until a client comes. */
static void front_rest(Front *front) {
        front->hold = hold_free(front->hold);
        udp_drop(front->udp);
        front_timer_stop(front, TIMER_DIAL);
        front_timer_stop(front, TIMER_PATIENCE);
        front->losses = front->busy = 0;
        front->shown = false;
        front_set_state(front, FRONT_IDLE);
        front_update(front);
}

/* The waiting are told. Where even that takes more memory than there is they go on waiting, for the next event. */
size_t front_answer(Front *front, const char *sentence, uint64_t retry_after_usec) {
        _cleanup_(answer_unrefp) Answer *answer = NULL;

        if (!sentence || answer_new(&answer, sentence, retry_after_usec) < 0) {
                (void) log_oom();
                return 0;
        }
        (void) answer_unref(front->answer);
        front->answer = TAKE_PTR(answer);
        return clients_answer_waiting(front->clients, front->answer);
}

/* (3) */
static void front_fail(Front *front, const char *why) {
        _cleanup_free_ char *sentence = NULL;
        uint64_t pause;
        size_t n;

        front_rest(front);
        front->failures++;
        pause = front_pause_usec(front->failures, front->options.pause_max_usec);

        if (asprintf(&sentence, "%s could not be woken: %s.", front->options.service, why) < 0)
                sentence = NULL;
        n = front_answer(front, sentence, pause);
        log_info("%s could not be woken: %s. Told %zu clients.", front->options.service, why, n);

        if (pause > 0 && front->answer) {
                front_set_state(front, FRONT_PAUSED);
                front_timer_start(front, TIMER_PAUSE, pause);
        }
        front_update(front);
}

static void front_dial_after(Front *front, uint64_t pause_usec) {
        front->hold = hold_free(front->hold);
        front_set_state(front, FRONT_DIALING);
        front_timer_start(front, TIMER_DIAL, pause_usec);
        if (!front_timer_is_on(front, TIMER_PATIENCE))
                front_timer_start(front, TIMER_PATIENCE, PATIENCE_USEC);
        front_update(front);
}

static uint64_t growing(uint64_t first_usec, unsigned n, uint64_t max_usec) {
        return MIN(first_usec << MIN(n, 16U), max_usec);
}

/* (2) */
static void front_dial_if_waiting(Front *front) {
        if (front_waiting(front) > 0)
                front_dial_after(front, growing(BUSY_PAUSE_USEC, front->busy++, BUSY_PAUSE_MAX_USEC));
        else
                front_rest(front);
}

/* (4) */
static void front_lose(Front *front) {
        bool waiting = front_waiting(front) > 0 || front_is_watched(front);

        if (!waiting && front_holding(front) == 0)
                front_rest(front);
        else if (front->losses < LOSSES_MAX)
                front_dial_after(front, growing(LOSS_PAUSE_USEC, front->losses++, LOSS_PAUSE_MAX_USEC));
        else if (waiting)
                front_fail(front, "the waker ended without a reason");
        else
                front_rest(front);
}

/* (1) */
static void front_note_stopping(Front *front) {
        _cleanup_free_ char *sentence = NULL;

        /* Those that are connecting to an awake stack go on: it drains before it stops. */
        if (front->seen_active && front->state != FRONT_AWAKE && clients_waiting(front->clients) > 0) {
                if (asprintf(&sentence, "%s is being put to sleep.", front->options.service) < 0)
                        sentence = NULL;
                (void) front_answer(front, sentence, USEC_PER_SEC);
        }
        if (front->seen_active)
                udp_drop(front->udp);
        else
                udp_hold(front->udp);
        front->seen_active = false;
        front_set_state(front, FRONT_STOPPING);
}

void front_use_backends(Front *front, Backends *backends) {
        clients_connect_waiting(front->clients, backends);
        (void) backends_free(front->backends);
        front->backends = backends;
}

static void front_note_awake(Front *front, const Status *status) {
        _cleanup_(backends_freep) Backends *backends = NULL;

        if (backends_new(&backends, status->backends) < 0) {
                (void) log_oom();
                return;
        }
        front->seen_active = true;
        front->losses = front->busy = front->failures = 0;
        front->shown = false;
        if (front->state == FRONT_AWAKE && backends_equal(backends, front->backends))
                return;

        front_set_state(front, FRONT_AWAKE);
        front_use_backends(front, TAKE_PTR(backends));
        udp_forward(front->udp, front->backends);
}

static void front_on_status(Hold *hold, const Status *status, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        front_timer_stop(front, TIMER_PATIENCE);
        switch (status->state) {
        case SERVICE_AWAKE:
                front_note_awake(front, status);
                break;
        case SERVICE_STOPPING:
        case SERVICE_ASLEEP:
                /* A waker that has not begun yet is asleep, and so is one that has ended what it was told to
                 * stop. */
                if (front->state != FRONT_STOPPING && (front->seen_active || status->state == SERVICE_STOPPING))
                        front_note_stopping(front);
                break;
        case SERVICE_FAILED:
                /* The error follows, and decides. */
                if (front->state == FRONT_STOPPING)
                        break;
                __attribute__((fallthrough));
        default:
                front->seen_active = front->seen_active || status->state == SERVICE_WAKING;
                clients_hold_waiting(front->clients);
                udp_hold(front->udp);
                front_set_state(front, FRONT_WAKING);
        }
        front_update(front);
}

static void front_on_hold_end(Hold *hold, HoldEnd end, FailureReason reason, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        switch (end) {
        case HOLD_FAILED:
                front_fail(front, failure_reason_in_words(reason));
                break;
        case HOLD_STOPPING:
                if (front->state != FRONT_STOPPING)
                        front_note_stopping(front);
                front_dial_if_waiting(front);
                break;
        default:
                if (front->state == FRONT_STOPPING)
                        front_dial_if_waiting(front);
                else
                        front_lose(front);
        }
}

static void front_dial(Front *front) {
        int r;

        front->seen_active = false;
        r = hold_new(&front->hold, front->event, front->options.control, TRIGGER_CONNECTION, front_on_status,
                     front_on_hold_end, front);
        /* A full backlog, or nothing left to connect with: both pass. */
        if (r == -EAGAIN || r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM) {
                front_dial_after(front, growing(BUSY_PAUSE_USEC, front->busy++, BUSY_PAUSE_MAX_USEC));
                return;
        }
        if (r < 0) {
                log_warning_errno(r, "Failed to reach the waker of %s at %s: %m", front->options.service,
                                  front->options.control);
                if (front->losses == 0 && front->busy == 0)
                        front_fail(front, "its waker cannot be reached");
                else
                        front_lose(front);
                return;
        }
        front_set_state(front, FRONT_WAKING);
        if (!front_timer_is_on(front, TIMER_PATIENCE))
                front_timer_start(front, TIMER_PATIENCE, PATIENCE_USEC);
}

static bool front_has_room(void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        return clients_total(front->clients) < front->clients_max;
}

static void front_on_connection(int fd, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        clients_take(front->clients, fd);
        front_update(front);
}

static void front_on_client(Client *client, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        if (client_is_ignored(client))
                front_take_ignored(front, client);
        else
                switch (front->state) {
                case FRONT_AWAKE:
                        client_connect(client, front->backends);
                        break;
                case FRONT_PAUSED:
                        client_close(client, front->answer);
                        break;
                case FRONT_IDLE:
                        client_hold(client);
                        front_dial(front);
                        break;
                default:
                        client_hold(client);
                }
        front_update(front);
}

static void front_on_shown(void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        front->shown = front->state == FRONT_DIALING || front->state == FRONT_WAKING;
}

static void front_on_not_shown(Client *client, void *userdata) {
        _cleanup_(answer_unrefp) Answer *answer = answer_ref(client_answer_due(client));
        Front *front = ASSERT_PTR(userdata);
        _cleanup_free_ char *sentence = NULL;

        if (front->state == FRONT_AWAKE) {
                client_connect(client, front->backends);
                return;
        }
        if (!answer &&
            asprintf(&sentence, "%s is being woken. Please try again in a moment.", front->options.service) < 0)
                sentence = NULL;
        if (sentence)
                (void) answer_new(&answer, sentence, PAGELESS_RETRY_USEC);
        if (answer)
                client_close(client, answer);
        else
                /* No memory for a word. */
                client_hold(client);
}

static void front_on_client_gone(void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        if (front->listeners)
                listeners_resume(front->listeners);
        front_update(front);
}

static void front_on_exhausted(int error, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        if (front->listeners)
                listeners_pause(front->listeners, error);
}

/* Bytes flow again while nothing holds the stack: as good as a new client, but that one has its connection already. */
static void front_note_quiet(Front *front) {
        clients_note_quiet(front->clients);
        if (front->state == FRONT_IDLE && clients_holding(front->clients) > 0)
                front_dial(front);
        front_update(front);
}

static bool front_admits_flow(const struct sockaddr *client, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        return front->state != FRONT_PAUSED && !front->draining &&
               !rules_match_address(&front->options.rules, client);
}

static void front_on_flows(Udp *udp, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        if (front->state == FRONT_IDLE && udp_count(udp) > 0)
                front_dial(front);
        front_update(front);
}

static int front_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        if (source == front->timers[TIMER_DIAL])
                front_dial(front);
        else if (source == front->timers[TIMER_PATIENCE])
                front_fail(front, "its waker does not answer");
        else if (source == front->timers[TIMER_PAUSE])
                front_rest(front);
        else if (source == front->timers[TIMER_QUIET])
                front_note_quiet(front);
        else if (source == front->timers[TIMER_LINGER]) {
                if (front_was_unused(front, TIMER_LINGER, LINGER_USEC))
                        front_rest(front);
        } else if (source == front->timers[TIMER_DRAIN])
                front_end_drain(front);
        else if (front_was_unused(front, TIMER_EXIT, front->options.exit_idle_usec))
                front_exit(front);
        return 0;
}

/* Accepting stops before descriptors run out, so that each accepted client can have its backend, and the Hold its
 * own. */
static unsigned front_set_limits(Front *front, int listener, bool has_udp) {
        uint64_t all = front->options.descriptors_max;
        unsigned pipes = (unsigned) MIN(all / 64, (uint64_t) PIPES_MAX);
        _cleanup_close_ int next = fcntl(listener, F_DUPFD_CLOEXEC, 0); /* as many as there are already */
        uint64_t own = DESCRIPTORS_OWN + (uint64_t) MAX(next, 0) + 2 * (uint64_t) pipes;

        front->flows_max = has_udp ? (size_t) MIN(all / 4, (uint64_t) FLOWS_MAX) : 0;
        own += front->flows_max;
        front->clients_max = all > own + 2 ? (size_t) ((all - own) / 2) : 1;
        return pipes;
}

static bool are_all_tcp(int first, size_t n) {
        for (int fd = first; fd < first + (int) n; fd++) {
                int protocol = 0;

                (void) getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &(socklen_t){ sizeof(protocol) });
                if (protocol != IPPROTO_TCP)
                        return false;
        }
        return true;
}

int front_run(Front *front) {
        return reactor_run(front->reactor);
}

int front_new(Front **ret, sd_event *event, const FrontOptions *options, Store *store, int first, size_t n) {
        _cleanup_(front_freep) Front *front = NULL;
        unsigned pipes;
        int r;

        assert(ret);
        assert(event);
        assert(options);

        front = malloc(sizeof(*front));
        if (!front)
                return -ENOMEM;
        *front = (Front){ .event = sd_event_ref(event), .options = *options };
        pipes = front_set_limits(front, first, udp_count_sockets(first, n) > 0);

        r = front_make_timers(front, front_on_timer);
        if (r >= 0)
                r = reactor_new(&front->reactor, event);
        if (r >= 0)
                r = forwarder_new(&front->forwarder, front->reactor, store, pipes, are_all_tcp(first, n));
        if (r >= 0)
                r = clients_new(&front->clients, event, front->reactor, front->forwarder,
                                &(ClientsOptions){
                                                .store = store,
                                                .service = options->service,
                                                .page_socket = options->page_socket,
                                                .page = options->page,
                                                .proxy_protocol = options->proxy_protocol,
                                                .rules = &front->options.rules,
                                                .on_client = front_on_client,
                                                .on_gone = front_on_client_gone,
                                                .on_shown = front_on_shown,
                                                .on_not_shown = front_on_not_shown,
                                                .on_exhausted = front_on_exhausted,
                                                .userdata = front,
                                });
        if (r >= 0)
                r = listeners_new(&front->listeners, event, front->reactor, first, n, front->options.service,
                                  front_has_room, front_on_connection, front);
        if (r >= 0)
                r = udp_new(&front->udp, event, front->reactor, first, n, front->flows_max,
                            front->options.udp_timeout_usec, front_admits_flow, front_on_flows, front);
        if (r < 0)
                return r;

        clients_resume(front->clients);
        /* The waker has lost a Hold with the program before. But a stack that was put to sleep is not woken by who is
         * only connected. */
        if (front_waiting(front) > 0 || (front_holding(front) > 0 && !front_is_asleep(front)))
                front_dial(front);
        front_update(front);
        *ret = TAKE_PTR(front);
        return 0;
}

Front *front_free(Front *front) {
        if (!front)
                return NULL;

        listeners_free(front->listeners);
        udp_free(front->udp);
        hold_free(front->hold);
        clients_free(front->clients);
        forwarder_free(front->forwarder);
        reactor_free(front->reactor);
        backends_free(front->backends);
        answer_unref(front->answer);
        front_free_timers(front);
        sd_event_unref(front->event);
        return mfree(front);
}
