#include <stdio.h>

#include "command/exec-failure.h"
#include "command/host-command.h"
#include "engine/http-client.h"
#include "net/tcp-connect.h"
#include "probe/exec-command.h"
#include "probe/probe-address.h"
#include "probe/probe-schedule.h"
#include "probe/probe.h"
#include "util/log.h"
#include "util/printable.h"

/* Probe: a question (the method), asked by one try at a time, until one succeeds or the deadline passes.
 * Between tries one timer waits; each method has a function that begins a try, and every try ends in
 * probe_try_succeeded() or probe_try_failed().
 *
 * A method that waits for something else than answers (the engine's word, a delay) has a "try" of its own
 * that only sets the timer. A container's own check is a command, and the engine's word besides. That it says
 * unhealthy changes nothing: it had its own idea of how long a boot may take. */

#define TRY_TIMEOUT_USEC (10 * USEC_PER_SEC)
#define CONNECT_TIMEOUT_USEC USEC_PER_SEC
#define HEALTH_BUDGET_USEC (5 * USEC_PER_MINUTE)
#define HEALTH_POLL_USEC USEC_PER_SEC
#define DETAIL_MAX 1024
#define FUTILE_TRIES 3 /* the first ones may come before an entrypoint has put its files in place */
#define DEFAULT_HTTP_PORT 80

typedef enum ProbeMethod {
        PROBE_HTTP,
        PROBE_TCP,
        PROBE_EXEC,
        PROBE_HOST_COMMAND,
        PROBE_OWN_CHECK, /* the command of its HEALTHCHECK */
        PROBE_HEALTH, /* the engine's word about that alone */
        PROBE_DELAY,
        _PROBE_METHOD_MAX,
} ProbeMethod;

struct Probe {
        sd_event *event;
        Engine *engine; /* borrowed */
        const Dependency *dependency; /* borrowed */
        const ContainerInfo *info; /* borrowed */
        char *network;
        uint16_t http_port; /* 0: not known */
        char **environment;
        ProbeHandler handler;
        void *userdata;

        ProbeMethod method;
        uint64_t begun_usec; /* of this method */
        uint64_t budget_usec;
        sd_event_source *deadline;
        sd_event_source *timer; /* until the next try or look */
        char detail[DETAIL_MAX]; /* of the last try */
        bool broken; /* `detail` says why; to be told from the loop */

        HttpClient *http;
        HttpRequest *request;
        char *url;
        TcpConnect *connect;
        struct sockaddr_storage address;
        socklen_t address_size;
        EngineCall *call;
        char *exec_container, *exec_user, **exec_environment, **exec_argv;
        HostCommand *command;
        CommandGate gate;
        EngineHealth health;
        unsigned futile_tries; /* in a row */
};

static int probe_try(Probe *probe);

/* Ends whatever is under way. */
static void probe_cancel(Probe *probe) {
        probe->deadline = sd_event_source_disable_unref(probe->deadline);
        probe->timer = sd_event_source_disable_unref(probe->timer);
        probe->request = http_request_free(probe->request);
        probe->connect = tcp_connect_free(probe->connect);
        probe->call = engine_call_free(probe->call);
        probe->command = host_command_free(probe->command);
}

Probe *probe_free(Probe *probe) {
        if (!probe)
                return NULL;

        probe_cancel(probe);
        http_client_free(probe->http);
        free(probe->network);
        strv_free(probe->environment);
        free(probe->url);
        free(probe->exec_container);
        free(probe->exec_user);
        strv_free(probe->exec_environment);
        strv_free(probe->exec_argv);
        (void) sd_event_unref(probe->event);
        return mfree(probe);
}

const char *probe_detail(const Probe *probe) {
        return probe->detail;
}

_printf_(2, 3) static void probe_set_detail(Probe *probe, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(probe->detail, sizeof(probe->detail), format, arguments);
        va_end(arguments);
}

static void probe_finish(Probe *probe, ProbeVerdict verdict) {
        char detail[DETAIL_MAX];

        probe_cancel(probe);
        memcpy(detail, probe->detail, sizeof(detail)); /* outlives the probe */
        probe->handler(probe, verdict, detail, probe->userdata);
        /* The handler may have freed the probe: nothing goes below this line. */
}

