#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/varlink.h"
#include "util/fd.h"
#include "util/json-members.h"
#include "util/log.h"

/* Varlink: one connection, one buffer in, one buffer out. A message is written at once if the socket takes it, so
 * that a short-lived caller needs no turn of the event loop; only what is left over waits for EPOLLOUT.
 *
 * A failed write is no reason to end: the peer may have answered before it closed, and that answer is still to be
 * read. The queue is dropped, and reading finds the end. Ends that are noticed while the owner calls us (a queue
 * that is too long) are delivered from the event loop, never from inside the call.
 *
 * Handlers may free the connection. While one runs, `dispatching` keeps the memory, and `freed` stops whoever
 * called it. */

#define READ_SIZE ((size_t) 16 * 1024)
#define NESTING_MAX 32

typedef struct Buffer {
        char *data;
        size_t size, allocated;
        size_t done; /* in: searched for NUL; out: written */
} Buffer;

struct Varlink {
        sd_event *event;
        sd_event_source *io_source;
        sd_event_source *end_source; /* while an end waits to be delivered */
        int fd;
        int error;
        bool writing; /* EPOLLOUT is on */
        bool broken; /* the peer takes nothing more */
        bool ended;
        bool dispatching;
        bool freed;
        Buffer in, out;
        size_t message_max, queue_max;
        json_tokener *tokener;
        VarlinkMessageHandler on_message;
        VarlinkEndHandler on_end;
        void *userdata;
};

static int buffer_reserve(Buffer *buffer, size_t more) {
        size_t larger;
        char *moved;

        if (buffer->allocated - buffer->size >= more)
                return 0;
        larger = MAX(buffer->size + more, 2 * buffer->allocated);
        moved = realloc(buffer->data, larger);
        if (!moved)
                return -ENOMEM;
        buffer->data = moved;
        buffer->allocated = larger;
        return 0;
}

/* Forgets the first `n` bytes. An empty buffer gives its memory back: connections live long and speak seldom. */
static void buffer_drop(Buffer *buffer, size_t n) {
        buffer->size -= n;
        buffer->done = 0;
        if (buffer->size == 0) {
                buffer->data = mfree(buffer->data);
                buffer->allocated = 0;
        } else
                memmove(buffer->data, buffer->data + n, buffer->size);
}

/* The handler is the last thing: it may free the connection. */
static void varlink_end(Varlink *varlink, int error) {
        if (varlink->ended)
                return;
        varlink->ended = true;
        varlink->io_source = sd_event_source_disable_unref(varlink->io_source);
        varlink->end_source = sd_event_source_disable_unref(varlink->end_source);
        varlink->on_end(varlink, error, varlink->userdata);
}

static Varlink *varlink_release(Varlink *varlink) {
        free(varlink->in.data);
        free(varlink->out.data);
        if (varlink->tokener)
                json_tokener_free(varlink->tokener);
        sd_event_unref(varlink->event);
        return mfree(varlink);
}

