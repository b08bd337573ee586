#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/time.h"
#include "web-stage.h"

#define PATIENCE_SEC 30

const char *web_stage_program = NULL;

static const char configuration[] =
                "{\"services\": {"
                "\"clemence\": {\"name\": \"wordpress\", \"port\": 9002, \"title\": \"Clémence\", \"dependencies\": ["
                "{\"container\": \"mysql\", \"startOrder\": 1, \"estimatedTime\": 5000},"
                "{\"container\": \"wordpress\", \"startOrder\": 2, \"estimatedTime\": 12000}]},"
                "\"secret\": {\"name\": \"vault\", \"port\": 9003, \"details\": false, \"dependencies\": ["
                "{\"container\": \"vault\", \"startOrder\": 1}]},"
                "\"third\": {\"name\": \"third\", \"port\": 9004}"
                "}}";

static void in_root(const WebStage *stage, char path[static 256], const char *format, ...) _printf_(3, 4);
static void in_root(const WebStage *stage, char path[static 256], const char *format, ...) {
        va_list arguments;
        int n;

        n = snprintf(path, 256, "%s", stage->root);
        va_start(arguments, format);
        (void) vsnprintf(path + n, 256 - (size_t) n, format, arguments);
        va_end(arguments);
}

static int with_timeout(int fd) {
        struct timeval span = { .tv_sec = PATIENCE_SEC };

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &span, sizeof(span)));
        ASSERT_OK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &span, sizeof(span)));
        return fd;
}

static int unix_listen(const char *path, int type) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = with_timeout(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));

        ASSERT_TRUE(strlen(path) < sizeof(address.sun_path));
        strcpy(address.sun_path, path);
        ASSERT_OK(bind(fd, (struct sockaddr *) &address, sizeof(address)));
        ASSERT_OK(listen(fd, 1024));
        return fd;
}

static int unix_connect(const char *path, int type) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = with_timeout(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));

        strcpy(address.sun_path, path);
        ASSERT_OK(connect(fd, (struct sockaddr *) &address, sizeof(address)));
        return fd;
}

static int tcp_listen(void) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = with_timeout(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

        ASSERT_OK(bind(fd, (struct sockaddr *) &address, sizeof(address)));
        ASSERT_OK(listen(fd, 1024));
        return fd;
}

static int tcp_connect(int listener, in_addr_t from) {
        struct sockaddr_in address, own = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(from) };
        socklen_t size = sizeof(address);
        int fd = with_timeout(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

        ASSERT_OK(bind(fd, (struct sockaddr *) &own, sizeof(own)));
        ASSERT_OK(getsockname(listener, (struct sockaddr *) &address, &size));
        ASSERT_OK(connect(fd, (struct sockaddr *) &address, size));
        return fd;
}

void web_stage_configure(WebStage *stage, const char *text) {
        char path[256];

        in_root(stage, path, "/etc/wakechain/dependencies.json");
        ASSERT_OK(file_replace(path, text, strlen(text), 0644, false));
}

void web_stage_open(WebStage *stage) {
        static const char *const folders[] = { "/etc/wakechain", "/run/wakechain/status",
                                               "/run/wakechain/control" };
        char path[256];

        *stage = (WebStage){ .root = "/tmp/test-web-XXXXXX" };
        ASSERT_TRUE(mkdtemp(stage->root));
        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                in_root(stage, path, "%s", folders[i]);
                ASSERT_OK(directory_make(path));
        }
        web_stage_configure(stage, configuration);
        stage->tcp = tcp_listen();
        in_root(stage, path, "/web.sock");
        stage->local = unix_listen(path, SOCK_STREAM);
        in_root(stage, path, "/page.sock");
        stage->pages = unix_listen(path, SOCK_SEQPACKET);
}

