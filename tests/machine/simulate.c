/* simulate: a stand-in for the users' containers.
 *
 * As `server` it is a container's PID 1: after a delay it listens, on IPv4 and IPv6, and answers HTTP with the name of
 * this host and the address of the peer; whatever does not look like HTTP is echoed. On the same ports of UDP it is a
 * name server for which every name is 192.0.2.1, and echoes what is no question to one. As `pg_isready`, `redis-cli`,
 * `mysqladmin` and `curl` it is the health command of the image that it stands in for: it succeeds only when it gets an
 * answer from the port that the real program would ask.
 *
 * What `server` does comes from the environment of the container, and files beside it win, so that a stopped container
 * can be given another behaviour by `docker cp`:
 *
 *   PORT      /tmp/port      ports to listen on, separated by commas; none: only runs
 *   DELAY_MS  /tmp/delay_ms  how long after the start it begins to listen
 *   CRASH_MS  /tmp/crash_ms  when it ends by itself, counted from the start
 *   CRASH_CODE  /tmp/crash_code  and with which exit status
 *   BROKEN    /tmp/broken    while that is so, health commands fail and HTTP is answered with 503
 *   LOG                      a line on stdout for each request
 *
 * `GET /bytes/N` answers with N bytes, `GET /slow/MS` after a pause. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE 16384
#define DATAGRAM_MAX 65536
#define LISTENERS_MAX 16

typedef enum Mode {
        MODE_UNKNOWN,
        MODE_HTTP,
        MODE_ECHO,
} Mode;

typedef struct Connection {
        int fd;
        int family; /* of a listener's descriptor: AF_UNSPEC */
        bool datagrams; /* of a listener: UDP */
        Mode mode;
        bool closing; /* nothing more is read; closed when all is written */
        uint64_t skip; /* bytes of a request body still to come */
        uint64_t padding; /* bytes of /bytes/N still to be written */
        uint64_t resume_msec; /* /slow/MS: nothing is written before */
        struct Connection *slow_next;
        char peer[INET6_ADDRSTRLEN + 16];
        size_t n_in, n_out;
        char in[BUFFER_SIZE], out[BUFFER_SIZE];
} Connection;

static char arg_hostname[256];
static bool arg_log;
static int epoll_fd = -1;
static Connection *slow_connections;

static uint64_t now_msec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static const char *setting(const char *env, const char *path, char *buffer, size_t size) {
        const char *value = getenv(env);
        int fd;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
                ssize_t n = read(fd, buffer, size - 1);

                close(fd);
                if (n >= 0) {
                        buffer[n] = 0;
                        buffer[strcspn(buffer, "\n")] = 0;
                        return buffer;
                }
        }

        return value && *value ? value : NULL;
}

static long setting_number(const char *env, const char *path, long otherwise) {
        char buffer[64];
        const char *value = setting(env, path, buffer, sizeof(buffer));

        return value && *value ? strtol(value, NULL, 10) : otherwise;
}

static bool is_broken(void) {
        const char *e = getenv("BROKEN");

        return access("/tmp/broken", F_OK) >= 0 || (e && *e && strcmp(e, "0") != 0);
}

/* Server */

static void on_terminate(int sig) {
        (void) sig;
        _exit(0);
}

static int listen_on(uint16_t port, int type) {
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_any };
        struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(port) };
        static const int on = 1, off = 0;
        int fd;

        fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0) {
                setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
                if (bind(fd, (struct sockaddr *) &in6, sizeof(in6)) >= 0 &&
                    (type == SOCK_DGRAM || listen(fd, 4096) >= 0))
                        return fd;
                close(fd);
        }

        fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;

        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, (struct sockaddr *) &in4, sizeof(in4)) < 0 || (type == SOCK_STREAM && listen(fd, 4096) < 0))
                return -errno;

        return fd;
}

static void connection_watch(Connection *c, uint32_t events) {
        struct epoll_event event = { .events = events, .data.ptr = c };

        if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event) < 0)
                epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void connection_free(Connection *c) {
        for (Connection **p = &slow_connections; *p; p = &(*p)->slow_next)
                if (*p == c) {
                        *p = c->slow_next;
                        break;
                }

        close(c->fd);
        free(c);
}

