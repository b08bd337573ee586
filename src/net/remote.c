#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/neighbour.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>

#include "net/netlink.h"
#include "net/remote.h"
#include "util/fd.h"
#include "util/time.h"

/* Remote: a machine that was switched off ends no connection, and a server that has nothing to say never learns of it. What tells:
 *
 *   - the server has said something, and its kernel says it again and again (/proc/PID/net/tcp);
 *   - the machine is a neighbour on some link of ours, and does not answer who has its address;
 *   - conntrack has seen no packet of it, in either direction. Who is neighbour and answers has RFC 5382's two hours and four minutes, in which
 *     a living client's keepalives come; of who is further away nothing else is known. */

#define UNANSWERED 3
#define SILENCE_OF_NEIGHBOUR ((UINT64_C(2) * 60 + 4) * USEC_PER_MINUTE)
#define ESTABLISHED_TIMEOUT "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"

static size_t address_size(const Connection *connection) {
        return connection->family == AF_INET ? 4 : 16;
}

/* The interface where it is a neighbour; 0: it is further away, or that cannot be told; -EADDRINUSE: it is an address of this host. */
static int remote_link(const Connection *connection) {
        struct {
                struct nlmsghdr header;
                struct rtmsg message;
                char attributes[64];
        } request = {
                .header.nlmsg_len = NLMSG_LENGTH(sizeof(request.message)),
                .header.nlmsg_type = RTM_GETROUTE,
                .header.nlmsg_flags = NLM_F_REQUEST,
                .message.rtm_family = (unsigned char) connection->family,
                .message.rtm_dst_len = (unsigned char) (8 * address_size(connection)),
        };
        const struct rtmsg *route;
        const int *interface;
        NetlinkReply reply;

        netlink_add(&request.header, RTA_DST, connection->remote, address_size(connection));
        if (netlink_ask_once(NETLINK_ROUTE, &request.header, &reply) <= 0 ||
            reply.header.nlmsg_len < NLMSG_LENGTH(sizeof(*route)))
                return 0;
        route = NLMSG_DATA(&reply.header);
        if (route->rtm_type == RTN_LOCAL)
                return -EADDRINUSE;
        interface = netlink_find(&reply, sizeof(*route), RTA_OIF, sizeof(*interface));
        return route->rtm_type != RTN_UNICAST || !interface ||
                                               netlink_find(&reply, sizeof(*route), RTA_GATEWAY, 0) ||
                                               netlink_find(&reply, sizeof(*route), RTA_VIA, 0)
                               ? 0
                               : *interface;
}

bool remote_is_here(int family, const uint8_t address[static 16]) {
        Connection connection = { .family = family };

        memcpy(connection.remote, address, sizeof(connection.remote));
        return remote_link(&connection) == -EADDRINUSE;
}

/* 1: it answers, 0: it does not, -EOPNOTSUPP: there is no such question on that link. The kernel forgets neighbours that it has not heard of
 * for a while: then this is asked, and the next call has the answer. */
static int neighbour_answers(const Connection *connection, int interface) {
        struct {
                struct nlmsghdr header;
                struct ndmsg message;
                char attributes[64];
        } request = {
                .header.nlmsg_len = NLMSG_LENGTH(sizeof(request.message)),
                .header.nlmsg_type = RTM_GETNEIGH,
                .header.nlmsg_flags = NLM_F_REQUEST,
                .message.ndm_family = (unsigned char) connection->family,
                .message.ndm_ifindex = interface,
        };
        const struct ndmsg *neighbour;
        unsigned state = NUD_NONE;
        NetlinkReply reply;
        int r;

        netlink_add(&request.header, NDA_DST, connection->remote, address_size(connection));
        r = netlink_ask_once(NETLINK_ROUTE, &request.header, &reply);
        if (r < 0 && r != -ENOENT)
                return -EOPNOTSUPP;
        if (r > 0 && reply.header.nlmsg_len >= NLMSG_LENGTH(sizeof(*neighbour))) {
                neighbour = NLMSG_DATA(&reply.header);
                state = neighbour->ndm_state;
        }
        if (state & (NUD_NOARP | NUD_PERMANENT))
                return -EOPNOTSUPP;

        request.header.nlmsg_type = RTM_NEWNEIGH;
        request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK;
        request.message.ndm_flags = NTF_USE;
        if (netlink_ask_once(NETLINK_ROUTE, &request.header, &reply) < 0)
                return -EOPNOTSUPP;
        return (state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)) != 0;
}

