#pragma once

/* Describe: services and their parts as texts that go out to who follows them. */

#include "model/described.h"

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
