#pragma once

/* Front stage: the whole program wakechain-front, started as PID 1 would start it, between clients, a waker, a web
 * service and a backend that are all played by the test. Every step waits for what it expects to see; RECEIVE_SEC is
 * only for when it does not come. */

#include <sys/resource.h>

#include "test.h"

#define RECEIVE_SEC 20

typedef struct Stage {
        char folder[64], control_path[128], listen_path[128], backend_path[128], page_path[128], status_path[128];
        int control; /* listening, like wake-control@.socket */
        int listener; /* passed to the front */
        int backend; /* listening, or bound only */
        int web; /* like wakechain-page.socket; there is none unless web_listen() made it */
        char backend_address[160];
        pid_t front;
        bool is_unix;
        char notify_path[128];
        bool ready;
        int notify; /* PID 1's, once stage_manage() was called */
        struct {
                char name[64];
                int fd;
        } kept[32]; /* what PID 1 keeps for the front */
        size_t n_kept, n_notified; /* messages about what it is to keep */
        int n_strays; /* descriptors that the front has and does not know of */
} Stage;

extern const char *stage_program;

void stage_open(Stage *stage, bool is_unix, bool backend_listens);
/* `nofile`: RLIMIT_NOFILE; 0: as it is. */
void stage_start(Stage *stage, rlim_t nofile, const char *option);
void stage_start_with(Stage *stage, rlim_t nofile, const char *const *options);
void stage_close(Stage *stage);

/* PID 1's side: keeps descriptors for the front, and gives them to the next one that is started. */
void stage_manage(Stage *stage);
/* Looks what the front has said until now. */
void stage_listen(Stage *stage);
/* -EBADF: there is none. Borrowed. */
int stage_kept(const Stage *stage, const char *name);
/* Kills the front, and starts the next one; or only the first half. */
void stage_kill(Stage *stage, int signal);
void stage_end(Stage *stage, int signal);
/* What the waker has written last; there is no file before. */
void stage_write_status(Stage *stage, const char *state);

int tcp_socket(bool listening);
uint16_t port_of(int fd);
int accept_one(int listener);
bool nobody_waits(int listener);

int client_connect(Stage *stage);
/* A client that is served from the start. */
int serve_one(Stage *stage, int *ret_waker, int *ret_backend);

void send_all(int fd, const void *data, size_t size);
void send_text(int fd, const char *text);
void reset(int fd);
void expect_text(int fd, const char *text);
void expect_end(int fd);
void expect_reset(int fd);
void expect_echo(int client, int backend);
/* Without names of parts, and from the front itself. */
void expect_503(int fd, bool body);

/* The waker's side: takes the call of Hold. */
int waker_accept(Stage *stage);
void waker_status(int fd, const char *state, const char *backend);
/* The same with a further port. */
void waker_status_with_port(int fd, const char *state, const char *backend, uint16_t port, bool accepts,
                            const char *port_backend);
void waker_fail(int fd);

/* The web service's side. Receives one client of "demo". */
void web_listen(Stage *stage);
int web_receive(int fd);
int web_receive_in_pause(int fd);
void web_answer(int fd, const char *answer);