static void connection_accept(int listener) {
        static const int on = 1;

        for (;;) {
                struct sockaddr_storage address = {};
                socklen_t length = sizeof(address);
                char text[INET6_ADDRSTRLEN] = "?";
                uint16_t port = 0;
                Connection *c;
                int fd;

                fd = accept4(listener, (struct sockaddr *) &address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0)
                        return;

                c = calloc(1, sizeof(*c));
                if (!c) {
                        close(fd);
                        return;
                }

                if (address.ss_family == AF_INET6) {
                        const struct sockaddr_in6 *a = (const void *) &address;

                        port = ntohs(a->sin6_port);
                        if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr))
                                inet_ntop(AF_INET, a->sin6_addr.s6_addr + 12, text, sizeof(text));
                        else
                                inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof(text));
                } else if (address.ss_family == AF_INET) {
                        const struct sockaddr_in *a = (const void *) &address;

                        port = ntohs(a->sin_port);
                        inet_ntop(AF_INET, &a->sin_addr, text, sizeof(text));
                }

                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                c->fd = fd;
                c->family = AF_INET;
                snprintf(c->peer, sizeof(c->peer), "%s %u", text, port);
                connection_watch(c, EPOLLIN);
        }
}

static Mode guess_mode(const char *data, size_t n) {
        static const char *const methods[] = {
                "GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ",
        };

        for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
                size_t l = strlen(methods[i]);

                if (strncmp(data, methods[i], n < l ? n : l) == 0)
                        return n < l ? MODE_UNKNOWN : MODE_HTTP;
        }

        return MODE_ECHO;
}

/* Answers one request out of c->in. Returns false if none is complete, or there is no room for an answer. */
static bool connection_answer(Connection *c) {
        char method[16] = "", path[512] = "/", body[1024], *end;
        bool keep_alive, broken = is_broken();
        uint64_t content_length = 0, padding = 0, pause = 0, take;
        int minor = 1, n_body, n;

        if (c->n_out > 0 || c->padding > 0 || c->resume_msec > 0 || c->closing)
                return false;

        end = memmem(c->in, c->n_in, "\r\n\r\n", 4);
        if (!end) {
                c->closing = c->n_in >= sizeof(c->in) - 1;
                return false;
        }

        *end = 0;
        (void) sscanf(c->in, "%15s %511s HTTP/1.%d", method, path, &minor);
        keep_alive = minor > 0;

        for (char *line = strstr(c->in, "\r\n"); line; line = strstr(line, "\r\n")) {
                line += 2;
                if (strncasecmp(line, "Content-Length:", 15) == 0)
                        content_length = strtoull(line + 15, NULL, 10);
                else if (strncasecmp(line, "Connection:", 11) == 0) {
                        const char *value = line + 11 + strspn(line + 11, " \t");

                        if (strncasecmp(value, "close", 5) == 0)
                                keep_alive = false;
                        else if (strncasecmp(value, "keep-alive", 10) == 0)
                                keep_alive = true;
                } else if (strncasecmp(line, "Expect: 100-continue", 20) == 0)
                        (void) !write(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        }

        take = end + 4 - c->in;
        c->skip = content_length;
        memmove(c->in, c->in + take, c->n_in - take);
        c->n_in -= take;
        c->in[c->n_in] = 0;
        take = c->skip < c->n_in ? c->skip : c->n_in;
        memmove(c->in, c->in + take, c->n_in - take);
        c->n_in -= take;
        c->skip -= take;

        if (arg_log)
                printf("%s %s from %s\n", method, path, c->peer);

        if (strncmp(path, "/bytes/", 7) == 0)
                padding = strtoull(path + 7, NULL, 10);
        else if (strncmp(path, "/slow/", 6) == 0)
                pause = strtoull(path + 6, NULL, 10);

        n_body = padding > 0 ? 0
                             : snprintf(body, sizeof(body), "%s %s %s %s\n", arg_hostname, c->peer, method, path);
        n = snprintf(c->out, sizeof(c->out),
                     "HTTP/1.1 %s\r\n"
                     "Server: simulate\r\n"
                     "Content-Type: text/plain\r\n"
                     "Content-Length: %llu\r\n"
                     "Connection: %s\r\n"
                     "\r\n",
                     broken ? "503 Service Unavailable" : "200 OK", (unsigned long long) (n_body + padding),
                     keep_alive ? "keep-alive" : "close");
        if (strcmp(method, "HEAD") == 0)
                padding = 0;
        else {
                memcpy(c->out + n, body, n_body);
                n += n_body;
        }

        c->n_out = n;
        c->padding = padding;
        c->closing = !keep_alive;
        if (pause > 0) {
                c->resume_msec = now_msec() + pause;
                c->slow_next = slow_connections;
                slow_connections = c;
        }

        return true;
}

/* Returns false when the connection is over. */
static bool connection_write(Connection *c) {
        while (c->resume_msec == 0) {
                ssize_t n;

                if (c->n_out == 0 && c->padding > 0) {
                        size_t some = c->padding < sizeof(c->out) ? c->padding : sizeof(c->out);

                        memset(c->out, 'x', some);
                        c->n_out = some;
                        c->padding -= some;
                }
                if (c->n_out == 0)
                        break;

                n = send(c->fd, c->out, c->n_out, MSG_NOSIGNAL);
                if (n < 0)
                        return errno == EAGAIN;

                memmove(c->out, c->out + n, c->n_out - n);
                c->n_out -= n;
        }

        return true;
}

static bool connection_read(Connection *c) {
        for (;;) {
                char scratch[BUFFER_SIZE];
                bool body = c->skip > 0;
                size_t room = body ? sizeof(scratch) : sizeof(c->in) - 1 - c->n_in;
                ssize_t n;

                if (c->closing || room == 0)
                        return true;

                n = recv(c->fd, body ? scratch : c->in + c->n_in, body && c->skip < room ? c->skip : room, 0);
                if (n < 0)
                        return errno == EAGAIN;
                if (n == 0) {
                        c->closing = true;
                        return true;
                }
                if (body)
                        c->skip -= n;
                else {
                        c->n_in += n;
                        c->in[c->n_in] = 0;
                }
        }
}

static void connection_process(Connection *c) {
        bool busy;

        if (!connection_read(c))
                return connection_free(c);

        do {
                busy = false;

                if (c->mode == MODE_UNKNOWN)
                        c->mode = guess_mode(c->in, c->n_in);

                if (c->mode == MODE_HTTP)
                        busy = connection_answer(c);
                else if (c->mode == MODE_ECHO && c->n_out == 0 && c->n_in > 0) {
                        memcpy(c->out, c->in, c->n_in);
                        c->n_out = c->n_in;
                        c->n_in = 0;
                        busy = true;
                }

                if (!connection_write(c))
                        return connection_free(c);
        } while (busy && c->n_out == 0 && c->padding == 0 && c->resume_msec == 0);

        if (c->closing && c->n_out == 0 && c->padding == 0 && c->resume_msec == 0)
                return connection_free(c);

        connection_watch(c, (c->n_out > 0 || c->padding > 0) && c->resume_msec == 0 ? EPOLLOUT
                            : c->closing || c->resume_msec > 0                      ? 0
                                                                                    : EPOLLIN);
}

/* The answer to one question (RFC 1035), made of it in place; 0: it is none. */
static size_t dns_answer(uint8_t *message, size_t size, size_t room) {
        static const uint8_t record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1 };
        bool is_a;
        size_t end = 12;

        if (size < 17 || message[2] & 0xf8 || message[4] != 0 || message[5] != 1)
                return 0;
        while (end < size && message[end] > 0)
                end += 1 + message[end];
        end += 5;
        if (end > size || end + sizeof(record) > room)
                return 0;
        is_a = message[end - 4] == 0 && message[end - 3] == 1;

        message[2] = 0x84 | (message[2] & 1);
        message[3] = 0x80;
        memset(message + 6, 0, 6);
        message[7] = is_a;
        memcpy(message + end, record, sizeof(record));
        return is_a ? end + sizeof(record) : end;
}

