#include <unistd.h>

#include "io/engine.h"
#include "io/redirect.h"
#include "redirect/refresh.h"
#include "util/log.h"

/* Refresh: inspects every container of every redirected service, some at a time, until the time is over. The
 * first container in the order of the configuration that publishes the port decides. That nobody publishes it
 * is believed only if all of a service's containers were asked and answered. */

#define QUERIES_AT_ONCE 8

typedef struct Refresh Refresh;

/* One redirected service. */
typedef struct Target {
        const Service *service;
        RedirectBindings bindings;
        size_t publisher; /* index of the dependency that they are from */
        bool on_host; /* the main container is on the host's network */
        size_t n_unanswered;
} Target;

/* One container of it. */
typedef struct Query {
        Refresh *refresh;
        Target *target;
        size_t dependency;
        EngineCall *call;
} Query;

struct Refresh {
        sd_event *event;
        Engine *engine;
        uint64_t timeout_usec;
        Target *targets;
        size_t n_targets;
        Query *queries;
        size_t n_queries, n_begun, n_running;
};

static void refresh_done(Refresh *refresh) {
        for (size_t i = 0; i < refresh->n_queries; i++)
                engine_call_free(refresh->queries[i].call);
        for (size_t i = 0; i < refresh->n_targets; i++)
                redirect_bindings_done(&refresh->targets[i].bindings);
        free(refresh->queries);
        free(refresh->targets);
        engine_free(refresh->engine);
        sd_event_unref(refresh->event);
}

static int target_add(Target *target, size_t dependency, const ContainerInfo *info) {
        RedirectBindings bindings;
        int r;

        target->n_unanswered--;
        if (&target->service->dependencies[dependency] == service_main(target->service))
                target->on_host = streq(info->network_mode, "host");
        if (target->bindings.known && target->publisher < dependency)
                return 0;
        r = redirect_bindings_from_ports(&bindings, info->bindings, info->n_bindings, target->service->port);
        if (r <= 0)
                return r;
        redirect_bindings_done(&target->bindings);
        target->bindings = bindings;
        target->publisher = dependency;
        return 0;
}

static void refresh_go_on(Refresh *refresh);

static void refresh_on_reply(EngineCall *call, EngineReply *reply, void *userdata) {
        Query *query = ASSERT_PTR(userdata);
        Refresh *refresh = query->refresh;

        if (reply->outcome == ENGINE_OK && reply->info) {
                if (target_add(query->target, query->dependency, reply->info) < 0)
                        log_debug("Out of memory, leaving the addresses of '%s' as they are.",
                                  query->target->service->name);
        } else
                log_debug("Failed to look at '%s', leaving the addresses of '%s' as they are: %s",
                          query->target->service->dependencies[query->dependency].name,
                          query->target->service->name, reply->message);

        query->call = engine_call_free(call);
        refresh->n_running--;
        refresh_go_on(refresh);
}

static void refresh_go_on(Refresh *refresh) {
        while (refresh->n_begun < refresh->n_queries && refresh->n_running < QUERIES_AT_ONCE) {
                Query *query = &refresh->queries[refresh->n_begun++];
                const char *container = query->target->service->dependencies[query->dependency].name;
                int r;

                r = engine_inspect(&query->call, refresh->engine, container, refresh->timeout_usec,
                                   refresh_on_reply, query);
                if (r < 0)
                        log_debug_errno(r, "Failed to ask for '%s', leaving it out: %m", container);
                else
                        refresh->n_running++;
        }
        if (refresh->n_running == 0)
                (void) sd_event_exit(refresh->event, 0);
}

static int refresh_plan(Refresh *refresh, const Config *config) {
        size_t n_dependencies = 0;

        for (size_t i = 0; i < config->n_services; i++)
                n_dependencies += config->services[i].n_dependencies;
        refresh->targets = new0(Target, config->n_services + 1);
        refresh->queries = new0(Query, n_dependencies + 1);
        if (!refresh->targets || !refresh->queries)
                return -ENOMEM;

        for (size_t i = 0; i < config->n_services; i++) {
                const Service *service = &config->services[i];
                Target *target = &refresh->targets[refresh->n_targets];

                if (!service_is_redirected(service))
                        continue;
                refresh->n_targets++;
                target->service = service;
                for (size_t j = 0; j < service->n_dependencies; j++)
                        if (service->dependencies[j].kind == DEPENDENCY_CONTAINER) {
                                refresh->queries[refresh->n_queries++] =
                                                (Query){ .refresh = refresh, .target = target, .dependency = j };
                                target->n_unanswered++;
                        }
        }
        return 0;
}

static void refresh_save(Refresh *refresh, const char *root) {
        for (size_t i = 0; i < refresh->n_targets; i++) {
                Target *target = &refresh->targets[i];
                int r;

                if (!target->bindings.known && target->n_unanswered > 0)
                        continue;
                /* Nothing is bound for the host's network: such a container publishes by nature. */
                if (!target->bindings.known && target->on_host)
                        target->bindings = (RedirectBindings){ .known = true, .any_ipv4 = true, .any_ipv6 = true };
                r = redirect_bindings_save(&target->bindings, root, target->service->name);
                if (r < 0)
                        log_warning_errno(r,
                                          "Failed to keep the addresses that '%s' is published on, ignoring: %m",
                                          target->service->name);
        }
}

/* With a NULL handler the timer ends the loop. */
static int refresh_run(Refresh *refresh, const Config *config) {
        int r;

        r = sd_event_new(&refresh->event);
        if (r >= 0)
                r = sd_event_add_time_relative(refresh->event, NULL, CLOCK_MONOTONIC, refresh->timeout_usec, 1,
                                               NULL, NULL);
        if (r >= 0)
                r = engine_new(&refresh->engine, refresh->event, config->engine_socket);
        if (r < 0)
                return r;

        refresh_go_on(refresh);
        return sd_event_loop(refresh->event);
}

int refresh_bindings(const Config *config, const char *root, uint64_t timeout_usec) {
        _cleanup_(refresh_done) Refresh refresh = { .timeout_usec = timeout_usec };
        int r;

        /* Nothing answers where nothing is: saves loading curl. */
        if (access(config->engine_socket, F_OK) < 0)
                return 0;

        r = refresh_plan(&refresh, config);
        if (r < 0 || refresh.n_queries == 0)
                return r;
        r = refresh_run(&refresh, config);
        if (r >= 0)
                refresh_save(&refresh, root);
        return r;
}
