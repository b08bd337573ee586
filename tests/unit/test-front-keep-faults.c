#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front/forward.h"
#include "front/keep/ledger.h"
#include "test.h"
#include "util/fd.h"

/* The keep when what it needs is refused: memory, a pipe, a place in a chest, the end of a repack. A child process is the
 * program before; this one is PID 1, the clients, and the next program. */

#define CROWD 600U /* descriptors of more than two batches */
#define DEAD 100U /* of these, enough to be cleared away */

/* The linker gives us these calls (--wrap). */
void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__real_realloc(void *old, size_t size);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);

static int memory_left = -1; /* so many more allocations; -1: any number */
static int messages_left = -1; /* the same of messages */
static bool dies; /* with the message that is one too many */

static bool spend(int *left) {
        if (*left > 0)
                (*left)--;
        else if (*left == 0)
                return false;
        return true;
}

void *__wrap_malloc(size_t size) {
        return spend(&memory_left) ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size) {
        return spend(&memory_left) ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size) {
        return spend(&memory_left) ? __real_realloc(old, size) : NULL;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags) {
        if (spend(&messages_left))
                return __real_sendmsg(fd, message, flags);
        if (dies)
                _exit(EXIT_SUCCESS);
        /* What the kernel says when a user has too many descriptors in flight. */
        errno = ETOOMANYREFS;
        return -1;
}

/* PID 1 */

/* What the program before has handed to us. */
typedef struct Passed {
        size_t n;
        struct {
                char name[64];
                int fd;
        } fds[8];
} Passed;

static int notify = -EBADF;

static void listen_for_notifications(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        socklen_t size = sizeof(sa_family_t);
        char path[sizeof(address.sun_path) + 1];

        notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        ASSERT_OK(bind(notify, (struct sockaddr *) &address, size));
        size = sizeof(address);
        ASSERT_OK(getsockname(notify, (struct sockaddr *) &address, &size));
        snprintf(path, sizeof(path), "@%.*s", (int) (size - sizeof(sa_family_t) - 1), address.sun_path + 1);
        ASSERT_OK(setenv("NOTIFY_SOCKET", path, true));
}

