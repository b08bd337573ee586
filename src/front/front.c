#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "control/status-file.h"
#include "control/waker-call.h"
#include "front/acceptor.h"
#include "front/client.h"
#include "front/front.h"
#include "front/udp/udp-ways.h"
#include "model/wake-pause.h"
#include "util/fd.h"
#include "util/log.h"

/* Front: a state machine between the clients and the one Hold on the waker. "Waiting" clients are those held or not
 * yet connected to a backend; forwarded ones are never touched by anything below.
 *
 *           | new client | waking       | awake              | stopping     | WakeFailed | Stopping      | lost
 *  ---------+------------+--------------+--------------------+--------------+------------+---------------+-----
 *  IDLE     | hold; dial |              |                    |              |            |               |
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
 *  (2) Those who wait (they came after the decision) have it dialed again. Nobody waits: IDLE, so that a stop sticks.
 *  (3) The waiting get the answer. After a first failure the next client tries again, unless somebody has seen the
 *      page; after more of them new clients get the answer at once for a while: PAUSED, see wake-pause.h.
 *  (4) A waker tells before it goes, so this one has crashed: dial again while there is any client, a few times;
 *      then (3), or IDLE when nobody waits. If it has written that its wake failed, (3) at once.
 *
 * Flows of UDP are clients, too, and wait if they have datagrams that wait. There is no answer for them: where
 * others get one, they end. When a stack stops, or rests, all of them end, also those that were forwarded: whoever
 * goes on sending is a new client then.
 *
 * Dialing fails: (3) for a first try, (4) for a further one. No word from the waker for long: (3). Awake
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
 * the web service does not take a client, the front answers, or, when the stack is awake meanwhile, connects it.
 *
 * Draining: nobody new is taken, and no new flow of UDP; who is here has drain_usec. Hand-over: the next program goes on
 * with everybody. */

#define LINGER_USEC USEC_PER_SEC
#define LOSSES_MAX 5U
#define PAGELESS_RETRY_USEC (5 * USEC_PER_SEC) /* what a browser is told that no page could be shown to */
#define IGNORED_RETRY_USEC USEC_PER_MINUTE
#define TELL_USEC (500 * USEC_PER_MSEC) /* the last word to those who wait when the time to drain is up */
#define TIMER_ACCURACY_USEC USEC_PER_MSEC
#define QUIET_LOOKS 8U /* per time of idleBytes */
#define QUIET_LOOK_MIN_USEC (50 * USEC_PER_MSEC)
#define QUIET_LOOK_MAX_USEC (10 * USEC_PER_SEC)

/* Descriptors that are not clients', beside those from the start: the program's own. */
#define DESCRIPTORS_OWN 17U
#define PIPES_MAX 64U
#define FLOWS_MAX 16384U /* some 40 MiB of the kernel's memory */

typedef enum FrontState {
        FRONT_IDLE,
        FRONT_WAKING, /* there is a Hold, or it is dialed, in this and the next two */
        FRONT_AWAKE,
        FRONT_STOPPING,
        FRONT_PAUSED,
        _FRONT_STATE_MAX,
        _FRONT_STATE_INVALID = -EINVAL,
} FrontState;

typedef enum FrontTimer {
        TIMER_LINGER,
        TIMER_PAUSE,
        TIMER_QUIET,
        TIMER_EXIT,
        TIMER_DRAIN,
        _FRONT_TIMER_MAX,
} FrontTimer;

struct Front {
        FrontOptions options;
        size_t clients_max, flows_max;
        Reactor *reactor;
        Clients *clients;
        Acceptor *acceptor;
        UdpWays *udp;
        FrontState state;
        WakerCall *hold;
        bool draining, drained;
        bool shown; /* somebody sees the page of the wake under way */
        unsigned failures; /* in a row */
        Ways *ways; /* the last ones; connecting clients borrow their backends */
        Answer *answer; /* of the last failure */
        sd_event_source *timers[_FRONT_TIMER_MAX];
        uint64_t unused_usec[_FRONT_TIMER_MAX]; /* since when, for the two that wait for that; or USEC_INFINITY */
};

static const char *const state_names[_FRONT_STATE_MAX] = {
        [FRONT_IDLE] = "idle",         [FRONT_WAKING] = "waking", [FRONT_AWAKE] = "awake",
        [FRONT_STOPPING] = "stopping", [FRONT_PAUSED] = "paused",
};

static void front_set_state(Front *front, FrontState state) {
        if (front->state != state)
                log_debug("%s: %s -> %s", front->options.service, state_names[front->state], state_names[state]);
        front->state = state;
}

/* Timers */

