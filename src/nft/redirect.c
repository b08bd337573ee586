#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conntrack.h"
#include "net/netlink.h"
#include "net/remote.h"
#include "nft/redirect.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/time.h"

/* Redirect: a session with the kernel's tables. Commands are collected as text and run as one transaction; answers are JSON. From top to
 * bottom: the session, reading the tables, settling them, a waker's moves, the lock between both. How the tables work is told in
 * redirect-table.c. */

/* The folder is the wakers' and root's. */
#define UNSETTLED "/run/wakechain/status/unsettled"
/* Root's. */
#define REMEMBERED "/run/wakechain/table"
#define REMEMBERED_MAX ((size_t) 64 * 1024 * 1024)
#define LOCK_PAUSE (5 * USEC_PER_MSEC)

struct Redirect {
        /* Kept open: to close such a socket waits until the kernel has cleaned up after anybody's last change
         * (20 ms). */
        int fd;
        struct nft_ctx *context;
        char *error;
};

/* Asks for the ruleset's generation, which each transaction of anybody changes: the cheapest question that only CAP_NET_ADMIN is answered,
 * and that loads nf_tables. */
static int ask_generation(int fd, uint32_t *ret) {
        struct {
                struct nlmsghdr header;
                struct nfgenmsg message;
        } request = {
                .header.nlmsg_len = sizeof(request),
                .header.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
                .header.nlmsg_flags = NLM_F_REQUEST,
                .message.version = NFNETLINK_V0,
        };
        NetlinkReply reply;
        const uint32_t *id;
        int r;

        r = netlink_ask(fd, &request.header, &reply);
        id = r > 0 ? netlink_find(&reply, sizeof(request.message), NFTA_GEN_ID, sizeof(*id)) : NULL;
        if (!id)
                return r == -EPERM ? -EPERM : -EOPNOTSUPP;
        *ret = ntohl(*id);
        return 0;
}

int redirect_new(Redirect **ret) {
        _cleanup_(redirect_freep) Redirect *redirect = NULL;
        uint32_t generation;
        int r;

        redirect = malloc(sizeof(*redirect));
        if (!redirect)
                return -ENOMEM;
        *redirect = (Redirect){ .fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER) };
        if (redirect->fd < 0)
                return errno == EPERM || errno == EACCES ? -EPERM : -EOPNOTSUPP;
        /* It has to come first because libnftables ends the process if it cannot open its socket. */
        r = ask_generation(redirect->fd, &generation);
        if (r < 0)
                return r;
        redirect->context = nft_ctx_new(NFT_CTX_DEFAULT);
        if (!redirect->context)
                return -ENOMEM;

        *ret = TAKE_PTR(redirect);
        return 0;
}

Redirect *redirect_free(Redirect *redirect) {
        if (!redirect)
                return NULL;

        if (redirect->context)
                nft_ctx_free(redirect->context);
        fd_close(redirect->fd);
        free(redirect->error);
        return mfree(redirect);
}

const char *redirect_error(const Redirect *redirect) {
        return strempty(redirect->error);
}

/* libnftables tells what went wrong as text only: "Error: Could not process rule: No such file or directory",
 * then the command. */
static int redirect_fail(Redirect *redirect, const char *text) {
        static const int errors[] = { EPERM,      ENOENT, EEXIST,       EBUSY,
                                      EOPNOTSUPP, ENOMEM, EAFNOSUPPORT, EPROTONOSUPPORT };
        const char *start = strstr(text, "Error: ");
        char *line;

        start = start ? start + strlen("Error: ") : text;
        line = strndup(start, strcspn(start, "\n"));
        if (!line)
                return -ENOMEM;
        free(redirect->error);
        redirect->error = line;
        log_debug("nftables refused: %s", text);

        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                if (strstr(line, strerror(errors[i])))
                        return -errors[i];
        return -EIO;
}

static int redirect_run(Redirect *redirect, const char *commands, unsigned flags) {
        nft_ctx_output_set_flags(redirect->context, flags);
        /* Empties the buffers, too. */
        if (nft_ctx_buffer_output(redirect->context) != 0 || nft_ctx_buffer_error(redirect->context) != 0)
                return -ENOMEM;
        if (nft_run_cmd_from_buffer(redirect->context, commands) != 0)
                return redirect_fail(redirect, strempty(nft_ctx_get_error_buffer(redirect->context)));
        return 0;
}

