#include <unistd.h>

#include "io/survey.h"
#include "util/log.h"
#include "util/time.h"

/* Survey: the containers are sorted by name; each is asked for in turn, a few at once. Those that are to be asked again
 * wait for one common pause, since what they have met with is the engine's trouble, not theirs. */

#define QUERIES_AT_ONCE 8
#define TRY_TIMEOUT (10 * USEC_PER_SEC)
#define PAUSE_MIN (100 * USEC_PER_MSEC)
#define PAUSE_MAX (2 * USEC_PER_SEC)

typedef struct Query {
        Survey *survey;
        const char *container; /* borrowed while the survey is being made, then owned by `names` */
        EngineCall *call;
        EngineOutcome outcome;
        ContainerInfo *info;
        bool begun;
} Query;

struct Survey {
        sd_event *event;
        Engine *engine;
        sd_event_source *pause;
        SurveyPatience patience;
        uint64_t deadline_usec, pause_usec;
        char **names;
        Query *queries; /* sorted by name */
        size_t n_queries, n_running;
        size_t next; /* no query before it is to be begun */
};

static void survey_go_on(Survey *survey);

static int survey_on_pause(sd_event_source *source, uint64_t usec, void *userdata) {
        Survey *survey = ASSERT_PTR(userdata);

        survey->pause = sd_event_source_disable_unref(survey->pause);
        survey_go_on(survey);
        return 0;
}

static void query_ask_again(Query *query) {
        Survey *survey = query->survey;

        query->begun = false;
        survey->next = MIN(survey->next, (size_t) (query - survey->queries));
        if (survey->pause)
                return;
        survey->pause_usec = CLAMP(2 * survey->pause_usec, PAUSE_MIN, PAUSE_MAX);
        if (sd_event_add_time_relative(survey->event, &survey->pause, CLOCK_MONOTONIC, survey->pause_usec, 1,
                                       survey_on_pause, survey) < 0)
                log_debug("Failed to make a timer, asking again at once.");
}

static void survey_on_reply(EngineCall *call, EngineReply *reply, void *userdata) {
        Query *query = ASSERT_PTR(userdata);
        Survey *survey = query->survey;

        query->outcome = reply->outcome;
        query->info = TAKE_PTR(reply->info);
        if (reply->outcome != ENGINE_OK)
                log_debug("Failed to look at '%s': %s", query->container, reply->message);

        query->call = engine_call_free(call);
        survey->n_running--;
        if (survey->patience == SURVEY_UNTIL_ANSWERED && engine_outcome_is_transient(query->outcome))
                query_ask_again(query);
        survey_go_on(survey);
}

static void query_begin(Query *query) {
        Survey *survey = query->survey;
        uint64_t left = usec_sub(survey->deadline_usec, time_now(CLOCK_MONOTONIC));
        int r;

        query->begun = true;
        r = engine_inspect(&query->call, survey->engine, query->container, CLAMP(left, USEC_PER_MSEC, TRY_TIMEOUT),
                           survey_on_reply, query);
        if (r < 0)
                log_debug_errno(r, "Failed to ask for '%s', leaving it out: %m", query->container);
        else
                survey->n_running++;
}

static void survey_go_on(Survey *survey) {
        while (!survey->pause && survey->next < survey->n_queries && survey->n_running < QUERIES_AT_ONCE) {
                Query *query = &survey->queries[survey->next++];

                if (!query->begun)
                        query_begin(query);
        }
        if (survey->n_running == 0 && !survey->pause)
                (void) sd_event_exit(survey->event, 0);
}

static int compare_queries(const void *a, const void *b) {
        return strcmp(((const Query *) a)->container, ((const Query *) b)->container);
}

static int survey_plan(Survey *survey, char *const *containers) {
        size_t n = strv_length(containers), n_unique = 0;

        survey->names = new0(char *, n + 1);
        survey->queries = new0(Query, n + 1);
        if (!survey->names || !survey->queries)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                survey->queries[i] = (Query){ .survey = survey,
                                              .container = containers[i],
                                              .outcome = ENGINE_UNREACHABLE };
        if (n > 0)
                qsort(survey->queries, n, sizeof(*survey->queries), compare_queries);

        for (size_t i = 0; i < n; i++) {
                if (n_unique > 0 && streq(survey->queries[n_unique - 1].container, survey->queries[i].container))
                        continue;
                survey->names[n_unique] = strdup(survey->queries[i].container);
                if (!survey->names[n_unique])
                        return -ENOMEM;
                survey->queries[n_unique] = survey->queries[i];
                survey->queries[n_unique].container = survey->names[n_unique];
                n_unique++;
        }
        survey->n_queries = n_unique;
        return 0;
}

/* With a NULL handler the timer ends the loop. */
static int survey_run(Survey *survey, const char *engine_socket) {
        int r;

        r = sd_event_new(&survey->event);
        if (r >= 0)
                r = sd_event_add_time(survey->event, NULL, CLOCK_MONOTONIC, survey->deadline_usec, 1, NULL, NULL);
        if (r >= 0)
                r = engine_new(&survey->engine, survey->event, engine_socket);
        if (r < 0)
                return r;

        survey_go_on(survey);
        return sd_event_loop(survey->event);
}

static void survey_end(Survey *survey) {
        for (size_t i = 0; i < survey->n_queries; i++)
                survey->queries[i].call = engine_call_free(survey->queries[i].call);
        survey->pause = sd_event_source_disable_unref(survey->pause);
        survey->engine = engine_free(survey->engine);
        survey->event = sd_event_unref(survey->event);
}

int survey_new(Survey **ret, const char *engine_socket, char *const *containers, SurveyPatience patience,
               uint64_t timeout_usec) {
        _cleanup_(survey_freep) Survey *survey = NULL;
        int r;

        assert(ret);
        assert(engine_socket);

        /* Nothing answers where nothing is: saves loading curl. */
        if (access(engine_socket, F_OK) < 0)
                return -ENOENT;
        survey = new0(Survey, 1);
        if (!survey)
                return -ENOMEM;
        survey->patience = patience;
        survey->deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), timeout_usec);

        r = survey_plan(survey, containers);
        if (r >= 0 && survey->n_queries > 0)
                r = survey_run(survey, engine_socket);
        if (r < 0)
                return r;
        survey_end(survey);
        *ret = TAKE_PTR(survey);
        return 0;
}

Survey *survey_free(Survey *survey) {
        if (!survey)
                return NULL;

        survey_end(survey);
        for (size_t i = 0; i < survey->n_queries; i++)
                container_info_free(survey->queries[i].info);
        free(survey->queries);
        strv_free(survey->names);
        return mfree(survey);
}

const ContainerInfo *survey_find(const Survey *survey, const char *container, EngineOutcome *ret_outcome) {
        const Query wanted = { .container = container }, *found = NULL;

        if (survey->n_queries > 0)
                found = bsearch(&wanted, survey->queries, survey->n_queries, sizeof(wanted), compare_queries);
        if (ret_outcome)
                *ret_outcome = found ? found->outcome : ENGINE_UNREACHABLE;
        return found ? found->info : NULL;
}

size_t survey_n_unanswered(const Survey *survey) {
        size_t n = 0;

        for (size_t i = 0; i < survey->n_queries; i++)
                n += survey->queries[i].outcome != ENGINE_NO_CONTAINER && !survey->queries[i].info;
        return n;
}