static void front_start_timer(Front *front, FrontTimer timer, uint64_t span_usec) {
        reactor_start_timer(front->reactor, front->timers[timer], span_usec);
}

/* Two of them come when something has been unused for a while: they run on when it is used again, and look then, for to
 * set them for each of many short connections would be system calls. */
static uint64_t front_span_usec(const Front *front, FrontTimer timer) {
        return timer == TIMER_EXIT ? front->options.exit_idle_usec : LINGER_USEC;
}

static void front_note_use(Front *front, FrontTimer timer, bool used) {
        if (used)
                front->unused_usec[timer] = USEC_INFINITY;
        else if (front->unused_usec[timer] == USEC_INFINITY) {
                front->unused_usec[timer] = time_now(CLOCK_MONOTONIC);
                if (!alarm_is_on(front->timers[timer]))
                        front_start_timer(front, timer, front_span_usec(front, timer));
        }
}

/* The timer has come: has it been unused all that time? Otherwise it comes again. */
static bool front_was_unused(Front *front, FrontTimer timer) {
        uint64_t unused_usec, span_usec = front_span_usec(front, timer);

        if (front->unused_usec[timer] == USEC_INFINITY)
                return false;
        unused_usec = usec_sub(time_now(CLOCK_MONOTONIC), front->unused_usec[timer]);
        if (unused_usec < span_usec)
                front_start_timer(front, timer, span_usec - unused_usec);
        return unused_usec >= span_usec;
}

/* Who is here, and who needs what */

/* Whoever sees the page of a wake waits for it, too. */
static bool front_is_watched(const Front *front) {
        return front->shown && front->state == FRONT_WAKING;
}

static size_t front_waiting(Front *front) {
        return clients_waiting(front->clients) + udp_ways_waiting(front->udp);
}

/* Whoever needs the stack, waiting or served. */
static size_t front_holding(Front *front) {
        return clients_holding(front->clients) + udp_ways_count(front->udp);
}

static size_t front_left(Front *front) {
        return clients_total(front->clients) + udp_ways_count(front->udp);
}

static void front_exit(Front *front) {
        reactor_wake_event(front->reactor);
        (void) sd_notify(false, "STOPPING=1");
        (void) sd_event_exit(reactor_event(front->reactor), EXIT_SUCCESS);
}

/* The clients, or the state, have changed: since when does nobody need the Hold, and since when does nobody need us? */
static void front_update(Front *front) {
        front_note_use(front, TIMER_LINGER,
                       front_holding(front) > 0 || front_is_watched(front) || front->state == FRONT_IDLE ||
                                       front->state == FRONT_PAUSED);
        front_note_use(front, TIMER_EXIT,
                       front_left(front) > 0 || front_is_watched(front) || front->state == FRONT_PAUSED ||
                                       front->options.exit_idle_usec == USEC_INFINITY);

        if (front->draining && front_left(front) == 0)
                front_exit(front);

        if (front->options.idle_bytes_usec == 0)
                return;
        if (clients_total(front->clients) == 0)
                alarm_stop(front->timers[TIMER_QUIET]);
        else if (!alarm_is_on(front->timers[TIMER_QUIET]))
                front_start_timer(front, TIMER_QUIET,
                                  CLAMP(front->options.idle_bytes_usec / QUIET_LOOKS, QUIET_LOOK_MIN_USEC,
                                        QUIET_LOOK_MAX_USEC));
}

/* The wake, and how it ends */

/* No Hold, and none wanted, until a client comes. */
static void front_stand_down(Front *front) {
        waker_call_stop(front->hold);
        udp_ways_drop(front->udp);
        front->shown = false;
        front_set_state(front, FRONT_IDLE);
        front_update(front);
}

/* The waiting are told this, which is taken. Returns how many. Where even that takes more memory than there is (NULL)
 * they go on waiting, for the next event. */
static size_t front_tell(Front *front, Answer *answer, bool connecting) {
        if (!answer) {
                (void) log_oom();
                return 0;
        }
        (void) answer_unref(front->answer);
        front->answer = answer;
        return clients_answer_waiting(front->clients, answer, connecting);
}

/* (3) */
static void front_fail(Front *front, const char *why) {
        uint64_t least = front->shown ? WAKE_PAUSE_SHOWN_USEC : 0, pause;
        size_t n;

        front_stand_down(front);
        front->failures++;
        pause = wake_pause_usec(front->failures, front->options.pause_max_usec);
        pause = MIN(MAX(pause, least), front->options.pause_max_usec);
        clients_set_pause(front->clients, pause);

        n = front_tell(front, answer_new(pause, "%s could not be woken: %s.", front->options.service, why),
                       /* connecting= */ true);
        log_info("%s could not be woken: %s. Told %zu clients.", front->options.service, why, n);

        if (pause > 0 && front->answer) {
                front_set_state(front, FRONT_PAUSED);
                front_start_timer(front, TIMER_PAUSE, pause);
        }
        front_update(front);
}

