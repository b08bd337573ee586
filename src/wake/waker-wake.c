#include "config/config.h"
#include "wake/attachments.h"
#include "wake/waker-internal.h"

/* Waker, the way up: prepared, step by step, the backend, the port. */

/* The configuration that this wake was made with is a good one: kept for the generator, should the next one be broken. */
static int waker_on_remember(sd_event_source *source, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        int r;

        r = config_remember(waker->options.root);
        if (r < 0)
                log_debug_errno(r, "Failed to keep the configuration as the last good one, ignoring: %m");
        return 0;
}

/* When there is nothing else to do. */
static void waker_remember_later(Waker *waker) {
        int r;

        if (waker->remember)
                return;
        r = sd_event_add_defer(waker->event, &waker->remember, waker_on_remember, waker);
        if (r >= 0)
                r = sd_event_source_set_priority(waker->remember, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                log_debug_errno(r, "Failed to keep the configuration as the last good one, ignoring: %m");
}

void waker_begin_awake(Waker *waker) {
        uint64_t timeout_usec =
                        waker->service->idle_timeout_usec > 0 ? waker->service->idle_timeout_usec : USEC_INFINITY;
        bool first = waker->state != SERVICE_AWAKE;
        char span[SPAN_MAX];
        int r;

        waker->phase = WAKER_AWAKE;
        waker->deadline = sd_event_source_disable_unref(waker->deadline);
        /* What nobody waits for is still to be started. */
        waker_changed(waker);
        if (first) {
                waker_set_state(waker, SERVICE_AWAKE);
                notify_ready();
                record_service(LOG_INFO, WAKECHAIN_MESSAGE_AWAKE, SERVICE_AWAKE, FAILURE_NONE,
                               "%s awake%s after %s", waker->service->name, waker->was_ready ? " again" : "",
                               span_to_string(waker_elapsed(waker), span));
                waker->was_ready = true;
                waker_remember_later(waker);
        }
        /* Without a timeout the looks still go on: they notice a port that was closed behind our back. */
        if (timeout_usec != USEC_INFINITY || waker->door) {
                r = idle_new(&waker->idle, waker->event, timeout_usec, waker_is_used, waker_on_idle, waker);
                if (r < 0)
                        log_warning_errno(r, "Failed to watch for idleness, %s stays awake: %m",
                                          waker->service->name);
        }
}

void waker_on_door(Door *door, int error, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        /* A door that cannot be moved costs the direct way, not the service: the front forwards meanwhile. */
        waker->door_moved = true;
        waker->door_error = error;
        waker_changed(waker);
}

static void waker_open(Waker *waker) {
        waker->phase = WAKER_OPENING;
        waker->door_moved = false;
        if (waker->door && waker->backend.publisher != BACKEND_NO_MEMBER)
                waker_open_door(waker);
        else
                waker->door_moved = true;
        waker_changed(waker);
}

static void waker_on_reached(Probe *probe, ProbeVerdict verdict, const char *detail, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        waker->reach_probe = probe_free(waker->reach_probe);
        if (verdict == PROBE_READY)
                waker_open(waker);
        else
                waker_fail(waker, FAILURE_HEALTH_CHECK_FAILED, "nothing accepts at its backend %s: %s",
                           waker->backend.address, detail);
}

void waker_reach(Waker *waker) {
        const ContainerInfo *info = NULL;
        int r;

        waker->phase = WAKER_REACHING;
        if (!waker->backend.address) {
                waker_open(waker);
                return;
        }

        waker->reach = (Dependency){
                .name = waker->backend.address,
                .health = { .tcp = waker->backend.address,
                            .interval_usec = USEC_PER_SEC / 4,
                            .budget_usec = USEC_INFINITY },
        };
        for (size_t i = 0; !info && i < waker->service->n_dependencies; i++)
                info = waker_infos(waker)[i];
        if (!info) {
                waker_fail(waker, FAILURE_NOT_FOUND, "none of its containers exists");
                return;
        }
        /* Nobody accepts on a port of UDP. The front holds what it refuses. */
        if (waker->backend.udp) {
                waker_open(waker);
                return;
        }
        r = probe_new(&waker->reach_probe, waker->event, waker->engine, &waker->reach, info, NULL, 0,
                      waker->options.environment, waker_on_reached, waker);
        if (r < 0)
                waker_fail(waker, FAILURE_HEALTH_CHECK_FAILED, "its backend %s cannot be asked: %s",
                           waker->backend.address, strerror(-r));
}

static bool waker_need_is_met(const Waker *waker, const PlanNeed *need) {
        const Member *member = waker->members[need->member];
        MemberPhase phase = member_phase(member);

        if (phase == MEMBER_READY)
                return true;
        if (waker_needs(waker, need->member))
                return false;
        /* What nobody waits for must still have been started in its turn, unless that meets with trouble. Who names it waits until it is
         * known whether it can be had. */
        if (need->named)
                return phase == MEMBER_FAILED || phase == MEMBER_LOST;
        return phase > MEMBER_STARTING || member_is_retrying(member);
}

static bool waker_may_start(const Waker *waker, const PlanMember *planned) {
        for (size_t i = 0; i < planned->n_needs; i++)
                if (!waker_need_is_met(waker, &planned->needs[i]))
                        return false;
        return true;
}

/* A container that is being started has the processor to itself; nobody waits for another's readiness. */
static bool waker_is_starting(const Waker *waker) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (member_is_container(waker->members[i]) && member_is_starting(waker->members[i]) &&
                    !member_is_retrying(waker->members[i]))
                        return true;
        return false;
}