void web_stage_start(WebStage *stage, const char *const *options) {
        const char *arguments[16] = { web_stage_program };
        char root[128], pid[32];
        size_t n = 1;

        (void) snprintf(root, sizeof(root), "--root=%s", stage->root);
        arguments[n++] = root;
        for (; options && *options; options++)
                arguments[n++] = *options;
        stage->program = fork();
        ASSERT_TRUE(stage->program >= 0);
        if (stage->program > 0)
                return;

        int fds[] = { fcntl(stage->tcp, F_DUPFD, 100), fcntl(stage->local, F_DUPFD, 100),
                      fcntl(stage->pages, F_DUPFD, 100) };

        for (int i = 0; i < 3; i++)
                (void) dup2(fds[i], 3 + i);
        (void) close_range(6, ~0U, 0);
        (void) snprintf(pid, sizeof(pid), "%d", getpid());
        (void) setenv("LISTEN_PID", pid, true);
        (void) setenv("LISTEN_FDS", "3", true);
        (void) setenv("SYSTEMD_LOG_LEVEL", "err", false);
        (void) execv(web_stage_program, (char **) arguments);
        _exit(127);
}

void web_stage_wait(WebStage *stage) {
        int status;

        ASSERT_EQ(waitpid(stage->program, &status, 0), stage->program);
        ASSERT_EQ(status, 0);
        stage->program = 0;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
        return remove(path);
}

void web_stage_close(WebStage *stage) {
        if (stage->program > 0) {
                ASSERT_OK(kill(stage->program, SIGTERM));
                web_stage_wait(stage);
        }
        (void) fd_close(stage->tcp);
        (void) fd_close(stage->local);
        (void) fd_close(stage->pages);
        ASSERT_OK(nftw(stage->root, remove_one, 8, FTW_DEPTH | FTW_PHYS));
}

unsigned web_stage_memory_kb(const WebStage *stage) {
        _cleanup_free_ char *text = NULL;
        char path[64];
        unsigned kb;

        (void) snprintf(path, sizeof(path), "/proc/%d/status", stage->program);
        ASSERT_OK(file_read(path, 65536, &text, NULL));
        ASSERT_EQ(sscanf(strstr(text, "VmHWM:"), "VmHWM: %u", &kb), 1);
        return kb;
}

bool web_is_sanitized(void) {
#if defined(__SANITIZE_ADDRESS__)
        return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
        return true;
#endif
#endif
        return false;
}

void web_stage_set_status(WebStage *stage, const char *service, const char *text) {
        _cleanup_free_ char *json = strdup(text);
        char path[256];

        for (char *at = json; *at; at++)
                if (*at == '\'')
                        *at = '"';
        in_root(stage, path, "/run/wakechain/status/%s.json", service);
        ASSERT_OK(file_replace(path, json, strlen(json), 0640, false));
}

void web_stage_set_clemence(WebStage *stage, const char *state, const char *mysql, const char *wordpress,
                            unsigned msec) {
        char since[TIMESTAMP_MAX], text[1024];

        (void) timestamp_to_string(time_now(CLOCK_REALTIME) - msec * USEC_PER_MSEC, since);
        (void) snprintf(text, sizeof(text),
                        "{'service':'clemence','state':'%s','since':'%s','trigger':'connection','wakeId':'7f6e','progress':0.1,"
                        "'estimateMs':17000,'remainingMs':9000,'backends':[],'holders':1,%s'error':%s,'dependencies':["
                        "{'container':'mysql','type':'required','step':1,'state':'%s','progress':0,'startedMs':12,'checkingMs':200,"
                        "'readyMs':null,'estimateMs':5000,'error':null},"
                        "{'container':'wordpress','type':'required','step':2,'state':'%s','progress':0,'startedMs':null,"
                        "'checkingMs':null,'readyMs':null,'estimateMs':12000,'error':null}]}",
                        state, since, streq(state, "failed") ? "'reason':'container_exited'," : "",
                        streq(state, "failed") ? "'mysql exited with 3'" : "null", mysql, wordpress);
        web_stage_set_status(stage, "clemence", text);
}

void web_stage_remove_status(WebStage *stage, const char *service) {
        char path[256];

        in_root(stage, path, "/run/wakechain/status/%s.json", service);
        ASSERT_OK(unlink(path));
}

int web_stage_control(WebStage *stage, const char *service) {
        char path[256];

        in_root(stage, path, "/run/wakechain/control/%s.sock", service);
        return unix_listen(path, SOCK_STREAM);
}

int web_connect_tcp(WebStage *stage) {
        return tcp_connect(stage->tcp, INADDR_LOOPBACK);
}

