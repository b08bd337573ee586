#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "names/question.h"
#include "util/fd.h"
#include "util/log.h"

/* wakechain-names: answers for the names of containers that sleep, on the networks where they have them. Which questions come here is decided by
 * the rules of wakechain-redirect(8), which leaves a line for each name,
 *
 *   BRIDGE NAME ADDRESS
 *
 * BRIDGE being the interface that a question comes in by, or the address that it comes from, of one who asks by another network than that of the
 * name. What is asked by anybody else, or not exactly a question, has no answer. A
 * name does not wake: nothing is told to anybody. It is started by a question, and ends when there was none for a while. */

#define NAMES "/run/wakechain/names"
#define NAMES_SIZE_MAX ((size_t) 16 * 1024 * 1024)
#define IDLE_MSEC 5000
#define FROM_SIZE MAX(IF_NAMESIZE, INET6_ADDRSTRLEN)
#define LINE_MAX_SIZE (FROM_SIZE + QUESTION_NAME_MAX + 4)

typedef struct Names {
        const char *path;
        char *text; /* begins with a newline, as does each line in it */
        struct stat status; /* of what it was read from */
} Names;

static void names_refresh(Names *names) {
        _cleanup_free_ char *read = NULL;
        struct stat status = {};
        char *text;

        if (stat(names->path, &status) >= 0 && names->text && status.st_ino == names->status.st_ino &&
            status.st_mtim.tv_sec == names->status.st_mtim.tv_sec &&
            status.st_mtim.tv_nsec == names->status.st_mtim.tv_nsec)
                return;
        if (file_read(names->path, NAMES_SIZE_MAX, &read, NULL) < 0 || asprintf(&text, "\n%s", read) < 0)
                return;
        free(names->text);
        names->text = text;
        names->status = status;
}

static bool names_find(const Names *names, const char *from, const char *name, struct in_addr *ret) {
        char line[LINE_MAX_SIZE + 1], address[INET_ADDRSTRLEN];
        const char *found;

        (void) snprintf(line, sizeof(line), "\n%s %s ", from, name);
        found = strstr(strempty(names->text), line);
        if (!found)
                return false;
        found += strlen(line);
        (void) snprintf(address, sizeof(address), "%.*s", (int) strcspn(found, "\n"), found);
        return inet_pton(AF_INET, address, ret) == 1;
}

/* Of the packet; 0: it does not say. */
static unsigned interface_of(struct msghdr *message) {
        unsigned interface = 0;

        for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control))
                if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
                        struct in6_pktinfo info;

                        memcpy(&info, CMSG_DATA(control), sizeof(info));
                        interface = info.ipi6_ifindex;
                }
        return interface;
}

/* Of IPv4; "" if it is none. */
static void client_address(char ret[static INET_ADDRSTRLEN], const struct sockaddr_in6 *client) {
        *ret = '\0';
        if (client->sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&client->sin6_addr))
                (void) inet_ntop(AF_INET, &client->sin6_addr.s6_addr[12], ret, INET_ADDRSTRLEN);
}

/* By the way that the question came: what it was sent to is where the answer has to come from. */
static void answer_next(int fd, Names *names) {
        uint8_t packet[QUESTION_SIZE_MAX + 1], answer[ANSWER_SIZE_MAX];
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
        } control = {};
        struct iovec part = { packet, sizeof(packet) };
        struct sockaddr_in6 client = {};
        struct msghdr message = {
                .msg_name = &client,
                .msg_namelen = sizeof(client),
                .msg_iov = &part,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        char bridge[IF_NAMESIZE], guest[INET_ADDRSTRLEN];
        struct in_addr address;
        Question question;
        ssize_t n;

        n = recvmsg(fd, &message, MSG_DONTWAIT);
        if (n < 0 || !if_indextoname(interface_of(&message), bridge) ||
            question_parse(&question, packet, (size_t) n) < 0)
                return;
        names_refresh(names);
        client_address(guest, &client);
        if (!names_find(names, bridge, question.name, &address) &&
            !names_find(names, guest, question.name, &address))
                return;
        part = (struct iovec){ answer, question_answer(&question, packet, address, answer) };
        (void) sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int main(int argc, char *argv[]) {
        _cleanup_free_ char *path = NULL;
        Names names = {};
        int r;

        log_open();
        /* A root for tests. */
        if (asprintf(&path, "%s" NAMES, argc > 1 ? argv[1] : "") < 0)
                return EXIT_FAILURE;
        names.path = path;
        if (sd_listen_fds(true) != 1) {
                log_error("No socket was passed: to be started by wakechain-names.socket.");
                return EXIT_FAILURE;
        }
        r = setsockopt(SD_LISTEN_FDS_START, IPPROTO_IPV6, IPV6_RECVPKTINFO, &(int){ true }, sizeof(int));
        if (r < 0) {
                log_error_errno(-errno, "The socket that was passed is none of IPv6: %m");
                return EXIT_FAILURE;
        }
        (void) sd_notify(false, "READY=1");
        for (;;) {
                struct pollfd waited = { .fd = SD_LISTEN_FDS_START, .events = POLLIN };

                r = poll(&waited, 1, IDLE_MSEC);
                if (r == 0)
                        break;
                if (r > 0)
                        answer_next(SD_LISTEN_FDS_START, &names);
                else if (errno != EINTR)
                        break;
        }
        free(names.text);
        return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
