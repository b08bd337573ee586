#pragma once

/* Describe: services and their parts as the API tells them: progress as whole percents that never run backwards during a wake, and are 100
 * when the thing is done, not before. */

#include "model/service.h"
#include "model/status.h"

/* How far a service and its parts have been told to be. */
typedef struct Described {
        unsigned percent;
        unsigned *parts;
        size_t n_parts;
} Described;

/* A wake begins: nothing has been told of it. */
void described_begin(Described *described);
/* Takes over how far it is now. */
int described_update(Described *described, const Status *status);
void described_done(Described *described);

typedef struct Telling {
        char *key; /* differs when there is something new to tell: all but the time left, which goes on by itself */
        char *text; /* JSON */
        char *nameless; /* the same without names and reasons; NULL where there is no such thing */
} Telling;

void telling_done(Telling *text);

/* `data:` of the events. -ENOMEM. */
int describe_service_update(const Described *described, const Status *status, Telling *ret);
int describe_dependency_update(const Described *described, const Status *status, size_t i, Telling *ret);
/* The object of GET /api/services, without its closing brace: who asks decides what is added. */
int describe_service(const Described *described, const Service *service, const Status *status, Telling *ret);
