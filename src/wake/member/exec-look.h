#pragma once

/* ExecLook: one look for a command that somebody runs in one of a service's containers (`docker exec`): a backup is use, too. */

#include "wake/member/container.h"

typedef struct ExecLook ExecLook;

typedef enum ExecVerdict {
        EXEC_NONE,
        EXEC_RUNS,
        EXEC_UNKNOWN, /* the engine did not say */
} ExecVerdict;

/* Called once, never from inside exec_look_new(). EXEC_RUNS: `program` (without its arguments, which may be secret) runs in `container`; else
 * both are NULL. The look may be freed from inside. */
typedef void (*ExecLookHandler)(ExecLook *look, ExecVerdict verdict, const char *container, const char *program,
                                void *userdata);

/* `members` are the service's, one for each dependency, borrowed as `context` is. */
int exec_look_new(ExecLook **ret, const MemberContext *context, Member *const *members, ExecLookHandler handler,
                  void *userdata);
ExecLook *exec_look_free(ExecLook *look);
DEFINE_CLEANUP(ExecLook *, exec_look_free);