static int probe_on_timer(sd_event_source *source, uint64_t usec, void *userdata);

static int probe_set_timer(Probe *probe, uint64_t usec) {
        int r;

        if (probe->timer) {
                r = sd_event_source_set_time(probe->timer, usec);
                return r < 0 ? r : sd_event_source_set_enabled(probe->timer, SD_EVENT_ONESHOT);
        }
        return sd_event_add_time(probe->event, &probe->timer, CLOCK_MONOTONIC, usec, USEC_PER_MSEC / 2,
                                 probe_on_timer, probe);
}

static bool probe_method_is_command(ProbeMethod method) {
        return method == PROBE_EXEC || method == PROBE_HOST_COMMAND || method == PROBE_OWN_CHECK;
}

/* The timer for the next try, or the next look whether one is due. */
static void probe_schedule(Probe *probe) {
        uint64_t now = time_now(CLOCK_MONOTONIC), next;
        int r;

        if (probe->broken)
                next = 0;
        else if (probe_method_is_command(probe->method))
                next = command_gate_next(&probe->gate, probe->begun_usec, now);
        else if (probe->method == PROBE_HEALTH)
                next = usec_add(now, HEALTH_POLL_USEC);
        else
                next = usec_add(now,
                                probe_pause(now - probe->begun_usec, probe->dependency->health.interval_usec));

        r = probe_set_timer(probe, next);
        if (r < 0)
                log_debug_errno(r, "Failed to wait for the next try, leaving it to the deadline: %m");
}

/* For conditions that no further try changes. They are told from the loop. */
static int probe_set_broken(Probe *probe, const char *detail) {
        probe_set_detail(probe, "%s", detail);
        probe->broken = true;
        return probe_set_timer(probe, 0);
}

static void probe_try_failed(Probe *probe) {
        log_debug("%s is not ready: %s", probe->dependency->name, probe->detail);

        if (probe_method_is_command(probe->method))
                command_gate_failed(&probe->gate, time_now(CLOCK_MONOTONIC));
        probe_schedule(probe);
}

static void probe_try_succeeded(Probe *probe) {
        probe_finish(probe, PROBE_READY);
}

/* HTTP: the status decides; what follows it is not waited for. */

static void probe_on_http_data(HttpRequest *request, const char *data, size_t size, void *userdata) {
        Probe *probe = ASSERT_PTR(userdata);
        unsigned status = http_request_status(request);

        probe->request = http_request_free(probe->request);
        probe_set_detail(probe, "HTTP status %u", status);
        if (status >= 200 && status <= 399)
                probe_try_succeeded(probe);
        else
                probe_try_failed(probe);
}

static void probe_on_http_end(HttpRequest *request, const HttpResponse *response, void *userdata) {
        Probe *probe = ASSERT_PTR(userdata);

        probe->request = http_request_free(probe->request);
        probe_set_detail(probe, "%s", response->error < 0 ? response->reason : "no answer");
        probe_try_failed(probe);
}

static int probe_try_http(Probe *probe) {
        HttpParameters parameters = {
                .method = "GET",
                .url = probe->url,
                .timeout_usec = TRY_TIMEOUT_USEC,
                .stream = true,
                .fresh = true,
        };
        int r;

        if (!probe->http) {
                r = http_client_new(&probe->http, probe->event, NULL);
                if (r < 0)
                        return r;
        }
        r = http_request_new(&probe->request, probe->http, &parameters, probe_on_http_data, probe_on_http_end,
                             probe);
        return r == -EINVAL ? probe_set_broken(probe, "healthCheck.http is no URL that can be asked") : r;
}

static void probe_on_connected(TcpConnect *attempt, int error, void *userdata) {
        Probe *probe = ASSERT_PTR(userdata);

        probe->connect = tcp_connect_free(probe->connect);
        probe_set_detail(probe, "%s", error < 0 ? strerror(-error) : "accepted");
        if (error < 0)
                probe_try_failed(probe);
        else
                probe_try_succeeded(probe);
}

static int probe_try_tcp(Probe *probe) {
        return tcp_connect_new(&probe->connect, probe->event, &probe->address, probe->address_size,
                               CONNECT_TIMEOUT_USEC, probe_on_connected, probe);
}

