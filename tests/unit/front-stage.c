#include <arpa/inet.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front-stage.h"
#include "util/fd.h"

const char *stage_program = NULL;

static int with_timeout(int fd) {
        struct timeval span = { .tv_sec = RECEIVE_SEC };

        ASSERT_TRUE(fd >= 0);
        ASSERT_OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &span, sizeof(span)));
        ASSERT_OK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &span, sizeof(span)));
        return fd;
}

static int unix_socket(const char *path, int type, bool listening) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = with_timeout(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));

        strcpy(address.sun_path, path);
        ASSERT_OK(bind(fd, (struct sockaddr *) &address, sizeof(address)));
        if (listening)
                ASSERT_OK(listen(fd, 1024));
        return fd;
}

int tcp_socket(bool listening) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = with_timeout(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

        ASSERT_OK(bind(fd, (struct sockaddr *) &address, sizeof(address)));
        if (listening)
                ASSERT_OK(listen(fd, 1024));
        return fd;
}

uint16_t port_of(int fd) {
        struct sockaddr_in address;
        socklen_t size = sizeof(address);

        ASSERT_OK(getsockname(fd, (struct sockaddr *) &address, &size));
        return ntohs(address.sin_port);
}

void stage_open(Stage *stage, bool is_unix, bool backend_listens) {
        *stage = (Stage){
                .notify = -EBADF, .folder = "/tmp/test-front-XXXXXX", .is_unix = is_unix, .web = -EBADF
        };
        ASSERT_TRUE(mkdtemp(stage->folder));
        snprintf(stage->control_path, sizeof(stage->control_path), "%s/control", stage->folder);
        snprintf(stage->listen_path, sizeof(stage->listen_path), "%s/listen", stage->folder);
        snprintf(stage->backend_path, sizeof(stage->backend_path), "%s/backend", stage->folder);
        snprintf(stage->page_path, sizeof(stage->page_path), "%s/page", stage->folder);
        snprintf(stage->status_path, sizeof(stage->status_path), "%s/status", stage->folder);
        stage->control = unix_socket(stage->control_path, SOCK_STREAM, true);
        stage->listener = is_unix ? unix_socket(stage->listen_path, SOCK_STREAM, true) : tcp_socket(true);
        stage->backend = is_unix ? unix_socket(stage->backend_path, SOCK_STREAM, backend_listens)
                                 : tcp_socket(backend_listens);
        if (is_unix)
                strcpy(stage->backend_address, stage->backend_path);
        else
                snprintf(stage->backend_address, sizeof(stage->backend_address), "127.0.0.1:%u",
                         port_of(stage->backend));
}

/* In the child: the listener is 3, what is kept follows. */
static void stage_pass(Stage *stage) {
        char names[2048] = "wake@demo.socket", number[16];
        int fds[ELEMENTSOF(stage->kept) + 1];
        size_t n = stage->n_kept + 1;

        fds[0] = stage->listener;
        for (size_t i = 0; i < stage->n_kept; i++) {
                fds[i + 1] = stage->kept[i].fd;
                strcat(strcat(names, ":"), stage->kept[i].name);
        }
        /* Not onto one that is still to be passed. */
        for (size_t i = 0; i < n; i++)
                fds[i] = fcntl(fds[i], F_DUPFD, 200);
        for (size_t i = 0; i < n; i++)
                (void) dup2(fds[i], 3 + (int) i);
        (void) close_range(3 + (unsigned) n, ~0U, 0);
        snprintf(number, sizeof(number), "%zu", n);
        (void) setenv("LISTEN_FDS", number, true);
        (void) setenv("LISTEN_FDNAMES", names, true);
        if (stage->notify >= 0)
                (void) setenv("NOTIFY_SOCKET", stage->notify_path, true);
}

void stage_manage(Stage *stage) {
        snprintf(stage->notify_path, sizeof(stage->notify_path), "%s/notify", stage->folder);
        stage->notify = unix_socket(stage->notify_path, SOCK_DGRAM, false);
}

static void stage_keep(Stage *stage, const char *name, const int *fds, size_t n) {
        for (size_t i = 0; i < n; i++) {
                ASSERT_TRUE(stage->n_kept < ELEMENTSOF(stage->kept));
                snprintf(stage->kept[stage->n_kept].name, sizeof(stage->kept[0].name), "%s", name);
                stage->kept[stage->n_kept++].fd = fds[i];
        }
}

