#pragma once

/* Further: the further ports of a stack while it wakes and is awake. The wake does not wait for them: each is given to its own container when
 * that accepts, and until then its clients are held. */

#include "command/environment.h"
#include "wake/stack.h"

typedef struct Further Further;

/* One accepts now, or does not any more. */
typedef void (*FurtherHandler)(Further *further, void *userdata);

/* `stack`, `root` and `environment` are borrowed. */
int further_new(Further **ret, sd_event *event, Stack *stack, const char *root, const Environment *environment,
                FurtherHandler handler, void *userdata);
Further *further_free(Further *further);
DEFINE_CLEANUP(Further *, further_free);

/* Which there are, and whose, by the containers' last looks. -ENOMEM. */
int further_resolve(Further *further);
/* Asks those whose containers run and are not known to accept; of who has ended it is not known any more. `believe`: what runs accepts, since it
 * did before this process began. */
void further_look(Further *further, bool believe);

/* Adds the ports to what is lifted, and to what is drained. */
void further_add_published(const Further *further, Inner *inner);
void further_add_forwarded(const Further *further, Inner *inner);
/* Has somebody come by one of them who is not with its container yet? See inner_is_on_its_way(). */
bool further_is_on_its_way(const Further *further, uint64_t silence_usec);

int further_describe(const Further *further, Status *status);
