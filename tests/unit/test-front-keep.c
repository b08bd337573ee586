#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front-stage.h"
#include "front/keep/ledger.h"
#include "util/fd.h"

/* Fronts that are killed: PID 1 keeps what they have asked it to, and the next one goes on. Every byte is compared. */

#define PATTERN_SIZE ((size_t) 65521)
#define CHUNK_MAX ((size_t) 128 * 1024)
#define PAIRS_MAX 24

static uint8_t pattern[PATTERN_SIZE + CHUNK_MAX];

static void make_pattern(void) {
        uint32_t state = 1;

        for (size_t i = 0; i < sizeof(pattern); i++) {
                if (i < PATTERN_SIZE)
                        state = state * 1664525 + 1013904223;
                pattern[i] = i < PATTERN_SIZE ? (uint8_t) (state >> 24) : pattern[i - PATTERN_SIZE];
        }
}

/* Random, and the same in each run of the same number. */
static uint32_t random_state;

static uint32_t random_below(uint32_t n) {
        random_state = random_state * 1664525 + 1013904223;
        return (uint32_t) (((uint64_t) (random_state >> 8) * n) >> 24);
}

/* A letter for each descriptor that waits in a chest. */
static size_t count_letters(const Stage *stage) {
        size_t letters = 0;

        for (size_t i = 0; i < stage->n_kept; i++) {
                int size = 0;

                if (ioctl(stage->kept[i].fd, FIONREAD, &size) >= 0 &&
                    !streq(stage->kept[i].name, "wakechain-ledger"))
                        letters += (size_t) size;
        }
        return letters;
}

/* Until the front has kept so many connections in this state. What is written down is not in a chest yet: both are waited for. */
static void wait_kept(Stage *stage, LedgerState state, size_t n) {
        const size_t letters = n * (state == LEDGER_FORWARDED ? 2 : 1);

        for (;;) {
                Ledger *ledger;
                size_t found = 0;
                int fd;

                stage_listen(stage);
                fd = stage_kept(stage, "wakechain-ledger");
                if (fd >= 0) {
                        ASSERT_OK(ledger_open(&ledger, fcntl(fd, F_DUPFD_CLOEXEC, 3)));
                        for (uint32_t i = 1; i < ledger->n_records; i++)
                                found += ledger->records[i].state == (uint32_t) state;
                        ledger_free(ledger);
                }
                if (found == n && count_letters(stage) >= letters)
                        return;
                poll(NULL, 0, 5);
        }
}

