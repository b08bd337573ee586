#include <stdio.h>

#include "wake/waker-internal.h"

/* Waker, the way down: a failed wake, idleness, an administrator. All end in the same stop, which takes the port back first and then
 * stops each member when those that need it have stopped. Only idleness can be called off, by a client that came in between. */

#define DRAIN_LOOK_PAUSE (20 * USEC_PER_MSEC)

static void waker_begin_stopping(Waker *waker);

void waker_fail(Waker *waker, FailureReason reason, const char *format, ...) {
        va_list arguments;

        waker->reason = reason;
        free(waker->error);
        va_start(arguments, format);
        if (vasprintf(&waker->error, format, arguments) < 0)
                waker->error = NULL;
        va_end(arguments);

        waker_tell_begin(waker);
        record_service(LOG_ERR, WAKECHAIN_MESSAGE_FAILED, SERVICE_FAILED, reason, "%s failed to wake: %s",
                       waker->service->name, strempty(waker->error));
        waker->cause = SLEEP_FAILED;
        waker_set_state(waker, SERVICE_FAILED);
        /* Nobody needs to wait for the clearing up. Who asks from now on waits in the backlog, for the next process. */
        if (waker->control)
                control_fail(waker->control, reason, strempty(waker->error));
        waker_begin_stopping(waker);
}

static void waker_end(Waker *waker) {
        if (waker->phase == WAKER_ENDED)
                return;
        waker->phase = WAKER_ENDED;

        if (waker->cause == SLEEP_FAILED)
                waker_publish(waker);
        else {
                record_service(LOG_INFO, WAKECHAIN_MESSAGE_ASLEEP, SERVICE_ASLEEP, FAILURE_NONE, "%s asleep",
                               waker->service->name);
                waker_set_state(waker, SERVICE_ASLEEP);
        }
        (void) sd_event_exit(waker->event, waker->cause == SLEEP_FAILED ? EXIT_FAILURE : EXIT_SUCCESS);
}

static const char *const cause_texts[] = {
        [SLEEP_IDLE] = "nobody used it",
        [SLEEP_ASKED] = "asked to",
        [SLEEP_ASKED_ALL] = "asked to, with all that runs",
        [SLEEP_LOST] = "what it needs was stopped by somebody else",
        [SLEEP_FAILED] = "its wake failed",
};

static void waker_tell_stopping(Waker *waker) {
        if (waker->state == SERVICE_STOPPING)
                return;
        record_service(LOG_INFO, WAKECHAIN_MESSAGE_STOPPING, SERVICE_STOPPING, FAILURE_NONE,
                       "%s goes to sleep: %s", waker->service->name, cause_texts[waker->cause]);
        waker_set_state(waker, SERVICE_STOPPING);
}

static StopMode waker_stop_mode(const Waker *waker) {
        return waker->cause == SLEEP_FAILED      ? STOP_ROLLBACK
               : waker->cause == SLEEP_ASKED_ALL ? STOP_ALL
                                                 : STOP_SLEEP;
}

/* Nobody that needs it is still there. */
static bool waker_may_stop(const Waker *waker, size_t index) {
        for (size_t i = 0; i < waker->plan->n_members; i++) {
                const PlanMember *planned = &waker->plan->members[i];

                for (size_t j = 0; j < planned->n_needs; j++)
                        if (planned->needs[j].member == index &&
                            member_phase(waker->members[planned->index]) != MEMBER_STOPPED)
                                return false;
        }
        return true;
}

/* Returns whether there is nothing left. */
static bool waker_stop_members(Waker *waker) {
        StopMode mode = waker_stop_mode(waker);
        uint64_t budget_usec = 0;
        bool done = true;

        for (size_t i = waker->plan->n_members; i > 0; i--) {
                size_t index = waker->plan->members[i - 1].index;
                Member *member = waker->members[index];

                if (member_phase(member) < MEMBER_STOPPING && waker_may_stop(waker, index)) {
                        if (member_would_stop(member, mode))
                                budget_usec = MAX(budget_usec, member_stop_budget(member));
                        member_stop(member, mode);
                }
                done = done && member_phase(member) == MEMBER_STOPPED;
        }
        /* One may be allowed more time to stop than the unit was given for all. */
        if (budget_usec > 0)
                notify_extend_timeout(usec_add(budget_usec, 5 * USEC_PER_SEC));
        return done;
}

void waker_go_on_stopping(Waker *waker) {
        if (waker_stop_members(waker))
                waker_end(waker);
}

static void waker_begin_stopping_containers(Waker *waker) {
        waker->phase = WAKER_STOPPING;
        if (waker->cause != SLEEP_FAILED) {
                waker_tell_stopping(waker);
                /* systemd takes an end before readiness for a failure, which being put to sleep in the middle of a wake is not. */
                if (!waker->was_ready)
                        notify_ready();
                notify_stopping();
        }
        if (waker->control)
                control_pause(waker->control);
        waker_changed(waker);
}

/* Connections among the stack's own containers are no clients. */
static size_t waker_own_addresses(Waker *waker, AddressPrefix prefixes[static DOOR_OWN_MAX]) {
        size_t n = 0;

        for (size_t i = 0; i < waker->service->n_dependencies; i++) {
                const ContainerInfo *info = waker_infos(waker)[i];

                for (size_t j = 0; info && j < info->n_networks; j++) {
                        const ContainerNetwork *network = &info->networks[j];

                        if (network->ipv4 && n < DOOR_OWN_MAX &&
                            address_prefix_parse(&prefixes[n], network->ipv4) >= 0)
                                n++;
                        if (network->ipv6 && n < DOOR_OWN_MAX &&
                            address_prefix_parse(&prefixes[n], network->ipv6) >= 0)
                                n++;
                }
        }
        return n;
}