static void stage_forget(Stage *stage, const char *name) {
        size_t n = 0;

        for (size_t i = 0; i < stage->n_kept; i++)
                if (streq(stage->kept[i].name, name))
                        fd_close(stage->kept[i].fd);
                else
                        stage->kept[n++] = stage->kept[i];
        stage->n_kept = n;
}

static void stage_take_message(Stage *stage, const char *text, const int *fds, size_t n) {
        const char *name = strstr(text, "FDNAME=");
        char copy[64] = "";

        if (name)
                snprintf(copy, sizeof(copy), "%.*s", (int) strcspn(name + 7, "\n"), name + 7);
        if (strstr(text, "READY=1"))
                stage->ready = true;
        if (strstr(text, "FDSTOREREMOVE=1"))
                stage_forget(stage, copy);
        else if (strstr(text, "FDSTORE=1")) {
                ASSERT_TRUE(strstr(text, "FDPOLL=0"));
                stage_keep(stage, copy, fds, n);
        } else
                return;
        stage->n_notified++;
}

void stage_listen(Stage *stage) {
        for (;;) {
                union {
                        struct cmsghdr header;
                        uint8_t space[CMSG_SPACE(16 * sizeof(int))];
                } control;
                char text[1024];
                struct iovec data = { text, sizeof(text) - 1 };
                struct msghdr message = {
                        .msg_iov = &data,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control),
                };
                struct cmsghdr *header;
                int fds[16];
                size_t n = 0;
                ssize_t size;

                size = recvmsg(stage->notify, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
                if (size < 0) {
                        ASSERT_EQ(errno, EAGAIN);
                        return;
                }
                text[size] = '\0';
                header = CMSG_FIRSTHDR(&message);
                if (header && header->cmsg_type == SCM_RIGHTS) {
                        n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(fds, CMSG_DATA(header), n * sizeof(int));
                }
                stage_take_message(stage, text, fds, n);
        }
}

int stage_kept(const Stage *stage, const char *name) {
        for (size_t i = 0; i < stage->n_kept; i++)
                if (streq(stage->kept[i].name, name))
                        return stage->kept[i].fd;
        return -EBADF;
}

void stage_write_status(Stage *stage, const char *state) {
        char text[512];

        snprintf(text, sizeof(text), "{\"service\":\"demo\",\"state\":\"%s\",\"backends\":[\"%s\"]}", state,
                 stage->backend_address);
        ASSERT_OK(file_replace(stage->status_path, text, strlen(text), 0644, false));
}

void stage_end(Stage *stage, int signal) {
        int status;

        ASSERT_OK(kill(stage->front, signal));
        ASSERT_EQ(waitpid(stage->front, &status, 0), stage->front);
        if (signal == SIGUSR1)
                ASSERT_EQ(status, 0);
        else
                ASSERT_TRUE(WIFSIGNALED(status));
        /* As PID 1 does: what a front has said before it died is heard first. */
        stage_listen(stage);
}

void stage_kill(Stage *stage, int signal) {
        stage_end(stage, signal);
        stage_start(stage, 0, NULL);
}

void stage_start_with(Stage *stage, rlim_t nofile, const char *const *options) {
        char control[256], page[256], status[256], pid[32];
        const char *argv[16] = { stage_program, control, page, status, "--drain-timeout=0" };
        size_t n = 5;

        snprintf(control, sizeof(control), "--control=%s", stage->control_path);
        snprintf(page, sizeof(page), "--page-socket=%s", stage->page_path);
        snprintf(status, sizeof(status), "--status=%s", stage->status_path);
        for (; options && *options; options++)
                argv[n++] = *options;
        argv[n] = "demo";
        ASSERT_TRUE(n + 1 < ELEMENTSOF(argv));

        stage->ready = false;
        stage->front = fork();
        ASSERT_TRUE(stage->front >= 0);
        if (stage->front > 0)
                return;

        stage_pass(stage);
        if (nofile > 0)
                (void) setrlimit(RLIMIT_NOFILE, &(struct rlimit){ nofile, nofile });
        for (int i = 0; i < stage->n_strays; i++)
                (void) dup(STDERR_FILENO);
        snprintf(pid, sizeof(pid), "%d", getpid());
        (void) setenv("LISTEN_PID", pid, true);
        (void) setenv("SYSTEMD_LOG_LEVEL", "err", false);
        execv(stage_program, (char *const *) argv);
        _exit(127);
}

