#include <unistd.h>

#include "engine/engine-reply.h"
#include "engine/survey.h"
#include "util/log.h"
#include "util/time.h"

/* Survey: one list, then an inspect for each container that is asked for, a few at once. */

#define QUERIES_AT_ONCE 8

typedef struct Query {
        Survey *survey;
        const char *container; /* borrowed */
        EngineCall *call;
        ContainerInfo *info;
} Query;

struct Survey {
        sd_event *event;
        Engine *engine;
        uint64_t deadline_usec;
        SurveyReader reader;
        void *userdata;
        bool lost; /* the reader has no memory */

        ListedContainer *listed;
        size_t n_listed;

        Query *queries; /* sorted by name */
        size_t n_queries, n_running;
};

/* A list, and what came of it. */
typedef struct Listing {
        EngineCall *call;
        bool answered;
        ListedContainer *listed;
        size_t n_listed;
        char **names;
        json_object *info;
} Listing;

static uint64_t survey_left(const Survey *survey) {
        return MAX(usec_sub(survey->deadline_usec, time_now(CLOCK_MONOTONIC)), (uint64_t) USEC_PER_MSEC);
}

void survey_allow(Survey *survey, uint64_t timeout_usec) {
        survey->deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), timeout_usec);
}

static void listing_on_answer(EngineCall *call, EngineReply *reply, void *userdata) {
        Listing *listing = ASSERT_PTR(userdata);

        listing->answered = reply->outcome == ENGINE_OK;
        if (listing->answered) {
                listing->listed = TAKE_PTR(reply->listed);
                listing->n_listed = reply->n_listed;
                listing->names = TAKE_PTR(reply->names);
                listing->info = reply->body ? engine_reply_parse(reply->body, reply->body_size) : NULL;
        } else
                log_debug("Failed to list what the engine has: %s", reply->message);
        listing->call = engine_call_free(call);
}

/* `r` is that of the call that began it. */
static int survey_wait(Survey *survey, Listing *listing, int r) {
        while (r >= 0 && listing->call)
                r = sd_event_run(survey->event, UINT64_MAX);
        listing->call = engine_call_free(listing->call);
        return r >= 0 && !listing->answered ? -EHOSTDOWN : r;
}

int survey_new(Survey **ret, const char *engine_socket, uint64_t timeout_usec) {
        _cleanup_(survey_freep) Survey *survey = NULL;
        Listing list = {};
        int r;

        /* Nothing answers where nothing is: saves loading curl. */
        if (access(engine_socket, F_OK) < 0)
                return -ENOENT;
        survey = new0(Survey, 1);
        if (!survey)
                return -ENOMEM;
        survey_allow(survey, timeout_usec);

        r = sd_event_new(&survey->event);
        if (r >= 0)
                r = engine_new(&survey->engine, survey->event, engine_socket);
        if (r >= 0)
                r = survey_wait(survey, &list,
                                engine_list(&list.call, survey->engine, timeout_usec, listing_on_answer, &list));
        if (r < 0)
                return r;
        survey->listed = list.listed;
        survey->n_listed = list.n_listed;

        *ret = TAKE_PTR(survey);
        return 0;
}

void survey_set_reader(Survey *survey, SurveyReader reader, void *userdata) {
        survey->reader = reader;
        survey->userdata = userdata;
}

Survey *survey_free(Survey *survey) {
        if (!survey)
                return NULL;

        for (size_t i = 0; i < survey->n_queries; i++) {
                engine_call_free(survey->queries[i].call);
                container_info_free(survey->queries[i].info);
        }
        free(survey->queries);
        if (survey->listed)
                listed_containers_free(survey->listed, survey->n_listed);
        engine_free(survey->engine);
        sd_event_unref(survey->event);
        return mfree(survey);
}

const ListedContainer *survey_list(const Survey *survey, size_t *ret_n) {
        *ret_n = survey->n_listed;
        return survey->listed;
}

const ListedContainer *survey_listed(const Survey *survey, const char *container) {
        return listed_container_find(survey->listed, survey->n_listed, container);
}

const ListedContainer *survey_known(const Survey *survey, const char *container) {
        const ListedContainer *found = survey_listed(survey, container);

        for (size_t i = 0; i < survey->n_listed && !found; i++)
                if (streq(survey->listed[i].id, container))
                        found = &survey->listed[i];
        return found;
}

bool survey_has_id(const Survey *survey, const char *id) {
        for (size_t i = 0; i < survey->n_listed; i++)
                if (streq(survey->listed[i].id, id))
                        return true;
        return false;
}

static void survey_on_inspected(EngineCall *call, EngineReply *reply, void *userdata) {
        Query *query = ASSERT_PTR(userdata);
        Survey *survey = query->survey;

        if (reply->outcome == ENGINE_OK) {
                survey->lost |= survey->reader &&
                                survey->reader(reply->body, reply->body_size, survey->userdata) == -ENOMEM;
                query->info = TAKE_PTR(reply->info);
        } else
                log_debug("Failed to look at '%s': %s", query->container, reply->message);
        query->call = engine_call_free(call);
        survey->n_running--;
}

static int compare_queries(const void *a, const void *b) {
        return strcmp(((const Query *) a)->container, ((const Query *) b)->container);
}

