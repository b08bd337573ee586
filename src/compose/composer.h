#pragma once

/* Composer: makes containers that do not exist, by `docker compose` (v2) or docker-compose (v1) in a project's folder. One
 * run at a time, and one per folder among all wakers (a lock), since two runs of one project make its networks twice.
 *
 * Compose may wait for a registry, or for an engine that hangs, as long as it likes: nothing but composition_free() ends that.
 * What a run that is ended half-way leaves behind (networks, volumes, a container) is what the next one finds. */

#include <systemd/sd-event.h>
#include "command/environment.h"
#include "compose/compose-file.h"
#include "model/status.h"
#include "util/macro.h"

typedef struct Composer Composer;
typedef struct Composition Composition;

/* FAILURE_NONE: the run says that the container exists now; look. Else why not, and a sentence that says what to do.
 * Called once, never from inside composer_create(). The composition may be freed from inside. */
typedef void (*CompositionHandler)(Composition *composition, FailureReason reason, const char *sentence,
                                   void *userdata);
/* Each line that compose prints while it makes something, or that it fails with before that; printable, as it comes. No
 * composition may be freed from inside. */
typedef void (*ComposerLineHandler)(const char *line, void *userdata);

/* `folder` is the service's composeDir, borrowed like `environment`. */
int composer_new(Composer **ret, sd_event *event, const char *root, const char *folder,
                 const Environment *environment, ComposerLineHandler on_line, void *userdata);
Composer *composer_free(Composer *composer); /* all its compositions must have been freed */
DEFINE_CLEANUP(Composer *, composer_free);
/* Which engine compose talks to, unless the environment has a DOCKER_HOST; without this, its default. Copied. */
int composer_set_engine(Composer *composer, const char *socket_path);

/* Makes this container, without starting it, and nothing else but the networks and volumes that it needs, and the container whose
 * namespace it shares. `anew`: one that exists is replaced, else it is left. */
int composer_create(Composition **ret, Composer *composer, const char *container, bool anew,
                    CompositionHandler handler, void *userdata);
/* Looks what the project consists of, and makes nothing. */
int composer_look(Composition **ret, Composer *composer, CompositionHandler handler, void *userdata);
/* The answer, for the handler of composer_look(); the caller's. NULL: see the reason. */
ComposeFile *composition_take_file(Composition *composition);
/* Cancels: what runs is ended. */
Composition *composition_free(Composition *composition);
DEFINE_CLEANUP(Composition *, composition_free);