static void probe_command_ended(Probe *probe, int exit_status, const char *last_line) {
        const char *whose = probe->method == PROBE_OWN_CHECK ? "its HEALTHCHECK: " : "",
                   *why = exec_failure_explain(exit_status, last_line);

        probe_set_detail(probe, "%sexit status %d%s%s", whose, exit_status, *last_line ? ": " : "", last_line);
        probe->futile_tries = why ? probe->futile_tries + 1 : 0;
        if (exit_status == 0)
                probe_try_succeeded(probe);
        else if (probe->futile_tries < FUTILE_TRIES)
                probe_try_failed(probe);
        else {
                size_t n = strlen(probe->detail);

                (void) snprintf(probe->detail + n, sizeof(probe->detail) - n,
                                "; %s. Give it a healthCheck with a 'command' that %s has, or with 'tcp' or 'http'",
                                why, probe->method == PROBE_HOST_COMMAND ? "this machine" : "the container");
                probe_finish(probe, PROBE_BROKEN);
        }
}

static void probe_on_exec(EngineCall *call, EngineReply *reply, void *userdata) {
        Probe *probe = ASSERT_PTR(userdata);
        _cleanup_free_ char *output = strdup(strempty(reply->output));

        probe->call = engine_call_free(probe->call);
        if (reply->outcome == ENGINE_OK) {
                probe_command_ended(probe, reply->exit_code, output ? printable_last_line(output) : "");
                return;
        }

        probe_set_detail(probe, "%s", reply->message);
        if (reply->outcome == ENGINE_NO_CONTAINER || reply->outcome == ENGINE_REFUSED)
                probe_finish(probe, PROBE_BROKEN);
        else
                probe_try_failed(probe);
}

static int probe_try_exec(Probe *probe) {
        /* Its own name may be another container's by now. */
        const char *container = streq(probe->exec_container, probe->dependency->name) ? probe->info->id
                                                                                      : probe->exec_container;

        return engine_exec(&probe->call, probe->engine, container, probe->exec_argv, probe->exec_environment,
                           probe->exec_user, TRY_TIMEOUT_USEC, probe_on_exec, probe);
}

static void probe_on_host_command(HostCommand *command, const HostCommandResult *result, void *userdata) {
        Probe *probe = ASSERT_PTR(userdata);
        char line[DETAIL_MAX];

        (void) snprintf(line, sizeof(line), "%s", result->last_line); /* goes with the command */
        probe->command = host_command_free(probe->command);
        if (result->exit_status >= 0) {
                probe_command_ended(probe, result->exit_status, line);
                return;
        }

        if (result->timed_out)
                probe_set_detail(probe, "did not end within %" PRIu64 "s", TRY_TIMEOUT_USEC / USEC_PER_SEC);
        else
                probe_set_detail(probe, "ended by signal %d", result->signal);
        probe_try_failed(probe);
}

static int probe_try_host_command(Probe *probe) {
        return host_command_new(&probe->command, probe->event, probe->dependency->health.command,
                                probe->environment, TRY_TIMEOUT_USEC, probe_on_host_command, probe);
}

static int probe_try_own_check(Probe *probe) {
        return engine_exec(&probe->call, probe->engine, probe->info->id, probe->info->health_command, NULL,
                           /* user= */ NULL, /* the container's, as is the working directory */
                           probe->info->health_timeout_usec, probe_on_exec, probe);
}

/* The engine's own check. It tells by events; they are what a restart of the engine loses, so it is asked now
 * and then as well. */

static void probe_set_health_detail(Probe *probe) {
        static const char *const details[] = {
                [HEALTH_NONE] = "the engine does not check it any more",
                [HEALTH_STARTING] = "the engine's health check has not succeeded yet",
                [HEALTH_HEALTHY] = "healthy",
                [HEALTH_UNHEALTHY] = "the engine's health check says unhealthy",
        };

        probe_set_detail(probe, "%s", details[probe->health]);
}

