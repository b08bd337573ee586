#include <netinet/in.h>
#include <sys/socket.h>

#include "io/port-conflict.h"

/* The sentences in which engines refuse a port. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        PortAddress address;
        char *text;

        text = malloc(size + 1);
        if (!text)
                abort();
        if (size > 0)
                memcpy(text, data, size);
        text[size] = '\0';
        if (port_conflict_parse(&address, text) > 0 &&
            (address.port == 0 || (address.family != AF_INET && address.family != AF_INET6) ||
             address.transport < 0 || address.transport >= _PORT_TRANSPORT_MAX))
                abort();
        free(text);
        return 0;
}