/* The Hold dials again, and everybody waits for that. */
static void front_await_waker(Front *front) {
        front_set_state(front, FRONT_WAKING);
        front_update(front);
}

/* PID 1 then starts nobody who could say so, and closes the control socket. */
static bool front_waker_is_masked(const Front *front) {
        static const char *const folders[] = { "/etc/systemd/system", "/run/systemd/system" };
        char path[SERVICE_NAME_MAX + 64], target[sizeof("/dev/null")];

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                (void) snprintf(path, sizeof(path), "%s/wake@%s.service", folders[i], front->options.service);
                if (readlink(path, target, sizeof(target)) == (ssize_t) strlen("/dev/null") &&
                    strncmp(target, "/dev/null", strlen("/dev/null")) == 0)
                        return true;
        }
        return false;
}

/* Nobody was found who could say more. */
static void front_fail_unreached(Front *front, const char *otherwise) {
        char why[SERVICE_NAME_MAX + 96];

        (void) snprintf(why, sizeof(why),
                        "its waker is masked; 'systemctl unmask wake@%s.service' lets it wake again",
                        front->options.service);
        front_fail(front, front_waker_is_masked(front) ? why : otherwise);
}

/* What the waker has written before it went; NULL: no failure. */
static const char *front_written_reason(const Front *front) {
        _cleanup_(status_freep) Status *status = NULL;

        if (status_file_read_at(&status, front->options.status) < 0 || status->state != SERVICE_FAILED)
                return NULL;
        return failure_reason_in_words(status->reason);
}

/* (4) */
static void front_lose(Front *front, const CallEnding *ending) {
        bool waiting = front_waiting(front) > 0 || front_is_watched(front);
        const char *reason = waiting ? front_written_reason(front) : NULL;

        /* This Hold has seen the wake that failed: its clients need not start another one to learn why. */
        if (reason && waker_call_was_active(front->hold))
                front_fail(front, reason);
        else if (!waiting && front_holding(front) == 0)
                front_stand_down(front);
        else if (ending->n_losses <= LOSSES_MAX)
                front_await_waker(front);
        else if (waiting)
                front_fail_unreached(front, reason ?: "the waker ended without a reason");
        else
                front_stand_down(front);
}

/* (1) */
static void front_note_stopping(Front *front) {
        bool was_active = waker_call_was_active(front->hold);

        /* Those that are connecting to an awake stack go on: it drains before it stops. */
        if (was_active && clients_waiting(front->clients) > 0)
                (void) front_tell(front,
                                  answer_new(USEC_PER_SEC, "%s is being put to sleep.", front->options.service),
                                  /* connecting= */ front->state != FRONT_AWAKE);
        if (was_active)
                udp_ways_drop(front->udp);
        else
                udp_ways_hold(front->udp);
        front_set_state(front, FRONT_STOPPING);
}

/* Whoever waits is connected by these, which are taken. */
static void front_use_ways(Front *front, Ways *ways) {
        clients_connect_waiting(front->clients, ways);
        (void) ways_free(front->ways);
        front->ways = ways;
}

static void front_note_awake(Front *front, const Status *status) {
        _cleanup_(ways_freep) Ways *ways = NULL;

        if (ways_new(&ways, status) < 0) {
                (void) log_oom();
                return;
        }
        front->failures = 0;
        front->shown = false;
        if (front->state == FRONT_AWAKE && ways_equal(ways, front->ways))
                return;

        front_set_state(front, FRONT_AWAKE);
        front_use_ways(front, TAKE_PTR(ways));
        udp_ways_forward(front->udp, front->ways);
}

static void front_on_status(WakerCall *hold, const Status *status, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        switch (status->state) {
        case SERVICE_AWAKE:
                front_note_awake(front, status);
                break;
        case SERVICE_STOPPING:
        case SERVICE_ASLEEP:
                /* A waker that has not begun yet is asleep, and so is one that has ended what it was told to
                 * stop. */
                if (front->state != FRONT_STOPPING &&
                    (waker_call_was_active(hold) || status->state == SERVICE_STOPPING))
                        front_note_stopping(front);
                break;
        case SERVICE_FAILED:
                /* The error follows, and decides. */
                if (front->state == FRONT_STOPPING)
                        break;
                __attribute__((fallthrough));
        default:
                clients_hold_waiting(front->clients);
                udp_ways_hold(front->udp);
                front_set_state(front, FRONT_WAKING);
        }
        front_update(front);
}

