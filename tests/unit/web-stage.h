#pragma once

/* Web stage: the whole program wakechain-web, started as PID 1 would start it, between browsers, fronts and wakers that are all played by the
 * test. Every step waits for what it expects to see; the time limit of sockets is only for when it does not come. */

#include <netinet/in.h>
#include "test.h"

typedef struct WebStage {
        char root[64];
        int tcp, local, pages; /* listening, passed to the program */
        pid_t program;
} WebStage;

/* Path of wakechain-web. */
extern const char *web_stage_program;

/* Three services, "clemence" (mysql, wordpress), "secret" (one, `details` false) and "third"; and whatever is in the other file. */
void web_stage_open(WebStage *stage);
/* Replaces the configuration. */
void web_stage_configure(WebStage *stage, const char *text);
/* `options` ends with NULL. */
void web_stage_start(WebStage *stage, const char *const *options);
/* The program ends by itself. */
void web_stage_wait(WebStage *stage);
void web_stage_close(WebStage *stage);
/* The most that it had, in KiB; and whether that says anything. */
unsigned web_stage_memory_kb(const WebStage *stage);
bool web_is_sanitized(void);

/* As its waker would. The text is JSON in which ' stands for ". */
void web_stage_set_status(WebStage *stage, const char *service, const char *text);
/* state, and those of the two parts: "waking", "ready", "starting". The wake began `msec` ago. */
void web_stage_set_clemence(WebStage *stage, const char *state, const char *mysql, const char *wordpress,
                            unsigned msec);
void web_stage_remove_status(WebStage *stage, const char *service);
/* A waker's control socket, listening. */
int web_stage_control(WebStage *stage, const char *service);

int web_connect_tcp(WebStage *stage);
int web_connect_tcp_from(WebStage *stage, in_addr_t address);
int web_connect_local(WebStage *stage);
/* A front's connection. */
int web_connect_pages(WebStage *stage);
/* A pair of connected TCP sockets: a visitor, and what his front has of him. Each has an address of his own, or that one. */
void web_visitor(int *ret_visitor, int *ret_front);
void web_visitor_from(in_addr_t address, int *ret_visitor, int *ret_front);
/* Offers a client as a front would, without waiting for the answer. */
void web_offer(int pages, const char *service, int fd);
/* Passes a client as a front would; the answer. Closes the descriptor. */
char web_pass(int pages, const char *service, int fd);
/* A new visitor of that service, taken over by the program. */
int web_pass_visitor(WebStage *stage, const char *service);

void web_send(int fd, const char *text);
/* Reads on until the text is there; all that was read since the last call that this one ends with. The caller frees. */
char *web_read_until(int fd, const char *text);
char *web_read_to_end(int fd);
/* Sends, and reads to the end of the connection: the request is to have "Connection: close", or to be refused. */
char *web_ask(int fd, const char *request);
/* One request on a connection of its own: the answer has to begin with that status line, and contain the text unless NULL. */
void web_expect(int fd, const char *request, const char *status, const char *text);