static Query *survey_query(const Survey *survey, const char *container) {
        const Query wanted = { .container = container };

        if (survey->n_queries == 0)
                return NULL;
        return bsearch(&wanted, survey->queries, survey->n_queries, sizeof(wanted), compare_queries);
}

/* `begun`: how many of them; the others are begun and answered. */
static int survey_ask(Survey *survey, size_t begun) {
        for (;;) {
                int r;

                while (begun < survey->n_queries && survey->n_running < QUERIES_AT_ONCE) {
                        Query *query = &survey->queries[begun++];

                        survey->n_running += engine_inspect(&query->call, survey->engine, query->container,
                                                            survey_left(survey), survey_on_inspected, query) >= 0;
                }
                if (survey->n_running == 0)
                        return 0;
                r = sd_event_run(survey->event, UINT64_MAX);
                if (r < 0)
                        return r;
        }
}

int survey_inspect(Survey *survey, char *const *containers) {
        size_t n = survey->n_queries, added = 0;
        Query *larger;
        int r;

        if (strv_length(containers) == 0)
                return 0;
        larger = reallocarray(survey->queries, n + strv_length(containers), sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        survey->queries = larger;
        for (; *containers; containers++)
                if (!survey_query(survey, *containers))
                        larger[n + added++] = (Query){ .survey = survey, .container = *containers };
        if (added > 0)
                qsort(&larger[n], added, sizeof(*larger), compare_queries);
        for (size_t i = 0; i < added; i++)
                if (survey->n_queries == n ||
                    !streq(larger[survey->n_queries - 1].container, larger[n + i].container))
                        larger[survey->n_queries++] = larger[n + i];

        r = survey_ask(survey, n);
        if (r >= 0)
                qsort(larger, survey->n_queries, sizeof(*larger), compare_queries);
        return survey->lost ? -ENOMEM : r;
}

const ContainerInfo *survey_find(const Survey *survey, const char *container) {
        const Query *found = survey_query(survey, container);

        return found ? found->info : NULL;
}

static int find_owners(const Survey *survey, SurveyedService *surveyed) {
        const Service *service = surveyed->service;
        int r = 0;

        surveyed->owners = strv_free(surveyed->owners);
        for (size_t i = 0; i < service->n_dependencies && r >= 0; i++) {
                const char *name = service->dependencies[i].name, *id, *owner = NULL;
                const ListedContainer *listed;
                const ContainerInfo *info;

                if (service->dependencies[i].kind != DEPENDENCY_CONTAINER)
                        continue;
                info = survey_find(survey, name);
                id = info ? container_info_owner(info) : NULL;
                listed = id ? survey_known(survey, id) : NULL;
                if (listed)
                        owner = listed->name;
                else if (id || !info)
                        owner = owners_find(surveyed->before, name);
                /* To be made anew, and the owner is gone: it may be made without one. */
                if (!owner || streq(owner, name) || (!info && !survey_listed(survey, owner)))
                        continue;
                r = strv_append(&surveyed->owners, name);
                if (r >= 0)
                        r = strv_append(&surveyed->owners, owner);
        }
        return r;
}

/* Those that there are. The names are borrowed. NULL: out of memory. */
static char **containers_of(const Survey *survey, const SurveyedService *services, size_t n) {
        size_t n_names = 0;
        char **names;

        for (size_t i = 0; i < n; i++)
                n_names += services[i].service->n_dependencies;
        names = new0(char *, n_names + 1);
        for (size_t i = n_names = 0; names && i < n; i++)
                for (size_t j = 0; j < services[i].service->n_dependencies; j++) {
                        const Dependency *dependency = &services[i].service->dependencies[j];

                        if (dependency->kind == DEPENDENCY_CONTAINER && survey_listed(survey, dependency->name))
                                names[n_names++] = dependency->name;
                }
        return names;
}

int survey_services(Survey *survey, const Config *config, SurveyedService *services, size_t n) {
        bool more = true;

        /* An owner may have the network of another one. */
        while (more) {
                _cleanup_free_ char **names = containers_of(survey, services, n);
                int r;

                r = names ? survey_inspect(survey, names) : -ENOMEM;
                more = false;
                for (size_t i = 0; i < n && r >= 0; i++) {
                        size_t before = services[i].service->n_dependencies;

                        r = find_owners(survey, &services[i]);
                        if (r >= 0)
                                r = service_add_owners(services[i].service, config, services[i].owners);
                        more |= services[i].service->n_dependencies > before;
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

int survey_engine(Survey *survey, json_object **ret) {
        Listing list = {};
        int r;

        r = survey_wait(survey, &list,
                        engine_info(&list.call, survey->engine, survey_left(survey), listing_on_answer, &list));
        if (r < 0)
                return r;
        *ret = list.info;
        return list.info ? 0 : -EHOSTDOWN;
}

int survey_names(Survey *survey, EngineThing thing, char ***ret) {
        Listing list = {};
        int r;

        r = survey_wait(survey, &list,
                        engine_list_names(&list.call, survey->engine, thing, survey_left(survey),
                                          listing_on_answer, &list));
        if (r >= 0)
                *ret = list.names;
        return r;
}
