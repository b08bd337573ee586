#include <unistd.h>

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

        ListedContainer *listed;
        size_t n_listed;

        Query *queries; /* sorted by name */
        size_t n_queries, n_begun, n_running;
};

/* A list, and what came of it. */
typedef struct Listing {
        EngineCall *call;
        bool answered;
        ListedContainer *listed;
        size_t n_listed;
        char **names;
} Listing;

static uint64_t survey_left(const Survey *survey) {
        return MAX(usec_sub(survey->deadline_usec, time_now(CLOCK_MONOTONIC)), (uint64_t) USEC_PER_MSEC);
}

static void listing_on_answer(EngineCall *call, EngineReply *reply, void *userdata) {
        Listing *listing = ASSERT_PTR(userdata);

        listing->answered = reply->outcome == ENGINE_OK;
        if (listing->answered) {
                listing->listed = TAKE_PTR(reply->listed);
                listing->n_listed = reply->n_listed;
                listing->names = TAKE_PTR(reply->names);
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
        survey->deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), timeout_usec);

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

bool survey_has_id(const Survey *survey, const char *id) {
        for (size_t i = 0; i < survey->n_listed; i++)
                if (streq(survey->listed[i].id, id))
                        return true;
        return false;
}

static void survey_on_inspected(EngineCall *call, EngineReply *reply, void *userdata) {
        Query *query = ASSERT_PTR(userdata);
        Survey *survey = query->survey;

        if (reply->outcome == ENGINE_OK)
                query->info = TAKE_PTR(reply->info);
        else
                log_debug("Failed to look at '%s': %s", query->container, reply->message);
        query->call = engine_call_free(call);
        survey->n_running--;
}

static int compare_queries(const void *a, const void *b) {
        return strcmp(((const Query *) a)->container, ((const Query *) b)->container);
}

int survey_inspect(Survey *survey, char *const *containers) {
        size_t n_all = strv_length(containers), n = 0;
        int r;

        assert(!survey->queries);

        if (n_all == 0)
                return 0;
        survey->queries = new0(Query, n_all);
        if (!survey->queries)
                return -ENOMEM;
        for (size_t i = 0; i < n_all; i++)
                survey->queries[i] = (Query){ .survey = survey, .container = containers[i] };
        qsort(survey->queries, n_all, sizeof(*survey->queries), compare_queries);
        for (size_t i = 0; i < n_all; i++)
                if (n == 0 || !streq(survey->queries[n - 1].container, survey->queries[i].container))
                        survey->queries[n++] = survey->queries[i];
        survey->n_queries = n;

        for (;;) {
                while (survey->n_begun < n && survey->n_running < QUERIES_AT_ONCE) {
                        Query *query = &survey->queries[survey->n_begun++];

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

const ContainerInfo *survey_find(const Survey *survey, const char *container) {
        const Query wanted = { .container = container }, *found = NULL;

        if (survey->n_queries > 0)
                found = bsearch(&wanted, survey->queries, survey->n_queries, sizeof(wanted), compare_queries);
        return found ? found->info : NULL;
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
