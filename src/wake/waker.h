#pragma once

/* Waker: wakes one service, holds it awake, and puts it to sleep again. */

#include <systemd/sd-event.h>
#include "command/environment.h"
#include "model/service.h"

typedef struct Waker Waker;

typedef struct WakerOptions {
        const char *root; /* "" outside of tests */
        int control_fd; /* listening; -EBADF: nobody can hold */
        const Environment *environment; /* of health commands */
} WakerOptions;

/* `config` and the service in it are borrowed. */
int waker_new(Waker **ret, sd_event *event, const Config *config, const Service *service,
              const WakerOptions *options);
Waker *waker_free(Waker *waker);
DEFINE_CLEANUP(Waker *, waker_free);

/* A lock that the descriptor store kept over a crash. Takes the fd in any case. */
void waker_adopt_descriptor(Waker *waker, const char *fdname, int fd);

/* Begins. From then on everything happens in the event loop, which ends with sd_event_exit(): 0 asleep again, 1 the wake has
 * failed. */
int waker_run(Waker *waker);

/* SIGTERM: puts the stack to sleep, in whatever phase the waker is. */
void waker_stop(Waker *waker);

/* READY=1 was sent, and nothing has gone since. */
bool waker_is_awake(const Waker *waker);
/* Makes good what has become of its files. It does so by itself now and then. */
void waker_mend(Waker *waker);