/* Commands, or answers: a stream has no error that needs to be looked at before its end. */
typedef struct Text {
        FILE *stream;
        char *text;
        size_t size;
} Text;

static int text_end(Text *text) {
        int r = text->stream && !ferror(text->stream) ? 0 : -ENOMEM;

        if (text->stream && fclose(TAKE_PTR(text->stream)) != 0)
                r = -ENOMEM;
        return r;
}

static void text_done(Text *text) {
        (void) text_end(text);
        free(text->text);
}
#define _cleanup_text_ _cleanup_(text_done)

static bool text_begin(Text *ret) {
        ret->stream = open_memstream(&ret->text, &ret->size);
        return ret->stream;
}

/* One transaction. */
static int redirect_commit(Redirect *redirect, Text *commands) {
        int r = text_end(commands);

        return r < 0 || commands->size == 0 ? r : redirect_run(redirect, commands->text, 0);
}

/* Reading */

#define LIST_INNER "list map inet wakechain inner4\nlist map inet wakechain inner6\n"
#define LIST_BRIDGE "list table bridge wakechain\n"

/* Each line is run by itself: of several sets, nft 1.0.6 finds but the last one. What is not there gives nothing, nor do bridges where the
 * kernel knows none. */
static int redirect_query(Redirect *redirect, const char *commands, RedirectSnapshot **ret) {
        _cleanup_text_ Text answers = {};
        int r;

        if (!text_begin(&answers))
                return -ENOMEM;
        while (*commands != '\0') {
                size_t length = strcspn(commands, "\n");
                _cleanup_free_ char *line = strndup(commands, length);

                commands += length + (commands[length] == '\n');
                r = line ? redirect_run(redirect, line, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_NUMERIC_ALL)
                         : -ENOMEM;
                if (r >= 0)
                        fputs(strempty(nft_ctx_get_output_buffer(redirect->context)), answers.stream);
                else if (r != -ENOENT && (r == -ENOMEM || !strstr(line, " bridge ")))
                        return r;
        }
        r = text_end(&answers);
        return r < 0 ? r : redirect_snapshot_parse(ret, answers.text);
}

int redirect_read(Redirect *redirect, RedirectSnapshot **ret) {
        return redirect_query(redirect, "list table inet wakechain\n" LIST_BRIDGE, ret);
}

bool redirect_is_flushed(Redirect *redirect) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;

        return redirect_read(redirect, &snapshot) >= 0 && !snapshot->complete;
}

/* What was read of the tables is remembered, since at a thousand services nothing that settling does costs as much as to have them
 * listed: a line that says of which state of which ruleset, how much there is, and a sum of it, since files are damaged; then the arrays
 * as they are in memory. The sum begins with what makes those of another version others: their sizes, and the name of the table's layout. */
#define STATE_SIZE strlen("01234567 0123456789abcdef ")
#define HEAD_SIZE (STATE_SIZE + strlen("0123456789abcdef 1 0000000000 0000000000\n"))

static uint64_t sum(uint64_t hash, const void *data, size_t size) {
        for (const uint8_t *byte = data; size > 0; byte++, size--)
                hash = (hash ^ *byte) * UINT64_C(0x100000001b3); /* FNV-1a */
        return hash;
}

/* "" if the state cannot be told. */
static void write_head(char ret[static HEAD_SIZE + 1], const Redirect *redirect,
                       const RedirectSnapshot *snapshot) {
        const size_t element_size = sizeof(*snapshot->elements), service_size = sizeof(*snapshot->services);
        uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ element_size ^ service_size << 16;
        socklen_t size = sizeof(uint64_t);
        uint32_t generation;
        uint64_t namespace;

        *ret = '\0';
        if (getsockopt(redirect->fd, SOL_SOCKET, SO_NETNS_COOKIE, &namespace, &size) < 0 ||
            ask_generation(redirect->fd, &generation) < 0)
                return;
        hash = sum(hash, REDIRECT_DIVERT, strlen(REDIRECT_DIVERT));
        hash = sum(hash, snapshot->elements, snapshot->n_elements * element_size);
        hash = sum(hash, snapshot->services, snapshot->n_services * service_size);
        (void) snprintf(ret, HEAD_SIZE + 1, "%08" PRIx32 " %016" PRIx64 " %016" PRIx64 " %u %010zu %010zu\n",
                        generation, namespace, hash, snapshot->complete, snapshot->n_elements,
                        snapshot->n_services);
}