void waker_open_door(Waker *waker) {
        AddressPrefix own[DOOR_OWN_MAX];

        door_open(waker->door, own, waker_own_addresses(waker, own));
}

/* Draining: a connection that is under way when the stack is told to sleep is let finish. New ones go to the front already, or, in proxy
 * mode, are held there. */

static bool waker_is_quiet(Waker *waker) {
        const ContainerInfo *info = waker_infos(waker)[waker->backend.member];
        AddressPrefix own[DOOR_OWN_MAX];
        SocketTable table;

        return !info || info->pid <= 0 ||
               socket_table_read(&table, info->pid, waker->backend.port, own, waker_own_addresses(waker, own)) <
                               0 ||
               table.n_established == 0;
}

static int waker_on_drain(sd_event_source *source, uint64_t usec, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        uint64_t now_usec = time_now(CLOCK_MONOTONIC);
        int r;

        /* Twice: docker-proxy accepts a connection before it makes its own to the container. */
        waker->quiet_looks = waker_is_quiet(waker) ? waker->quiet_looks + 1 : 0;
        if (waker->quiet_looks < 2 && now_usec < waker->drain_until_usec) {
                r = sd_event_source_set_time(source, now_usec + DRAIN_LOOK_PAUSE);
                if (r >= 0)
                        r = sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
                if (r >= 0)
                        return 0;
        }
        waker->drain = sd_event_source_disable_unref(waker->drain);
        waker_begin_stopping_containers(waker);
        return 0;
}

static void waker_begin_draining(Waker *waker) {
        uint64_t timeout_usec = waker->service->drain_timeout_usec;
        int r;

        if ((waker->cause != SLEEP_ASKED && waker->cause != SLEEP_ASKED_ALL) || !waker->was_ready ||
            timeout_usec == 0 || waker->backend.member == BACKEND_NO_MEMBER) {
                waker_begin_stopping_containers(waker);
                return;
        }

        waker->phase = WAKER_DRAINING;
        waker->drain_until_usec = usec_add(time_now(CLOCK_MONOTONIC), timeout_usec);
        notify_extend_timeout(usec_add(timeout_usec, 5 * USEC_PER_SEC));
        r = sd_event_add_time_relative(waker->event, &waker->drain, CLOCK_MONOTONIC, DRAIN_LOOK_PAUSE, 1,
                                       waker_on_drain, waker);
        if (r < 0)
                waker_begin_stopping_containers(waker);
}

/* The port comes back first: no connection shall meet a container that is about to stop. */
static void waker_begin_stopping(Waker *waker) {
        waker->deadline = sd_event_source_disable_unref(waker->deadline);
        waker->reach_probe = probe_free(waker->reach_probe);
        waker->idle = idle_free(waker->idle);

        if (waker->cause != SLEEP_IDLE && waker->control)
                control_pause(waker->control);
        if (!waker->door) {
                waker_begin_draining(waker);
                return;
        }
        waker->phase = WAKER_CLOSING;
        waker->door_moved = false;
        door_close(waker->door);
}

void waker_sleep(Waker *waker, SleepCause cause) {
        if (waker->phase >= WAKER_CLOSING) {
                /* Under way already; but now it is not to be called off any more. */
                if (waker->cause == SLEEP_IDLE || (waker->cause == SLEEP_ASKED && cause == SLEEP_ASKED_ALL))
                        waker->cause = cause;
                return;
        }
        if (cause == SLEEP_ASKED_ALL && waker->phase == WAKER_PREPARING) {
                waker->sleep_all_later = true;
                return;
        }

        waker->cause = cause;
        /* Clients who came after somebody had stopped a container did not ask for that: they are served by the next wake. */
        if (cause == SLEEP_LOST && waker->control)
                control_drop(waker->control);
        /* While it may still be called off, nobody is told. */
        if (cause != SLEEP_IDLE)
                waker_tell_stopping(waker);
        waker_begin_stopping(waker);
}

/* Idle */

bool waker_is_used(void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        const ContainerInfo *publisher;
        AddressPrefix own[DOOR_OWN_MAX];

        if (waker->control && control_holders(waker->control) > 0)
                return true;
        if (!waker->door || waker->backend.publisher == BACKEND_NO_MEMBER)
                return false;

        publisher = container_info(waker->members[waker->backend.publisher]);
        return door_look(waker->door, publisher->pid, waker->backend.publisher_port, own,
                         waker_own_addresses(waker, own));
}

void waker_on_idle(Idle *idle, void *userdata) {
        waker_sleep(ASSERT_PTR(userdata), SLEEP_IDLE);
}

/* The port is ours again. A client that came between the last look and now has a connection to the container: it wins. */
static void waker_decide_sleep(Waker *waker) {
        if (waker->cause == SLEEP_IDLE && waker->door_error < 0) {
                /* With the port still open, clients would meet a stopped container. The next timeout tries again. */
                waker_begin_awake(waker);
                return;
        }
        if (waker->cause == SLEEP_IDLE && waker_is_used(waker)) {
                log_debug("A client came in between, %s stays awake.", waker->service->name);
                waker->phase = WAKER_OPENING;
                waker->door_moved = false;
                waker_open_door(waker);
                return;
        }
        waker_begin_draining(waker);
}

void waker_go_on_closing(Waker *waker) {
        if (waker->door_moved)
                waker_decide_sleep(waker);
}