static void datagrams_answer(int fd) {
        static uint8_t buffer[DATAGRAM_MAX];

        for (;;) {
                struct sockaddr_in6 peer;
                socklen_t peer_size = sizeof(peer);
                ssize_t n = recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *) &peer, &peer_size);
                size_t size;

                if (n < 0)
                        return;
                size = dns_answer(buffer, n, sizeof(buffer));
                (void) sendto(fd, buffer, size > 0 ? size : (size_t) n, 0, (struct sockaddr *) &peer, peer_size);
        }
}

static int run_server(void) {
        struct rlimit files = { .rlim_cur = 1048576, .rlim_max = 1048576 };
        static Connection listeners[LISTENERS_MAX];
        uint64_t start = now_msec(), crash_at, listen_at;
        long crash_msec, crash_code;
        bool listening = false;

        signal(SIGTERM, on_terminate);
        signal(SIGINT, on_terminate);
        signal(SIGCHLD, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        setvbuf(stdout, NULL, _IOLBF, 0);
        (void) gethostname(arg_hostname, sizeof(arg_hostname) - 1);
        arg_log = getenv("LOG");

        if (setrlimit(RLIMIT_NOFILE, &files) < 0 && getrlimit(RLIMIT_NOFILE, &files) >= 0) {
                files.rlim_cur = files.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &files);
        }

        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (epoll_fd < 0)
                return 1;

        crash_msec = setting_number("CRASH_MS", "/tmp/crash_ms", -1);
        crash_code = setting_number("CRASH_CODE", "/tmp/crash_code", 1);
        crash_at = crash_msec >= 0 ? start + crash_msec : UINT64_MAX;
        listen_at = start + setting_number("DELAY_MS", "/tmp/delay_ms", 0);

        for (;;) {
                struct epoll_event events[256];
                uint64_t now = now_msec(), next = crash_at;
                int n;

                if (now >= crash_at) {
                        fprintf(stderr, "simulate: ending with %ld, as told\n", crash_code);
                        return crash_code;
                }

                if (!listening && now >= listen_at) {
                        char buffer[256];
                        const char *ports = setting("PORT", "/tmp/port", buffer, sizeof(buffer));
                        size_t n_listeners = 0;

                        while (ports && *ports && n_listeners < LISTENERS_MAX) {
                                char *rest;
                                long port = strtol(ports, &rest, 10);
                                int fd = -1;

                                if (rest == ports || port <= 0 || port > UINT16_MAX)
                                        break;
                                ports = rest + strspn(rest, ", ");

                                for (int udp = 0; udp <= 1; udp++) {
                                        fd = listen_on(port, udp ? SOCK_DGRAM : SOCK_STREAM);
                                        if (fd < 0 || n_listeners == LISTENERS_MAX)
                                                break;
                                        listeners[n_listeners].fd = fd;
                                        listeners[n_listeners].datagrams = udp;
                                        connection_watch(&listeners[n_listeners++], EPOLLIN);
                                }
                                if (fd < 0) {
                                        fprintf(stderr, "simulate: cannot listen on %ld: %s\n", port,
                                                strerror(-fd));
                                        return 1;
                                }
                                printf("listening on %ld\n", port);
                        }
                        listening = true;
                }
                if (!listening && listen_at < next)
                        next = listen_at;

                for (Connection *c = slow_connections, *following; c; c = following) {
                        following = c->slow_next;
                        if (now >= c->resume_msec) {
                                for (Connection **p = &slow_connections; *p; p = &(*p)->slow_next)
                                        if (*p == c) {
                                                *p = c->slow_next;
                                                break;
                                        }
                                c->resume_msec = 0;
                                connection_process(c);
                        } else if (c->resume_msec < next)
                                next = c->resume_msec;
                }

                n = epoll_wait(epoll_fd, events, 256,
                               next == UINT64_MAX ? -1
                               : next > now       ? (int) (next - now)
                                                  : 0);
                for (int i = 0; i < n; i++) {
                        Connection *c = events[i].data.ptr;

                        if (c->datagrams)
                                datagrams_answer(c->fd);
                        else if (c->family == AF_UNSPEC)
                                connection_accept(c->fd);
                        else if (events[i].events & (EPOLLERR | EPOLLHUP) &&
                                 !(events[i].events & (EPOLLIN | EPOLLOUT)))
                                connection_free(c);
                        else
                                connection_process(c);
                }
        }
}