/* NULL: it is of another state, or damaged. */
static RedirectSnapshot *load(const Redirect *redirect, const char *kept, size_t size) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = new0(RedirectSnapshot, 1);
        char head[HEAD_SIZE + 1];
        unsigned complete;

        if (!snapshot || size < HEAD_SIZE ||
            sscanf(kept + STATE_SIZE, "%*x %u %zu %zu", &complete, &snapshot->n_elements, &snapshot->n_services) !=
                            3 ||
            snapshot->n_elements > size || snapshot->n_services > size ||
            size != HEAD_SIZE + snapshot->n_elements * sizeof(*snapshot->elements) +
                                            snapshot->n_services * sizeof(*snapshot->services))
                return NULL;
        snapshot->complete = complete;
        snapshot->elements = new0(RedirectElement, snapshot->n_elements + 1);
        snapshot->services = new0(SnapshotService, snapshot->n_services + 1);
        if (!snapshot->elements || !snapshot->services)
                return NULL;
        kept += HEAD_SIZE;
        memcpy(snapshot->elements, kept, snapshot->n_elements * sizeof(*snapshot->elements));
        kept += snapshot->n_elements * sizeof(*snapshot->elements);
        memcpy(snapshot->services, kept, snapshot->n_services * sizeof(*snapshot->services));
        kept += snapshot->n_services * sizeof(*snapshot->services);
        write_head(head, redirect, snapshot);
        return memcmp(head, kept - size, HEAD_SIZE) == 0 ? TAKE_PTR(snapshot) : NULL;
}

int redirect_recall(Redirect *redirect, const char *root, RedirectSnapshot **ret) {
        char path[512], before[HEAD_SIZE + 1], after[HEAD_SIZE + 1];
        _cleanup_free_ char *kept = NULL;
        _cleanup_text_ Text text = {};
        size_t size = 0;
        int r;

        (void) snprintf(path, sizeof(path), "%s" REMEMBERED, root);
        if (file_read(path, REMEMBERED_MAX, &kept, &size) >= 0) {
                *ret = load(redirect, kept, size);
                if (*ret)
                        return 0;
        }

        write_head(before, redirect, &(RedirectSnapshot){});
        r = redirect_read(redirect, ret);
        if (r < 0)
                return r;
        write_head(after, redirect, *ret);
        if (*before == '\0' || strncmp(before, after, STATE_SIZE) != 0 || !text_begin(&text))
                return 0;
        /* The kernel tells of a new generation a moment before that is to be seen: what is listed is kept only if it has been there since an
         * earlier call. */
        if (size >= STATE_SIZE && memcmp(kept, before, STATE_SIZE) == 0) {
                fputs(after, text.stream);
                if ((*ret)->n_elements > 0)
                        (void) fwrite((*ret)->elements, sizeof(*(*ret)->elements), (*ret)->n_elements,
                                      text.stream);
                if ((*ret)->n_services > 0)
                        (void) fwrite((*ret)->services, sizeof(*(*ret)->services), (*ret)->n_services,
                                      text.stream);
        } else
                fprintf(text.stream, "%.*s", (int) STATE_SIZE, after);
        r = text_end(&text);
        if (r >= 0)
                r = file_replace(path, text.text, text.size, 0600, /* sync= */ false);
        if (r < 0)
                log_debug_errno(r, "Failed to keep '%s', ignoring: %m", path);
        return 0;
}

/* Settling: the differences between what is and what is to be. Both are lists of elements and of services in the same order, and are walked
 * side by side. Elements go before the chains that they name, and come after them. */

typedef struct Change {
        FILE *stream;
        const RedirectSnapshot *snapshot;
        const RedirectEntry *entries;
        size_t n_entries;
        const RedirectElement *wanted;
        size_t n_wanted;
        bool *changed;
        size_t n_changed;
        uint64_t names; /* for which lengths of names there are maps: a bit each */
} Change;

/* The port that an element has for a key. */
static uint16_t key_port(const RedirectElement *element) {
        return (uint16_t) strtoul(element->key, NULL, 10);
}

