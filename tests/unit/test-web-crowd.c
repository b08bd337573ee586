#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/time.h"
#include "web-stage.h"

/* Many browsers wait for one wake: what they cost, and that all are told. */

#define BROWSERS 2000U
#define MEMORY_MAX_KB 65536U
#define PROCESSOR_MAX_USEC USEC_PER_SEC

static uint64_t processor_usec(pid_t pid) {
        _cleanup_free_ char *text = NULL;
        unsigned long user, system;
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        ASSERT_OK(file_read(path, 4096, &text, NULL));
        ASSERT_EQ(sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                         &system),
                  2);
        return (user + system) * USEC_PER_SEC / (uint64_t) sysconf(_SC_CLK_TCK);
}

int main(int argc, char **argv) {
        static int browsers[BROWSERS];
        uint64_t processor, begin;
        struct rlimit limit;
        bool sanitized = web_is_sanitized();
        WebStage stage;
        unsigned kb;
        int pages;

        ASSERT_EQ(argc, 2);
        web_stage_program = argv[1];
        ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
        if (limit.rlim_max < BROWSERS + 100) {
                printf("no more than %ju descriptors are allowed here\n", (uintmax_t) limit.rlim_max);
                return 77;
        }

        web_stage_open(&stage);
        web_stage_set_clemence(&stage, "waking", "starting", "pending", 2000);
        web_stage_start(&stage, NULL);

        /* As a browser does: the page on a connection of its own, then the stream. */
        pages = web_connect_pages(&stage);
        for (unsigned i = 0; i < BROWSERS; i++) {
                int front, visitor;

                web_visitor(&visitor, &front);
                ASSERT_EQ(web_pass(pages, "clemence", front), '+');
                web_expect(visitor,
                           "GET / HTTP/1.1\r\nHost: my.site.example\r\nAccept: text/html\r\nUser-Agent: Mozilla/5.0\r\n\r\n",
                           "503", "data-state=\"waking\"");
                web_visitor(&browsers[i], &front);
                ASSERT_EQ(web_pass(pages, "clemence", front), '+');
                web_send(browsers[i], "GET /api/wake-status/clemence HTTP/1.1\r\nHost: my.site.example\r\n"
                                      "Accept: text/event-stream\r\nUser-Agent: Mozilla/5.0\r\n\r\n");
        }
        for (unsigned i = 0; i < BROWSERS; i++)
                free(web_read_until(browsers[i], "\"state\":\"waking\""));

        processor = processor_usec(stage.program);
        begin = time_now(CLOCK_MONOTONIC);
        web_stage_set_clemence(&stage, "awake", "ready", "ready", 0);
        for (unsigned i = 0; i < BROWSERS; i++) {
                _cleanup_free_ char *rest = web_read_to_end(browsers[i]);

                ASSERT_TRUE(strstr(rest, "\"state\":\"awake\",\"progress\":100"));
                (void) fd_close(browsers[i]);
        }
        begin = time_now(CLOCK_MONOTONIC) - begin;
        processor = processor_usec(stage.program) - processor;
        kb = web_stage_memory_kb(&stage);
        printf("%u browsers: %u kB at most, all told after %" PRIu64 " ms, of which it took %" PRIu64 " ms\n",
               BROWSERS, kb, begin / USEC_PER_MSEC, processor / USEC_PER_MSEC);
        ASSERT_TRUE(sanitized || kb < MEMORY_MAX_KB);
        /* Not by the clock, which other programs have their share of. */
        ASSERT_TRUE(sanitized || processor < PROCESSOR_MAX_USEC);
        (void) fd_close(pages);
        web_stage_close(&stage);
        return 0;
}