/* Health commands */

static int dial(const char *host, uint16_t port, int timeout_sec) {
        struct timeval tv = { .tv_sec = timeout_sec };
        int r = -EADDRNOTAVAIL;

        /* As resolvers do it: localhost is both. */
        for (int v6 = 0; v6 <= 1; v6++) {
                struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
                struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(port) };
                const char *numeric = strcmp(host, "localhost") != 0 ? host : v6 ? "::1" : "127.0.0.1";
                int fd;

                if (v6 ? inet_pton(AF_INET6, numeric, &in6.sin6_addr) <= 0
                       : inet_pton(AF_INET, numeric, &in4.sin_addr) <= 0)
                        continue;

                fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                if (fd < 0)
                        return -errno;

                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
                setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
                if (v6 ? connect(fd, (struct sockaddr *) &in6, sizeof(in6)) >= 0
                       : connect(fd, (struct sockaddr *) &in4, sizeof(in4)) >= 0)
                        return fd;

                if (r != -ECONNREFUSED)
                        r = -errno;
                close(fd);
        }

        return r;
}

/* The server echoes what is not HTTP: an answer shows that the program serves, not only that the port is open. */
static bool serves(uint16_t port) {
        char answer[8];
        bool good;
        int fd;

        if (is_broken())
                return false;

        fd = dial("127.0.0.1", port, 3);
        if (fd < 0)
                return false;

        good = write(fd, "PING\r\n", 6) == 6 && read(fd, answer, sizeof(answer)) > 0;
        close(fd);
        return good;
}

static int run_pg_isready(void) {
        bool good = serves(5432);

        printf("/var/run/postgresql:5432 - %s\n", good ? "accepting connections" : "no response");
        return good ? 0 : 2;
}