void stage_start(Stage *stage, rlim_t nofile, const char *option) {
        stage_start_with(stage, nofile, (const char *const[]){ option, NULL });
}

void stage_close(Stage *stage) {
        int status;

        if (stage->front > 0) {
                while (stage->notify >= 0 && !stage->ready) {
                        ASSERT_EQ(poll(&(struct pollfd){ .fd = stage->notify, .events = POLLIN }, 1,
                                       RECEIVE_SEC * 1000),
                                  1);
                        stage_listen(stage);
                }
                ASSERT_OK(kill(stage->front, SIGTERM));
                ASSERT_EQ(waitpid(stage->front, &status, 0), stage->front);
                ASSERT_EQ(status, 0);
        }
        if (stage->notify >= 0) {
                stage_listen(stage);
                for (size_t i = 0; i < stage->n_kept; i++)
                        fd_close(stage->kept[i].fd);
                fd_close(stage->notify);
                (void) unlink(stage->notify_path);
        }
        fd_close(stage->control);
        fd_close(stage->listener);
        fd_close(stage->backend);
        fd_close(stage->web);
        (void) unlink(stage->control_path);
        (void) unlink(stage->listen_path);
        (void) unlink(stage->backend_path);
        (void) unlink(stage->page_path);
        (void) unlink(stage->status_path);
        ASSERT_OK(rmdir(stage->folder));
}

int client_connect(Stage *stage) {
        struct sockaddr_storage address;
        socklen_t size = sizeof(address);
        int fd;

        ASSERT_OK(getsockname(stage->listener, (struct sockaddr *) &address, &size));
        fd = with_timeout(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (connect(fd, (struct sockaddr *) &address, size) < 0)
                TEST_FAIL("connect: %m");
        return fd;
}

void send_all(int fd, const void *data, size_t size) {
        for (size_t done = 0; done < size;) {
                ssize_t n = send(fd, (const uint8_t *) data + done, size - done, MSG_NOSIGNAL);

                if (n < 0)
                        TEST_FAIL("send: %m");
                done += (size_t) n;
        }
}

void send_text(int fd, const char *text) {
        send_all(fd, text, strlen(text));
}

void expect_text(int fd, const char *text) {
        char buffer[256] = "";

        ASSERT_EQ(recv(fd, buffer, strlen(text), MSG_WAITALL), strlen(text));
        ASSERT_STREQ(buffer, text);
}

void expect_end(int fd) {
        char byte;

        ASSERT_EQ(recv(fd, &byte, 1, 0), 0);
}

void expect_reset(int fd) {
        char byte;

        ASSERT_EQ(recv(fd, &byte, 1, 0), -1);
        ASSERT_EQ(errno, ECONNRESET);
}

void reset(int fd) {
        struct linger linger = { .l_onoff = 1 };

        ASSERT_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
        ASSERT_OK(close(fd));
}

int accept_one(int listener) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
                TEST_FAIL("accept: %m");
        return with_timeout(fd);
}

bool nobody_waits(int listener) {
        return poll(&(struct pollfd){ .fd = listener, .events = POLLIN }, 1, 0) == 0;
}

/* The waker's side: takes the call of Hold. */
int waker_accept(Stage *stage) {
        char message[512];
        size_t size = 0;
        json_object *object, *value;
        int fd = accept_one(stage->control);

        do {
                ASSERT_TRUE(size < sizeof(message));
                ASSERT_EQ(recv(fd, message + size, 1, 0), 1);
        } while (message[size++] != '\0');

        object = json_tokener_parse(message);
        ASSERT_TRUE(json_object_object_get_ex(object, "method", &value));
        ASSERT_STREQ(json_object_get_string(value), "io.wakechain.Hold");
        ASSERT_TRUE(json_object_object_get_ex(object, "more", &value) && json_object_get_boolean(value));
        json_object_put(object);
        return fd;
}

