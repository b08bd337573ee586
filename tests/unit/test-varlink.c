#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/varlink.h"
#include "test.h"

typedef struct Peer {
        Varlink *varlink;
        unsigned n_messages;
        char last[4096];
        bool ended;
        int error;
        bool free_on_message, free_on_end;
        const char *reply; /* sent for each message */
} Peer;

static void peer_on_message(Varlink *varlink, json_object *message, void *userdata) {
        Peer *peer = userdata;

        ASSERT_TRUE(json_object_is_type(message, json_type_object));
        peer->n_messages++;
        snprintf(peer->last, sizeof(peer->last), "%s",
                 json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        if (peer->reply)
                ASSERT_OK(varlink_error(varlink, peer->reply, NULL));
        if (peer->free_on_message)
                peer->varlink = varlink_free(peer->varlink);
}

static void peer_on_end(Varlink *varlink, int error, void *userdata) {
        Peer *peer = userdata;

        ASSERT_FALSE(peer->ended);
        peer->ended = true;
        peer->error = error;
        if (peer->free_on_end)
                peer->varlink = varlink_free(peer->varlink);
}

static int stage(sd_event **ret_event, Peer *peer) {
        int pair[2];

        ASSERT_OK(sd_event_new(ret_event));
        ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
        ASSERT_OK(varlink_new(&peer->varlink, *ret_event, pair[0], peer_on_message, peer_on_end, peer));
        ASSERT_EQ(varlink_fd(peer->varlink), pair[0]);
        return pair[1];
}

static void run_until_idle(sd_event *event) {
        while (sd_event_run(event, 0) > 0)
                ;
}

static void finish(sd_event *event, Peer *peer, int fd) {
        varlink_free(peer->varlink);
        if (fd >= 0)
                close(fd);
        sd_event_unref(event);
}

static void test_messages_arrive_whole_however_cut(void) {
        static const char text[] =
                        "{\"method\":\"a\"}\0{\"method\":\"b\",\"parameters\":{\"x\":[1,2]},\"more\":true}";

        for (size_t piece = 1; piece <= sizeof(text); piece++) {
                sd_event *event;
                Peer peer = {};
                int fd = stage(&event, &peer);

                for (size_t done = 0; done < sizeof(text); done += piece) {
                        ASSERT_TRUE(write(fd, text + done, MIN(piece, sizeof(text) - done)) > 0);
                        run_until_idle(event);
                }
                ASSERT_EQ(peer.n_messages, 2);
                ASSERT_STREQ(peer.last, "{\"method\":\"b\",\"parameters\":{\"x\":[1,2]},\"more\":true}");
                ASSERT_FALSE(peer.ended);
                finish(event, &peer, fd);
        }
}

static void test_calls_and_replies_are_written(void) {
        sd_event *event;
        Peer peer = {};
        int fd = stage(&event, &peer);
        json_object *parameters = json_tokener_parse("{\"path\":\"/a/b\"}");
        char text[256] = {};

        ASSERT_OK(varlink_call(peer.varlink, "io.wakechain.Hold", NULL, true));
        ASSERT_TRUE(read(fd, text, sizeof(text)) > 0);
        ASSERT_STREQ(text, "{\"method\":\"io.wakechain.Hold\",\"parameters\":{},\"more\":true}");
        ASSERT_OK(varlink_reply(peer.varlink, parameters, true));
        ASSERT_TRUE(read(fd, text, sizeof(text)) > 0);
        ASSERT_STREQ(text, "{\"parameters\":{\"path\":\"/a/b\"},\"continues\":true}");
        ASSERT_OK(varlink_reply(peer.varlink, NULL, false));
        ASSERT_TRUE(read(fd, text, sizeof(text)) > 0);
        ASSERT_STREQ(text, "{\"parameters\":{}}");
        ASSERT_OK(varlink_error(peer.varlink, "io.wakechain.WakeFailed", parameters));
        ASSERT_TRUE(read(fd, text, sizeof(text)) > 0);
        ASSERT_STREQ(text, "{\"error\":\"io.wakechain.WakeFailed\",\"parameters\":{\"path\":\"/a/b\"}}");
        json_object_put(parameters);
        finish(event, &peer, fd);
}

static void test_no_object_ends_it(void) {
        static const struct {
                const char *text;
                size_t size;
        } cases[] = {
                { "", 1 },     { "[]", 3 },   { "{", 2 },
                { "{} x", 5 }, { "{}{}", 5 }, { "nonsense", 9 },
                { "1", 2 },    { "null", 5 }, { "{\"a\":\"\xff\"}", 10 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                sd_event *event;
                Peer peer = { .free_on_end = i % 2 };
                int fd = stage(&event, &peer);

                ASSERT_TRUE(write(fd, cases[i].text, cases[i].size) > 0);
                run_until_idle(event);
                if (!peer.ended || peer.n_messages > 0)
                        TEST_FAIL("case %zu was taken", i);
                ASSERT_EQ(peer.error, -EBADMSG);
                finish(event, &peer, fd);
        }
}

static void test_deep_nesting_ends_it(void) {
        sd_event *event;
        Peer peer = {};
        int fd = stage(&event, &peer);
        char text[1001];

        memset(text, '[', sizeof(text));
        memcpy(text, "{\"a\":", 5);
        text[1000] = '\0';
        ASSERT_TRUE(write(fd, text, sizeof(text)) > 0);
        run_until_idle(event);
        ASSERT_EQ(peer.error, -EBADMSG);
        finish(event, &peer, fd);
}

static void test_message_without_end_ends_it(void) {
        sd_event *event;
        Peer peer = {};
        int fd = stage(&event, &peer);
        char text[8192];

        memset(text, ' ', sizeof(text));
        for (size_t sent = 0; sent < VARLINK_MESSAGE_MAX; sent += sizeof(text)) {
                ASSERT_FALSE(peer.ended);
                ASSERT_TRUE(write(fd, text, sizeof(text)) == sizeof(text));
                run_until_idle(event);
        }
        ASSERT_FALSE(peer.ended);
        ASSERT_TRUE(write(fd, text, 1) == 1);
        run_until_idle(event);
        ASSERT_TRUE(peer.ended);
        ASSERT_EQ(peer.error, -EMSGSIZE);
        finish(event, &peer, fd);
}

static void test_peer_that_does_not_read(void) {
        sd_event *event;
        Peer peer = {};
        int fd = stage(&event, &peer), r = 0;
        json_object *parameters = json_object_new_object();
        _cleanup_free_ char *large = calloc(1, 200001);

        memset(large, 'x', 200000);
        json_object_object_add(parameters, "large", json_object_new_string(large));
        for (int i = 0; i < 100 && r >= 0; i++)
                r = varlink_reply(peer.varlink, parameters, true);
        ASSERT_EQ(r, -ENOBUFS);
        ASSERT_FALSE(peer.ended); /* never from inside a call */
        ASSERT_ERROR(varlink_reply(peer.varlink, parameters, true), ENOBUFS);
        run_until_idle(event);
        ASSERT_TRUE(peer.ended);
        ASSERT_EQ(peer.error, -ENOBUFS);
        json_object_put(parameters);
        finish(event, &peer, fd);
}

static void test_slow_reader_gets_everything(void) {
        sd_event *event;
        Peer peer = {};
        int fd = stage(&event, &peer);
        json_object *parameters = json_object_new_object();
        _cleanup_free_ char *large = calloc(1, 100001);
        size_t nuls = 0, size = 0;

        memset(large, 'x', 100000);
        json_object_object_add(parameters, "large", json_object_new_string(large));
        for (int i = 0; i < 20; i++)
                ASSERT_OK(varlink_reply(peer.varlink, parameters, true));
        for (;;) {
                char piece[7000];
                ssize_t n = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);

                for (ssize_t i = 0; i < n; i++)
                        nuls += piece[i] == '\0';
                size += (size_t) MAX(n, 0);
                if (n <= 0 && sd_event_run(event, 0) == 0)
                        break;
        }
        ASSERT_EQ(nuls, 20);
        ASSERT_TRUE(size > 20 * 100000);
        json_object_put(parameters);
        finish(event, &peer, fd);
}

static void test_last_words_are_read(void) {
        sd_event *event;
        Peer peer = {};
        int fd = stage(&event, &peer);

        /* The peer answers, and is gone before we have called. */
        ASSERT_TRUE(write(fd, "{\"error\":\"x\"}", 14) == 14);
        ASSERT_OK(close(fd));
        ASSERT_OK(varlink_call(peer.varlink, "io.wakechain.Hold", NULL, true));
        run_until_idle(event);
        ASSERT_STREQ(peer.last, "{\"error\":\"x\"}");
        ASSERT_TRUE(peer.ended);
        ASSERT_EQ(peer.error, 0);
        ASSERT_ERROR(varlink_call(peer.varlink, "io.wakechain.Hold", NULL, true), ENOTCONN);
        finish(event, &peer, -EBADF);
}

static void test_freed_from_inside(void) {
        sd_event *event;
        Peer peer = { .free_on_message = true, .reply = "bye" };
        int fd = stage(&event, &peer);
        char text[64] = {};

        ASSERT_TRUE(write(fd, "{}\0{}", 6) == 6);
        run_until_idle(event);
        ASSERT_EQ(peer.n_messages, 1);
        ASSERT_FALSE(peer.ended);
        ASSERT_TRUE(read(fd, text, sizeof(text)) > 0);
        ASSERT_STREQ(text, "{\"error\":\"bye\",\"parameters\":{}}");
        ASSERT_EQ(read(fd, text, sizeof(text)), 0);
        finish(event, &peer, fd);
}

static void test_connect(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char folder[] = "/tmp/test-varlink-XXXXXX", path[128];
        sd_event *event;
        Peer peer = {}, other = {};
        int listener, r = 0;

        ASSERT_TRUE(mkdtemp(folder));
        snprintf(path, sizeof(path), "%s/socket", folder);
        strcpy(address.sun_path, path);
        ASSERT_OK(sd_event_new(&event));
        ASSERT_ERROR(varlink_connect(&peer.varlink, event, path, peer_on_message, peer_on_end, &peer), ENOENT);

        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_OK(bind(listener, (struct sockaddr *) &address, sizeof(address)));
        ASSERT_ERROR(varlink_connect(&peer.varlink, event, path, peer_on_message, peer_on_end, &peer),
                     ECONNREFUSED);
        ASSERT_OK(listen(listener, 0));
        ASSERT_OK(varlink_connect(&peer.varlink, event, path, peer_on_message, peer_on_end, &peer));
        r = varlink_connect(&other.varlink, event, path, peer_on_message, peer_on_end, &other);
        ASSERT_EQ(r, -EAGAIN);

        varlink_free(peer.varlink);
        close(listener);
        ASSERT_OK(unlink(path));
        ASSERT_OK(rmdir(folder));
        sd_event_unref(event);
}

int main(void) {
        test_messages_arrive_whole_however_cut();
        test_calls_and_replies_are_written();
        test_no_object_ends_it();
        test_deep_nesting_ends_it();
        test_message_without_end_ends_it();
        test_peer_that_does_not_read();
        test_slow_reader_gets_everything();
        test_last_words_are_read();
        test_freed_from_inside();
        test_connect();
        return 0;
}