bool waker_is_served(const Waker *waker) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (waker_needs(waker, i) && member_phase(waker->members[i]) != MEMBER_READY)
                        return false;
        return true;
}

void waker_go_on_stepping(Waker *waker) {
        /* Only optional ones may be left: the client does not wait while they start. */
        if (waker->phase == WAKER_STEPPING && waker_is_served(waker)) {
                waker_reach(waker);
                return;
        }
        for (size_t i = 0; i < waker->plan->n_members; i++) {
                const PlanMember *planned = &waker->plan->members[i];
                Member *member = waker->members[planned->index];

                if (member_phase(member) != MEMBER_PREPARED || !waker_may_start(waker, planned))
                        continue;
                if (member_is_container(member) && waker_is_starting(waker))
                        continue;
                member_start(member);
        }
}

void waker_resolve_backend(Waker *waker) {
        _cleanup_free_ char *text = NULL;
        Backend backend;
        int r;

        r = backend_resolve(&backend, waker->service, waker_infos(waker), &text);
        if (r == -ENODATA || r == -ENOENT) {
                waker_fail(waker, r == -ENOENT ? FAILURE_NOT_FOUND : FAILURE_CONFIG_INVALID, "%s", text);
                return;
        }
        if (r < 0) {
                waker_fail(waker, FAILURE_START_FAILED, "out of memory");
                return;
        }
        backend_done(&waker->backend);
        waker->backend = backend;
        waker->backend_resolved = true;
        if (waker->backend.member != BACKEND_NO_MEMBER && !waker->backend.udp)
                container_set_backend_port(waker->members[waker->backend.member], waker->backend.port);
        if (waker->door)
                door_set_bindings(waker->door, &waker->backend.bindings);
}

void waker_refresh_backends(Waker *waker) {
        _cleanup_(strv_freep) char **backends = NULL;

        if (!waker->backend_resolved ||
            backend_addresses(&waker->backend, waker->service, waker_infos(waker), &backends) < 0)
                return;
        strv_free(waker->backends);
        waker->backends = TAKE_PTR(backends);
}

void waker_tell_begin(Waker *waker) {
        if (waker->told_begin)
                return;
        waker->told_begin = true;
        /* The engine may have answered before the front's call was read. */
        if (!waker->taken_over && waker->control && control_has_front(waker->control))
                waker->trigger = TRIGGER_CONNECTION;

        if (waker->taken_over)
                record_service(LOG_NOTICE, WAKECHAIN_MESSAGE_TAKEN_OVER, waker->state, FAILURE_NONE,
                               "%s taken over from a process that was killed", waker->service->name);
        else
                record_service(LOG_INFO, WAKECHAIN_MESSAGE_WAKING, SERVICE_WAKING, FAILURE_NONE,
                               "%s wakes, trigger: %s", waker->service->name,
                               wake_trigger_to_string(waker->trigger));
        for (char **path = waker->service->unsupported; path && *path; path++)
                record_service(LOG_WARNING, WAKECHAIN_MESSAGE_UNSUPPORTED, SERVICE_WAKING, FAILURE_NONE,
                               "%s is not yet supported, ignoring", *path);
}

/* What cannot reach each other is connected before it is started. */
static int waker_attach(Waker *waker) {
        _cleanup_free_ Attachment *attachments = NULL;
        size_t n = 0;
        int r;

        r = attachments_find(&attachments, &n, waker->service, waker_infos(waker));
        for (size_t i = 0; i < n && r >= 0; i++)
                r = container_attach(waker->members[attachments[i].member], attachments[i].network);
        return r;
}

static bool waker_is_prepared(const Waker *waker) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (member_phase(waker->members[i]) < MEMBER_PREPARED)
                        return false;
        return true;
}

void waker_go_on_preparing(Waker *waker) {
        if (!waker_is_prepared(waker))
                return;

        waker_tell_begin(waker);
        if (waker->sleep_all_later) {
                waker->sleep_all_later = false;
                waker->phase = WAKER_STEPPING;
                waker_sleep(waker, SLEEP_ASKED_ALL);
                return;
        }
        if (waker->resume_sleep && (!waker->control || control_holders(waker->control) == 0)) {
                waker_sleep(waker, SLEEP_ASKED);
                return;
        }
        if (waker_attach(waker) < 0) {
                waker_fail(waker, FAILURE_START_FAILED, "out of memory");
                return;
        }
        waker_resolve_backend(waker);
        if (waker->phase != WAKER_PREPARING)
                return;
        waker->phase = WAKER_STEPPING;
        waker_go_on_stepping(waker);
        /* The first container starts: time to load nftables. */
        if (waker->door && waker->phase == WAKER_STEPPING)
                door_prepare(waker->door);
}

void waker_go_on_opening(Waker *waker) {
        if (waker->door_moved)
                waker_begin_awake(waker);
}
