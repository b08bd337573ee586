#include <stdio.h>
#include <systemd/sd-id128.h>

#include "io/lease.h"
#include "util/fd.h"
#include "wake/unit-member.h"
#include "wake/waker-internal.h"

/* Waker: the phases of a service.
 *
 *     PREPARING  every member's lease is taken, and it is looked at
 *     STEPPING   members are started, each when what it needs is ready
 *     REACHING   a backend that is no container of ours accepts
 *     OPENING    redirect mode: the port is given to the container
 *     AWAKE      READY=1
 *     RECOVERING something needed has gone, and is being brought back: the port is ours meanwhile. Then REACHING again
 *     CLOSING    the port is taken back, and looked at once more: did somebody come in between?
 *     DRAINING   a stop that was asked for waits for the clients that are connected, at most drainTimeout
 *     STOPPING   members stop, each when those that need it have; after it the process ends
 *
 * Members, holders and timers only mark that something has changed; waker_on_change(), once per turn of the event loop, looks
 * at what is and goes on from there. So nothing depends on the order in which things are told, and nothing is called
 * from inside something else. A wake that fails goes to STOPPING with a reason. A process that was killed starts at PREPARING like
 * any other: it finds its locks in the descriptor store and its containers running, and comes to AWAKE without touching one. */

static void waker_on_member(Member *member, void *userdata) {
        waker_changed(ASSERT_PTR(userdata));
}

/* One that is needed and has failed ends a wake and a recovery; one that is lost ends being awake. */
static void waker_check_needed(Waker *waker) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++) {
                const Member *member = waker->members[i];

                if (!waker_needs(waker, i))
                        continue;
                if (member_phase(member) == MEMBER_FAILED) {
                        waker_fail(waker, member_reason(member), "%s: %s", member_name(member),
                                   strempty(member_error(member)));
                        return;
                }
                if (member_phase(member) == MEMBER_LOST && !waker->was_ready) {
                        waker_fail(waker, FAILURE_CONTAINER_EXITED,
                                   "%s: was ready, and was stopped by somebody else", member_name(member));
                        return;
                }
                if (member_phase(member) == MEMBER_LOST) {
                        waker_sleep(waker, SLEEP_LOST);
                        return;
                }
        }
        if (waker->phase == WAKER_AWAKE && !waker_is_served(waker))
                waker_begin_recovering(waker);
}

static void waker_wait(Waker *waker) {
}

static void (*const phase_handlers[])(Waker *waker) = {
        [WAKER_PREPARING] = waker_go_on_preparing,
        [WAKER_STEPPING] = waker_go_on_stepping,
        [WAKER_REACHING] = waker_wait,
        [WAKER_OPENING] = waker_go_on_opening,
        [WAKER_AWAKE] = waker_go_on_stepping, /* with what nobody waits for */
        [WAKER_RECOVERING] = waker_go_on_recovering,
        [WAKER_CLOSING] = waker_go_on_closing,
        [WAKER_DRAINING] = waker_wait,
        [WAKER_STOPPING] = waker_go_on_stopping,
        [WAKER_ENDED] = waker_wait,
};

static int waker_on_change(sd_event_source *source, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        if (waker->phase <= WAKER_RECOVERING)
                waker_check_needed(waker);
        waker_refresh_backends(waker);
        phase_handlers[waker->phase](waker);
        if (waker->phase != WAKER_ENDED)
                waker_publish(waker);
        return 0;
}

/* What comes from outside */

static void waker_on_control(Control *control, ControlRequest request, WakeTrigger trigger, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        switch (request) {
        case CONTROL_HELD:
                /* The first who holds it is who it wakes for. */
                if (!waker->told_begin && !waker->taken_over && control_holders(waker->control) == 1)
                        waker->trigger = trigger;
                __attribute__((fallthrough));
        case CONTROL_RELEASED:
                if (waker->idle)
                        idle_touch(waker->idle);
                break;
        case CONTROL_SLEEP:
                waker_sleep(waker, SLEEP_ASKED);
                break;
        case CONTROL_SLEEP_ALL:
                waker_sleep(waker, SLEEP_ASKED_ALL);
                break;
        }
        waker_changed(waker);
}

static Member *waker_find(Waker *waker, DependencyKind kind, const char *name) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (waker->service->dependencies[i].kind == kind &&
                    streq(waker->service->dependencies[i].name, name))
                        return waker->members[i];
        return NULL;
}