static int compare_entries(const void *a, const void *b) {
        return strcmp(((const RedirectEntry *) a)->service, ((const RedirectEntry *) b)->service);
}

/* NULL: it is to have no place in the table. */
static const RedirectEntry *change_find(const Change *change, const char *service) {
        const RedirectEntry wanted = { .service = service }, *found = NULL;

        if (change->entries)
                found = bsearch(&wanted, change->entries, change->n_entries, sizeof(wanted), compare_entries);
        return found && found->aim != REDIRECT_GONE ? found : NULL;
}

/* Counts each service once, but for those that are to have no place. */
static void change_note(Change *change, const char *service) {
        const RedirectEntry *entry = change_find(change, service);

        if (entry && change->changed[entry - change->entries])
                return;
        if (entry)
                change->changed[entry - change->entries] = true;
        change->n_changed++;
}

/* Or its chain redirects, or is about to: then nothing may lead there from a container's own address. */
static bool stays_lifted(const RedirectEntry *entry, const SnapshotService *found) {
        return entry && (entry->aim == REDIRECT_LIFTED ||
                         (entry->aim == REDIRECT_KEPT && (!found || found->redirect_port == 0)));
}

/* Either what goes, or what comes. With a table that is made anew all has gone but what is in the other one. */
static void change_elements(Change *change, bool comes) {
        const RedirectSnapshot *snapshot = change->snapshot;

        for (size_t i = 0, j = 0; i < snapshot->n_elements || j < change->n_wanted;) {
                const RedirectElement *found = i < snapshot->n_elements ? &snapshot->elements[i] : NULL,
                                      *wanted = j < change->n_wanted ? &change->wanted[j] : NULL;
                int order = !found ? 1 : !wanted ? -1 : redirect_element_compare(found, wanted);

                if (found && !snapshot->complete && !redirect_maps[found->map].bridge) {
                        i++;
                        continue;
                }
                i += order <= 0;
                j += order >= 0;
                if (comes ? order < 0 : order > 0)
                        continue;
                if (order == 0 && streq(found->service, wanted->service) && found->to == wanted->to)
                        continue;
                /* What a waker has added is left as long as it is counted by. */
                if (order < 0 && redirect_maps[found->map].inner &&
                    stays_lifted(change_find(change, found->service),
                                 redirect_snapshot_service(snapshot, found->service)))
                        continue;
                if (comes && wanted->map == REDIRECT_NAMES && !(change->names >> wanted->name_length & 1)) {
                        redirect_write_names(change->stream, wanted);
                        change->names |= UINT64_C(1) << wanted->name_length;
                }
                redirect_write_element(change->stream, comes ? wanted : found, comes);
                /* Nobody has to be told of guests, who are followed a moment later than they come. */
                if (!redirect_element_is_of_guest(comes ? wanted : found))
                        change_note(change, comes ? wanted->service : found->service);
        }
}

static void change_services(Change *change) {
        const RedirectSnapshot *snapshot = change->snapshot;

        for (size_t i = 0, j = 0; i < snapshot->n_services || j < change->n_entries;) {
                const SnapshotService *found = i < snapshot->n_services ? &snapshot->services[i] : NULL;
                const RedirectEntry *entry = j < change->n_entries ? &change->entries[j] : NULL;
                int order = !found ? 1 : !entry ? -1 : strcmp(found->name, entry->service);
                bool lifted;

                i += order <= 0;
                j += order >= 0;
                found = order <= 0 ? found : NULL;
                entry = order >= 0 && entry && entry->aim != REDIRECT_GONE ? entry : NULL;
                lifted = stays_lifted(entry, found);
                /* A waker has left it there that was killed, and has no successor. */
                if (found && (found->bridge_chain || found->bridge_counter) && !lifted) {
                        redirect_write_service_removal(change->stream, /* bridge= */ true, found);
                        change_note(change, found->name);
                }
                if (!entry) {
                        if (found && snapshot->complete && (found->chain || found->counter)) {
                                redirect_write_service_removal(change->stream, /* bridge= */ false, found);
                                change_note(change, found->name);
                        }
                        continue;
                }
                if (found && snapshot->complete && found->chain && found->counter && found->udp == entry->udp &&
                    (entry->aim == REDIRECT_KEPT || found->udp_up == (lifted ? 0 : entry->udp)) &&
                    (lifted ? found->counts && found->redirect_port == 0 &&
                                                     (!found->waits || entry->aim != REDIRECT_LIFTED)
                            : found->redirect_port == entry->redirect_port &&
                                                     (!found->spares || entry->aim != REDIRECT_UP)))
                        continue;
                /* What is kept of a table that is made anew is so in the new one. */
                redirect_write_chain(change->stream, /* bridge= */ false, entry->service);
                if (lifted)
                        redirect_write_lifted(change->stream, /* bridge= */ false,
                                              &(RedirectLifted){ entry->service, entry->uncounted,
                                                                 entry->has_names, entry->redirect_port },
                                              NULL, /* with_groups= */ false, /* by_waker= */ false);
                else
                        redirect_write_up(change->stream, entry->service, entry->redirect_port);
                for (size_t k = 0; k < change->n_wanted && entry->udp > 0; k++)
                        if (change->wanted[k].map == REDIRECT_UDP_TARGETS &&
                            streq(change->wanted[k].service, entry->service))
                                redirect_write_udp(change->stream, entry->service, key_port(&change->wanted[k]),
                                                   !lifted);
                change_note(change, entry->service);
        }
}