static void probe_on_inspected(EngineCall *call, EngineReply *reply, void *userdata) {
        Probe *probe = ASSERT_PTR(userdata);

        probe->call = engine_call_free(probe->call);
        if (reply->outcome == ENGINE_OK && reply->info && reply->info->running)
                probe->health = reply->info->health;
        probe_set_health_detail(probe);
        if (probe->health == HEALTH_HEALTHY)
                probe_try_succeeded(probe);
        else
                probe_schedule(probe);
}

static int probe_try_health(Probe *probe) {
        probe_set_health_detail(probe);
        if (probe->health == HEALTH_HEALTHY) {
                probe_try_succeeded(probe);
                return 0;
        }
        return engine_inspect(&probe->call, probe->engine, probe->info->id, TRY_TIMEOUT_USEC, probe_on_inspected,
                              probe);
}

void probe_set_health(Probe *probe, EngineHealth health) {
        assert(probe);

        if ((probe->method != PROBE_HEALTH && probe->method != PROBE_OWN_CHECK) || probe->broken)
                return;
        probe->health = health;
        if (health != HEALTH_HEALTHY)
                return;
        probe->call = engine_call_free(probe->call);
        if (probe_set_timer(probe, 0) < 0)
                probe_schedule(probe);
}

static int probe_try_delay(Probe *probe) {
        probe_set_detail(probe, "its startup delay is over");
        probe_try_succeeded(probe);
        return 0;
}

static int probe_begin_http(Probe *probe) {
        uint16_t port = probe->http_port
                                        ?: probe->info->n_exposed == 1 ? probe->info->exposed[0]
                                                                       : DEFAULT_HTTP_PORT;
        const char *why = "";
        int r;

        r = probe_address_http(probe->dependency->health.http, probe->info, probe->network, port, &probe->url,
                               &why);
        if (r == -EINVAL || r == -ENXIO)
                return probe_set_broken(probe, why);
        return r < 0 ? r : probe_set_timer(probe, 0);
}

static int probe_begin_tcp(Probe *probe) {
        const char *why = "";
        int r;

        r = probe_address_tcp(probe->dependency->health.tcp, probe->info, probe->network, &probe->address,
                              &probe->address_size, &why);
        if (r == -EINVAL || r == -ENXIO)
                return probe_set_broken(probe, why);
        return r < 0 ? r : probe_set_timer(probe, 0);
}

static int probe_begin_command(Probe *probe) {
        command_gate_init(&probe->gate, probe->info->pid, probe->dependency->health.interval_usec,
                          probe->begun_usec);
        return probe_set_timer(probe, 0); /* a first look; it says whether there is a first try */
}

static int probe_begin_own_check(Probe *probe) {
        probe->health = probe->info->health;
        return probe_begin_command(probe);
}

static int probe_begin_health(Probe *probe) {
        probe->health = probe->info->health;
        probe_set_health_detail(probe);
        return probe_set_timer(probe, probe->health == HEALTH_HEALTHY
                                                      ? 0
                                                      : usec_add(probe->begun_usec, HEALTH_POLL_USEC));
}

static int probe_begin_delay(Probe *probe) {
        probe_set_detail(probe, "its startup delay is not over");
        return probe_set_timer(probe, usec_add(probe->begun_usec, probe->dependency->startup_delay_usec));
}

static const struct {
        int (*begin)(Probe *probe);
        int (*try)(Probe *probe);
} methods[] = {
        [PROBE_HTTP] = { probe_begin_http, probe_try_http },
        [PROBE_TCP] = { probe_begin_tcp, probe_try_tcp },
        [PROBE_EXEC] = { probe_begin_command, probe_try_exec },
        [PROBE_HOST_COMMAND] = { probe_begin_command, probe_try_host_command },
        [PROBE_OWN_CHECK] = { probe_begin_own_check, probe_try_own_check },
        [PROBE_HEALTH] = { probe_begin_health, probe_try_health },
        [PROBE_DELAY] = { probe_begin_delay, probe_try_delay },
};

static int probe_try(Probe *probe) {
        return methods[probe->method].try(probe);
}

