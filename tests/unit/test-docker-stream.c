#include "command/docker-stream.h"
#include "test.h"

#define FRAME(type, size, text) type "\0\0\0\0\0" size text

static void test_frames_split_anywhere(void) {
        static const char data[] =
                        FRAME("\1", "\0\4", "out\n") FRAME("\2", "\0\0", "") FRAME("\2", "\0\4", "err\n");

        for (size_t split = 0; split < sizeof(data); split++) {
                _cleanup_free_ char *text = NULL;
                DockerStream stream = {};

                docker_stream_feed(&stream, data, split);
                docker_stream_feed(&stream, data + split, sizeof(data) - 1 - split);
                text = docker_stream_text(&stream);
                ASSERT_STREQ(text, "out\nerr\n");
        }
}

static void test_bytes_without_frames(void) {
        static const char *const texts[] = { "", "plain\n", "\x01plain", "\x03\x02", "\x01" };
        static const char *const expected[] = { "", "plain\n", " plain", "  ", "" };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_free_ char *text = NULL;
                DockerStream stream = {};

                for (const char *byte = texts[i]; *byte; byte++)
                        docker_stream_feed(&stream, byte, 1);
                text = docker_stream_text(&stream);
                ASSERT_STREQ(text, expected[i]);
        }
}

static void test_only_the_end_is_kept(void) {
        _cleanup_free_ char *text = NULL;
        DockerStream stream = { .raw = true };
        static char big[3 * DOCKER_STREAM_KEPT];

        memset(big, 'x', sizeof(big));
        docker_stream_feed(&stream, "first\n", 6);
        docker_stream_feed(&stream, big, sizeof(big));
        docker_stream_feed(&stream, "\nlast one\n", 10);
        text = docker_stream_text(&stream);
        ASSERT_STREQ(text, "last one\n");
}

static void test_a_frame_that_never_ends(void) {
        _cleanup_free_ char *text = NULL;
        DockerStream stream = {};

        docker_stream_feed(&stream,
                           "\1\0\0\0\xff\xff\xff\xff"
                           "abc",
                           11);
        text = docker_stream_text(&stream);
        ASSERT_STREQ(text, "abc");
}

int main(void) {
        test_frames_split_anywhere();
        test_bytes_without_frames();
        test_only_the_end_is_kept();
        test_a_frame_that_never_ends();
        return 0;
}
