#include <stdio.h>

#include "fake-port-redirect.h"
#include "test.h"
#include "wake/port-redirect.h"

/* FakePortRedirect: one at a time. */

struct FakePortRedirect fake_port_redirect;

struct PortRedirect {
        PortRedirectHandler handler;
        void *userdata;
        sd_event_source *moved;
};

void fake_port_redirect_forget(void) {
        fake_port_redirect = (struct FakePortRedirect){};
}

static int port_redirect_on_moved(sd_event_source *source, void *userdata) {
        PortRedirect *redirect = ASSERT_PTR(userdata);

        redirect->handler(redirect, fake_port_redirect.error, redirect->userdata);
        return 0;
}

int port_redirect_new(PortRedirect **ret, sd_event *event, const Service *service, const char *root,
                      PortRedirectHandler handler, void *userdata) {
        PortRedirect *redirect = new0(PortRedirect, 1);

        ASSERT_TRUE(redirect != NULL);
        *redirect = (PortRedirect){ .handler = handler, .userdata = userdata };
        ASSERT_OK(sd_event_add_defer(event, &redirect->moved, port_redirect_on_moved, redirect));
        ASSERT_OK(sd_event_source_set_enabled(redirect->moved, SD_EVENT_OFF));
        *ret = redirect;
        return 0;
}

PortRedirect *port_redirect_free(PortRedirect *redirect) {
        if (!redirect)
                return NULL;

        sd_event_source_disable_unref(redirect->moved);
        return mfree(redirect);
}

void port_redirect_prepare(PortRedirect *redirect) {
}

static void port_redirect_move(PortRedirect *redirect, const char *move) {
        size_t n = strlen(fake_port_redirect.moves);

        (void) snprintf(fake_port_redirect.moves + n, sizeof(fake_port_redirect.moves) - n, "%s%s",
                        n > 0 ? " " : "", move);
        ASSERT_OK(sd_event_source_set_enabled(redirect->moved, SD_EVENT_ONESHOT));
}

void port_redirect_lift(PortRedirect *redirect, Inner *inner) {
        inner_done(inner);
        port_redirect_move(redirect, "lift");
}

void port_redirect_spare(PortRedirect *redirect, Inner *inner) {
        inner_done(inner);
}

void port_redirect_restore(PortRedirect *redirect, Inner *inner) {
        if (inner)
                inner_done(inner);
        fake_port_redirect.used = fake_port_redirect.used || fake_port_redirect.used_once_restored;
        port_redirect_move(redirect, "restore");
}

void port_redirect_forget_flows(PortRedirect *redirect) {
}

uint64_t port_redirect_silence(const Service *service) {
        return service->idle_timeout_usec;
}

bool port_redirect_look(PortRedirect *redirect, Inner *inner) {
        inner_done(inner);
        return fake_port_redirect.used;
}