/* Of ports of UDP: of which elements flows are forgotten that lead elsewhere. */
typedef struct Forgetting {
        const RedirectElement *elements;
        size_t n;
        const Change *change; /* NULL: all of `service` */
        const char *service;
} Forgetting;

static bool forgetting_is_about(const Forgetting *forgetting, const RedirectElement *element) {
        const RedirectEntry *entry;

        if (element->map != REDIRECT_UDP_SOURCES)
                return false;
        if (!forgetting->change)
                return streq(element->service, forgetting->service);
        entry = change_find(forgetting->change, element->service);
        return entry && entry->aim == REDIRECT_UP;
}

static int forgetting_on_flow(const ConntrackFlow *flow, void *userdata) {
        const Forgetting *forgetting = userdata;

        for (size_t i = 0; i < forgetting->n; i++) {
                const RedirectElement *element = &forgetting->elements[i];

                if (element->to == flow->to_port && key_port(element) != flow->server_port &&
                    forgetting_is_about(forgetting, element) && remote_is_here(flow->family, flow->to))
                        return conntrack_forget(flow);
        }
        return 0;
}

static int forgetting_run(Forgetting *forgetting) {
        bool any = false;

        for (size_t i = 0; i < forgetting->n && !any; i++)
                any = forgetting_is_about(forgetting, &forgetting->elements[i]);
        return any ? conntrack_list(forgetting_on_flow, forgetting) : 0;
}

int redirect_settle(Redirect *redirect, const RedirectSnapshot *snapshot, const RedirectEntry *entries,
                    size_t n_entries, const RedirectElement *elements, size_t n_elements, bool *changed) {
        _cleanup_text_ Text commands = {};
        Change change = { NULL, snapshot, entries, n_entries, elements, n_elements, changed, 0, 0 };
        int r;

        for (size_t i = 0; i < n_entries; i++)
                if (entries[i].aim != REDIRECT_GONE &&
                    (!service_name_is_valid(entries[i].service) || entries[i].redirect_port == 0))
                        return -EINVAL;
        /* Nothing of it is left: not even a table, where there is none yet. */
        if (n_elements == 0 && snapshot->n_elements == 0 && snapshot->n_services == 0)
                return 0;
        if (!text_begin(&commands))
                return -ENOMEM;
        change.stream = commands.stream;
        if (!snapshot->complete)
                redirect_write_structure(change.stream, /* bridge= */ false);
        for (size_t i = 0; i < snapshot->n_elements && snapshot->complete; i++)
                if (snapshot->elements[i].map == REDIRECT_NAMES)
                        change.names |= UINT64_C(1) << snapshot->elements[i].name_length;
        change_elements(&change, /* comes= */ false);
        change_services(&change);
        change_elements(&change, /* comes= */ true);
        r = redirect ? redirect_commit(redirect, &commands) : 0;
        if (r >= 0 && redirect) {
                int k = forgetting_run(&(Forgetting){ elements, n_elements, &change, NULL });

                if (k < 0)
                        log_debug_errno(k, "Failed to have flows of UDP begin anew, ignoring: %m");
        }
        return r < 0 ? r : (int) change.n_changed;
}