static int varlink_write(Varlink *varlink) {
        Buffer *out = &varlink->out;
        bool writing;
        int r;

        while (!varlink->broken && out->done < out->size) {
                ssize_t n = send(varlink->fd, out->data + out->done, out->size - out->done,
                                 MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        break;
                if (n < 0)
                        varlink->broken = true;
                else
                        out->done += (size_t) n;
        }
        if (varlink->broken || out->done == out->size)
                buffer_drop(out, out->size);
        else if (out->done > out->size / 2)
                buffer_drop(out, out->done);

        writing = out->size > 0;
        if (writing == varlink->writing || !varlink->io_source)
                return 0;
        r = sd_event_source_set_io_events(varlink->io_source, EPOLLIN | (writing ? EPOLLOUT : 0));
        if (r >= 0)
                varlink->writing = writing;
        return r;
}

static int varlink_parse(Varlink *varlink, const char *text, size_t size, json_object **ret) {
        json_object *message;

        json_tokener_reset(varlink->tokener);
        message = json_tokener_parse_ex(varlink->tokener, text, (int) size);
        if (!message)
                return -EBADMSG;
        if (!json_object_is_type(message, json_type_object)) {
                json_object_put(message);
                return -EBADMSG;
        }
        *ret = message;
        return 0;
}

/* Hands on every whole message of the buffer. False: the connection is freed, or has ended. */
static bool varlink_deliver(Varlink *varlink) {
        Buffer *in = &varlink->in;
        size_t start = 0;

        for (;;) {
                char *end = in->done < in->size ? memchr(in->data + in->done, 0, in->size - in->done) : NULL;
                json_object *message;
                size_t size;
                int r;

                if (!end)
                        break;
                size = (size_t) (end - in->data) - start;
                r = size > varlink->message_max ? -EMSGSIZE
                                                : varlink_parse(varlink, in->data + start, size, &message);
                if (r < 0) {
                        varlink_end(varlink, r);
                        return false;
                }
                start += size + 1;
                in->done = start;

                varlink->on_message(varlink, message, varlink->userdata);
                json_object_put(message);
                if (varlink->freed || varlink->ended || varlink->end_source)
                        return false;
        }

        buffer_drop(in, start);
        in->done = in->size;
        if (in->size > varlink->message_max) {
                varlink_end(varlink, -EMSGSIZE);
                return false;
        }
        return true;
}

static void varlink_read(Varlink *varlink) {
        Buffer *in = &varlink->in;
        ssize_t n;
        int r;

        r = buffer_reserve(in, READ_SIZE);
        if (r < 0) {
                varlink_end(varlink, r);
                return;
        }

        n = recv(varlink->fd, in->data + in->size, in->allocated - in->size, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                varlink_end(varlink, n < 0 ? -errno : 0);
                return;
        }
        in->size += (size_t) n;
        (void) varlink_deliver(varlink);
}

static int varlink_on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Varlink *varlink = ASSERT_PTR(userdata);
        int r;

        varlink->dispatching = true;
        if (events & EPOLLOUT) {
                r = varlink_write(varlink);
                if (r < 0)
                        varlink_end(varlink, r);
        }
        if (!varlink->ended && !varlink->freed && events & ~(uint32_t) EPOLLOUT)
                varlink_read(varlink);
        varlink->dispatching = false;

        if (varlink->freed)
                varlink_release(varlink);
        return 0;
}

static int varlink_on_end(sd_event_source *source, void *userdata) {
        Varlink *varlink = ASSERT_PTR(userdata);

        varlink->dispatching = true;
        varlink_end(varlink, varlink->error);
        varlink->dispatching = false;

        if (varlink->freed)
                varlink_release(varlink);
        return 0;
}

int varlink_new(Varlink **ret, sd_event *event, int fd, VarlinkMessageHandler on_message, VarlinkEndHandler on_end,
                void *userdata) {
        _cleanup_(varlink_freep) Varlink *varlink = NULL;
        int flags, r;

        assert(ret);
        assert(event);
        assert(fd >= 0);
        assert(on_message);
        assert(on_end);

        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
                return -errno;

        varlink = malloc(sizeof(*varlink));
        if (!varlink)
                return -ENOMEM;
        *varlink = (Varlink){
                .event = sd_event_ref(event),
                .fd = -EBADF,
                .message_max = VARLINK_MESSAGE_MAX,
                .queue_max = VARLINK_QUEUE_MAX,
                .on_message = on_message,
                .on_end = on_end,
                .userdata = userdata,
        };

        varlink->tokener = json_tokener_new_ex(NESTING_MAX);
        if (!varlink->tokener)
                return -ENOMEM;
        json_tokener_set_flags(varlink->tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);

        r = sd_event_add_io(event, &varlink->io_source, fd, EPOLLIN, varlink_on_io, varlink);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(varlink->io_source, "varlink");

        varlink->fd = fd;
        *ret = TAKE_PTR(varlink);
        return 0;
}

