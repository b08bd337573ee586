#include <stdio.h>
#include <systemd/sd-id128.h>

#include "util/fd.h"
#include "wake/waker-internal.h"

/* Waker: the phases of a service.
 *
 *     PREPARING  every container's lease is taken and every container is looked at
 *     STEPPING   the plan's steps, one after the other
 *     REACHING   a backend that is no container of ours accepts
 *     OPENING    redirect mode: the port is given to the container
 *     AWAKE      READY=1
 *     CLOSING    the port is taken back, and looked at once more: did somebody come in between?
 *     DRAINING   a stop that was asked for waits for the clients that are connected, at most drainTimeout
 *     STOPPING   containers stop, steps in reverse order; after it the process ends
 *
 * Containers, holders and timers only mark that something has changed; waker_on_change(), once per turn of the event loop, looks
 * at what is and goes on from there. So nothing depends on the order in which things are told, and nothing is called
 * from inside something else. A wake that fails goes to STOPPING with a reason. A process that was killed starts at PREPARING like
 * any other: it finds its locks in the descriptor store and its containers running, and comes to AWAKE without touching one. */

static void waker_on_container(Container *container, void *userdata) {
        waker_changed(ASSERT_PTR(userdata));
}

/* A needed container that failed ends a wake; one that is lost ends being awake. */
static void waker_check_needed(Waker *waker) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++) {
                const Container *container = waker->containers[i];

                if (!container || !waker_needs(waker, i))
                        continue;
                if (container_phase(container) == CONTAINER_FAILED && waker_is_waking(waker)) {
                        waker_fail(waker, container_reason(container), "%s: %s",
                                   waker->service->dependencies[i].name, strempty(container_error(container)));
                        return;
                }
                if (container_phase(container) == CONTAINER_LOST && waker->state == SERVICE_WAKING) {
                        waker_fail(waker, FAILURE_CONTAINER_EXITED, "%s: was ready, and exited with status %i",
                                   waker->service->dependencies[i].name, container_info(container)->exit_code);
                        return;
                }
                if (container_phase(container) == CONTAINER_LOST ||
                    (container_phase(container) == CONTAINER_FAILED && waker->phase == WAKER_AWAKE)) {
                        waker_sleep(waker, SLEEP_LOST);
                        return;
                }
        }
}

static void waker_wait(Waker *waker) {
}

static void (*const phase_handlers[])(Waker *waker) = {
        [WAKER_PREPARING] = waker_go_on_preparing,
        [WAKER_STEPPING] = waker_go_on_stepping,
        [WAKER_REACHING] = waker_wait,
        [WAKER_OPENING] = waker_go_on_opening,
        [WAKER_AWAKE] = waker_go_on_stepping,
        /* with what nobody waits for */[WAKER_CLOSING] = waker_go_on_closing,
        [WAKER_DRAINING] = waker_wait,
        [WAKER_STOPPING] = waker_go_on_stopping,
        [WAKER_ENDED] = waker_wait,
};

static int waker_on_change(sd_event_source *source, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);

        if (waker->phase <= WAKER_AWAKE)
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
                if (waker->idle)
                        idle_touch(waker->idle);
                break;
        case CONTROL_RELEASED:
                if (waker->idle)
                        idle_touch(waker->idle);
                break;
        case CONTROL_SLEEP:
                waker_sleep(waker, SLEEP_ASKED);
                break;
        }
        waker_changed(waker);
}

static Container *waker_find_container(Waker *waker, const char *name) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (waker->containers[i] && streq(waker->service->dependencies[i].name, name))
                        return waker->containers[i];
        return NULL;
}

static void waker_on_event(Engine *engine, const ContainerEvent *event, bool lost, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        Container *container;

        if (lost) {
                log_debug("The engine's event stream has ended, opening it again.");
                waker->engine_lost = true;
                return;
        }
        if (!event) {
                for (size_t i = 0; waker->engine_lost && i < waker->service->n_dependencies; i++)
                        if (waker->containers[i])
                                container_on_resync(waker->containers[i]);
                waker->engine_lost = false;
                return;
        }
        container = waker_find_container(waker, event->container);
        if (container)
                container_on_event(container, event);
}

