#pragma once

/* Routes: what is asked for, by method and path, and who answers it. */

#include "web/events.h"
#include "web/http.h"
#include "web/sleeps.h"
#include "web/store.h"
#include "web/wakes.h"

/* What the answers are made of; all borrowed. */
typedef struct Site {
        const char *root;
        Http *http;
        Store *store;
        Events *events;
        Wakes *wakes;
        Sleeps *sleeps;
} Site;

/* A request that has passed all checks, and the handler of its route. */
typedef struct Call {
        Site *site;
        HttpRequest *request;
        const char *name; /* what the path ends in: a service that exists, or whatever it is; NULL: nothing */
        StoreEntry *entry; /* of that service */
        const char *query; /* NULL: none */
} Call;

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
} Route;

/* Ends with a row without a method. */
extern const Route routes[];

/* Of one of our own sockets. */
void routes_answer(Site *site, HttpRequest *request);

/* An answer of ours: `headers` beside those that all have; NULL: none. */
void answer_json(HttpRequest *request, unsigned status, const char *text, const char *const *headers);
/* {"error": sentence}. Ends the connection. */
void answer_refusal(HttpRequest *request, unsigned status, const char *format, ...) _printf_(3, 4);

/* api.c */
void api_services(Call *call);
void api_graph(Call *call);
void api_events(Call *call);
void api_wake_status(Call *call);
void api_wake(Call *call);
void api_sleep(Call *call);
/* dashboard.c */
void dashboard_index(Call *call);
void dashboard_asset(Call *call);