int redirect_clear(Redirect *redirect) {
        int r = 0;

        for (int bridge = 1; bridge >= 0; bridge--) {
                _cleanup_text_ Text commands = {};

                if (!text_begin(&commands))
                        return -ENOMEM;
                redirect_write_removal(commands.stream, bridge);
                r = redirect_commit(redirect, &commands);
        }
        return r;
}

/* A waker's moves */

/* The table is not asked by who has none: it is on the way of each wake and each sleep. */
static bool takes_datagrams(const Service *service) {
        for (size_t i = 0; i < service->n_ports; i++)
                if (service->ports[i].redirect_port > 0)
                        return true;
        return false;
}

/* All of a service's. `waiting` (NULL: nobody) has ports that are not given to their containers yet. */
static int write_udp(Redirect *redirect, FILE *stream, const Service *service, bool up, const Inner *waiting) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        int r;

        if (!takes_datagrams(service))
                return 0;
        r = redirect_query(redirect, "list map inet wakechain udpsources\n", &snapshot);
        if (r < 0)
                return r;
        for (size_t i = 0; i < snapshot->n_elements; i++) {
                const RedirectElement *source = &snapshot->elements[i];
                bool waits = false;

                if (!streq(source->service, service->name))
                        continue;
                for (size_t k = 0; waiting && k < waiting->n_ports; k++)
                        waits |= waiting->ports[k].udp && waiting->ports[k].waits &&
                                 waiting->ports[k].published == source->to;
                redirect_write_udp(stream, service->name, key_port(source), up || waits);
        }
        return 0;
}

static void write_flush(FILE *stream, const Service *service) {
        fprintf(stream, "flush chain inet wakechain " REDIRECT_CHAIN "%s\n", service->name);
}

static void write_inner_removal(FILE *stream, const RedirectSnapshot *snapshot, const char *service) {
        for (size_t i = 0; i < snapshot->n_elements; i++)
                if (redirect_maps[snapshot->elements[i].map].inner &&
                    streq(snapshot->elements[i].service, service))
                        redirect_write_element(stream, &snapshot->elements[i], /* comes= */ false);
}

/* Nobody counts what goes to the container's own addresses any more. The bridges' table goes with the last one. */
static int redirect_leave_inner(Redirect *redirect, const Service *service) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        _cleanup_text_ Text commands = {};
        const SnapshotService *found;
        int r;

        r = redirect_query(redirect, LIST_INNER LIST_BRIDGE, &snapshot);
        if (r >= 0 && !text_begin(&commands))
                r = -ENOMEM;
        if (r < 0)
                return r;
        write_inner_removal(commands.stream, snapshot, service->name);
        found = redirect_snapshot_service(snapshot, service->name);
        if (found)
                redirect_write_service_removal(commands.stream, /* bridge= */ true, found);
        if (found && snapshot->n_services == 1)
                redirect_write_removal(commands.stream, /* bridge= */ true);
        return redirect_commit(redirect, &commands);
}

/* -ENOENT: it has none. */
static int redirect_target(Redirect *redirect, const Service *service, uint16_t *ret) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        int r;

        r = redirect_query(redirect, "list set inet wakechain targets\n", &snapshot);
        if (r < 0)
                return r;
        *ret = redirect_snapshot_target(snapshot, service->name);
        return *ret > 0 ? 0 : -ENOENT;
}

/* What leads the container's own addresses to the chain goes before the chain is changed, for else it would lead the engine's proxy, with the
 * clients that it has taken already, to the front, where they would wait for a stack that waits for them. Not in one transaction: the kernel
 * reads the state of a map and that of a chain one after the other, and packets were seen to get an old one of one and a new one of the other. */
int redirect_up(Redirect *redirect, const Service *service, const Inner *inner) {
        _cleanup_text_ Text commands = {};
        uint16_t port;
        int r;

        if (!service_name_is_valid(service->name))
                return -EINVAL;
        r = redirect_target(redirect, service, &port);
        if (r < 0)
                return r;
        if (redirect_leave_inner(redirect, service) < 0)
                log_debug("Failed to stop counting elsewhere, ignoring: %s", redirect_error(redirect));
        if (!text_begin(&commands))
                return -ENOMEM;
        write_flush(commands.stream, service);
        if (inner)
                redirect_write_spared(commands.stream, service->name, inner->own, inner->n_own);
        redirect_write_up(commands.stream, service->name, port);
        r = write_udp(redirect, commands.stream, service, /* up= */ true, NULL);
        return r < 0 ? r : redirect_commit(redirect, &commands);
}