/* How long no packet of the connection was seen: what has gone from the time that conntrack gives a quiet one. -ENOENT: it knows none. */
static int remote_silence(const Connection *connection, uint64_t *ret_usec) {
        bool ipv4 = connection->family == AF_INET;
        size_t size = address_size(connection);
        uint16_t local_port = htons(connection->local_port), remote_port = htons(connection->remote_port);
        struct {
                struct nlmsghdr header;
                struct nfgenmsg message;
                char attributes[128];
        } request = {
                .header.nlmsg_len = NLMSG_LENGTH(sizeof(request.message)),
                .header.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
                .header.nlmsg_flags = NLM_F_REQUEST,
                .message.nfgen_family = (uint8_t) connection->family,
                .message.version = NFNETLINK_V0,
        };
        _cleanup_free_ char *text = NULL;
        struct nlattr *tuple, *part;
        const uint32_t *left;
        NetlinkReply reply;
        uint64_t whole;
        int r;

        r = file_read(ESTABLISHED_TIMEOUT, 64, &text, NULL);
        if (r < 0)
                return -EOPNOTSUPP;

        tuple = netlink_add(&request.header, CTA_TUPLE_REPLY, NULL, 0);
        part = netlink_add(&request.header, CTA_TUPLE_IP, NULL, 0);
        netlink_add(&request.header, ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, connection->local, size);
        netlink_add(&request.header, ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, connection->remote, size);
        netlink_end(&request.header, part);
        part = netlink_add(&request.header, CTA_TUPLE_PROTO, NULL, 0);
        netlink_add(&request.header, CTA_PROTO_NUM, &(uint8_t){ IPPROTO_TCP }, 1);
        netlink_add(&request.header, CTA_PROTO_SRC_PORT, &local_port, sizeof(local_port));
        netlink_add(&request.header, CTA_PROTO_DST_PORT, &remote_port, sizeof(remote_port));
        netlink_end(&request.header, part);
        netlink_end(&request.header, tuple);

        r = netlink_ask_once(NETLINK_NETFILTER, &request.header, &reply);
        if (r < 0)
                return r;
        left = netlink_find(&reply, sizeof(request.message), CTA_TIMEOUT, sizeof(*left));
        if (r == 0 || !left)
                return -EOPNOTSUPP;
        whole = strtoull(text, NULL, 10);
        *ret_usec = usec_sub(whole, ntohl(*left)) * USEC_PER_SEC;
        return 0;
}

bool remote_is_gone(const Connection *connection, uint64_t silence_usec) {
        uint64_t silent_usec;
        int link, answers, r;

        if (connection->unanswered >= UNANSWERED)
                return true;
        link = remote_link(connection);
        if (link == -EADDRINUSE)
                return false;
        answers = link > 0 ? neighbour_answers(connection, link) : -EOPNOTSUPP;
        if (answers == 0)
                return true;

        r = remote_silence(connection, &silent_usec);
        /* Two containers on one bridge have none. Of who comes from elsewhere it has forgotten, and nothing would get through. */
        if (r == -ENOENT)
                return answers < 0;
        return r >= 0 && silent_usec > (answers > 0 ? SILENCE_OF_NEIGHBOUR : silence_usec);
}

int remote_group(const Connection *connection, uint64_t *ret) {
        struct {
                struct nlmsghdr header;
                struct inet_diag_req_v2 message;
        } request = {
                .header.nlmsg_len = sizeof(request),
                .header.nlmsg_type = SOCK_DIAG_BY_FAMILY,
                .header.nlmsg_flags = NLM_F_REQUEST,
                .message.sdiag_family = (uint8_t) connection->family,
                .message.sdiag_protocol = IPPROTO_TCP,
                .message.idiag_states = UINT32_MAX,
                .message.id.idiag_sport = htons(connection->remote_port),
                .message.id.idiag_dport = htons(connection->local_port),
                .message.id.idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE },
        };
        const struct inet_diag_msg *found;
        const uint64_t *group;
        NetlinkReply reply;
        int r;

        memcpy(request.message.id.idiag_src, connection->remote, address_size(connection));
        memcpy(request.message.id.idiag_dst, connection->local, address_size(connection));
        r = netlink_ask_once(NETLINK_SOCK_DIAG, &request.header, &reply);
        if (r < 0)
                return r;
        if (r == 0 || reply.header.nlmsg_len < NLMSG_LENGTH(sizeof(*found)))
                return -EBADMSG;
        found = NLMSG_DATA(&reply.header);
        /* Where there is no such connection, somebody who listens there is told of. */
        if (found->idiag_state == TCP_LISTEN)
                return -ENOENT;
        group = netlink_find(&reply, sizeof(*found), INET_DIAG_CGROUP_ID, sizeof(*group));
        if (!group)
                return -EOPNOTSUPP;
        memcpy(ret, group, sizeof(*ret));
        return 0;
}
