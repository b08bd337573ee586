#include "config/config.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"
#include "wake/port-redirect.h"

/* PortRedirect: one nftables transaction per move, under the lock that `wakechain-redirect settle` takes while it looks and acts. The lock is
 * never waited for in the call: a timer tries again. Which addresses the port is published on, and whether there is anything to be
 * redirected to, is settle's: a service that is not in the table has no socket that listens, and its redirect does not move. */

#define LOCK_RETRY (2 * USEC_PER_MSEC)
#define SILENCE_MIN (15 * USEC_PER_MINUTE)
#define FLUSHED_PATIENCE (2 * USEC_PER_SEC)

struct PortRedirect {
        sd_event *event; /* borrowed */
        const Service *service; /* borrowed */
        const char *root; /* borrowed */
        PortRedirectHandler handler;
        void *userdata;

        Redirect *table;
        sd_event_source *timer;
        bool lifting; /* what the move under way is to be */
        uint64_t flushed_until_usec; /* how long the move waits for the table to be made again; 0: it is not waited for */
        bool lifted;
        uint64_t seen_connections;
        uint64_t looked_usec; /* since when datagrams are new */
        Inner inner;
};

int port_redirect_new(PortRedirect **ret, sd_event *event, const Service *service, const char *root,
                      PortRedirectHandler handler, void *userdata) {
        _cleanup_(port_redirect_freep) PortRedirect *redirect = NULL;

        assert(ret);
        assert(service_is_redirected(service));

        redirect = malloc(sizeof(*redirect));
        if (!redirect)
                return -ENOMEM;
        *redirect = (PortRedirect){
                .event = event,
                .service = service,
                .root = root,
                .handler = handler,
                .userdata = userdata,
        };
        *ret = TAKE_PTR(redirect);
        return 0;
}

PortRedirect *port_redirect_free(PortRedirect *redirect) {
        if (!redirect)
                return NULL;

        sd_event_source_disable_unref(redirect->timer);
        redirect_free(redirect->table);
        inner_done(&redirect->inner);
        return mfree(redirect);
}

static int port_redirect_load(PortRedirect *redirect) {
        return redirect->table ? 0 : redirect_new(&redirect->table);
}

void port_redirect_prepare(PortRedirect *redirect) {
        int r;

        r = port_redirect_load(redirect);
        if (r < 0)
                log_debug_errno(r, "Failed to open nftables, trying again when it is needed: %m");
}

static int port_redirect_count(PortRedirect *redirect, RedirectCount *ret) {
        int r = port_redirect_load(redirect);

        *ret = (RedirectCount){ .connections = UINT64_MAX };
        return r < 0 ? r : redirect_count(redirect->table, redirect->service->name, ret);
}

/* Without it, the connections that are held are not translated any more: to answer them would lose them. */
static int port_redirect_wait_for_table(PortRedirect *redirect) {
        uint64_t now_usec = time_now(CLOCK_MONOTONIC);
        int r;

        if (redirect->flushed_until_usec == 0) {
                redirect->flushed_until_usec = now_usec + FLUSHED_PATIENCE;
                r = redirect_ask_to_settle(redirect->root);
                if (r < 0)
                        log_debug_errno(r, "Failed to ask for settling, going on without: %m");
        }
        return now_usec < redirect->flushed_until_usec ? -EAGAIN : 0;
}

static int port_redirect_try(PortRedirect *redirect) {
        _cleanup_close_ int lock = -EBADF;
        int r;

        r = port_redirect_load(redirect);
        if (r < 0)
                return r;
        lock = redirect_lock(redirect->root);
        if (lock == -EAGAIN)
                return lock;
        if (lock < 0)
                log_debug_errno(lock, "Failed to lock the redirects, going on without: %m");
        r = redirect->lifting ? redirect_lift(redirect->table, redirect->service, &redirect->inner)
                              : redirect_up(redirect->table, redirect->service, &redirect->inner);
        if (r != -ENOENT)
                return r;
        /* An administrator who stopped the socket wants a closed port, not a redirect to one. */
        if (!redirect_is_flushed(redirect->table))
                return 0;
        return port_redirect_wait_for_table(redirect);
}