int redirect_forget_flows(Redirect *redirect, const Service *service) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        int r;

        if (!takes_datagrams(service))
                return 0;
        r = redirect_query(redirect, "list map inet wakechain udpsources\n", &snapshot);
        if (r < 0)
                return r;
        return forgetting_run(&(Forgetting){ snapshot->elements, snapshot->n_elements, NULL, service->name });
}

/* The service's chain, and what goes with it. */
static int redirect_lift_chain(Redirect *redirect, const Service *service, const Inner *inner, bool with_groups) {
        bool redirects = *service->virtual_address;
        RedirectLifted lifted = { service->name, service->ignore_addresses, redirects, 0 };
        _cleanup_text_ Text commands = {};
        int r;

        for (size_t i = 0; inner && i < inner->n_ports; i++)
                redirects |= inner->ports[i].waits && !inner->ports[i].udp;
        r = redirects ? redirect_target(redirect, service, &lifted.redirect_port) : 0;
        if (r < 0)
                return r;
        if (!text_begin(&commands))
                return -ENOMEM;
        /* First of all, and in vain where it is not in the table. */
        write_flush(commands.stream, service);
        redirect_write_chain(commands.stream, /* bridge= */ false, service->name);
        redirect_write_lifted(commands.stream, /* bridge= */ false, &lifted, inner, with_groups,
                              /* by_waker= */ true);
        r = write_udp(redirect, commands.stream, service, /* up= */ false, inner);
        return r < 0 ? r : redirect_commit(redirect, &commands);
}

/* An address that two services lead to is counted for the first of them. */
static void write_inner(FILE *stream, const RedirectSnapshot *snapshot, bool bridge, const Service *service,
                        const InnerPort *port) {
        for (size_t i = 0; i < port->n_addresses && !port->udp; i++) {
                const bool ipv6 = port->addresses[i].family == AF_INET6;
                const RedirectMap map = bridge ? (ipv6 ? REDIRECT_BRIDGE6 : REDIRECT_BRIDGE4)
                                               : (ipv6 ? REDIRECT_INNER6 : REDIRECT_INNER4);
                RedirectElement wanted;
                const RedirectElement *found;
                char text[INET6_ADDRSTRLEN];

                (void) inet_ntop(port->addresses[i].family, &port->addresses[i].ipv6, text, sizeof(text));
                wanted = redirect_element(map, text, port->port, service->name);
                found = redirect_snapshot_element(snapshot, &wanted);
                if (!found || streq(found->service, service->name))
                        redirect_write_element(stream, &wanted, /* comes= */ true);
        }
}

/* What goes to the container's own addresses is counted: routed, and on bridges. */
static int redirect_count_inner(Redirect *redirect, const Service *service, const Inner *inner, bool bridges) {
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        _cleanup_text_ Text commands = {};
        int r;

        r = redirect_query(redirect, LIST_INNER LIST_BRIDGE, &snapshot);
        if (r >= 0 && !text_begin(&commands))
                r = -ENOMEM;
        if (r < 0)
                return r;
        if (bridges) {
                redirect_write_structure(commands.stream, /* bridge= */ true);
                redirect_write_chain(commands.stream, /* bridge= */ true, service->name);
                redirect_write_lifted(commands.stream, /* bridge= */ true,
                                      &(RedirectLifted){ service->name, service->ignore_addresses, false, 0 },
                                      inner, /* with_groups= */ false, /* by_waker= */ true);
        }
        write_inner_removal(commands.stream, snapshot, service->name);
        for (size_t i = 0; i < inner->n_ports; i++) {
                write_inner(commands.stream, snapshot, /* bridge= */ false, service, &inner->ports[i]);
                if (bridges)
                        write_inner(commands.stream, snapshot, /* bridge= */ true, service, &inner->ports[i]);
        }
        return redirect_commit(redirect, &commands);
}

