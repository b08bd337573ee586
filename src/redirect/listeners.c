#include <fcntl.h>
#include <inttypes.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/netlink.h"
#include "redirect/listeners.h"
#include "util/fd.h"
#include "util/log.h"

/* Listeners: the kernel names each socket by its inode, and /proc/1/fd has the inodes of PID 1's. A front holds the same sockets as PID 1,
 * which is why that somebody listens proves nothing. Ports are asked for over netlink, since /proc/net/tcp has no way to leave out the
 * connections, and walks the kernel's whole table of them even where there is none. */

#define TABLE_SIZE_MAX ((size_t) 256 * 1024 * 1024)
#define PASSED_MAX 64U
#define TCP_LISTEN 10
#define UNIX_LISTENS 0x10000 /* __SO_ACCEPTCON */

static int compare_inodes(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return x < y ? -1 : x > y;
}

static bool is_among(uint64_t inode, const uint64_t *inodes, size_t n) {
        return n > 0 && bsearch(&inode, inodes, n, sizeof(inode), compare_inodes);
}

static int add_inode(uint64_t **inodes, size_t *n, uint64_t inode) {
        uint64_t *larger = reallocarray(*inodes, *n + 1, sizeof(*larger));

        if (!larger)
                return -ENOMEM;
        *inodes = larger;
        larger[(*n)++] = inode;
        return 0;
}

static bool read_inode(int folder, const char *name, uint64_t *ret) {
        char target[64] = "";

        return readlinkat(folder, name, target, sizeof(target) - 1) >= 0 &&
               sscanf(target, "socket:[%" SCNu64 "]", ret) == 1;
}

