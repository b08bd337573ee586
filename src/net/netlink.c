#include <sys/socket.h>

#include "net/netlink.h"
#include "util/fd.h"

/* Netlink: the kernel answers within the call that sends the request, so nothing here waits. */

#define LIST_SIZE 32768 /* as much as the kernel tells at once */

static int error_of(const struct nlmsghdr *message) {
        const struct nlmsgerr *error = NLMSG_DATA(message);

        return message->nlmsg_len < NLMSG_LENGTH(sizeof(*error)) ? -EBADMSG : MIN(error->error, 0);
}

int netlink_ask(int fd, const struct nlmsghdr *request, NetlinkReply *ret) {
        ssize_t n;

        if (send(fd, request, request->nlmsg_len, 0) < 0)
                return -errno;
        n = recv(fd, ret, sizeof(*ret), MSG_DONTWAIT);
        if (n < 0)
                return -errno;
        if (n < (ssize_t) sizeof(ret->header) || ret->header.nlmsg_len > (size_t) n ||
            ret->header.nlmsg_len < sizeof(ret->header))
                return -EBADMSG;
        return ret->header.nlmsg_type == NLMSG_ERROR ? error_of(&ret->header) : 1;
}

int netlink_ask_once(int protocol, const struct nlmsghdr *request, NetlinkReply *ret) {
        _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

        return fd < 0 ? -errno : netlink_ask(fd, request, ret);
}

int netlink_list(int fd, const struct nlmsghdr *request, size_t size, NetlinkHandler handler, void *userdata) {
        _Alignas(struct nlmsghdr) char reply[LIST_SIZE];

        if (send(fd, request, request->nlmsg_len, 0) < 0)
                return -errno;
        for (;;) {
                ssize_t n = recv(fd, reply, sizeof(reply), MSG_DONTWAIT);

                if (n <= 0)
                        return n < 0 ? -errno : -EBADMSG;
                for (const struct nlmsghdr *message = (const struct nlmsghdr *) reply;
                     NLMSG_OK(message, (size_t) n); message = NLMSG_NEXT(message, n)) {
                        int r = 0;

                        if (message->nlmsg_type == NLMSG_DONE)
                                return 0;
                        if (message->nlmsg_type == NLMSG_ERROR)
                                return error_of(message);
                        if (message->nlmsg_len >= NLMSG_LENGTH(size))
                                r = handler(message, userdata);
                        if (r < 0)
                                return r;
                }
        }
}

struct nlattr *netlink_add(struct nlmsghdr *request, uint16_t type, const void *data, size_t size) {
        struct nlattr *attribute = (struct nlattr *) ((char *) request + NLMSG_ALIGN(request->nlmsg_len));

        *attribute = (struct nlattr){ .nla_len = (uint16_t) (NLA_HDRLEN + size), .nla_type = type };
        if (size > 0)
                memcpy((char *) attribute + NLA_HDRLEN, data, size);
        request->nlmsg_len = NLMSG_ALIGN(request->nlmsg_len) + (uint32_t) NLA_ALIGN(NLA_HDRLEN + size);
        return attribute;
}

void netlink_end(const struct nlmsghdr *request, struct nlattr *nested) {
        nested->nla_len = (uint16_t) ((const char *) request + request->nlmsg_len - (const char *) nested);
        nested->nla_type |= NLA_F_NESTED;
}

/* Among attributes from `offset` on, up to `end`. */
static const void *find(const char *bytes, size_t offset, size_t end, uint16_t type, size_t wanted) {
        while (offset + NLA_HDRLEN <= end) {
                const struct nlattr *attribute = (const struct nlattr *) (bytes + offset);

                if (attribute->nla_len < NLA_HDRLEN || offset + attribute->nla_len > end)
                        return NULL;
                if ((attribute->nla_type & NLA_TYPE_MASK) == type)
                        return attribute->nla_len >= NLA_HDRLEN + wanted ? (const char *) attribute + NLA_HDRLEN
                                                                         : NULL;
                offset += (size_t) NLA_ALIGN(attribute->nla_len);
        }
        return NULL;
}

const void *netlink_find(const NetlinkReply *reply, size_t size, uint16_t type, size_t wanted) {
        return find(reply->bytes, NLMSG_LENGTH(NLMSG_ALIGN(size)), reply->header.nlmsg_len, type, wanted);
}

const void *netlink_find_in(const void *nested, uint16_t type, size_t wanted) {
        const struct nlattr *outer = (const struct nlattr *) ((const char *) nested - NLA_HDRLEN);

        return find((const char *) outer, NLA_HDRLEN, outer->nla_len, type, wanted);
}