static void port_redirect_finish(PortRedirect *redirect, int error) {
        RedirectCount count;

        if (error < 0)
                log_error_errno(error, "Failed to change the redirect of port %u: %s%s%m", redirect->service->port,
                                redirect->table ? redirect_error(redirect->table) : "",
                                redirect->table ? ": " : "");
        else
                redirect->lifted = redirect->lifting;
        if (error >= 0 && redirect->lifted) {
                (void) port_redirect_count(redirect, &count);
                redirect->seen_connections = count.connections;
                redirect->looked_usec = redirect->looked_usec ?: time_now(CLOCK_MONOTONIC);
        }
        redirect->handler(redirect, MIN(error, 0), redirect->userdata);
}

static int port_redirect_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        PortRedirect *redirect = ASSERT_PTR(userdata);
        int r;

        redirect->timer = sd_event_source_disable_unref(redirect->timer);
        r = port_redirect_try(redirect);
        if (r == -EAGAIN)
                r = sd_event_add_time_relative(redirect->event, &redirect->timer, CLOCK_MONOTONIC, LOCK_RETRY, 1,
                                               port_redirect_on_timer, redirect);
        else {
                port_redirect_finish(redirect, r);
                return 0;
        }
        if (r < 0)
                port_redirect_finish(redirect, r);
        return 0;
}

/* Always from the loop, so that the handler is never called from inside the caller's own call. */
static void port_redirect_start(PortRedirect *redirect, bool lifting) {
        int r;

        redirect->lifting = lifting;
        redirect->flushed_until_usec = 0;
        redirect->timer = sd_event_source_disable_unref(redirect->timer);
        r = sd_event_add_time_relative(redirect->event, &redirect->timer, CLOCK_MONOTONIC, 0, 1,
                                       port_redirect_on_timer, redirect);
        if (r < 0)
                port_redirect_finish(redirect, r);
}

static void port_redirect_take_inner(PortRedirect *redirect, Inner *inner) {
        inner_done(&redirect->inner);
        redirect->inner = *inner;
        *inner = (Inner){};
}

void port_redirect_lift(PortRedirect *redirect, Inner *inner) {
        port_redirect_take_inner(redirect, inner);
        port_redirect_start(redirect, true);
}

void port_redirect_restore(PortRedirect *redirect, Inner *inner) {
        port_redirect_take_inner(redirect, inner ?: &(Inner){});
        port_redirect_start(redirect, false);
}

void port_redirect_spare(PortRedirect *redirect, Inner *inner) {
        if (!inner_equal(inner, &redirect->inner))
                port_redirect_restore(redirect, inner);
        inner_done(inner);
}

void port_redirect_forget_flows(PortRedirect *redirect) {
        int r = port_redirect_load(redirect);

        if (r >= 0)
                r = redirect_forget_flows(redirect->table, redirect->service);
        if (r < 0)
                log_debug_errno(r, "Failed to have flows of UDP begin anew, leaving that to settling: %m");
}

/* Then clients of that one come by the front until this waker has ended. */
static bool port_redirect_has_another_port(const PortRedirect *redirect) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(config_freep) Config *config = NULL;
        const Service *service;

        if (config_load_or_remembered(&config, redirect->root, &problems) < 0)
                return false;
        service = config_find(config, redirect->service->name);
        return service && service->port != redirect->service->port;
}

uint64_t port_redirect_silence(const Service *service) {
        return MAX(service->idle_timeout_usec, SILENCE_MIN);
}

bool port_redirect_look(PortRedirect *redirect, Inner *inner) {
        bool changed = !inner_equal(inner, &redirect->inner), used;
        const uint64_t now_usec = time_now(CLOCK_MONOTONIC);
        RedirectCount count;

        (void) port_redirect_count(redirect, &count);
        if (redirect->lifted && count.up && port_redirect_has_another_port(redirect))
                redirect->lifted = false;
        /* A table that was made anew knows neither the container's own address nor whom not to count. */
        if (redirect->lifted &&
            (count.up || count.bare || changed || count.connections < redirect->seen_connections))
                port_redirect_lift(redirect, inner);
        else
                port_redirect_take_inner(redirect, inner);
        used = count.connections != redirect->seen_connections || count.connections == UINT64_MAX;
        redirect->seen_connections = count.connections;
        used = used || inner_has_datagrams(&redirect->inner, redirect->service->ignore_addresses,
                                           usec_sub(now_usec, redirect->looked_usec)) != 0;
        redirect->looked_usec = now_usec;
        return used || inner_is_used(&redirect->inner, redirect->service->ignore_addresses,
                                     port_redirect_silence(redirect->service)) != 0;
}