/* What leads to the chain comes when that redirects no more, and goes before it does again: see redirect_up(). */
int redirect_lift(Redirect *redirect, const Service *service, const Inner *inner) {
        bool bridges = false;
        int r;

        if (!service_name_is_valid(service->name))
                return -EINVAL;
        r = redirect_lift_chain(redirect, service, inner, /* with_groups= */ true);
        /* Not every kernel knows groups, and one may have ended with its container. */
        if (r < 0 && inner && (inner->groups || inner->proxy_group))
                r = redirect_lift_chain(redirect, service, inner, /* with_groups= */ false);
        for (size_t i = 0; inner && i < inner->n_ports; i++)
                bridges |= inner->ports[i].n_addresses > 0 && !inner->ports[i].udp;
        if (r >= 0 && inner && redirect_count_inner(redirect, service, inner, bridges) < 0 &&
            redirect_count_inner(redirect, service, inner, /* bridges= */ false) < 0)
                log_debug("Failed to count elsewhere, ignoring: %s", redirect_error(redirect));
        return r;
}

int redirect_count(Redirect *redirect, const char *service, RedirectCount *ret) {
        static const char ask[] =
                        "list chain %1$s " REDIRECT_CHAIN "%2$s; list counter %1$s " REDIRECT_CHAIN "%2$s\n"
                        "list chain %3$s " REDIRECT_CHAIN "%2$s; list counter %3$s " REDIRECT_CHAIN "%2$s\n";
        _cleanup_(redirect_snapshot_freep) RedirectSnapshot *snapshot = NULL;
        _cleanup_free_ char *commands = NULL;
        const SnapshotService *found;
        int r;

        if (!service_name_is_valid(service))
                return -EINVAL;
        if (asprintf(&commands, ask, REDIRECT_TABLE(false), service, REDIRECT_TABLE(true)) < 0) {
                commands = NULL;
                return -ENOMEM;
        }
        r = redirect_query(redirect, commands, &snapshot);
        if (r < 0)
                return r;
        found = redirect_snapshot_service(snapshot, service);
        *ret = (RedirectCount){
                .connections = found ? found->new_connections : 0,
                .up = found && found->redirect_port > 0,
                .bare = found && found->counts && !found->lifted_by_waker,
        };
        return 0;
}

int redirect_list_ruleset(Redirect *redirect, char **ret) {
        int r;

        r = redirect_run(redirect, "list ruleset", 0);
        if (r < 0)
                return r;
        *ret = strdup(strempty(nft_ctx_get_output_buffer(redirect->context)));
        return *ret ? 0 : -ENOMEM;
}

/* Who may write, and who is to */

int redirect_ask_to_settle(const char *root) {
        char path[512];
        int fd;

        (void) snprintf(path, sizeof(path), "%s" UNSETTLED, root);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd < 0)
                return -errno;
        (void) fd_close(fd);
        return 0;
}

bool redirect_was_asked(const char *root) {
        char path[512], aside[512];

        (void) snprintf(path, sizeof(path), "%s" UNSETTLED, root);
        if (remove(path) >= 0)
                return true;
        /* A folder with something in it, for which systemd would start this again and again. */
        (void) snprintf(aside, sizeof(aside), "%s" UNSETTLED ".%i", root, (int) getpid());
        return (errno == ENOTEMPTY || errno == EEXIST) && rename(path, aside) >= 0;
}

/* tmpfiles.d has made it for root and the wakers alone: whoever can open it can hold everybody up. */
int redirect_lock(const char *root) {
        _cleanup_close_ int fd = -EBADF;
        char path[512];

        (void) snprintf(path, sizeof(path), "%s/run/wakechain/redirect.lock", strempty(root));
        /* Whatever is there can be locked, and a pipe would be waited for. */
        fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
        if (fd < 0)
                return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        return TAKE_FD(fd);
}

/* By asking again: of those who wait there is one of each unit at most, and flock() has no bound of time. */
int redirect_lock_wait(const char *root, uint64_t timeout_usec) {
        uint64_t deadline_usec = usec_add(time_now(CLOCK_MONOTONIC), timeout_usec);
        int fd;

        while ((fd = redirect_lock(root)) == -EAGAIN && time_now(CLOCK_MONOTONIC) < deadline_usec)
                (void) usleep(LOCK_PAUSE);
        return fd == -EAGAIN ? -ETIMEDOUT : fd;
}