int varlink_connect(Varlink **ret, sd_event *event, const char *path, VarlinkMessageHandler on_message,
                    VarlinkEndHandler on_end, void *userdata) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        int r;

        assert(path);

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        strcpy(address.sun_path, path);

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;

        r = varlink_new(ret, event, fd, on_message, on_end, userdata);
        if (r < 0)
                return r;
        (void) TAKE_FD(fd);
        return 0;
}

Varlink *varlink_free(Varlink *varlink) {
        if (!varlink || varlink->freed)
                return NULL;

        if (varlink->fd >= 0)
                (void) varlink_write(varlink);
        varlink->io_source = sd_event_source_disable_unref(varlink->io_source);
        varlink->end_source = sd_event_source_disable_unref(varlink->end_source);
        varlink->fd = fd_close(varlink->fd);
        varlink->freed = true;
        if (!varlink->dispatching)
                varlink_release(varlink);
        return NULL;
}

int varlink_fd(const Varlink *varlink) {
        return varlink->fd;
}

int varlink_set_priority(Varlink *varlink, int64_t priority) {
        return varlink->io_source ? sd_event_source_set_priority(varlink->io_source, priority) : -ENOTCONN;
}

void varlink_set_limits(Varlink *varlink, size_t message_max, size_t queue_max) {
        varlink->message_max = message_max;
        varlink->queue_max = queue_max;
}

/* The peer has not read for too long. It learns nothing more from us, and the owner hears of it from the loop. */
static int varlink_overflow(Varlink *varlink) {
        int r;

        varlink->broken = true;
        varlink->error = -ENOBUFS;
        buffer_drop(&varlink->out, varlink->out.size);
        varlink->io_source = sd_event_source_disable_unref(varlink->io_source);
        if (!varlink->end_source) {
                r = sd_event_add_defer(varlink->event, &varlink->end_source, varlink_on_end, varlink);
                if (r < 0)
                        return r;
        }
        return -ENOBUFS;
}

static int varlink_send(Varlink *varlink, json_object *message) {
        const char *text;
        size_t size;
        int r;

        text = json_print(message, &size);
        if (!text)
                return -ENOMEM;
        if (varlink->ended || varlink->broken)
                return varlink->error == -ENOBUFS ? -ENOBUFS : -ENOTCONN;
        if (varlink->out.size - varlink->out.done + size >= varlink->queue_max)
                return varlink_overflow(varlink);

        r = buffer_reserve(&varlink->out, size + 1);
        if (r < 0)
                return r;
        memcpy(varlink->out.data + varlink->out.size, text, size + 1);
        varlink->out.size += size + 1;
        return varlink_write(varlink);
}

/* Sends {"KEY": "VALUE", "parameters": …, "FLAG": true}, without a key or flag that is NULL. */
static int varlink_message(Varlink *varlink, const char *key, const char *value, json_object *parameters,
                           const char *flag) {
        _cleanup_(json_freep) json_object *message = json_object_new_object();

        /* Without parameters an empty object: some peers insist on the member. */
        if ((key && !json_add_text(message, key, value)) ||
            !json_add(message, "parameters",
                      parameters ? json_object_get(parameters) : json_object_new_object()) ||
            (flag && !json_add(message, flag, json_object_new_boolean(true))))
                return -ENOMEM;
        return varlink_send(varlink, message);
}

int varlink_call(Varlink *varlink, const char *method, json_object *parameters, bool more) {
        assert(varlink);
        assert(method);

        return varlink_message(varlink, "method", method, parameters, more ? "more" : NULL);
}

int varlink_reply(Varlink *varlink, json_object *parameters, bool continues) {
        assert(varlink);

        return varlink_message(varlink, NULL, NULL, parameters, continues ? "continues" : NULL);
}

int varlink_error(Varlink *varlink, const char *error, json_object *parameters) {
        assert(varlink);
        assert(error);

        return varlink_message(varlink, "error", error, parameters, NULL);
}