static void test_held(bool is_unix, int signal) {
        Stage stage;
        int client, silent, waker, backend;

        stage_open(&stage, is_unix, true);
        stage_manage(&stage);
        stage_start(&stage, 0, NULL);
        client = client_connect(&stage);
        send_text(client, "not http\n");
        waker = waker_accept(&stage);
        silent = client_connect(&stage);
        wait_kept(&stage, LEDGER_HELD, 2);
        for (int i = 0; i < 3; i++) {
                stage_kill(&stage, signal);
                fd_close(waker);
                waker = waker_accept(&stage);
        }
        waker_status(waker, "waking", NULL);
        send_text(client, "more\n");
        waker_status(waker, "awake", stage.backend_address);
        for (int i = 0; i < 2; i++) {
                char byte;

                backend = accept_one(stage.backend);
                if (recv(backend, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1 ||
                    poll(&(struct pollfd){ .fd = silent }, 1, 0) != 0) {
                        expect_text(backend, "not http\nmore\n");
                        expect_echo(client, backend);
                        fd_close(client);
                        client = -EBADF;
                        expect_end(backend);
                } else {
                        send_text(backend, "hello");
                }
                fd_close(backend);
        }
        fd_close(silent);
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

/* One connection that has been kept. */
static int kept_one(Stage *stage, bool is_unix, int *ret_waker, int *ret_backend) {
        int client;

        stage_open(stage, is_unix, true);
        stage_manage(stage);
        stage_start(stage, 0, NULL);
        client = serve_one(stage, ret_waker, ret_backend);
        wait_kept(stage, LEDGER_FORWARDED, 1);
        return client;
}

/* The keep has a duplicate of it, and yet it ends as any other: by an end, by a reset, before and after a kill. */
static void test_ends(bool is_unix, bool by_reset, bool killed) {
        Stage stage;
        int client, backend, waker;

        client = kept_one(&stage, is_unix, &waker, &backend);
        if (killed)
                stage_kill(&stage, SIGKILL);
        if (by_reset) {
                reset(client);
                if (is_unix)
                        expect_end(backend);
                else
                        expect_reset(backend);
        } else {
                ASSERT_OK(shutdown(client, SHUT_WR));
                expect_end(backend);
                send_text(backend, "after the end");
                fd_close(backend);
                expect_text(client, "after the end");
                expect_end(client);
                fd_close(client);
        }
        if (by_reset)
                fd_close(backend);
        wait_kept(&stage, LEDGER_FORWARDED, 0);
        fd_close(waker);
        stage_close(&stage);
}

/* Killed when it was written down, and before anything was kept. */
static void test_record_without_a_chest(void) {
        int client, backend, waker;
        size_t n = 0;
        Stage stage;

        client = kept_one(&stage, false, &waker, &backend);
        stage_end(&stage, SIGKILL);
        for (size_t i = 0; i < stage.n_kept; i++)
                if (streq(stage.kept[i].name, "wakechain-ledger"))
                        stage.kept[n++] = stage.kept[i];
                else
                        fd_close(stage.kept[i].fd);
        ASSERT_EQ(n, 1);
        stage.n_kept = n;
        stage_start(&stage, 0, NULL);
        wait_kept(&stage, LEDGER_FORWARDED, 0);
        fd_close(client);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

/* The front is dead while they end. */
static void test_end_meanwhile(bool is_unix, bool by_reset) {
        Stage stage;
        int client, backend, waker, status;

        client = kept_one(&stage, is_unix, &waker, &backend);
        ASSERT_OK(kill(stage.front, SIGKILL));
        ASSERT_EQ(waitpid(stage.front, &status, 0), stage.front);
        stage_listen(&stage);
        send_text(client, "last words");
        if (by_reset)
                reset(client);
        else
                fd_close(client);
        stage_start(&stage, 0, NULL);
        if (by_reset && !is_unix)
                expect_reset(backend);
        else {
                expect_text(backend, "last words");
                expect_end(backend);
        }
        fd_close(backend);
        wait_kept(&stage, LEDGER_FORWARDED, 0);
        fd_close(waker);
        stage_close(&stage);
}

/* The stack was put to sleep while somebody was connected: that alone does not wake it, and cuts nobody off. */
static void test_put_to_sleep(bool asleep) {
        Stage stage;
        int client, backend, waker, other;

        client = kept_one(&stage, false, &waker, &backend);
        stage_write_status(&stage, asleep ? "asleep" : "awake");
        stage_end(&stage, SIGKILL);
        fd_close(waker);
        stage_start(&stage, 0, NULL);
        expect_echo(client, backend);
        if (asleep)
                ASSERT_TRUE(nobody_waits(stage.control));
        else
                fd_close(waker_accept(&stage));
        other = asleep ? client_connect(&stage) : -EBADF;
        waker = waker_accept(&stage);
        fd_close(waker);
        fd_close(other);
        fd_close(client);
        fd_close(backend);
        stage_close(&stage);
}

/* Who is ignored is that for the next front, too: it goes on, and wakes nothing. */
static void test_ignored_forwarded(int signal) {
        static const char request[] = "GET / HTTP/1.1\r\nUser-Agent: bot\r\n\r\n";
        int client, backend;
        Stage stage;

        stage_open(&stage, false, true);
        stage_manage(&stage);
        stage_write_status(&stage, "awake");
        stage_start(&stage, 0, "--ignore-user-agent=bot");
        client = client_connect(&stage);
        send_text(client, request);
        backend = accept_one(stage.backend);
        expect_text(backend, request);
        wait_kept(&stage, LEDGER_FORWARDED, 1);
        stage_end(&stage, signal);
        stage_start(&stage, 0, "--ignore-user-agent=bot");
        expect_echo(client, backend);
        ASSERT_TRUE(nobody_waits(stage.control));
        fd_close(client);
        fd_close(backend);
        stage_close(&stage);
}

/* It is about to be connected when the front is restarted, and so is one of whom nobody knows yet. The stack falls asleep
 * meanwhile: the first is turned away, the second wakes it. */
static void test_ignored_at_a_hand_over(void) {
        int client, silent, waker, backend;
        Stage stage;

        stage_open(&stage, false, /* backend_listens= */ false);
        stage_manage(&stage);
        stage_write_status(&stage, "awake");
        stage_start(&stage, 0, "--ignore-user-agent=bot");
        client = client_connect(&stage);
        send_text(client, "GET / HTTP/1.1\r\nUser-Agent: bot\r\n\r\n");
        silent = client_connect(&stage);
        waker = waker_accept(&stage);
        stage_end(&stage, SIGUSR1);
        fd_close(waker);
        stage_write_status(&stage, "asleep");
        stage_start(&stage, 0, "--ignore-user-agent=bot");
        expect_503(client, true);
        waker = waker_accept(&stage);
        ASSERT_OK(listen(stage.backend, 16));
        waker_status(waker, "awake", stage.backend_address);
        backend = accept_one(stage.backend);
        expect_echo(silent, backend);
        fd_close(client);
        fd_close(silent);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

/* One direction has ended before. */
static void test_half_closed(bool is_unix) {
        Stage stage;
        int client, backend, waker;

        client = kept_one(&stage, is_unix, &waker, &backend);
        ASSERT_OK(shutdown(client, SHUT_WR));
        expect_end(backend);
        for (int i = 0; i < 3; i++) {
                stage_kill(&stage, SIGKILL);
                send_text(backend, "still");
                expect_text(client, "still");
        }
        fd_close(backend);
        expect_end(client);
        fd_close(client);
        fd_close(waker);
        stage_close(&stage);
}

static void test_short_connections_cost_nothing(void) {
        Stage stage;
        int client, backend, waker;

        stage_open(&stage, false, true);
        stage_manage(&stage);
        stage_start(&stage, 0, NULL);
        client = serve_one(&stage, &waker, &backend);
        for (int i = 0; i < 1000; i++) {
                fd_close(client);
                expect_end(backend);
                fd_close(backend);
                client = client_connect(&stage);
                backend = accept_one(stage.backend);
        }
        expect_echo(client, backend);
        stage_listen(&stage);
        ASSERT_EQ(stage.n_notified, 0);
        fd_close(client);
        fd_close(backend);
        fd_close(waker);
        stage_close(&stage);
}

/* What the front has left is changed before the next one finds it. */
static Ledger *stage_ledger(Stage *stage) {
        Ledger *ledger;
        int status;

        ASSERT_OK(kill(stage->front, SIGKILL));
        ASSERT_EQ(waitpid(stage->front, &status, 0), stage->front);
        stage_listen(stage);
        ASSERT_OK(ledger_open(&ledger, fcntl(stage_kept(stage, "wakechain-ledger"), F_DUPFD_CLOEXEC, 3)));
        return ledger;
}

static void test_poisoned(void) {
        Stage stage;
        Ledger *ledger;
        int client, other, backend, other_backend, waker;

        client = kept_one(&stage, false, &waker, &backend);
        other = client_connect(&stage);
        other_backend = accept_one(stage.backend);
        wait_kept(&stage, LEDGER_FORWARDED, 2);

        ledger = stage_ledger(&stage);
        ledger->records[1].crashes = LEDGER_CRASHES_MAX;
        ledger_free(ledger);
        stage_start(&stage, 0, NULL);
        expect_reset(client);
        expect_reset(backend);
        expect_echo(other, other_backend);
        fd_close(client);
        fd_close(backend);
        fd_close(other);
        fd_close(other_backend);
        fd_close(waker);
        stage_close(&stage);
}

/* A front of another version: it knows nothing of those that were forwarded, and sees which ones were not. */
static void test_other_version(void) {
        Stage stage;
        Ledger *ledger;
        int client, held, backend, waker, next;

        client = kept_one(&stage, false, &waker, &backend);
        waker_status(waker, "waking", NULL);
        held = client_connect(&stage);
        send_text(held, "not http\n");
        wait_kept(&stage, LEDGER_HELD, 1);

        ledger = stage_ledger(&stage);
        ledger->head->version++;
        ledger_free(ledger);
        stage_start(&stage, 0, NULL);
        expect_reset(client);
        expect_reset(backend);
        next = waker_accept(&stage);
        waker_status(next, "awake", stage.backend_address);
        /* The front before may have connected it, before it heard that the stack is waking again. */
        do {
                fd_close(backend);
                backend = accept_one(stage.backend);
        } while (recv(backend, &(char){ 0 }, 1, MSG_PEEK) == 0);
        expect_text(backend, "not http\n");
        expect_echo(held, backend);
        fd_close(client);
        fd_close(held);
        fd_close(backend);
        fd_close(waker);
        fd_close(next);
        stage_close(&stage);
}

/* Many, so that duplicates of those that went are cleared away and the rest goes on. */
static void test_many(void) {
        enum { N = 300 };
        int clients[N], backends[N], waker = -EBADF;
        Stage stage;

        stage_open(&stage, false, true);
        stage_manage(&stage);
        stage_start(&stage, 0, NULL);
        for (int i = 0; i < N; i++) {
                clients[i] = client_connect(&stage);
                if (waker < 0) {
                        waker = waker_accept(&stage);
                        waker_status(waker, "awake", stage.backend_address);
                }
                backends[i] = accept_one(stage.backend);
        }
        wait_kept(&stage, LEDGER_FORWARDED, N);
        for (int i = 0; i < N; i += 3)
                fd_close(clients[i]);
        for (int i = 0; i < N; i += 3)
                expect_end(backends[i]);
        stage_kill(&stage, SIGKILL);
        for (int i = 0; i < N; i++)
                if (i % 3 != 0)
                        expect_echo(clients[i], backends[i]);
        for (int i = 0; i < N; i++) {
                if (i % 3 != 0)
                        fd_close(clients[i]);
                fd_close(backends[i]);
        }
        ASSERT_EQ(stage.n_notified, 3);
        fd_close(waker);
        stage_close(&stage);
}

/* Streams */

typedef struct End {
        int fd;
        uint64_t sent, received, total;
        uint32_t chunk; /* at most so many bytes at a time */
        uint32_t lazy; /* reads once in so many turns */
        bool shut, ended;
        unsigned seed, peer_seed;
} End;

typedef struct Pair {
        End client, backend;
} Pair;

static const uint8_t *pattern_at(unsigned seed, uint64_t offset) {
        return pattern + (offset + seed * 977ULL) % PATTERN_SIZE;
}

static void end_open(End *end, int fd, unsigned seed, unsigned peer_seed) {
        *end = (End){ .fd = fd, .seed = seed, .peer_seed = peer_seed, .chunk = 1, .lazy = 1 };
        ASSERT_OK(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK));
}

static void end_send(End *end) {
        size_t size = 1 + random_below(end->chunk);
        ssize_t n;

        size = MIN(size, end->total - end->sent);

        if (end->shut)
                return;
        if (size > 0) {
                n = send(end->fd, pattern_at(end->seed, end->sent), size, MSG_NOSIGNAL);
                if (n < 0) {
                        if (errno != EAGAIN)
                                TEST_FAIL("send after %llu of %llu: %m", (unsigned long long) end->sent,
                                          (unsigned long long) end->total);
                        return;
                }
                end->sent += (uint64_t) n;
        }
        if (end->sent == end->total) {
                ASSERT_OK(shutdown(end->fd, SHUT_WR));
                end->shut = true;
        }
}

static void end_receive(End *end, const End *peer) {
        static uint8_t buffer[CHUNK_MAX];
        ssize_t n;

        if (end->ended || (end->lazy > 1 && random_below(end->lazy) > 0))
                return;
        n = recv(end->fd, buffer, MIN((size_t) end->chunk * 2, sizeof(buffer)), 0);
        if (n < 0) {
                if (errno != EAGAIN)
                        TEST_FAIL("recv after %llu of %llu: %m", (unsigned long long) end->received,
                                  (unsigned long long) peer->total);
                return;
        }
        if (n == 0) {
                ASSERT_EQ(end->received, peer->total);
                end->ended = true;
                return;
        }
        if (memcmp(buffer, pattern_at(end->peer_seed, end->received), (size_t) n) != 0)
                TEST_FAIL("Other bytes after %llu.", (unsigned long long) end->received);
        end->received += (uint64_t) n;
}

static void pairs_fail(const Pair *pairs, size_t n) {
        for (size_t i = 0; i < n; i++) {
                const End *ends[] = { &pairs[i].client, &pairs[i].backend };

                for (unsigned j = 0; j < 2; j++)
                        if (!ends[j]->ended)
                                printf("%zu, %s: received %llu of %llu\n", i, j == 0 ? "client" : "backend",
                                       (unsigned long long) ends[j]->received,
                                       (unsigned long long) ends[!j]->total);
        }
        TEST_FAIL("Nothing moves.");
}

static bool pairs_turn(Pair *pairs, size_t n) {
        struct pollfd fds[2 * PAIRS_MAX];
        bool more = false;

        for (size_t i = 0; i < n; i++) {
                End *ends[] = { &pairs[i].client, &pairs[i].backend };

                for (unsigned j = 0; j < 2; j++) {
                        fds[2 * i + j] = (struct pollfd){ .fd = ends[j]->ended && ends[j]->shut ? -1
                                                                                                : ends[j]->fd };
                        fds[2 * i + j].events =
                                        (short) ((ends[j]->shut ? 0 : POLLOUT) | (ends[j]->ended ? 0 : POLLIN));
                        more = more || !ends[j]->ended || !ends[j]->shut;
                }
        }
        if (more && poll(fds, 2 * n, RECEIVE_SEC * 1000) <= 0)
                pairs_fail(pairs, n);
        for (size_t i = 0; i < n; i++) {
                Pair *pair = &pairs[i];

                if (fds[2 * i].revents & (POLLIN | POLLHUP | POLLERR))
                        end_receive(&pair->client, &pair->backend);
                if (fds[2 * i + 1].revents & (POLLIN | POLLHUP | POLLERR))
                        end_receive(&pair->backend, &pair->client);
                if (fds[2 * i].revents & POLLOUT)
                        end_send(&pair->client);
                if (fds[2 * i + 1].revents & POLLOUT)
                        end_send(&pair->backend);
        }
        return more;
}

static void pair_open(Stage *stage, Pair *pair, unsigned i, int *waker) {
        int client = client_connect(stage), backend;

        if (*waker < 0) {
                *waker = waker_accept(stage);
                waker_status(*waker, "awake", stage->backend_address);
        }
        backend = accept_one(stage->backend);
        expect_echo(client, backend);
        end_open(&pair->client, client, 2 * i, 2 * i + 1);
        end_open(&pair->backend, backend, 2 * i + 1, 2 * i);
}

/* What the connections are like: small and large pieces, those who read slowly, one way and both. */
static void pair_choose(Pair *pair, unsigned i, uint64_t bulk) {
        static const struct {
                uint32_t chunk, lazy;
                unsigned up, down; /* of `bulk`, in 1/16 */
        } kinds[] = {
                { CHUNK_MAX, 1, 0, 16 }, { CHUNK_MAX, 1, 16, 0 }, { CHUNK_MAX, 3, 8, 8 },
                { 16384, 4, 2, 4 },      { 700, 1, 1, 1 },        { 5000, 3, 1, 1 },
        };
        unsigned kind = i % ELEMENTSOF(kinds);

        pair->client.chunk = pair->backend.chunk = kinds[kind].chunk;
        pair->client.lazy = pair->backend.lazy = kinds[kind].lazy;
        pair->client.total = bulk / 16 * kinds[kind].up + 1;
        pair->backend.total = bulk / 16 * kinds[kind].down + 1;
}

static void test_streams(bool is_unix, unsigned seed, size_t n, uint64_t bulk, unsigned kills) {
        Pair pairs[PAIRS_MAX];
        int waker = -EBADF;
        unsigned killed = 0, turns = 0;
        Stage stage;

        random_state = seed;
        stage_open(&stage, is_unix, true);
        stage_manage(&stage);
        stage_start(&stage, 0, NULL);
        for (unsigned i = 0; i < n; i++) {
                pair_open(&stage, &pairs[i], i, &waker);
                pair_choose(&pairs[i], i, bulk);
        }
        wait_kept(&stage, LEDGER_FORWARDED, n);
        while (pairs_turn(pairs, n))
                if (killed < kills && random_below(25) == 0) {
                        stage_kill(&stage, SIGKILL);
                        killed++;
                } else
                        turns++;
        printf("%s, %zu connections, seed %u: killed %u times in %u turns\n", is_unix ? "unix" : "tcp", n, seed,
               killed, turns);
        ASSERT_TRUE(killed > 0 || kills == 0);
        for (size_t i = 0; i < n; i++) {
                fd_close(pairs[i].client.fd);
                fd_close(pairs[i].backend.fd);
        }
        fd_close(waker);
        stage_close(&stage);
}

int main(int argc, char *argv[]) {
        ASSERT_TRUE(argc > 1);
        stage_program = argv[1];
        (void) signal(SIGPIPE, SIG_IGN);
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        make_pattern();

        if (argc > 2) {
                test_streams(argc > 5, (unsigned) atoi(argv[2]), (size_t) atoi(argv[3]), 16 << 20,
                             (unsigned) atoi(argv[4]));
                return 0;
        }
        test_held(false, SIGKILL);
        test_held(true, SIGABRT);
        test_held(false, SIGUSR1);
        test_short_connections_cost_nothing();
        test_poisoned();
        test_other_version();
        test_many();
        for (unsigned i = 0; i < 8; i++)
                test_ends(i & 1, i & 2, i & 4);
        for (unsigned i = 0; i < 4; i++)
                test_end_meanwhile(i & 1, i & 2);
        test_record_without_a_chest();
        test_half_closed(false);
        test_half_closed(true);
        test_put_to_sleep(true);
        test_put_to_sleep(false);
        test_ignored_forwarded(SIGKILL);
        test_ignored_forwarded(SIGUSR1);
        test_ignored_at_a_hand_over();
        for (unsigned i = 0; i < 2; i++) {
                test_streams(i > 0, 1, 1, 64 << 20, 20);
                test_streams(i > 0, 2, 12, 16 << 20, 50);
        }
        return EXIT_SUCCESS;
}
