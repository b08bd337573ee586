#pragma once

/* Described: a service as the API and wakectl tell it: what its file says and what its status says as one object, with progress as whole percents
 * that never run backwards during a wake, and are 100 when the thing is done, not before. */

#include <json-c/json.h>
#include "model/plan.h"
#include "model/status.h"

/* What a service is before its first wake. -ENOMEM. */
int status_new_planned(Status **ret, const Service *service, const Plan *plan);
/* Adds the parts that it has as long as the status does not say. -ENOMEM. */
int status_add_planned(Status *status, const Service *service, const Plan *plan);

/* How far a service and its parts have been told to be. */
typedef struct Described {
        unsigned percent;
        unsigned *parts;
        size_t n_parts;
} Described;

/* A wake begins: nothing has been told of it. */
void described_begin(Described *described);
/* Takes over how far it is now. -ENOMEM. */
int described_update(Described *described, const Status *status);
void described_done(Described *described);

/* The object of GET /api/services, but for the times left, which go on by themselves. NULL when out of memory. */
json_object *described_to_json(const Described *described, const Service *service, const Status *status);
/* False for want of memory, as json_add(). */
bool described_add_times_left(json_object *object, uint64_t remaining_usec, uint64_t late_in_usec);
bool described_add_reason(json_object *object, FailureReason reason);