static void front_on_hold_end(WakerCall *hold, const CallEnding *ending, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        if (ending->error < 0 && ending->end != CALL_BUSY)
                log_warning_errno(ending->error, "Failed to reach the waker of %s at %s: %m",
                                  front->options.service, front->options.control);
        switch (ending->end) {
        case CALL_FAILED:
                front_fail(front, failure_reason_in_words(ending->reason));
                break;
        case CALL_SILENT:
                front_fail(front, "its waker does not answer");
                break;
        case CALL_STOPPING:
                if (front->state != FRONT_STOPPING)
                        front_note_stopping(front);
                if (front_waiting(front) > 0)
                        front_await_waker(front);
                else
                        front_stand_down(front);
                break;
        case CALL_BUSY:
                front_await_waker(front);
                break;
        default:
                if (ending->error < 0 && ending->n_tries == 1)
                        front_fail_unreached(front, "its waker cannot be reached");
                else
                        front_lose(front, ending);
        }
}

static void front_dial(Front *front) {
        reactor_wake_event(front->reactor);
        front_set_state(front, FRONT_WAKING);
        (void) waker_call_hold(front->hold, TRIGGER_CONNECTION);
}

/* Clients */

static bool front_has_room(void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        return clients_total(front->clients) < front->clients_max;
}

static void front_on_connection(int fd, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        /* front_on_client() follows, at once or when its first bytes have been looked at. */
        front_note_use(front, TIMER_EXIT, true);
        clients_take(front->clients, fd);
}

/* By its status file: nobody has woken it, or it is on its way to sleep. */
static bool front_is_asleep(const Front *front) {
        _cleanup_(status_freep) Status *status = NULL;

        return status_file_read_at(&status, front->options.status) < 0 ||
               (status->state != SERVICE_AWAKE && status->state != SERVICE_WAKING);
}

/* The stack may be awake though we do not hold it, which the waker does for a while after the last client. Only an
 * ignored client asks: anybody else dials. */
static bool front_find_awake(Front *front) {
        _cleanup_(status_freep) Status *status = NULL;
        _cleanup_(ways_freep) Ways *ways = NULL;

        if (front->state == FRONT_AWAKE)
                return true;
        if (status_file_read_at(&status, front->options.status) < 0 || status->state != SERVICE_AWAKE ||
            ways_new(&ways, status) < 0)
                return false;
        if (!ways_equal(ways, front->ways))
                front_use_ways(front, TAKE_PTR(ways));
        return true;
}

/* A client that the rules ignore: connected if the stack is awake, and turned away otherwise. */
static void front_take_ignored(Front *front, Client *client) {
        _cleanup_(answer_unrefp) Answer *answer = NULL;

        if (front_find_awake(front)) {
                client_connect(client, front->ways);
                return;
        }
        answer = front->options.ignored_pass
                                 ? answer_new_asleep("%s is not awake.", front->options.service)
                                 : answer_new(IGNORED_RETRY_USEC, "%s is not awake.", front->options.service);
        client_dismiss(client, answer);
}

