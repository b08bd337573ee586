#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include "net/conntrack.h"
#include "util/fd.h"
#include "util/time.h"

/* Conntrack: how long a flow has been silent is what has gone from the time that it is given with each datagram: one time until it has
 * gone on for two seconds in both directions, and another one from then on. */

#define TIMEOUT "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"

typedef struct Request {
        struct nlmsghdr header;
        struct nfgenmsg message;
        char attributes[256];
} Request;

typedef struct List {
        uint64_t timeout, timeout_stream; /* in seconds */
        ConntrackHandler handler;
        void *userdata;
} List;

static int read_timeout(const char *path, uint64_t *ret) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = file_read(path, 64, &text, NULL);
        if (r >= 0)
                *ret = strtoull(text, NULL, 10);
        return r;
}

static bool take_address(const void *tuple, bool ipv4, bool source, uint8_t ret[static 16]) {
        const uint16_t type =
                        ipv4 ? (source ? CTA_IP_V4_SRC : CTA_IP_V4_DST) : (source ? CTA_IP_V6_SRC : CTA_IP_V6_DST);
        const void *addresses = netlink_find_in(tuple, CTA_TUPLE_IP, 0),
                   *address = addresses ? netlink_find_in(addresses, type, ipv4 ? 4 : 16) : NULL;

        if (address)
                memcpy(ret, address, ipv4 ? 4 : 16);
        return address;
}

/* False: it is none of UDP. */
static bool take_port(const void *tuple, uint16_t type, uint16_t *ret) {
        const void *protocol = netlink_find_in(tuple, CTA_TUPLE_PROTO, 0);
        const uint8_t *number = protocol ? netlink_find_in(protocol, CTA_PROTO_NUM, sizeof(*number)) : NULL;
        const uint16_t *port =
                        number && *number == IPPROTO_UDP ? netlink_find_in(protocol, type, sizeof(*port)) : NULL;

        if (port)
                *ret = ntohs(*port);
        return port;
}

static int list_on_flow(const struct nlmsghdr *message, void *userdata) {
        const NetlinkReply *reply = (const NetlinkReply *) message;
        const struct nfgenmsg *header = NLMSG_DATA(message);
        const bool ipv4 = header->nfgen_family == AF_INET;
        const void *there = netlink_find(reply, sizeof(*header), CTA_TUPLE_ORIG, 0),
                   *back = netlink_find(reply, sizeof(*header), CTA_TUPLE_REPLY, 0);
        const uint32_t *left = netlink_find(reply, sizeof(*header), CTA_TIMEOUT, sizeof(*left)),
                       *status = netlink_find(reply, sizeof(*header), CTA_STATUS, sizeof(*status));
        ConntrackFlow flow = { .family = header->nfgen_family, .tuple = there };
        const List *list = userdata;
        uint64_t whole;

        if (!there || !back || !left || !status || !take_port(there, CTA_PROTO_DST_PORT, &flow.to_port) ||
            !take_port(back, CTA_PROTO_SRC_PORT, &flow.server_port) ||
            !take_address(there, ipv4, true, flow.from) || !take_address(there, ipv4, false, flow.to) ||
            !take_address(back, ipv4, true, flow.server))
                return 0;
        whole = ntohl(*status) & IPS_ASSURED ? list->timeout_stream : list->timeout;
        flow.silent_usec = usec_sub(whole, ntohl(*left)) * USEC_PER_SEC;
        return list->handler(&flow, list->userdata);
}

int conntrack_list(ConntrackHandler handler, void *userdata) {
        _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
        const Request request = {
                .header.nlmsg_len = NLMSG_LENGTH(sizeof(request.message)),
                .header.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
                .header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                .message.version = NFNETLINK_V0,
        };
        List list = { .handler = handler, .userdata = userdata };
        int r = fd < 0 ? -errno : 0;

        if (r >= 0)
                r = read_timeout(TIMEOUT, &list.timeout);
        if (r >= 0)
                r = read_timeout(TIMEOUT "_stream", &list.timeout_stream);
        return r < 0 ? r : netlink_list(fd, &request.header, sizeof(request.message), list_on_flow, &list);
}

int conntrack_forget(const ConntrackFlow *flow) {
        const struct nlattr *tuple = (const struct nlattr *) ((const char *) flow->tuple - NLA_HDRLEN);
        Request request = {
                .header.nlmsg_len = NLMSG_LENGTH(sizeof(request.message)),
                .header.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
                .header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
                .message.nfgen_family = (uint8_t) flow->family,
                .message.version = NFNETLINK_V0,
        };
        NetlinkReply reply;
        int r;

        if (tuple->nla_len > sizeof(request.attributes))
                return -EBADMSG;
        netlink_add(&request.header, tuple->nla_type, flow->tuple, tuple->nla_len - NLA_HDRLEN);
        r = netlink_ask_once(NETLINK_NETFILTER, &request.header, &reply);
        return r == -ENOENT ? 0 : MIN(r, 0);
}
