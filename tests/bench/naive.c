/* naive: the program that wakechain is measured against. It follows the users' dependencies.json to the letter: it listens, and at a
 * connection it goes through the groups in their order. It starts all containers of a group at once with `docker start`, then runs the
 * health command of each required one, and sleeps `interval` after a failure. When all required ones are healthy it connects to the
 * published port, again every 10 ms until that accepts, and passes bytes both ways.
 *
 * Where the letter leaves a choice, it is made in this program's favour: containers of a group are checked side by side, each from when
 * its own `docker start` has returned; and because docker-proxy accepts before the application does, a connection that ends without a
 * byte does not count as accepted: the request is sent again. Of an optional container the `docker start` is waited for, as a program
 * that runs commands one after the other does.
 *
 * The plan comes on stdin, made by the bench from dependencies.json:
 *
 *     listen PORT PUBLISHED-PORT
 *     group
 *     start CONTAINER required|optional INTERVAL_MS RETRIES COMMAND…      (no command: started is ready)
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MEMBERS_MAX 64
#define REQUEST_MAX 16384
#define RETRY_MSEC 10

typedef struct Member {
        unsigned group;
        char *container;
        bool required;
        unsigned interval_msec, retries;
        char *command; /* NULL: none */
} Member;

static Member members[MEMBERS_MAX];
static size_t n_members;
static unsigned n_groups;
static uint16_t listen_port, published_port;

static void die(const char *what) {
        perror(what);
        exit(EXIT_FAILURE);
}

static void sleep_msec(unsigned msec) {
        struct timespec pause = { msec / 1000, (long) (msec % 1000) * 1000000 };

        while (nanosleep(&pause, &pause) < 0)
                ;
}

static void read_plan(void) {
        char line[4096];

        while (fgets(line, sizeof(line), stdin)) {
                Member *member = &members[n_members];
                char container[256], type[16];
                int n = 0;

                line[strcspn(line, "\n")] = '\0';
                if (sscanf(line, "listen %hu %hu", &listen_port, &published_port) == 2)
                        continue;
                if (strcmp(line, "group") == 0) {
                        n_groups++;
                        continue;
                }
                if (n_members == MEMBERS_MAX || sscanf(line, "start %255s %15s %u %u %n", container, type,
                                                       &member->interval_msec, &member->retries, &n) < 4) {
                        fprintf(stderr, "naive: what is '%s'?\n", line);
                        exit(EXIT_FAILURE);
                }
                member->group = n_groups;
                member->container = strdup(container);
                member->required = strcmp(type, "required") == 0;
                member->command = line[n] ? strdup(line + n) : NULL;
                n_members++;
        }
}

static int run(char *const argv[]) {
        int status = -1;
        pid_t pid = vfork();

        if (pid < 0)
                die("vfork");
        if (pid == 0) {
                execvp(argv[0], argv);
                _exit(127);
        }
        while (waitpid(pid, &status, 0) < 0)
                ;
        return status;
}

/* A process of its own for each container: exits with 0 when it is healthy, or started if that is all. */
static pid_t member_begin(const Member *member) {
        pid_t pid = fork();

        if (pid < 0)
                die("fork");
        if (pid > 0)
                return pid;

        if (run((char *[]){ "docker", "start", member->container, NULL }) != 0)
                _exit(EXIT_FAILURE);
        if (!member->required || !member->command)
                _exit(EXIT_SUCCESS);
        for (unsigned i = 0; i < member->retries; i++) {
                if (run((char *[]){ "/bin/sh", "-c", member->command, NULL }) == 0)
                        _exit(EXIT_SUCCESS);
                sleep_msec(member->interval_msec);
        }
        _exit(EXIT_FAILURE);
}

static void wake(void) {
        for (unsigned group = 1; group <= n_groups; group++) {
                pid_t children[MEMBERS_MAX];
                size_t n = 0;

                for (size_t i = 0; i < n_members; i++)
                        if (members[i].group == group)
                                children[n++] = member_begin(&members[i]);
                for (size_t i = 0; i < n; i++) {
                        int status;

                        if (waitpid(children[i], &status, 0) < 0 || status != 0)
                                exit(EXIT_FAILURE);
                }
        }
}

static int connect_published(void) {
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(published_port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        static const int on = 1;

        for (;;) {
                int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

                if (fd < 0)
                        die("socket");
                (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                if (connect(fd, (struct sockaddr *) &address, sizeof(address)) >= 0)
                        return fd;
                close(fd);
                sleep_msec(RETRY_MSEC);
        }
}

/* Sends all, or is in trouble. */
static bool send_all(int fd, const char *data, ssize_t n) {
        while (n > 0) {
                ssize_t k = send(fd, data, (size_t) n, MSG_NOSIGNAL);

                if (k < 0)
                        return false;
                data += k;
                n -= k;
        }
        return true;
}

/* Returns a connection on which the answer to the request has begun, and those first bytes. */
static int ask(const char *request, ssize_t n_request, char *answer, ssize_t *n_answer) {
        for (;;) {
                int fd = connect_published();

                if (send_all(fd, request, n_request)) {
                        *n_answer = recv(fd, answer, REQUEST_MAX, 0);
                        if (*n_answer > 0)
                                return fd;
                }
                close(fd);
                sleep_msec(RETRY_MSEC);
        }
}

static void pass_on(int from, int to, bool *open) {
        char data[REQUEST_MAX];
        ssize_t n = recv(from, data, sizeof(data), 0);

        *open = n > 0 && send_all(to, data, n);
        if (!*open)
                (void) shutdown(to, SHUT_WR);
}

static void serve(int client) {
        static const int on = 1;
        char request[REQUEST_MAX], answer[REQUEST_MAX];
        bool up = true, down = true;
        ssize_t n_request, n_answer;
        int backend;

        (void) setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        n_request = recv(client, request, sizeof(request), 0);
        if (n_request <= 0)
                return;
        backend = ask(request, n_request, answer, &n_answer);
        down = send_all(client, answer, n_answer);

        while (up || down) {
                struct pollfd fds[] = {
                        { .fd = up ? client : -1, .events = POLLIN },
                        { .fd = down ? backend : -1, .events = POLLIN },
                };

                if (poll(fds, 2, -1) < 0)
                        die("poll");
                if (fds[0].revents)
                        pass_on(client, backend, &up);
                if (fds[1].revents)
                        pass_on(backend, client, &down);
        }
        close(backend);
}

int main(void) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY) };
        static const int on = 1;
        int listener, client, null;

        (void) signal(SIGPIPE, SIG_IGN);
        read_plan();
        address.sin_port = htons(listen_port);
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (listener < 0)
                die("socket");
        (void) setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(listener, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(listener, 128) < 0)
                die("bind");
        if (write(STDOUT_FILENO, "listening\n", 10) < 0)
                die("write");
        /* What the commands print is nobody's business. */
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (null < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
                die("/dev/null");

        client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
                die("accept");
        wake();
        serve(client);
        close(client);
        while (wait(NULL) >= 0)
                ;
        return EXIT_SUCCESS;
}