static int run_redis_cli(void) {
        if (!serves(6379)) {
                fprintf(stderr, "Could not connect to Redis at 127.0.0.1:6379: Connection refused\n");
                return 1;
        }

        puts("PONG");
        return 0;
}

static int run_mysqladmin(void) {
        if (!serves(3306)) {
                fprintf(stderr, "mysqladmin: connect to server at 'localhost' failed\n");
                return 1;
        }

        puts("mysqld is alive");
        return 0;
}

static int run_curl(int argc, char *argv[]) {
        const char *url = NULL, *output = NULL, *path;
        char host[256], request[2048], buffer[BUFFER_SIZE];
        bool fail = false, headers_done = false;
        int timeout_sec = 60, status = 0, fd;
        unsigned long port = 80;
        size_t length, n_head = 0;
        FILE *file = stdout;

        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--fail") == 0)
                        fail = true;
                else if (strncmp(argv[i], "--", 2) == 0)
                        continue;
                else if (argv[i][0] == '-')
                        for (const char *option = argv[i] + 1; *option; option++) {
                                if (*option == 'f')
                                        fail = true;
                                else if (*option == 'o' && i + 1 < argc)
                                        output = argv[++i];
                                else if (*option == 'm' && i + 1 < argc)
                                        timeout_sec = atoi(argv[++i]);
                                else if (!strchr("sSLk", *option))
                                        return 2;
                                if (strchr("om", *option))
                                        break;
                        }
                else
                        url = argv[i];
        }
        if (!url)
                return 2;
        if (strncmp(url, "http://", 7) == 0)
                url += 7;

        length = *url == '[' ? strcspn(url, "]") : strcspn(url, ":/");
        if (length == 0 || length >= sizeof(host))
                return 3;
        snprintf(host, sizeof(host), "%.*s", (int) (length - (*url == '[')), url + (*url == '['));
        path = url + length + (*url == '[');
        if (*path == ':') {
                port = strtoul(path + 1, NULL, 10);
                path += strcspn(path, "/");
        }
        if (port == 0 || port > UINT16_MAX)
                return 3;

        if (is_broken()) {
                fprintf(stderr, "curl: (22) The requested URL returned error: 503\n");
                return 22;
        }

        fd = dial(host, port, timeout_sec);
        if (fd < 0) {
                fprintf(stderr, "curl: (7) Failed to connect to %s port %lu: %s\n", host, port, strerror(-fd));
                return fd == -EADDRNOTAVAIL ? 6 : fd == -EINPROGRESS ? 28 : 7;
        }

        snprintf(request, sizeof(request),
                 "GET %s HTTP/1.1\r\nHost: %s:%lu\r\nUser-Agent: curl/simulate\r\n"
                 "Accept: */*\r\nConnection: close\r\n\r\n",
                 *path ? path : "/", host, port);
        if (write(fd, request, strlen(request)) < 0)
                return 55;

        if (output)
                file = fopen(output, "w");
        if (!file)
                return 23;

        for (;;) {
                ssize_t n = read(fd, buffer + n_head, sizeof(buffer) - 1 - n_head);
                char *end;

                if (n < 0)
                        return errno == EAGAIN ? 28 : 56;
                if (n == 0)
                        break;

                if (headers_done) {
                        fwrite(buffer, 1, n, file);
                        continue;
                }

                n_head += n;
                buffer[n_head] = 0;
                end = strstr(buffer, "\r\n\r\n");
                if (!end)
                        continue;

                (void) sscanf(buffer, "HTTP/1.%*d %d", &status);
                if (fail && status >= 400) {
                        fprintf(stderr, "curl: (22) The requested URL returned error: %d\n", status);
                        return 22;
                }
                fwrite(end + 4, 1, buffer + n_head - end - 4, file);
                headers_done = true;
                n_head = 0;
        }

        fflush(file);
        return headers_done ? 0 : 52;
}

int main(int argc, char *argv[]) {
        const char *name = strrchr(argv[0], '/');

        name = name ? name + 1 : argv[0];
        if (strcmp(name, "simulate") == 0 && argc > 1) {
                argv++;
                argc--;
                name = argv[0];
        }

        if (strcmp(name, "server") == 0)
                return run_server();
        if (strcmp(name, "pg_isready") == 0)
                return run_pg_isready();
        if (strcmp(name, "redis-cli") == 0)
                return run_redis_cli();
        if (strcmp(name, "mysqladmin") == 0)
                return run_mysqladmin();
        if (strcmp(name, "curl") == 0)
                return run_curl(argc, argv);

        fprintf(stderr, "simulate: unknown name '%s'\n", name);
        return 127;
}