static void front_on_client(Client *client, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        if (client_is_ignored(client))
                front_take_ignored(front, client);
        else
                switch (front->state) {
                case FRONT_AWAKE:
                        client_connect(client, front->ways);
                        break;
                case FRONT_PAUSED:
                        client_dismiss(client, front->answer);
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

        front->shown = front->state == FRONT_WAKING;
}

static void front_on_not_shown(Client *client, void *userdata) {
        _cleanup_(answer_unrefp) Answer *answer = answer_ref(client_answer_due(client));
        Front *front = ASSERT_PTR(userdata);

        if (front->state == FRONT_AWAKE) {
                client_connect(client, front->ways);
                return;
        }
        if (!answer)
                answer = answer_new(PAGELESS_RETRY_USEC, "%s is being woken. Please try again in a moment.",
                                    front->options.service);
        if (answer)
                client_dismiss(client, answer);
        else
                /* No memory for a word. */
                client_hold(client);
}

static void front_on_client_gone(void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        if (front->acceptor)
                acceptor_resume(front->acceptor);
        front_update(front);
}

static void front_on_exhausted(int error, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        if (front->acceptor)
                acceptor_pause(front->acceptor, error);
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

/* The end */

/* The time to drain, or that of the last word, is up. Those who still wait are told; then it ends in any case. */
static void front_end_drain(Front *front) {
        if (front->drained) {
                front_exit(front);
                return;
        }
        front->drained = true;
        front_start_timer(front, TIMER_DRAIN, TELL_USEC);
        if (front_left(front) > 0)
                log_info("Stopping in front of %s: cutting off %zu clients.", front->options.service,
                         front_left(front));
        if (clients_waiting(front->clients) == 0 ||
            front_tell(front, answer_new(USEC_PER_SEC, "%s is being stopped.", front->options.service),
                       /* connecting= */ true) == 0)
                front_exit(front);
}

void front_drain(Front *front) {
        if (front->draining)
                return;
        front->draining = true;
        front->acceptor = acceptor_close(front->acceptor);
        udp_ways_drain(front->udp);
        (void) sd_notify(false, "STOPPING=1");
        if (front_left(front) == 0)
                front_exit(front);
        else if (front->options.drain_usec == 0)
                front_end_drain(front);
        else
                front_start_timer(front, TIMER_DRAIN, front->options.drain_usec);
}

void front_hand_over(Front *front) {
        clients_hand_over(front->clients);
}

static void front_on_linger(Front *front) {
        if (front_was_unused(front, TIMER_LINGER))
                front_stand_down(front);
}

static void front_on_exit_idle(Front *front) {
        if (front_was_unused(front, TIMER_EXIT))
                front_exit(front);
}

static void (*const timer_handlers[_FRONT_TIMER_MAX])(Front *front) = {

        [TIMER_LINGER] = front_on_linger,  [TIMER_PAUSE] = front_stand_down, [TIMER_QUIET] = front_note_quiet,
        [TIMER_EXIT] = front_on_exit_idle, [TIMER_DRAIN] = front_end_drain,
};

static int front_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Front *front = ASSERT_PTR(userdata);

        for (FrontTimer timer = 0; timer < _FRONT_TIMER_MAX; timer++)
                if (front->timers[timer] == source) {
                        timer_handlers[timer](front);
                        break;
                }
        return 0;
}

/* The beginning */

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

int front_new(Front **ret, sd_event *event, const FrontOptions *options, Keep *keep, int first, size_t n) {
        _cleanup_(front_freep) Front *front = NULL;
        unsigned pipes;
        int r;

        assert(ret);
        assert(event);
        assert(options);

        front = malloc(sizeof(*front));
        if (!front)
                return -ENOMEM;
        *front = (Front){ .options = *options };
        pipes = front_set_limits(front, first, udp_count_sockets(first, n) > 0);

        r = reactor_new(&front->reactor, event);
        for (FrontTimer timer = 0; timer < _FRONT_TIMER_MAX && r >= 0; timer++) {
                front->unused_usec[timer] = USEC_INFINITY;
                r = reactor_add_timer(front->reactor, &front->timers[timer], TIMER_ACCURACY_USEC, front_on_timer,
                                      front);
        }
        if (r >= 0)
                r = waker_call_new(&front->hold, event, options->control, front_on_status, front_on_hold_end,
                                   front);
        if (r >= 0)
                r = clients_new(&front->clients, front->reactor,
                                &(ClientsOptions){
                                                .keep = keep,
                                                .pipes_max = pipes,
                                                .all_tcp = are_all_tcp(first, n),
                                                .service = options->service,
                                                .page_socket = options->page_socket,
                                                .page = options->page,
                                                .proxy_protocol = options->proxy_protocol,
                                                .ports = &front->options.ports,
                                                .rules = &front->options.rules,
                                                .on_client = front_on_client,
                                                .on_gone = front_on_client_gone,
                                                .on_shown = front_on_shown,
                                                .on_not_shown = front_on_not_shown,
                                                .on_exhausted = front_on_exhausted,
                                                .userdata = front,
                                });
        if (r >= 0)
                r = acceptor_new(&front->acceptor, front->reactor, first, n, front->options.service,
                                 front_has_room, front_on_connection, front);
        if (r >= 0)
                r = udp_ways_new(&front->udp, front->reactor, first, n, &front->options.ports, front->flows_max,
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

int front_run(Front *front) {
        return reactor_run(front->reactor);
}

Front *front_free(Front *front) {
        if (!front)
                return NULL;

        acceptor_free(front->acceptor);
        udp_ways_free(front->udp);
        waker_call_free(front->hold);
        clients_free(front->clients);
        for (FrontTimer timer = 0; timer < _FRONT_TIMER_MAX; timer++)
                sd_event_source_disable_unref(front->timers[timer]);
        reactor_free(front->reactor);
        ways_free(front->ways);
        answer_unref(front->answer);
        return mfree(front);
}