static void waker_tell_containers(Waker *waker, void (*tell)(Member *member)) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (member_is_container(waker->members[i]))
                        tell(waker->members[i]);
}

static void waker_on_event(Engine *engine, const ContainerEvent *event, bool lost, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        Member *member;

        if (lost) {
                log_debug("The engine's event stream has ended, opening it again.");
                waker_tell_containers(waker, container_on_engine_lost);
                return;
        }
        if (!event) {
                waker_tell_containers(waker, container_on_engine_back);
                return;
        }
        member = waker_find(waker, DEPENDENCY_CONTAINER, event->container);
        if (member)
                container_on_event(member, event);
}

static int waker_on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        char span[SPAN_MAX];

        span_to_string(waker->service->global_timeout_usec, span);
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if ((member_lacks_engine(waker->members[i]) ||
                     (member_is_container(waker->members[i]) && engine_is_silent(waker->engine))) &&
                    member_phase(waker->members[i]) != MEMBER_READY) {
                        waker_fail(waker, FAILURE_ENGINE_UNAVAILABLE, "the engine at %s did not answer within %s",
                                   waker->config->engine_socket, span);
                        return 0;
                }
        waker_fail(waker, FAILURE_GLOBAL_TIMEOUT, "not ready within its globalTimeout of %s", span);
        return 0;
}

int waker_arm_deadline(Waker *waker) {
        waker->deadline = sd_event_source_disable_unref(waker->deadline);
        if (waker->service->global_timeout_usec == USEC_INFINITY)
                return 0;
        return sd_event_add_time_relative(waker->event, &waker->deadline, CLOCK_MONOTONIC,
                                          waker->service->global_timeout_usec, 0, waker_on_deadline, waker);
}

void waker_stop(Waker *waker) {
        waker_sleep(waker, SLEEP_ASKED);
        waker_changed(waker);
}

/* Making one */

static void waker_on_compose(const char *line, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        record_service(LOG_INFO, WAKECHAIN_MESSAGE_COMPOSE, waker->state, FAILURE_NONE, "compose: %s", line);
}

