#include "engine/event-parser.h"
#include "test.h"

static void feed(EventParser *parser, const char *data) {
        ASSERT_OK(event_parser_feed(parser, data, strlen(data)));
}

#define START "{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"Attributes\":{\"name\":\"db\"}}}"

static void test_objects_split_anywhere(void) {
        static const char text[] = "\n" START " \r\n" START START;

        for (size_t split = 0; split < sizeof(text); split++) {
                _cleanup_(event_parser_freep) EventParser *parser = NULL;
                unsigned n = 0;

                ASSERT_OK(event_parser_new(&parser));
                for (int part = 0; part < 2; part++) {
                        _cleanup_(container_event_done) ContainerEvent event = {};

                        ASSERT_OK(event_parser_feed(parser, part == 0 ? text : text + split,
                                                    part == 0 ? split : sizeof(text) - 1 - split));
                        while (event_parser_next(parser, &event) == 1) {
                                ASSERT_EQ(event.type, CONTAINER_EVENT_START);
                                ASSERT_STREQ(event.container, "db");
                                container_event_done(&event);
                                n++;
                        }
                }
                ASSERT_EQ(n, 3);
        }
}

static void test_what_is_no_event_of_ours_is_passed_over(void) {
        static const char *const texts[] = {
                "{}",
                "{\"Type\":\"container\",\"Action\":\"start\"}",
                "{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":[]}",
                "{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"Attributes\":{\"name\":7}}}",
                "{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"Attributes\":{\"name\":\"../db\"}}}",
                "{\"Type\":\"container\",\"Action\":\"rename\",\"Actor\":{\"Attributes\":{\"name\":\"db\"}}}",
                "{\"Type\":\"volume\",\"Action\":\"start\",\"Actor\":{\"Attributes\":{\"name\":\"db\"}}}",
        };
        _cleanup_(event_parser_freep) EventParser *parser = NULL;
        ContainerEvent event;

        ASSERT_OK(event_parser_new(&parser));
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                feed(parser, texts[i]);
                ASSERT_EQ(event_parser_next(parser, &event), 0);
        }
}

static void test_exit_codes(void) {
        static const struct {
                const char *attributes;
                int exit_code;
        } cases[] = {
                { "\"exitCode\":\"137\"", 137 },
                { "\"containerExitCode\":\"1\"", 1 },
                { "\"exitCode\":\"99999999999999999999\"", 255 },
                { "\"exitCode\":\"x\"", 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(event_parser_freep) EventParser *parser = NULL;
                _cleanup_(container_event_done) ContainerEvent event = {};

                ASSERT_OK(event_parser_new(&parser));
                feed(parser,
                     "{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"Attributes\":{\"name\":\"db\",");
                feed(parser, cases[i].attributes);
                feed(parser, "}}}");
                ASSERT_EQ(event_parser_next(parser, &event), 1);
                ASSERT_EQ(event.type, CONTAINER_EVENT_DIE);
                ASSERT_EQ(event.exit_code, cases[i].exit_code);
        }
}

static void test_signals(void) {
        static const struct {
                const char *attributes;
                int signal;
        } cases[] = {
                { ",\"signal\":\"15\"", 15 },
                { ",\"signal\":\"SIGKILL\"", 9 },
                { ",\"signal\":9", 0 },
                { ",\"signal\":\"-1\"", 0 },
                { "", 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(event_parser_freep) EventParser *parser = NULL;
                _cleanup_(container_event_done) ContainerEvent event = {};

                ASSERT_OK(event_parser_new(&parser));
                feed(parser,
                     "{\"Type\":\"container\",\"Action\":\"kill\",\"Actor\":{\"Attributes\":{\"name\":\"db\"");
                feed(parser, cases[i].attributes);
                feed(parser, "}}}");
                ASSERT_EQ(event_parser_next(parser, &event), 1);
                ASSERT_EQ(event.type, CONTAINER_EVENT_KILL);
                ASSERT_EQ(event.signal, cases[i].signal);
        }
}

static void test_what_is_no_stream_of_events(void) {
        static const char *const texts[] = {
                "[]", "7 ", "\"x\"", "}", "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", /* too deep */
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(event_parser_freep) EventParser *parser = NULL;
                ContainerEvent event;

                ASSERT_OK(event_parser_new(&parser));
                feed(parser, texts[i]);
                ASSERT_ERROR(event_parser_next(parser, &event), EBADMSG);
        }
}

static void test_sizes_are_bounded(void) {
        _cleanup_(event_parser_freep) EventParser *parser = NULL, *flooded = NULL;
        static char padding[65536];
        ContainerEvent event;
        int r = 0;

        memset(padding, 'x', sizeof(padding));
        ASSERT_OK(event_parser_new(&parser));
        feed(parser, "{\"a\":\"");
        for (int i = 0; i < 64 && r == 0; i++) {
                ASSERT_OK(event_parser_feed(parser, padding, sizeof(padding)));
                r = event_parser_next(parser, &event);
        }
        ASSERT_EQ(r, -EBADMSG);

        ASSERT_OK(event_parser_new(&flooded));
        for (r = 0; r == 0;)
                r = event_parser_feed(flooded, padding, sizeof(padding));
        ASSERT_EQ(r, -ENOBUFS);
}

int main(void) {
        test_objects_split_anywhere();
        test_what_is_no_event_of_ours_is_passed_over();
        test_exit_codes();
        test_signals();
        test_what_is_no_stream_of_events();
        test_sizes_are_bounded();
        return 0;
}
