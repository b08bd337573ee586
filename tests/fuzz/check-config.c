#include "check-config.h"
#include "model/plan.h"

/* The promises that the generator and the waker rely on, whatever was loaded. */

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
        CHECK(dependency->ordered || strv_length(dependency->depends_on) > 0);
        CHECK(dependency->kind != DEPENDENCY_SERVICE || dependency->condition == CONDITION_READY);
        CHECK(dependency->kind != DEPENDENCY_UNIT || strchr(dependency->name, '.'));
        for (char **name = dependency->depends_on; name && *name; name++)
                check_text(*name);
        check_text(dependency->name);
        check_text(strempty(dependency->network));
}

/* There is one, and whoever is needed comes before those that need it. */
static void check_plan(const Service *service) {
        size_t place[CONFIG_DEPENDENCIES_MAX + 1] = {};
        Plan *plan = NULL;

        CHECK(plan_new(&plan, service, NULL) == 0);
        CHECK(plan->n_members == service->n_dependencies);
        for (size_t i = 0; i < plan->n_members; i++) {
                const PlanMember *member = &plan->members[i];

                CHECK(member->step >= 1 && member->step <= plan->n_steps);
                CHECK(place[member->index] == 0);
                place[member->index] = i + 1;
                CHECK(member->n_needs > 0 || !service->dependencies[member->index].depends_on);
                for (size_t k = 0; k < member->n_needs; k++)
                        CHECK(place[member->needs[k].member] > 0);
        }
        plan_free(plan);
}

static void check_service(const Service *service) {
        CHECK(service_name_is_valid(service->name));
        CHECK(service->container && service_main(service));
        CHECK(service_main(service)->condition != CONDITION_COMPLETED);
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
        check_plan(service);
}

void check_config(const Config *config) {
        for (size_t i = 0; config && i < config->n_services; i++) {
                check_service(&config->services[i]);
                CHECK(i == 0 || strcmp(config->services[i - 1].name, config->services[i].name) < 0);
        }
}

void check_problems(const ProblemList *problems, const Config *config) {
        for (size_t i = 0; i < problems->n_problems; i++) {
                const Problem *problem = &problems->problems[i];
                const Service *service = problem->service && config ? config_find(config, problem->service) : NULL;
                char *line = problem_to_string(problem);

                CHECK(line);
                check_text(line);
                CHECK(problem->level == PROBLEM_WARNING || !service || service->remembered);
                free(line);
        }
}