int web_connect_tcp_from(WebStage *stage, in_addr_t address) {
        return tcp_connect(stage->tcp, address);
}

int web_connect_local(WebStage *stage) {
        char path[256];

        in_root(stage, path, "/web.sock");
        return unix_connect(path, SOCK_STREAM);
}

int web_connect_pages(WebStage *stage) {
        char path[256];

        in_root(stage, path, "/page.sock");
        return unix_connect(path, SOCK_SEQPACKET);
}

void web_visitor(int *ret_visitor, int *ret_front) {
        static in_addr_t last = INADDR_LOOPBACK;

        web_visitor_from(++last, ret_visitor, ret_front);
}

void web_visitor_from(in_addr_t address, int *ret_visitor, int *ret_front) {
        static int listener = -EBADF;

        if (listener < 0)
                listener = tcp_listen();
        *ret_visitor = tcp_connect(listener, address);
        *ret_front = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        ASSERT_TRUE(*ret_front >= 0);
}

void web_offer(int pages, const char *service, int fd) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(sizeof(int))];
        } control = {
                .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) }
        };
        struct iovec data = { .iov_base = (char *) service, .iov_len = strlen(service) };
        struct msghdr message = {
                .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };

        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
        ASSERT_OK(sendmsg(pages, &message, MSG_NOSIGNAL));
}

char web_pass(int pages, const char *service, int fd) {
        char answer = '\0';

        web_offer(pages, service, fd);
        (void) fd_close(fd);
        ASSERT_EQ(recv(pages, &answer, 1, 0), 1);
        return answer;
}

int web_pass_visitor(WebStage *stage, const char *service) {
        int visitor, front, pages = web_connect_pages(stage);

        web_visitor(&visitor, &front);
        ASSERT_EQ(web_pass(pages, service, front), '+');
        (void) fd_close(pages);
        return visitor;
}

void web_send(int fd, const char *text) {
        size_t size = strlen(text);

        for (size_t done = 0; done < size;) {
                ssize_t n = send(fd, text + done, size - done, MSG_NOSIGNAL);

                ASSERT_TRUE(n > 0);
                done += (size_t) n;
        }
}

/* Byte by byte, so that what comes behind the text is there for the next call. */
char *web_read_until(int fd, const char *text) {
        size_t n = 0, size = 1024, length = strlen(text);
        char *read = malloc(size);

        for (;;) {
                ssize_t k;

                if (n + 2 > size)
                        read = realloc(read, size *= 2);
                ASSERT_TRUE(read);
                k = recv(fd, read + n, 1, 0);
                if (k <= 0) {
                        read[n] = '\0';
                        TEST_FAIL("'%s' did not come (%zd): '%s'", text, k, read);
                }
                read[++n] = '\0';
                if (n >= length && streq(read + n - length, text))
                        return read;
        }
}

char *web_read_to_end(int fd) {
        size_t n = 0, size = 4096;
        char *read = malloc(size);

        for (;;) {
                ssize_t k;

                if (n + 1 == size)
                        read = realloc(read, size *= 2);
                ASSERT_TRUE(read);
                k = recv(fd, read + n, size - n - 1, 0);
                /* A server that ends a connection with something unread resets it. */
                if (k < 0 && errno != ECONNRESET)
                        TEST_FAIL("no end: %m");
                if (k <= 0)
                        break;
                n += (size_t) k;
        }
        read[n] = '\0';
        return read;
}

char *web_ask(int fd, const char *request) {
        char *answer;

        web_send(fd, request);
        answer = web_read_to_end(fd);
        (void) fd_close(fd);
        return answer;
}

void web_expect(int fd, const char *request, const char *status, const char *text) {
        _cleanup_free_ char *answer = web_ask(fd, request);

        if (strncmp(answer, "HTTP/1.1 ", 9) != 0 || strncmp(answer + 9, status, strlen(status)) != 0)
                TEST_FAIL("%s\nis not answered with %s but:\n%s", request, status, answer);
        if (text && !strstr(answer, text))
                TEST_FAIL("%s\n'%s' is not in the answer:\n%s", request, text, answer);
}