int listeners_add(Listeners *listeners, bool tcp, const struct inet_diag_msg *socket) {
        const uint16_t port = ntohs(socket->id.idiag_sport);
        ListenAddress *address, *larger;

        if (!is_among(socket->idiag_inode, listeners->inodes, listeners->n_inodes))
                return tcp ? add_inode(&listeners->foreign, &listeners->n_foreign, socket->idiag_inode) : 0;
        larger = reallocarray(listeners->addresses, listeners->n_addresses + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;
        listeners->addresses = larger;
        address = &larger[listeners->n_addresses++];
        *address = (ListenAddress){ .family = socket->idiag_family, .udp = !tcp, .port = port };
        if (address->family == AF_INET)
                memcpy(&address->ipv4, socket->id.idiag_src, sizeof(address->ipv4));
        else
                memcpy(&address->ipv6, socket->id.idiag_src, sizeof(address->ipv6));
        if (tcp)
                listeners->tcp[port / 64] |= UINT64_C(1) << port % 64;
        return 0;
}

static int on_tcp(const struct nlmsghdr *message, void *userdata) {
        return listeners_add(userdata, /* tcp= */ true, NLMSG_DATA(message));
}

static int on_udp(const struct nlmsghdr *message, void *userdata) {
        return listeners_add(userdata, /* tcp= */ false, NLMSG_DATA(message));
}

/* Those that listen; of UDP, all. */
static int read_ports(Listeners *listeners, int fd, int family, bool tcp) {
        const struct {
                struct nlmsghdr header;
                struct inet_diag_req_v2 question;
        } request = {
                .header = { .nlmsg_len = sizeof(request),
                            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
                .question = { .sdiag_family = (uint8_t) family,
                              .sdiag_protocol = tcp ? IPPROTO_TCP : IPPROTO_UDP,
                              .idiag_states = tcp ? 1U << TCP_LISTEN : UINT32_MAX },
        };

        return netlink_list(fd, &request.header, sizeof(struct inet_diag_msg), tcp ? on_tcp : on_udp, listeners);
}

static int compare_texts(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

int listeners_parse_unix(Listeners *listeners, char *text) {
        (void) strsep(&text, "\n");
        for (char *line; (line = strsep(&text, "\n"));) {
                unsigned flags;
                uint64_t inode;
                int n = 0, r;

                if (sscanf(line, "%*[^:]: %*x %*x %x %*x %*x %" SCNu64 " %n", &flags, &inode, &n) != 2 || n == 0 ||
                    line[n] != '/' || !(flags & UNIX_LISTENS) ||
                    !is_among(inode, listeners->inodes, listeners->n_inodes))
                        continue;
                r = strv_append(&listeners->paths, line + n);
                if (r < 0)
                        return r;
                listeners->n_paths++;
        }
        if (listeners->paths)
                qsort(listeners->paths, listeners->n_paths, sizeof(char *), compare_texts);
        return 0;
}

static int read_all(Listeners *listeners) {
        _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
        _cleanup_(closedirp) DIR *folder = opendir("/proc/1/fd");
        _cleanup_free_ char *paths = NULL;
        int r;

        r = fd < 0 || !folder ? -errno : 0;
        for (struct dirent *entry; r >= 0 && folder && (entry = readdir(folder));) {
                uint64_t inode;

                if (read_inode(dirfd(folder), entry->d_name, &inode))
                        r = add_inode(&listeners->inodes, &listeners->n_inodes, inode);
        }
        if (listeners->n_inodes > 0)
                qsort(listeners->inodes, listeners->n_inodes, sizeof(uint64_t), compare_inodes);
        for (unsigned i = 0; i < 4 && r >= 0; i++) {
                r = read_ports(listeners, fd, i % 2 ? AF_INET6 : AF_INET, /* tcp= */ i < 2);
                if (r == -ENOENT && i % 2) /* no IPv6 */
                        r = 0;
        }
        if (r >= 0)
                r = file_read("/proc/net/unix", TABLE_SIZE_MAX, &paths, NULL);
        if (r >= 0)
                r = listeners_parse_unix(listeners, paths);
        if (listeners->n_foreign > 0)
                qsort(listeners->foreign, listeners->n_foreign, sizeof(uint64_t), compare_inodes);
        return r;
}

int listeners_read(Listeners *ret) {
        _cleanup_(listeners_done) Listeners listeners = {};
        int r;

        r = read_all(&listeners);
        if (r == -ENOMEM)
                return r;
        listeners.known = r >= 0;
        if (r < 0)
                log_debug_errno(r,
                                "PID 1 or the kernel does not show where it listens, taking each active socket as listening: %m");
        *ret = listeners;
        listeners = (Listeners){};
        return 0;
}

void listeners_done(Listeners *listeners) {
        free(listeners->inodes);
        free(listeners->addresses);
        strv_free(listeners->paths);
        free(listeners->foreign);
        *listeners = (Listeners){};
}

bool listeners_have_port(const Listeners *listeners, uint16_t port) {
        return !listeners->known || listeners->tcp[port / 64] & UINT64_C(1) << port % 64;
}

bool listeners_have_path(const Listeners *listeners, const char *path) {
        return !listeners->known || (listeners->n_paths > 0 && bsearch(&path, listeners->paths, listeners->n_paths,
                                                                       sizeof(char *), compare_texts));
}

/* A port alone is the wildcard of IPv6, and where there is no IPv6, that of IPv4. */
static bool address_is_at(const ListenAddress *address, const ListenAddress *socket) {
        if (address->udp != socket->udp || address->port != socket->port)
                return false;
        if (address->family != socket->family)
                return address->family == AF_INET6 && listen_address_is_wildcard(address) &&
                       listen_address_is_wildcard(socket);
        return address->family == AF_INET ? address->ipv4.s_addr == socket->ipv4.s_addr
                                          : IN6_ARE_ADDR_EQUAL(&address->ipv6, &socket->ipv6);
}

bool listeners_have(const Listeners *listeners, const ListenAddress *address) {
        if (address->family == AF_UNIX)
                /* A name of no file begins with "@" in the table. */
                return address->path[0] != '/' || listeners_have_path(listeners, address->path);
        for (size_t i = 0; i < listeners->n_addresses; i++)
                if (address_is_at(address, &listeners->addresses[i]))
                        return true;
        return !listeners->known;
}

bool listeners_has_foreign(const Listeners *listeners, unsigned pid) {
        /* They are the first that it has: LISTEN_FDS. */
        for (unsigned fd = 3; fd < 3 + PASSED_MAX && listeners->n_foreign > 0; fd++) {
                char path[64];
                uint64_t inode;

                (void) snprintf(path, sizeof(path), "/proc/%u/fd/%u", pid, fd);
                if (read_inode(AT_FDCWD, path, &inode) &&
                    is_among(inode, listeners->foreign, listeners->n_foreign))
                        return true;
        }
        return false;
}