static int probe_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Probe *probe = ASSERT_PTR(userdata);
        int r;

        if (probe->broken) {
                probe_finish(probe, PROBE_BROKEN);
                return 0;
        }
        if (probe->method == PROBE_OWN_CHECK && probe->health == HEALTH_HEALTHY) {
                probe_set_health_detail(probe);
                probe_try_succeeded(probe);
                return 0;
        }
        if (probe_method_is_command(probe->method) &&
            !command_gate_is_due(&probe->gate, time_now(CLOCK_MONOTONIC))) {
                probe_schedule(probe);
                return 0;
        }

        r = probe_try(probe);
        if (r < 0) {
                probe_set_detail(probe, "the health check cannot be carried out: %s", strerror(-r));
                probe_finish(probe, PROBE_BROKEN);
        }
        return 0;
}

static int probe_on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        probe_finish(ASSERT_PTR(userdata), PROBE_TIMED_OUT);
        return 0;
}

static int probe_choose(Probe *probe) {
        const HealthCheck *health = &probe->dependency->health;
        int r;

        if (health->http)
                return PROBE_HTTP;
        if (health->tcp)
                return PROBE_TCP;
        if (!health->command && probe->info->health_command)
                return PROBE_OWN_CHECK;
        if (!health->command)
                return probe->info->health != HEALTH_NONE ? PROBE_HEALTH : PROBE_DELAY;

        r = exec_command_parse(health->command, probe->environment, &probe->exec_container, &probe->exec_user,
                               &probe->exec_environment, &probe->exec_argv);
        if (r < 0)
                return r;
        return r > 0 ? PROBE_EXEC : PROBE_HOST_COMMAND;
}

static uint64_t probe_choose_budget(const Probe *probe) {
        const HealthCheck *health = &probe->dependency->health;
        const ContainerInfo *info = probe->info;

        if (probe->method == PROBE_OWN_CHECK && !health->budget_given)
                return MAX(health->budget_usec,
                           2 * (info->health_start_usec +
                                (uint64_t) info->health_retries * info->health_interval_usec));
        if (probe->method == PROBE_HEALTH)
                return MAX(health->budget_usec, HEALTH_BUDGET_USEC);
        if (probe->method == PROBE_DELAY)
                return usec_add(health->budget_usec, probe->dependency->startup_delay_usec);
        return health->budget_usec;
}

uint64_t probe_budget(const Probe *probe) {
        assert(probe);

        return probe->budget_usec;
}

int probe_set_deadline(Probe *probe, uint64_t usec) {
        assert(probe);

        return probe->deadline ? sd_event_source_set_time(probe->deadline, usec) : 0;
}

static int probe_set_up(Probe *probe, const char *network, const Environment *environment) {
        uint64_t until;
        int r;

        if (network) {
                probe->network = strdup(network);
                if (!probe->network)
                        return -ENOMEM;
        }
        r = environment_for_command(&probe->environment, environment, strempty(probe->dependency->health.command));
        if (r < 0)
                return r;

        r = probe_choose(probe);
        if (r < 0)
                return r;
        probe->method = (ProbeMethod) r;
        probe->begun_usec = time_now(CLOCK_MONOTONIC);
        probe_set_detail(probe, "it has not answered");

        probe->budget_usec = probe_choose_budget(probe);
        until = usec_add(probe->begun_usec, probe->budget_usec);
        if (until != USEC_INFINITY) {
                r = sd_event_add_time(probe->event, &probe->deadline, CLOCK_MONOTONIC, until, USEC_PER_MSEC,
                                      probe_on_deadline, probe);
                if (r < 0)
                        return r;
        }
        return methods[probe->method].begin(probe);
}

int probe_new(Probe **ret, sd_event *event, Engine *engine, const Dependency *dependency,
              const ContainerInfo *info, const char *network, uint16_t http_port, const Environment *environment,
              ProbeHandler handler, void *userdata) {
        _cleanup_(probe_freep) Probe *probe = NULL;
        int r;

        assert(ret);
        assert(event);
        assert(dependency);
        assert(info);
        assert(handler);

        probe = malloc(sizeof(*probe));
        if (!probe)
                return -ENOMEM;
        *probe = (Probe){
                .event = sd_event_ref(event),
                .engine = engine,
                .dependency = dependency,
                .info = info,
                .http_port = http_port,
                .handler = handler,
                .userdata = userdata,
        };
        r = probe_set_up(probe, network, environment);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(probe);
        return 0;
}
