#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "io/port-owner.h"
#include "util/fd.h"
#include "util/log.h"

/* PortOwner asks sock_diag(7), which any user may, for the listening sockets of the port. Since Linux 5.8 it tells the control
 * group of each by its id, which is the inode number of the group's folder (but to open a folder by that takes a capability, so
 * the tree is searched). Whoever was given the socket, by PID 1 say, is in the group of whoever made it: for socket units
 * systemd makes it in the unit's own. */

#define CGROUPS_MAX 20000U
#define DEPTH_MAX 32U
#define BUFFER_SIZE 16384U

void port_owner_done(PortOwner *owner) {
        free(owner->user);
        free(owner->unit);
        *owner = (PortOwner){};
}

/* The control group */

static bool is_unit(const char *name, size_t size) {
        static const char *const suffixes[] = { ".service", ".socket", ".scope" };

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
                size_t n = strlen(suffixes[i]);

                if (size > n && memcmp(name + size - n, suffixes[i], n) == 0)
                        return true;
        }
        return false;
}

typedef struct Search {
        uint64_t inode;
        unsigned n_seen;
        char *unit;
} Search;

/* Takes the fd. 1: it is found, below or here; the innermost unit of the path is kept. */
static int search_folder(Search *search, int fd, unsigned depth) {
        DIR *stream = fdopendir(fd);
        struct dirent *entry;
        int r = 0;

        if (!stream) {
                (void) fd_close(fd);
                return 0;
        }
        while (r == 0 && (entry = readdir(stream))) {
                if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
                        continue;
                if (++search->n_seen > CGROUPS_MAX)
                        break;
                if (entry->d_ino == search->inode)
                        r = 1;
                else if (depth < DEPTH_MAX) {
                        int below = openat(dirfd(stream), entry->d_name,
                                           O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

                        /* It may be gone by now. */
                        r = below < 0 ? 0 : search_folder(search, below, depth + 1);
                }
                if (r > 0 && !search->unit && is_unit(entry->d_name, strlen(entry->d_name))) {
                        search->unit = strdup(entry->d_name);
                        if (!search->unit)
                                r = -ENOMEM;
                }
        }
        (void) closedir(stream);
        return r;
}

int port_owner_find_unit(const char *root, uint64_t inode, char **ret) {
        Search search = { .inode = inode };
        int fd, r;

        assert(root);
        assert(ret);

        fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = search_folder(&search, fd, 0);
        if (r <= 0 || !search.unit) {
                free(search.unit);
                return MIN(r, 0);
        }
        *ret = search.unit;
        return 1;
}

/* NULL if there is no such tree: control groups of version 1 have no ids. */
static const char *cgroup_root(void) {
        static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

        for (size_t i = 0; i < ELEMENTSOF(roots); i++) {
                struct statfs fs;

                if (statfs(roots[i], &fs) >= 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
                        return roots[i];
        }
        return NULL;
}

/* The user */

/* From the file, not from the name service, which might wait for a server. */
static char *user_name(uid_t uid) {
        struct passwd entry, *found;
        char buffer[4096], *name = NULL;
        FILE *file;

        file = fopen("/etc/passwd", "re");
        if (!file)
                return NULL;
        while (!name && fgetpwent_r(file, &entry, buffer, sizeof(buffer), &found) == 0)
                if (found->pw_uid == uid)
                        name = strdup(found->pw_name);
        (void) fclose(file);
        return name;
}

/* The socket */

typedef struct Occupant {
        bool found, exact;
        uid_t uid;
        uint64_t cgroup; /* 0: not told */
} Occupant;

typedef struct Diagnosis {
        const struct inet_diag_msg *message;
        uint64_t cgroup;
        bool only_ipv6;
} Diagnosis;

static Diagnosis diagnosis_read(const struct nlmsghdr *header) {
        Diagnosis diagnosis = { .message = NLMSG_DATA(header) };
        size_t left = header->nlmsg_len - NLMSG_LENGTH(sizeof(*diagnosis.message));

        for (const struct rtattr *attribute = (const struct rtattr *) (diagnosis.message + 1);
             RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
                if (attribute->rta_type == INET_DIAG_CGROUP_ID && RTA_PAYLOAD(attribute) >= sizeof(uint64_t))
                        memcpy(&diagnosis.cgroup, RTA_DATA(attribute), sizeof(uint64_t));
                else if (attribute->rta_type == INET_DIAG_SKV6ONLY && RTA_PAYLOAD(attribute) >= 1)
                        diagnosis.only_ipv6 = *(const unsigned char *) RTA_DATA(attribute);
        return diagnosis;
}

/* 2: the very address. 1: it is in the way. 0: it is not. */
static int diagnosis_matches(const Diagnosis *diagnosis, const PortAddress *address) {
        const struct inet_diag_msg *message = diagnosis->message;
        int family = message->idiag_family;
        struct in6_addr ipv6;
        struct in_addr ipv4;

        if (ntohs(message->id.idiag_sport) != address->port)
                return 0;
        if (address->family == AF_UNSPEC)
                return 1;

        memcpy(&ipv6, message->id.idiag_src, sizeof(ipv6));
        memcpy(&ipv4, message->id.idiag_src, sizeof(ipv4));
        if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&ipv6)) {
                family = AF_INET;
                memcpy(&ipv4, &ipv6.s6_addr[12], sizeof(ipv4));
        }

        if (family != address->family)
                return family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&ipv6) && !diagnosis->only_ipv6;
        if (family == AF_INET)
                return ipv4.s_addr == address->ipv4.s_addr                               ? 2
                       : ipv4.s_addr == INADDR_ANY || address->ipv4.s_addr == INADDR_ANY ? 1
                                                                                         : 0;
        return IN6_ARE_ADDR_EQUAL(&ipv6, &address->ipv6)                                   ? 2
               : IN6_IS_ADDR_UNSPECIFIED(&ipv6) || IN6_IS_ADDR_UNSPECIFIED(&address->ipv6) ? 1
                                                                                           : 0;
}

