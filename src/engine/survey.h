#pragma once

/* Survey: which containers there are, and what some of them are in detail, asked from the engine within a bound of time. For programs that
 * have nothing else to do meanwhile: it blocks, with an event loop of its own. */

#include <json-c/json_types.h>
#include "engine/engine.h"
#include "model/service.h"
#include "util/strv.h"

typedef struct Survey Survey;

/* Lists all containers. `timeout_usec` is for the whole survey. -ENOENT if nothing is at the path of the socket, -EHOSTDOWN if the
 * engine gave no answer that will do. */
int survey_new(Survey **ret, const char *engine_socket, uint64_t timeout_usec);
Survey *survey_free(Survey *survey);
DEFINE_CLEANUP(Survey *, survey_free);

/* All of them, sorted by name; borrowed. */
const ListedContainer *survey_list(const Survey *survey, size_t *ret_n);

/* NULL: there is none of this name. */
const ListedContainer *survey_listed(const Survey *survey, const char *container);

/* By its name or id. NULL: there is none. */
const ListedContainer *survey_known(const Survey *survey, const char *container);

/* Whether there is one of this id, whatever its name. */
bool survey_has_id(const Survey *survey, const char *id);

/* What is asked from now on has this long. */
void survey_allow(Survey *survey, uint64_t timeout_usec);
/* Gets each answer about a container as it comes, besides. Once there is no memory for one, survey_inspect() fails. */
typedef int (*SurveyReader)(const char *body, size_t size, void *userdata);
void survey_set_reader(Survey *survey, SurveyReader reader, void *userdata);

/* Looks at these, some at a time, each once, however often it is asked for; the names are borrowed. What the engine does not tell in time is not
 * known. */
int survey_inspect(Survey *survey, char *const *containers);
/* The names and ids of all networks or images, the caller's. -EHOSTDOWN. */
int survey_names(Survey *survey, EngineThing thing, char ***ret);

/* What the engine says of itself (GET /info). The caller puts it. -EHOSTDOWN. */
int survey_engine(Survey *survey, json_object **ret);

/* A service whose containers are looked at. */
typedef struct SurveyedService {
        Service *service; /* gets the owners of their networks */
        char *const *before; /* as `owners` once was, for a container that is to be made anew, or whose owner was; NULL: not known */
        char **owners; /* as for service_add_owners(); the caller's */
} SurveyedService;

/* survey_inspect() of their containers, and of those whose networks they have. `config` as for service_add_owners(). */
int survey_services(Survey *survey, const Config *config, SurveyedService *services, size_t n);

/* NULL: not known. */
const ContainerInfo *survey_find(const Survey *survey, const char *container);
