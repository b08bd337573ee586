#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"
#include "wake/door.h"
#include "wake/record.h"

/* Door: one nftables transaction per move, under the lock that wakechain-redirect takes to rebuild the whole table. The lock is
 * never waited for in the call: a timer tries again. */

#define LOCK_RETRY (2 * USEC_PER_MSEC)

typedef int (*DoorMove)(Redirect *redirect, const Service *service, const RedirectBindings *bindings);

struct Door {
        sd_event *event; /* borrowed */
        const Service *service; /* borrowed */
        const char *root; /* borrowed */
        DoorHandler handler;
        void *userdata;

        Redirect *redirect;
        RedirectBindings bindings;
        sd_event_source *timer;
        DoorMove move;
        bool open;
        char rival[SERVICE_NAME_MAX + 1]; /* who has the port instead, as it was said last */
        uint64_t seen_connections;
        AddressPrefix own[DOOR_OWN_MAX];
        size_t n_own;
        AddressPrefix *ignored; /* own, once it is known, and the service's */
};

int door_new(Door **ret, sd_event *event, const Service *service, const char *root, DoorHandler handler,
             void *userdata) {
        _cleanup_(door_freep) Door *door = NULL;
        int r;

        assert(ret);
        assert(service_is_redirected(service));

        door = malloc(sizeof(*door));
        if (!door)
                return -ENOMEM;
        *door = (Door){
                .event = event,
                .service = service,
                .root = root,
                .handler = handler,
                .userdata = userdata,
        };
        r = redirect_bindings_load(&door->bindings, root, service->name);
        if (r < 0)
                return r;
        door->ignored = new0(AddressPrefix, DOOR_OWN_MAX + strv_length(service->ignore_addresses));
        if (!door->ignored)
                return -ENOMEM;
        *ret = TAKE_PTR(door);
        return 0;
}

Door *door_free(Door *door) {
        if (!door)
                return NULL;

        sd_event_source_disable_unref(door->timer);
        redirect_bindings_done(&door->bindings);
        redirect_free(door->redirect);
        free(door->ignored);
        return mfree(door);
}

static int door_load(Door *door) {
        return door->redirect ? 0 : redirect_new(&door->redirect);
}

void door_prepare(Door *door) {
        int r;

        r = door_load(door);
        if (r < 0)
                log_debug_errno(r, "Failed to open nftables, trying again when it is needed: %m");
}

void door_set_bindings(Door *door, RedirectBindings *bindings) {
        int r;

        if (!bindings->known)
                return;

        r = redirect_bindings_save(bindings, door->root, door->service->name);
        if (r < 0)
                log_warning_errno(r, "Failed to keep the addresses that %s is published on, ignoring: %m",
                                  door->service->name);
        redirect_bindings_done(&door->bindings);
        door->bindings = *bindings;
        *bindings = (RedirectBindings){};
}

/* UINT64_MAX: cannot be told. `ret_shut`: the table has it closed. */
static uint64_t door_count(Door *door, bool *ret_shut) {
        uint64_t connections;
        int r;

        r = redirect_count(door->redirect, door->service->name, &connections, ret_shut);
        if (r < 0)
                *ret_shut = false;
        return r < 0 ? UINT64_MAX : connections;
}

static int door_try(Door *door) {
        _cleanup_close_ int lock = -EBADF;
        RedirectBindings bindings; /* borrows the door's */
        int r;

        r = door_load(door);
        if (r < 0)
                return r;
        lock = redirect_lock(door->root);
        if (lock == -EAGAIN)
                return lock;
        /* An administrator who stopped the socket wants a closed port, not a redirect to one. */
        if (door->move == redirect_up && !redirect_is_marked(door->root, door->service->name))
                return 0;
        if (lock < 0)
                log_debug_errno(lock, "Failed to lock the redirects, going on without: %m");

        bindings = door->bindings;
        bindings.uncounted = door->own;
        bindings.n_uncounted = door->n_own;
        return door->move(door->redirect, door->service, &bindings);
}