static Passed take_passed(void) {
        Passed passed = {};

        for (;;) {
                union {
                        struct cmsghdr header;
                        uint8_t space[CMSG_SPACE(2 * sizeof(int))];
                } control;
                char text[256];
                struct iovec data = { text, sizeof(text) - 1 };
                struct msghdr message = { .msg_iov = &data,
                                          .msg_iovlen = 1,
                                          .msg_control = &control,
                                          .msg_controllen = sizeof(control) };
                ssize_t size = recvmsg(notify, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
                struct cmsghdr *header = size < 0 ? NULL : CMSG_FIRSTHDR(&message);
                char *name;

                if (size < 0)
                        return passed;
                text[size] = '\0';
                name = strstr(text, "FDNAME=");
                ASSERT_TRUE(name && header);
                name += strlen("FDNAME=");
                name[strcspn(name, "\n")] = '\0';
                for (size_t i = 0; i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                        ASSERT_TRUE(passed.n < ELEMENTSOF(passed.fds));
                        snprintf(passed.fds[passed.n].name, sizeof(passed.fds[0].name), "%s", name);
                        memcpy(&passed.fds[passed.n++].fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
                }
        }
}

static void close_passed(Passed *passed) {
        while (passed->n > 0)
                fd_close(passed->fds[--passed->n].fd);
}

static int passed_ledger(const Passed *passed) {
        ASSERT_STREQ(passed->fds[0].name, "wakechain-ledger");
        return fcntl(passed->fds[0].fd, F_DUPFD_CLOEXEC, 3);
}

/* A program that gets duplicates of them. */
static int open_keep(Keep **ret, const Passed *passed) {
        int r;

        *ret = NULL;
        r = keep_new(ret);
        for (size_t i = 0; r >= 0 && i < passed->n; i++)
                ASSERT_TRUE(keep_take_passed(*ret, passed->fds[i].name,
                                             fcntl(passed->fds[i].fd, F_DUPFD_CLOEXEC, 3)));
        return r < 0 ? r : keep_open(*ret);
}

static Keep *make_keep(const Passed *passed) {
        Keep *keep;

        ASSERT_OK(open_keep(&keep, passed));
        return keep;
}

static const Passed nothing;

static unsigned count_descriptors(void) {
        unsigned n = 0;

        for (int fd = 0; fd < 4096; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

/* Clients */

static void make_pair(int ret[static 2]) {
        ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret));
}

static void make_tcp_pair(int ret[static 2]) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        ASSERT_OK(bind(listener, (struct sockaddr *) &address, size));
        ASSERT_OK(listen(listener, 1));
        ASSERT_OK(getsockname(listener, (struct sockaddr *) &address, &size));
        ret[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ASSERT_OK(connect(ret[0], (struct sockaddr *) &address, size));
        ret[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        fd_close(listener);
}

/* The program before: holds the first `n` of these clients, of whom the first `n_dead` go again. */
static void run_before(int (*clients)[2], size_t n, size_t n_dead, int messages_of_repack, bool killed) {
        pid_t child = fork();
        int status;

        ASSERT_TRUE(child >= 0);
        if (child == 0) {
                Keep *keep = make_keep(&nothing);
                KeepPlace kept[CROWD] = {};

                for (size_t i = 0; i < n; i++) {
                        keep_held(keep, &kept[i], clients[i][1], i % 2);
                        ASSERT_TRUE(is_kept(&kept[i]));
                }
                for (size_t i = 0; i < n_dead; i++)
                        keep_remove(keep, &kept[i]);
                messages_left = messages_of_repack;
                dies = killed;
                (void) keep_tidy(keep, true);
                ASSERT_FALSE(killed);
                messages_left = -1;
                /* What was not done can be done later. */
                ASSERT_EQ(keep_tidy(keep, false), messages_of_repack >= 0);
                _exit(EXIT_SUCCESS);
        }
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_EQ(status, 0);
}

typedef struct Found {
        size_t n, n_ignored;
        int fds[CROWD];
} Found;

static bool on_found(const KeepFound *found, void *userdata) {
        Found *all = userdata;

        ASSERT_FALSE(found->forwarded);
        all->n_ignored += found->ignored;
        all->fds[all->n++] = found->fds[0];
        return true;
}

/* Each of those that were left is found once, and is the one that it was. */
static void expect_found(Keep *keep, int (*clients)[2], size_t n, size_t n_dead) {
        static Found found;
        KeepCounts counts;

        found = (Found){};
        ASSERT_OK(keep_load(keep, on_found, &found, &counts));
        ASSERT_EQ(counts.held, n - n_dead);
        ASSERT_EQ(counts.lost, 0);
        ASSERT_EQ(found.n, n - n_dead);
        ASSERT_EQ(found.n_ignored, (n - n_dead) / 2);
        for (size_t i = n_dead; i < n; i++)
                ASSERT_EQ(send(clients[i][0], &(char){ (char) i }, 1, MSG_NOSIGNAL), 1);
        for (size_t i = 0; i < found.n; i++) {
                char byte;

                ASSERT_EQ(recv(found.fds[i], &byte, 1, MSG_DONTWAIT), 1);
                fd_close(found.fds[i]);
        }
}

static void test_repack(int messages_of_repack, bool killed) {
        static int clients[CROWD][2];
        unsigned before = count_descriptors();
        Passed passed;
        Keep *keep;

        for (size_t i = 0; i < CROWD; i++)
                make_pair(clients[i]);
        run_before(clients, CROWD, DEAD, messages_of_repack, killed);
        for (size_t i = 0; i < CROWD; i++)
                clients[i][1] = fd_close(clients[i][1]);

        passed = take_passed();
        keep = make_keep(&passed);
        close_passed(&passed);
        expect_found(keep, clients, CROWD, DEAD);
        (void) keep_free(keep);
        for (size_t i = 0; i < CROWD; i++)
                fd_close(clients[i][0]);
        ASSERT_EQ(count_descriptors(), before);
}

/* Whatever cannot be had while something is kept: it has no place then, or one that holds what it should. */
static void test_no_memory_to_keep(void) {
        unsigned n_kept = 0;

        for (int left = 0; left < 8; left++) {
                Keep *keep = make_keep(&nothing);
                int client[2], backend[2], fds[2];
                static uint8_t bytes[1000];
                KeepFlow flows[2] = { { .size = sizeof(bytes), .bytes = bytes, .pipe = { -EBADF, -EBADF, 0 } } };
                KeepPlace held = {}, forwarded = {};
                Passed passed;

                make_pair(client);
                make_pair(backend);
                fds[0] = client[1];
                fds[1] = backend[1];
                memory_left = left;
                keep_held(keep, &held, client[1], false);
                if (keep_forwarded(keep, &forwarded, fds, false, flows) >= 0) {
                        ASSERT_TRUE(is_kept(&forwarded));
                        ASSERT_TRUE(flows[0].slot > 0 && flows[0].bytes != bytes);
                        n_kept++;
                }
                (void) keep_flush(keep);
                memory_left = -1;
                ASSERT_EQ(memcmp(flows[0].bytes, bytes, sizeof(bytes)), 0);
                keep_remove(keep, &forwarded);
                keep_remove(keep, &held);
                ASSERT_FALSE(is_kept(&forwarded) || is_kept(&held));
                (void) keep_free(keep);
                for (unsigned i = 0; i < 2; i++) {
                        fd_close(client[i]);
                        fd_close(backend[i]);
                }
                passed = take_passed();
                close_passed(&passed);
        }
        ASSERT_TRUE(n_kept > 0 && n_kept < 8);
}

/* The next program has no memory to look at what it got: nothing of it is lost, and the one after it finds it. */
static void test_no_memory_to_load(void) {
        enum { N = 100 };
        static int clients[N][2];
        Passed passed;
        bool loaded = false;
        Keep *last;

        for (size_t i = 0; i < N; i++)
                make_pair(clients[i]);
        run_before(clients, N, 0, -1, false);
        for (size_t i = 0; i < N; i++)
                clients[i][1] = fd_close(clients[i][1]);
        passed = take_passed();
        for (int left = 0; !loaded; left++) {
                KeepCounts counts;
                Found found = {};
                Keep *keep = NULL;
                int r;

                memory_left = left;
                r = open_keep(&keep, &passed);
                if (r >= 0)
                        r = keep_load(keep, on_found, &found, &counts);
                memory_left = -1;
                loaded = r >= 0;
                if (!loaded) {
                        ASSERT_EQ(r, -ENOMEM);
                        ASSERT_EQ(found.n, 0);
                }
                for (size_t i = 0; i < found.n; i++)
                        fd_close(found.fds[i]);
                (void) keep_free(keep);
                ASSERT_TRUE(left < 100);
        }
        last = make_keep(&passed);
        expect_found(last, clients, N, 0);
        (void) keep_free(last);
        close_passed(&passed);
        for (size_t i = 0; i < N; i++)
                fd_close(clients[i][0]);
}

/* It is of no use to this program, and would keep its memory. */
static void test_ledger_that_cannot_be_read_is_closed(void) {
        unsigned before = count_descriptors();
        Keep *keep = make_keep(&nothing);
        KeepPlace kept = {};
        int client[2];
        Passed passed;
        Ledger *ledger;

        make_pair(client);
        keep_held(keep, &kept, client[1], false);
        passed = take_passed();
        (void) keep_free(keep);
        ASSERT_OK(ledger_open(&ledger, passed_ledger(&passed)));
        ledger->head->version++;
        (void) ledger_free(ledger);

        ASSERT_EQ(count_descriptors(), before + 2 + passed.n);
        keep = make_keep(&passed);
        ASSERT_EQ(count_descriptors(), before + 2 + 2 * passed.n);
        (void) keep_free(keep);
        close_passed(&passed);
        for (unsigned i = 0; i < 2; i++)
                fd_close(client[i]);
        ASSERT_EQ(count_descriptors(), before);
}

/* A pipe that PID 1's chest has no room for: it stays ours, and what goes on without it is known to be lost with us. */
static void test_refused_pipe(void) {
        Keep *keep = make_keep(&nothing);
        int client[2], backend[2], ends[2];
        KeepPipe pipe = {};
        KeepFlow flows[2] = {};
        Passed passed;
        Ledger *ledger;
        KeepPlace kept = {};

        make_pair(client);
        make_pair(backend);
        ASSERT_OK(keep_forwarded(keep, &kept, (int[]){ client[1], backend[1] }, false, flows));
        ASSERT_OK(keep_flush(keep));
        ASSERT_TRUE(kept.uncounted);
        passed = take_passed();
        ASSERT_OK(ledger_open(&ledger, passed_ledger(&passed)));
        ASSERT_OK(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
        pipe.out = ends[0];
        pipe.in = ends[1];

        for (unsigned i = 0; i < LEDGER_PIPES_MAX + 5; i++) {
                messages_left = 0;
                ASSERT_FALSE(keep_claim_pipe(keep, &kept, 0, &pipe));
                messages_left = -1;
                ASSERT_EQ(pipe.row, 0);
        }
        for (unsigned i = 0; i <= LEDGER_PIPES_MAX; i++)
                ASSERT_EQ(ledger->head->pipes[i].record, 0);
        ASSERT_TRUE(keep_begin_copy(keep, &kept, 0));
        ASSERT_EQ(ledger->records[kept.record].flows[0].doubtful, 1);
        keep_end_copy(keep, &kept, 0);
        ASSERT_EQ(ledger->records[kept.record].flows[0].doubtful, 0);

        ASSERT_TRUE(keep_claim_pipe(keep, &kept, 1, &pipe));
        ASSERT_EQ(ledger->head->pipes[pipe.row].record, kept.record);
        ASSERT_EQ(ledger->head->pipes[pipe.row].flow, 1);
        keep_remove_pipe(keep, &pipe);
        keep_remove(keep, &kept);
        (void) ledger_free(ledger);
        close_passed(&passed);
        (void) keep_free(keep);
        for (unsigned i = 0; i < 2; i++) {
                fd_close(client[i]);
                fd_close(backend[i]);
                fd_close(ends[i]);
        }
}

/* A connection with bytes on its way, in a slot one way and in a pipe the other; the next program runs out of memory
 * at each place where it may. It goes on with all of it, or resets both sides, and leaves nothing behind. */
static Reactor *resume_reactor;
static Forwarder *resume_forwarder;
static Forward resumed;
static int resume_memory;

static void on_end(Forward *forward, bool reset) {
        TEST_FAIL("It was not started.");
}

static bool on_found_forwarded(const KeepFound *found, void *userdata) {
        int r;

        ASSERT_TRUE(found->forwarded);
        resumed = FORWARD_NONE(resume_forwarder);
        memory_left = resume_memory;
        r = forward_resume(&resumed, found);
        memory_left = -1;
        return r >= 0;
}

static bool resume_with(const Passed *passed, int memory) {
        Keep *keep = make_keep(passed);
        sd_event *event;
        KeepCounts counts;
        bool ok;

        resume_memory = memory;
        ASSERT_OK(sd_event_new(&event));
        ASSERT_OK(reactor_new(&resume_reactor, event));
        ASSERT_OK(forwarder_new(&resume_forwarder, resume_reactor, keep, 4, true, on_end));
        ASSERT_OK(keep_load(keep, on_found_forwarded, NULL, &counts));
        ok = counts.forwarded == 1;
        ASSERT_EQ(counts.lost, !ok);
        if (ok) {
                ASSERT_TRUE(resumed.client.pending && resumed.backend.pending);
                forward_close(&resumed, true);
        }
        ASSERT_FALSE(is_kept(&resumed.kept));
        forwarder_free(resume_forwarder);
        reactor_free(resume_reactor);
        sd_event_unref(event);
        (void) keep_free(keep);
        return ok;
}

static void test_no_memory_to_resume(void) {
        bool ok = false;

        for (int memory = 0; !ok; memory++) {
                int client[2], backend[2], ends[2], status;
                unsigned before = count_descriptors();
                Passed passed;
                pid_t child;

                make_tcp_pair(client);
                make_tcp_pair(backend);
                child = fork();
                ASSERT_TRUE(child >= 0);
                if (child == 0) {
                        static uint8_t bytes[3000];
                        Keep *keep = make_keep(&nothing);
                        KeepPlace kept = {};
                        KeepFlow flows[2] = {
                                { .size = sizeof(bytes), .bytes = bytes, .pipe = { -EBADF, -EBADF, 0 } },
                        };

                        ASSERT_OK(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
                        ASSERT_EQ(write(ends[1], bytes, 2000), 2000);
                        flows[1] = (KeepFlow){ .size = 2000, .pipe = { ends[1], ends[0], 0 } };
                        ASSERT_OK(keep_forwarded(keep, &kept, (int[]){ client[1], backend[1] }, false, flows));
                        ASSERT_OK(keep_flush(keep));
                        _exit(EXIT_SUCCESS);
                }
                ASSERT_EQ(waitpid(child, &status, 0), child);
                ASSERT_EQ(status, 0);
                fd_close(client[1]);
                fd_close(backend[1]);
                passed = take_passed();
                ok = resume_with(&passed, memory);
                close_passed(&passed);
                for (unsigned i = 0; i < 2; i++) {
                        int fd = i == 0 ? client[0] : backend[0];
                        char byte;

                        ASSERT_EQ(recv(fd, &byte, 1, 0), -1);
                        ASSERT_EQ(errno, ECONNRESET);
                        fd_close(fd);
                }
                ASSERT_EQ(count_descriptors(), before);
                ASSERT_TRUE(memory < 20);
                ASSERT_FALSE(ok && memory == 0);
        }
}

int main(void) {
        struct rlimit limit;

        ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = MIN(limit.rlim_max, (rlim_t) 4096);
        ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
        (void) alarm(100);
        (void) setenv("SYSTEMD_LOG_LEVEL", "emerg", false);
        listen_for_notifications();

        /* It needs two messages: all of it, cut off by a refusal, cut off by a kill. */
        test_repack(-1, false);
        for (int n = 0; n < 2; n++) {
                test_repack(n, false);
                test_repack(n, true);
        }
        test_no_memory_to_keep();
        test_no_memory_to_load();
        test_refused_pipe();
        test_no_memory_to_resume();
        test_ledger_that_cannot_be_read_is_closed();
        return 0;
}