void waker_status(int fd, const char *state, const char *backend) {
        char message[512];
        int n;

        n = snprintf(message, sizeof(message),
                     "{\"parameters\":{\"status\":{\"service\":\"demo\",\"state\":\"%s\",\"backends\":[%s%s%s]}},"
                     "\"continues\":true}",
                     state, backend ? "\"" : "", backend ? backend : "", backend ? "\"" : "");
        send_all(fd, message, (size_t) n + 1);
}

void waker_status_with_port(int fd, const char *state, const char *backend, uint16_t port, bool accepts,
                            const char *port_backend) {
        char message[512];
        int n;

        n = snprintf(message, sizeof(message),
                     "{\"parameters\":{\"status\":{\"service\":\"demo\",\"state\":\"%s\",\"backends\":[\"%s\"],"
                     "\"ports\":[{\"port\":%u,\"accepts\":%s,\"backends\":[\"%s\"]}]}},\"continues\":true}",
                     state, backend, port, accepts ? "true" : "false", port_backend);
        send_all(fd, message, (size_t) n + 1);
}

void waker_fail(int fd) {
        static const char message[] = "{\"error\":\"io.wakechain.WakeFailed\",\"parameters\":{\"reason\":"
                                      "\"health_check_failed\",\"message\":\"secret-name did not answer\"}}";

        send_all(fd, message, sizeof(message));
}

void expect_503(int fd, bool body) {
        char buffer[2048];
        ssize_t n;

        n = recv(fd, buffer, sizeof(buffer) - 1, MSG_WAITALL);
        ASSERT_TRUE(n > 0);
        buffer[n] = '\0';
        ASSERT_TRUE(strncmp(buffer, "HTTP/1.1 503 ", 13) == 0);
        ASSERT_TRUE(strstr(buffer, "\r\nRetry-After: "));
        ASSERT_TRUE(strstr(buffer, "\r\nCache-Control: no-store\r\n"));
        ASSERT_TRUE(strstr(buffer, "\r\nConnection: close\r\n"));
        ASSERT_TRUE(!!strstr(buffer, "\r\n\r\ndemo ") == body);
        ASSERT_NULL(strstr(buffer, "secret-name"));
        expect_end(fd);
}

void expect_echo(int client, int backend) {
        send_text(client, "ping");
        expect_text(backend, "ping");
        send_text(backend, "pong");
        expect_text(client, "pong");
}

/* A client that is served from the start. */
int serve_one(Stage *stage, int *ret_waker, int *ret_backend) {
        int client = client_connect(stage);

        *ret_waker = waker_accept(stage);
        waker_status(*ret_waker, "awake", stage->backend_address);
        *ret_backend = accept_one(stage->backend);
        expect_echo(client, *ret_backend);
        return client;
}

void web_listen(Stage *stage) {
        stage->web = unix_socket(stage->page_path, SOCK_SEQPACKET, true);
}

static int receive(int fd, bool in_pause) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(4 * sizeof(int))];
        } control;
        char name[128] = "";
        struct iovec data = { name, sizeof(name) - 1 };
        struct msghdr message = {
                .msg_iov = &data,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        int client;

        ASSERT_TRUE(recvmsg(fd, &message, MSG_CMSG_CLOEXEC) > 0);
        if (in_pause)
                ASSERT_TRUE(strncmp(name, "demo ", 5) == 0 && strtoul(name + 5, NULL, 10) > 0);
        else
                ASSERT_STREQ(name, "demo");
        ASSERT_EQ(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
        ASSERT_EQ(message.msg_controllen, CMSG_SPACE(sizeof(int)));
        ASSERT_EQ(control.header.cmsg_level, SOL_SOCKET);
        ASSERT_EQ(control.header.cmsg_type, SCM_RIGHTS);
        ASSERT_EQ(control.header.cmsg_len, CMSG_LEN(sizeof(int)));
        memcpy(&client, CMSG_DATA(&control.header), sizeof(client));
        ASSERT_TRUE(fcntl(client, F_GETFL) & O_NONBLOCK);
        return client;
}

int web_receive(int fd) {
        return receive(fd, /* in_pause= */ false);
}

int web_receive_in_pause(int fd) {
        return receive(fd, /* in_pause= */ true);
}

void web_answer(int fd, const char *answer) {
        ASSERT_EQ(send(fd, answer, strlen(answer), MSG_NOSIGNAL), strlen(answer));
}