static int waker_make_members(Waker *waker) {
        const Service *service = waker->service;
        int r;

        waker->members = new0(Member *, service->n_dependencies);
        waker->infos = new0(const ContainerInfo *, service->n_dependencies);
        if (!waker->members || !waker->infos)
                return -ENOMEM;

        if (service->compose_dir) {
                r = composer_new(&waker->composer, waker->event, waker->options.root, service->compose_dir,
                                 waker->options.environment, waker_on_compose, waker);
                if (r >= 0)
                        r = composer_set_engine(waker->composer, waker->config->engine_socket);
                if (r < 0)
                        return r;
        }
        waker->context = (MemberContext){
                .event = waker->event,
                .engine = waker->engine,
                .composer = waker->composer,
                .service = service,
                .wake_id = waker->wake_id,
                .trigger = &waker->trigger,
                .environment = waker->options.environment,
                .root = waker->options.root,
        };
        for (size_t i = 0; i < service->n_dependencies; i++) {
                r = member_new(&waker->members[i], &waker->context, &service->dependencies[i], waker_on_member,
                               waker);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int waker_make_id(Waker *waker) {
        sd_id128_t id;
        int r;

        r = sd_id128_randomize(&id);
        if (r < 0)
                return r;
        waker->wake_id = malloc(SD_ID128_UUID_STRING_MAX);
        if (!waker->wake_id)
                return -ENOMEM;
        sd_id128_to_string(id, waker->wake_id);
        return 0;
}

static int waker_make_loop(Waker *waker) {
        int r;

        r = sd_event_add_defer(waker->event, &waker->change, waker_on_change, waker);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(waker->change, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = engine_new(&waker->engine, waker->event, waker->config->engine_socket);
        if (r < 0)
                return r;
        if (waker->options.control_fd >= 0)
                r = control_new(&waker->control, waker->event, waker->options.control_fd, waker->service->name,
                                waker_status_json, waker_on_control, waker);
        if (r < 0 || !service_is_redirected(waker->service))
                return r;
        return door_new(&waker->door, waker->event, waker->service, waker->options.root, waker_on_door, waker);
}

int waker_new(Waker **ret, sd_event *event, const Config *config, const Service *service,
              const WakerOptions *options) {
        _cleanup_(waker_freep) Waker *waker = NULL;
        int r;

        assert(ret);
        assert(service);

        waker = malloc(sizeof(*waker));
        if (!waker)
                return -ENOMEM;
        *waker = (Waker){
                .event = event,
                .config = config,
                .service = service,
                .options = *options,
                .backend = { .member = BACKEND_NO_MEMBER, .publisher = BACKEND_NO_MEMBER },
                .trigger = TRIGGER_MANUAL,
                .state = SERVICE_WAKING,
                .begin_usec = time_now(CLOCK_MONOTONIC),
                .since_usec = time_now(CLOCK_REALTIME),
        };

        r = plan_new(&waker->plan, service, NULL);
        if (r >= 0)
                r = waker_make_id(waker);
        if (r >= 0)
                r = waker_make_loop(waker);
        if (r >= 0)
                r = waker_make_members(waker);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(waker);
        return 0;
}

Waker *waker_free(Waker *waker) {
        if (!waker)
                return NULL;

        sd_event_source_disable_unref(waker->change);
        sd_event_source_disable_unref(waker->deadline);
        sd_event_source_disable_unref(waker->drain);
        sd_event_source_disable_unref(waker->remember);
        probe_free(waker->reach_probe);
        idle_free(waker->idle);
        door_free(waker->door);
        control_free(waker->control);
        for (size_t i = 0; waker->members && i < waker->service->n_dependencies; i++)
                member_free(waker->members[i]);
        free(waker->members);
        free(waker->infos);
        composer_free(waker->composer);
        engine_free(waker->engine);
        plan_free(waker->plan);
        backend_done(&waker->backend);
        strv_free(waker->backends);
        free(waker->wake_id);
        free(waker->error);
        return mfree(waker);
}

/* Whoever is left with locks in the store was killed: the wake that it was in goes on under its own name. */
static void waker_take_over(Waker *waker) {
        _cleanup_(status_freep) Status *status = NULL;

        waker->taken_over = true;
        if (report_read(&status, waker->service->name, waker->options.root) < 0)
                return;
        if (status->trigger >= 0)
                waker->trigger = status->trigger;
        waker->resume_sleep = status->state == SERVICE_STOPPING || status->state == SERVICE_FAILED;
        if (status->wake_id && strlen(status->wake_id) < SD_ID128_UUID_STRING_MAX)
                strcpy(waker->wake_id, status->wake_id);
}

static bool waker_adopt_lease(Waker *waker, const char *name, int fd) {
        const char *unit = strncmp(name, UNIT_LEASE_PREFIX, strlen(UNIT_LEASE_PREFIX)) == 0
                                           ? name + strlen(UNIT_LEASE_PREFIX)
                                           : NULL;
        Member *owner = waker_find(waker, unit ? DEPENDENCY_UNIT : DEPENDENCY_CONTAINER, unit ?: name);

        if (!owner)
                return false;
        return (unit ? unit_member_adopt_lease(owner, fd) : container_adopt_lease(owner, fd)) >= 0;
}

void waker_adopt_descriptor(Waker *waker, const char *name, int fd) {
        const char *lease = lease_fdname_container(name);

        if (!lease || !waker_adopt_lease(waker, lease, fd)) {
                log_debug("Nothing is known of the stored descriptor '%s', closing it.", name);
                notify_forget(name);
                (void) fd_close(fd);
                return;
        }
        if (!waker->taken_over)
                waker_take_over(waker);
}

int waker_run(Waker *waker) {
        _cleanup_(strv_freep) char **names = NULL;
        int r = 0;

        record_begin(waker->service->name, waker->wake_id);
        if (waker->control)
                control_accept_pending(waker->control);

        for (size_t i = 0; r >= 0 && i < waker->service->n_dependencies; i++)
                if (member_is_container(waker->members[i]))
                        r = strv_append(&names, member_name(waker->members[i]));
        /* Listening comes before looking, so that nothing happens unseen in between. */
        if (r >= 0 && names)
                r = engine_watch(waker->engine, names, waker_on_event, waker);
        if (r >= 0)
                r = waker_arm_deadline(waker);
        if (r < 0)
                return r;

        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                member_prepare(waker->members[i]);
        waker_changed(waker);
        return 0;
}
