#include "config/config.h"

/* A dependencies.json of somebody hostile. Whatever it says, what comes out is sound: the promises that the
 * generator and the waker rely on are checked here on everything that loads, and what is said about the rest is
 * safe to print. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)          \
        do {                      \
                if (!(condition)) \
                        abort();  \
        } while (false)

static void check_text(const char *text) {
        for (; *text; text++)
                CHECK((unsigned char) *text >= 0x20 && *text != 0x7f);
}

static void check_dependency(const Service *service, const Dependency *dependency) {
        CHECK(!isempty(dependency->name));
        CHECK(dependency->health.interval_usec > 0 && dependency->health.budget_usec > 0);
        CHECK(dependency->health.budget_usec < USEC_INFINITY && dependency->startup_delay_usec < USEC_INFINITY &&
              dependency->estimated_usec < USEC_INFINITY);
        CHECK(!!dependency->health.command + !!dependency->health.http + !!dependency->health.tcp <= 1);
        CHECK(dependency->start_order >= 0 && dependency->parallel_group >= 0);
        CHECK(dependency->kind != DEPENDENCY_CONTAINER || dependency->network || !service->network);
        CHECK(dependency->kind == DEPENDENCY_CONTAINER || !dependency->network);
        check_text(dependency->name);
        check_text(strempty(dependency->network));
}

static void check_service(const Service *service) {
        CHECK(service_name_is_valid(service->name));
        CHECK(service->container && service_main(service));
        CHECK(service->n_dependencies > 0 && service->n_dependencies <= CONFIG_DEPENDENCIES_MAX + 1);
        CHECK(service->global_timeout_usec > 0 && service->global_timeout_usec < USEC_INFINITY);
        CHECK(service_is_redirected(service)
                              ? service->redirect_port > 0 && service->redirect_port <= REDIRECT_PORT_MAX
                              : service->redirect_port == 0);
        CHECK(!service->listen || service->port > 0 || service->backend);
        CHECK((!service->allow && !service->deny) || service->listen || service->port == 0);
        CHECK(!service->compose_dir || service->compose_dir[0] == '/');
        check_text(strempty(service->compose_dir));
        check_text(strempty(service->backend));
        check_text(strempty(service->schedule_wake));
        check_text(strempty(service->schedule_sleep));
        for (char **text = service->listen; text && *text; text++)
                check_text(*text);
        for (size_t i = 0; i < service->n_dependencies; i++)
                check_dependency(service, &service->dependencies[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        ProblemList problems = {};
        Config *config = NULL;
        int r;

        r = config_parse(&config, "fuzz.json", (const char *) data, size, &problems);
        CHECK(r == 0 || r == -EBADMSG);
        CHECK((r == 0) == (config != NULL));
        CHECK(r == 0 || problems.n_errors > 0);

        for (size_t i = 0; config && i < config->n_services; i++) {
                check_service(&config->services[i]);
                CHECK(i == 0 || strcmp(config->services[i - 1].name, config->services[i].name) < 0);
        }
        for (size_t i = 0; i < problems.n_problems; i++) {
                const Problem *problem = &problems.problems[i];
                char *line = problem_to_string(problem);

                CHECK(line);
                check_text(line);
                CHECK(problem->level == PROBLEM_WARNING || !problem->service || !config ||
                      !config_find(config, problem->service));
                free(line);
        }
        config_free(config);
        problem_list_done(&problems);
        return 0;
}