static int waker_on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        Waker *waker = ASSERT_PTR(userdata);
        char span[SPAN_MAX];

        span_to_string(waker->service->global_timeout_usec, span);
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (waker->containers[i] && container_lacks_engine(waker->containers[i])) {
                        waker_fail(waker, FAILURE_ENGINE_UNAVAILABLE, "the engine at %s did not answer within %s",
                                   waker->config->engine_socket, span);
                        return 0;
                }
        waker_fail(waker, FAILURE_GLOBAL_TIMEOUT, "not ready within its globalTimeout of %s", span);
        return 0;
}

void waker_stop(Waker *waker) {
        waker_sleep(waker, SLEEP_ASKED);
        waker_changed(waker);
}

/* Making one */

static int waker_make_containers(Waker *waker) {
        size_t n = waker->service->n_dependencies;
        int r;

        waker->containers = new0(Container *, n);
        waker->infos = new0(const ContainerInfo *, n);
        if (!waker->containers || !waker->infos)
                return -ENOMEM;

        for (size_t i = 0; i < n; i++) {
                const Dependency *dependency = &waker->service->dependencies[i];

                if (dependency->kind != DEPENDENCY_CONTAINER)
                        continue;
                r = container_new(&waker->containers[i], &waker->context, dependency, waker_on_container, waker);
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

        r = plan_new(&waker->plan, service);
        if (r >= 0)
                r = waker_make_id(waker);
        if (r >= 0)
                r = waker_make_loop(waker);
        if (r < 0)
                return r;
        waker->context = (ContainerContext){
                .event = event,
                .engine = waker->engine,
                .service = service,
                .wake_id = waker->wake_id,
                .environment = options->environment,
                .root = options->root,
        };
        r = waker_make_containers(waker);
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
        probe_free(waker->reach_probe);
        idle_free(waker->idle);
        door_free(waker->door);
        control_free(waker->control);
        for (size_t i = 0; waker->containers && i < waker->service->n_dependencies; i++)
                container_free(waker->containers[i]);
        free(waker->containers);
        free(waker->infos);
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
        waker->trigger = status->trigger;
        waker->resume_sleep = status->state == SERVICE_STOPPING || status->state == SERVICE_FAILED;
        if (status->wake_id && strlen(status->wake_id) < SD_ID128_UUID_STRING_MAX)
                strcpy(waker->wake_id, status->wake_id);
}

void waker_adopt_descriptor(Waker *waker, const char *name, int fd) {
        const char *container = lease_fdname_container(name);
        Container *owner = container ? waker_find_container(waker, container) : NULL;

        if (!owner || container_adopt_lease(owner, fd) < 0) {
                log_debug("Nothing is known of the stored descriptor '%s', closing it.", name);
                notify_forget(name);
                (void) fd_close(fd);
                return;
        }
        if (!waker->taken_over)
                waker_take_over(waker);
}

static bool waker_has_unsupported_dependency(const Waker *waker, const char **ret_name) {
        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (!waker->containers[i] && waker_needs(waker, i)) {
                        *ret_name = waker->service->dependencies[i].name;
                        return true;
                }
        return false;
}

int waker_run(Waker *waker) {
        _cleanup_(strv_freep) char **names = NULL;
        const char *unsupported;
        int r = 0;

        record_begin(waker->service->name, waker->wake_id);
        if (waker->control)
                control_accept_pending(waker->control);

        for (size_t i = 0; r >= 0 && i < waker->service->n_dependencies; i++)
                if (waker->containers[i])
                        r = strv_append(&names, waker->service->dependencies[i].name);
        /* Listening comes before looking, so that nothing happens unseen in between. */
        if (r >= 0)
                r = engine_watch(waker->engine, names, waker_on_event, waker);
        if (r >= 0 && waker->service->global_timeout_usec != USEC_INFINITY)
                r = sd_event_add_time_relative(waker->event, &waker->deadline, CLOCK_MONOTONIC,
                                               waker->service->global_timeout_usec, 0, waker_on_deadline, waker);
        if (r < 0)
                return r;

        for (size_t i = 0; i < waker->service->n_dependencies; i++)
                if (waker->containers[i])
                        container_prepare(waker->containers[i]);
        if (waker_has_unsupported_dependency(waker, &unsupported))
                waker_fail(waker, FAILURE_CONFIG_INVALID,
                           "'%s' is a required dependency of a kind that is not yet supported", unsupported);
        waker_changed(waker);
        return 0;
}
