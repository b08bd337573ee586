#pragma once

/* Survey: what many containers are, asked from the engine some at a time, within a bound of time. For programs that have
 * nothing else to do meanwhile: it blocks, with an event loop of its own. */

#include "io/engine.h"
#include "util/strv.h"

typedef struct Survey Survey;

typedef enum SurveyPatience {
        SURVEY_ONCE,
        SURVEY_UNTIL_ANSWERED, /* an engine that cannot be talked to is asked again until the time is over */
} SurveyPatience;

/* Names that are there twice are asked for once. -ENOENT if nothing is at the path of the socket: then nothing is waited
 * for. An engine that does not answer is no error. */
int survey_new(Survey **ret, const char *engine_socket, char *const *containers, SurveyPatience patience,
               uint64_t timeout_usec);
Survey *survey_free(Survey *survey);
DEFINE_CLEANUP(Survey *, survey_free);

/* NULL: why is told by `ret_outcome`, which may be NULL. One that was not asked for is ENGINE_UNREACHABLE. */
const ContainerInfo *survey_find(const Survey *survey, const char *container, EngineOutcome *ret_outcome);
/* How many have given no answer that will do: neither what they are, nor that they are not. */
size_t survey_n_unanswered(const Survey *survey);