/* Only when it opens: while a stack sleeps, wakechain-redirect is the one who says so. */
static void door_tell_rival(Door *door) {
        const char *rival = redirect_rival(door->redirect);

        if (streq(door->rival, rival))
                return;
        strcpy(door->rival, rival);
        if (isempty(rival))
                return;
        record_service(LOG_WARNING, WAKECHAIN_MESSAGE_PORT_SHARED, SERVICE_WAKING, FAILURE_NONE,
                       "port %u of %s is published by '%s' on the same address, too, which had it first: its clients go on "
                       "reaching '%s'. Publish one of them on another port, or give it a 'listen' address in "
                       "dependencies.json",
                       door->service->port, door->service->name, rival, rival);
}

static void door_finish(Door *door, int error) {
        bool shut;

        if (error < 0)
                log_error_errno(error, "Failed to change the redirect of port %u: %s%s%m", door->service->port,
                                door->redirect ? redirect_error(door->redirect) : "", door->redirect ? ": " : "");
        else
                door->open = door->move == redirect_lift;
        if (error >= 0 && door->open) {
                door_tell_rival(door);
                door->seen_connections = door_count(door, &shut);
        }
        door->handler(door, MIN(error, 0), door->userdata);
}

static int door_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Door *door = ASSERT_PTR(userdata);
        int r;

        door->timer = sd_event_source_disable_unref(door->timer);
        r = door_try(door);
        if (r == -EAGAIN)
                r = sd_event_add_time_relative(door->event, &door->timer, CLOCK_MONOTONIC, LOCK_RETRY, 1,
                                               door_on_timer, door);
        else {
                door_finish(door, r);
                return 0;
        }
        if (r < 0)
                door_finish(door, r);
        return 0;
}

/* Always from the loop, so that the handler is never called from inside the caller's own call. */
static void door_start(Door *door, DoorMove move) {
        int r;

        door->move = move;
        door->timer = sd_event_source_disable_unref(door->timer);
        r = sd_event_add_time_relative(door->event, &door->timer, CLOCK_MONOTONIC, 0, 1, door_on_timer, door);
        if (r < 0)
                door_finish(door, r);
}

static void door_note_own(Door *door, const AddressPrefix *own, size_t n_own) {
        door->n_own = MIN(n_own, (size_t) DOOR_OWN_MAX);
        if (door->n_own > 0)
                memmove(door->own, own, door->n_own * sizeof(*own));
}

void door_open(Door *door, const AddressPrefix *own, size_t n_own) {
        door_note_own(door, own, n_own);
        door_start(door, redirect_lift);
}

void door_close(Door *door) {
        door_start(door, redirect_up);
}

bool door_is_open(const Door *door) {
        return door->open;
}

/* A connection from one of the stack's own containers to the published port is taken by docker-proxy, which makes another one to the
 * container from the bridge's address: in the container it looks like anybody's. The host's table has the other end. */
static bool door_has_clients(Door *door, pid_t pid, uint16_t port) {
        SocketTable inside, outside = {};
        size_t n = door->n_own;

        memcpy(door->ignored, door->own, n * sizeof(*door->own));
        for (char **address = door->service->ignore_addresses; address && *address; address++)
                if (address_prefix_parse(&door->ignored[n], *address) >= 0)
                        n++;

        if (pid <= 0)
                return false;
        if (socket_table_read(&inside, pid, port, door->ignored, n) < 0)
                return true;
        if (inside.n_established == 0 || n == 0)
                return inside.n_established > 0;
        (void) socket_table_read(&outside, 0, door->service->port, door->ignored, n);
        return inside.n_established > outside.n_ignored;
}

bool door_look(Door *door, pid_t pid, uint16_t port, const AddressPrefix *own, size_t n_own) {
        uint64_t connections;
        bool used, shut;

        connections = door_count(door, &shut);
        /* A rebuild that read our status a moment too early has closed it again; and one at any time has begun to count our own
         * containers, which it does not know. */
        if (door->open && (shut || connections < door->seen_connections))
                door_open(door, own, n_own);
        else
                door_note_own(door, own, n_own);
        used = connections != door->seen_connections || connections == UINT64_MAX;
        door->seen_connections = connections;
        return used || door_has_clients(door, pid, port);
}
