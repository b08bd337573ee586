#include <stdio.h>
#include <unistd.h>

#include "engine-fixture.h"
#include "test.h"

sd_event *event;
char socket_path[64];

void fixture_begin(const char *name) {
        (void) snprintf(socket_path, sizeof(socket_path), "%s/test-%s-%d.sock", getenv("TMPDIR") ?: "/tmp", name,
                        getpid());
        ASSERT_OK(sd_event_new(&event));
}

void fixture_quit(void) {
        event = sd_event_unref(event);
}

Fixture fixture_new(const ScriptedRule *rules, size_t n_rules) {
        Fixture fixture = { .server = scripted_server_new(event, socket_path, rules, n_rules) };

        ASSERT_OK(engine_new(&fixture.engine, event, socket_path));
        return fixture;
}

void fixture_done(Fixture *fixture) {
        engine_free(fixture->engine);
        scripted_server_free(fixture->server);
}

void on_reply(EngineCall *call, EngineReply *reply, void *userdata) {
        Reply *kept = userdata;

        ASSERT_FALSE(kept->ended);
        ASSERT_TRUE(reply->message);
        ASSERT_NULL(strchr(reply->message, '\n'));
        /* The reply outlives the call. */
        kept->call = engine_call_free(kept->call);
        kept->ended = true;
        kept->outcome = reply->outcome;
        kept->info = TAKE_PTR(reply->info);
        kept->exit_code = reply->exit_code;
        (void) snprintf(kept->message, sizeof(kept->message), "%s", reply->message);
        (void) snprintf(kept->output, sizeof(kept->output), "%s", strempty(reply->output));
        kept->listed = TAKE_PTR(reply->listed);
        kept->n_listed = reply->n_listed;
}

void reply_done(Reply *reply) {
        reply->call = engine_call_free(reply->call);
        reply->info = container_info_free(reply->info);
        if (reply->listed)
                listed_containers_free(TAKE_PTR(reply->listed), reply->n_listed);
}

void run_until(const bool *done) {
        while (!*done)
                ASSERT_OK(sd_event_run(event, TIMEOUT));
}

Reply start(Engine *engine, const char *container, uint64_t timeout_usec) {
        Reply reply = {};

        ASSERT_OK(engine_start(&reply.call, engine, container, timeout_usec, on_reply, &reply));
        ASSERT_FALSE(reply.ended);
        run_until(&reply.ended);
        return reply;
}

Reply inspect(Engine *engine, const char *container, uint64_t timeout_usec) {
        Reply reply = {};

        ASSERT_OK(engine_inspect(&reply.call, engine, container, timeout_usec, on_reply, &reply));
        run_until(&reply.ended);
        return reply;
}