/* False if these were the last. */
static bool take_messages(Occupant *occupant, const PortAddress *address, const void *buffer, size_t size) {
        for (const struct nlmsghdr *header = buffer; NLMSG_OK(header, size); header = NLMSG_NEXT(header, size)) {
                Diagnosis diagnosis;
                int match;

                if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR)
                        return false;
                if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
                    header->nlmsg_len < NLMSG_LENGTH(sizeof(*diagnosis.message)))
                        continue;

                diagnosis = diagnosis_read(header);
                match = diagnosis_matches(&diagnosis, address);
                if (match == 0 || (occupant->found && (match < 2 || occupant->exact)))
                        continue;
                *occupant = (Occupant){
                        .found = true,
                        .exact = match == 2,
                        .uid = diagnosis.message->idiag_uid,
                        .cgroup = diagnosis.cgroup,
                };
        }
        return true;
}

static int ask(int fd, int family, int protocol, const PortAddress *address, Occupant *occupant) {
        struct {
                struct nlmsghdr header;
                struct inet_diag_req_v2 request;
        } question = {
                .header = {
                        .nlmsg_len = sizeof(question),
                        .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                        .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                },
                .request = {
                        .sdiag_family = (__u8) family,
                        .sdiag_protocol = (__u8) protocol,
                        /* A UDP socket that is only bound is called closed. */
                        .idiag_states = 1U << (protocol == IPPROTO_UDP ? TCP_CLOSE : TCP_LISTEN),
                        .id = {
                                .idiag_sport = htons(address->port),
                                .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE },
                        },
                },
        };
        _Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
        ssize_t n;

        if (send(fd, &question, sizeof(question), 0) < 0)
                return -errno;
        do {
                /* The kernel answers within the call: there is nothing to wait for. */
                n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
                if (n < 0 && errno != EINTR)
                        return -errno;
        } while (n < 0 || (n > 0 && take_messages(occupant, address, buffer, (size_t) n)));
        return 0;
}

static int find_occupant(const PortAddress *address, Occupant *occupant) {
        static const struct {
                PortTransport other;
                int protocol;
        } protocols[] = {
                { PORT_UDP, IPPROTO_TCP },
                { PORT_TCP, IPPROTO_UDP },
        };
        static const int families[] = { AF_INET, AF_INET6 };
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
        if (fd < 0)
                return -errno;
        for (size_t i = 0; i < ELEMENTSOF(protocols) && !occupant->found; i++)
                for (size_t k = 0; k < ELEMENTSOF(families) && address->transport != protocols[i].other; k++) {
                        r = ask(fd, families[k], protocols[i].protocol, address, occupant);
                        if (r < 0)
                                return r;
                }
        return 0;
}

int port_owner_find(PortOwner *ret, const PortAddress *address) {
        const char *root = cgroup_root();
        Occupant occupant = {};
        PortOwner owner;
        int r;

        assert(ret);
        assert(address);

        r = find_occupant(address, &occupant);
        if (r < 0 || !occupant.found)
                return r;

        owner = (PortOwner){ .uid = occupant.uid, .user = user_name(occupant.uid) };
        if (root && occupant.cgroup > 0) {
                r = port_owner_find_unit(root, occupant.cgroup, &owner.unit);
                if (r < 0)
                        log_debug_errno(r, "Failed to look for a control group, ignoring: %m");
        }
        *ret = owner;
        return 1;
}
