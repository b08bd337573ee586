#pragma once

/* Routes: what is asked for, by method and path, and who answers it. */

#include "web/site.h"

typedef struct Route {
        const char *method, *path;
        enum {
                ROUTE_EXACT,
                ROUTE_NAME, /* the path goes on with a name */
                ROUTE_SERVICE, /* the path goes on with the name of a service */
        } kind;
        bool changes; /* something: not for pages of others */
        bool has_query;
        void (*answer)(Call *call);
        const char *tail; /* of the path, after the name; or NULL */
} Route;

/* Ends with a row without a method. */
extern const Route routes[];

/* Of one of our own sockets. */
void routes_answer(Site *site, HttpExchange *request);
