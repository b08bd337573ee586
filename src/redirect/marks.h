#pragma once

/* Marks: which sockets of redirected services are up. `up` leaves /run/wakechain/redirect/NAME with the ports,
 * `down` removes it. So the table can be made anew without a configuration, for the ports at which something
 * really listens; and what was said of a port that two services claim is not said again. */

#include "model/service.h"
#include "model/status.h"
#include "util/macro.h"

typedef struct Mark {
        Service service; /* name, port and redirect_port only */
        ServiceState state; /* from its status file; asleep if there is none */
        char rival[SERVICE_NAME_MAX + 1]; /* another service that had its port when it was looked at last, or "" */
} Mark;

typedef struct MarkList {
        Mark *marks; /* sorted by name */
        size_t n;
} MarkList;

void mark_list_done(MarkList *list);
/* Marks that make no sense are left out. */
int mark_list_load(MarkList *ret, const char *root);
/* NULL if there is none. */
const Mark *mark_list_find(const MarkList *list, const char *service);

int mark_write(const char *root, const Service *service, const char *rival);
/* -ENOENT if there is none. */
int mark_read(Mark *ret, const char *root, const char *service);
void mark_done(Mark *mark);
int mark_remove(const char *root, const char *service);

/* What the service's status file says; asleep if it says nothing. */
ServiceState mark_read_state(const char *root, const char *service);
