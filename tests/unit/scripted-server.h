#pragma once

/* ScriptedServer: an HTTP server on the loop of the test, which answers by a list of rules. It stands for the
 * engine and for applications, also for broken ones. */

#include <systemd/sd-event.h>
#include "util/macro.h"

typedef struct ScriptedRule {
        const char *request; /* what the request begins with, "GET /_ping" */
        const char *reply; /* all of it, with its header; NULL: none, ever */
        size_t reply_size; /* 0: it is a string */
        size_t piece; /* sent in pieces of this size; 0: at once */
        size_t loop; /* after the last byte comes this one again, for ever; 0: it ends */
        bool close; /* the connection, afterwards */
        unsigned times; /* the rule holds so often; 0: always */
} ScriptedRule;

typedef struct ScriptedServer ScriptedServer;

/* `path` NULL: TCP on 127.0.0.1, see scripted_server_port(). The rules are copied; the first that fits is
 * taken. */
ScriptedServer *scripted_server_new(sd_event *event, const char *path, const ScriptedRule *rules, size_t n_rules);
ScriptedServer *scripted_server_free(ScriptedServer *server);
DEFINE_CLEANUP(ScriptedServer *, scripted_server_free);

uint16_t scripted_server_port(const ScriptedServer *server);
unsigned scripted_server_connections(const ScriptedServer *server); /* accepted so far */
unsigned scripted_server_requests(const ScriptedServer *server, const char *request); /* that began so */
const char *scripted_server_last(const ScriptedServer *server); /* request, whole */
/* Closes all connections, as an engine that is killed. */
void scripted_server_drop(ScriptedServer *server);
/* An engine that is stopped (SIGSTOP), or not there yet while somebody listens for it: connections are made,
 * and nothing is accepted, read or sent until it is resumed. */
void scripted_server_suspend(ScriptedServer *server, bool suspended);
/* Sends on the connection of the last request that fits. */
void scripted_server_send(ScriptedServer *server, const char *request, const char *data);

#define REPLY(status, headers, body) "HTTP/1.1 " status "\r\n" headers "\r\n" body
#define REPLY_EMPTY(status) REPLY(status, "Content-Length: 0\r\n", "")
/* Ended by closing, so that nobody counts. */
#define REPLY_BODY(status, body) REPLY(status, "Connection: close\r\n", body)
#define RULE_PING \
        { "GET /_ping", REPLY("200 OK", "Api-Version: 1.41\r\nContent-Length: 2\r\n", "OK"), .times = 0 }
