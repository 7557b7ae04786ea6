/* Devices and their sink in one process, several times cheaper than any bridge between them.
 *
 *     load CASE [spin]                coap, mqtt or udp
 *     stdout                          the sink's port, then one JSON object per round
 *     stdin                           a round per line: BRIDGE_PORT SECONDS; devices connect at the first
 *
 * `bench.py` compiles and runs it; `load.py` says and does the same where there is no compiler. A lane keeps one
 * message in flight. A message begins with its lane and its number in hex, so that the sink knows what it accepts and
 * a device whether its answer is the right one, and whether it came after the sink's 2xx. With a core to itself it spins
 * during a round: if it slept, a send to it would first have to wake its core, and a slow bridge would pay for that more
 * often than a fast one, which keeps it busy. Linux, 127.0.0.1 only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 2.0 /* seconds until a message counts as lost */
#define MAX_SIZE 64
#define MAX_LANES 64
#define BUFFER 16384

struct source { /* what epoll points at: the head of whatever can be read from */
    void (*ready)(struct source *);
    int fd;
    size_t have;
    unsigned char in[BUFFER];
};

struct lane {
    struct source *device;
    unsigned number, accepted; /* the last message sent; the last one that the sink said 2xx to */
    double sent;
    int open;
    unsigned char message[MAX_SIZE + 1];
};

static struct shape { const char *name; int devices, window, size, stream; } SHAPES[] = {
    {"coap", 64, 1, 32, 0}, {"mqtt", 16, 4, 64, 1}, {"udp", 64, 1, 64, 0}};
static struct shape *shape;
static struct lane lanes[MAX_LANES];
static int poller, sending, unanswered, spin;
static long posts, messages, lost, wrong, early, repeated;
static float *latencies;
static size_t room;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void check(int fine, const char *what) {
    if (!fine) {
        fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static struct source *watch(int fd, void (*ready)(struct source *)) {
    struct source *source = calloc(1, sizeof *source);
    check(source != NULL, "memory");
    source->fd = fd, source->ready = ready;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    check(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
    return source;
}

static void no_delay(int fd) { setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); }

/* --- Lanes ---------------------------------------------------------------------------------------------------- */

static int packet_id(struct lane *lane) { /* tells its lane, and is not used again soon */
    return 1 + (int)(lane - lanes) % shape->window + shape->window * (lane->number % 4096);
}

static void send_next(struct lane *lane) {
    unsigned char out[MAX_SIZE + 32], *end = out;
    unsigned number = ++lane->number;
    char head[16];
    snprintf(head, sizeof head, "%04x%08x", (unsigned)(lane - lanes), number);
    memset(lane->message, 'x', shape->size);
    memcpy(lane->message, head, 12);
    if (shape->name[0] == 'c') { /* CON POST /bench/t, token: the number */
        unsigned char request[] = {0x44, 0x02, number >> 8, number, number >> 24, number >> 16, number >> 8, number,
                                   0xb5, 'b', 'e', 'n', 'c', 'h', 0x01, 't', 0xff};
        end = mempcpy(end, request, sizeof request);
    } else if (shape->name[0] == 'm') { /* PUBLISH, QoS 1, to bench/t */
        int id = packet_id(lane);
        unsigned char publish[] = {0x32, 11 + shape->size, 0, 7, 'b', 'e', 'n', 'c', 'h', '/', 't', id >> 8, id};
        end = mempcpy(end, publish, sizeof publish);
    }
    end = mempcpy(end, lane->message, shape->size);
    lane->sent = now(), lane->open = 1, unanswered++;
    check(send(lane->device->fd, out, end - out, 0) == end - out, "a device can't send");
}

static void close_lane(struct lane *lane) {
    lane->open = 0, unanswered--;
    if (sending) send_next(lane);
}

static void answered(struct lane *lane, int right) {
    if (!right) {
        wrong++;
    } else {
        if (lane->accepted != lane->number) early++;
        if ((size_t)messages == room) {
            latencies = realloc(latencies, (room += 1 << 18) * sizeof *latencies);
            check(latencies != NULL, "memory");
        }
        latencies[messages++] = now() - lane->sent;
    }
    close_lane(lane);
}

static struct lane *lane_of(struct source *device) {
    for (int i = 0; i < shape->devices * shape->window; i++)
        if (lanes[i].device == device) return &lanes[i];
    return NULL;
}

/* --- Devices -------------------------------------------------------------------------------------------------- */

static void udp_ready(struct source *device) {
    struct lane *lane = lane_of(device);
    ssize_t n = recv(device->fd, device->in, BUFFER, MSG_DONTWAIT);
    if (n < 0) return;
    if (lane->open && n == shape->size && !memcmp(device->in, lane->message, n)) answered(lane, 1);
    else wrong++;
}

static void coap_ready(struct source *device) {
    struct lane *lane = lane_of(device);
    unsigned char *in = device->in;
    ssize_t n = recv(device->fd, in, BUFFER, MSG_DONTWAIT);
    if (n < 4) return;
    int type = in[0] >> 4 & 3, size = shape->size;
    if (type == 0) { /* a separate response: acknowledge it */
        unsigned char ack[] = {0x60, 0, in[2], in[3]};
        send(device->fd, ack, 4, 0);
    }
    if (in[1] == 0) return; /* an empty ACK: the response follows */
    unsigned char token[] = {lane->number >> 24, lane->number >> 16, lane->number >> 8, lane->number};
    if (!lane->open || (in[0] & 15) != 4 || n < 8 || memcmp(in + 4, token, 4)) {
        wrong++;
        return;
    }
    int right = in[1] >> 5 == 2 && n > 8 + size && in[n - size - 1] == 0xff && !memcmp(in + n - size, lane->message, size);
    if (type == 2 && (in[2] != token[2] || in[3] != token[3])) right = 0; /* the message ID is the number, too */
    answered(lane, right);
}

static void mqtt_ready(struct source *device) {
    struct lane *first = lane_of(device);
    ssize_t n = recv(device->fd, device->in + device->have, BUFFER - device->have, MSG_DONTWAIT);
    check(n > 0 || (n < 0 && errno == EAGAIN), "the bridge closed a device's connection");
    if (n < 0) return;
    unsigned char *p = device->in, *end = p + device->have + n;
    for (; end - p >= 4; p += 4) { /* PUBACKs, and nothing else */
        int id = p[2] << 8 | p[3];
        struct lane *lane = first + (id - 1 + shape->window) % shape->window;
        if (p[0] == 0x40 && p[1] == 2 && lane->open && packet_id(lane) == id) answered(lane, 1);
        else wrong++;
    }
    device->have = end - p;
    memmove(device->in, p, device->have);
}

static void mqtt_connect(int fd, int number) {
    unsigned char connect[] = {0x10, 18, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 6, 'b', 'e', 'n', 'c', 'h', 'a' + number};
    unsigned char connack[4] = {0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){5, 0}, sizeof(struct timeval));
    check(send(fd, connect, sizeof connect, 0) == sizeof connect, "CONNECT");
    check(recv(fd, connack, 4, MSG_WAITALL) == 4 && connack[0] == 0x20 && connack[3] == 0, "no CONNACK");
    no_delay(fd);
}

static void connect_devices(int port) {
    struct sockaddr_in bridge = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    void (*ready)(struct source *) = shape->name[0] == 'c' ? coap_ready : shape->stream ? mqtt_ready : udp_ready;
    for (int i = 0; i < shape->devices; i++) {
        int fd = socket(AF_INET, shape->stream ? SOCK_STREAM : SOCK_DGRAM, 0);
        check(fd >= 0 && connect(fd, (void *)&bridge, sizeof bridge) == 0, "no connection to the bridge");
        if (shape->stream) mqtt_connect(fd, i);
        struct source *device = watch(fd, ready);
        for (int j = 0; j < shape->window; j++) lanes[i * shape->window + j].device = device;
    }
}

/* --- The sink ------------------------------------------------------------------------------------------------- */

static size_t answer(unsigned char *body, size_t length, char *out) {
    unsigned number = 0, place = MAX_LANES;
    posts++;
    if (length != (size_t)shape->size || sscanf((char *)body, "%4x%8x", &place, &number) != 2 || place >= MAX_LANES) {
        wrong++;
        return sprintf(out, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    }
    if (lanes[place].accepted >= number) repeated++;
    lanes[place].accepted = number;
    if (shape->stream) return sprintf(out, "HTTP/1.1 204 No Content\r\n\r\n");
    size_t n = sprintf(out, "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: %zu\r\n\r\n", length);
    memcpy(out + n, body, length);
    return n + length;
}

static void request_ready(struct source *connection) {
    unsigned char *in = connection->in;
    char out[256 + MAX_SIZE];
    ssize_t n = recv(connection->fd, in + connection->have, BUFFER - 1 - connection->have, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        close(connection->fd);
        free(connection);
        return;
    }
    connection->have += n, in[connection->have] = 0;
    unsigned char *blank = memmem(in, connection->have, "\r\n\r\n", 4);
    char *field = blank ? strcasestr((char *)in, "\r\ncontent-length:") : NULL;
    if (!field) return;
    size_t length = strtoul(field + 17, NULL, 10), head = blank + 4 - in;
    if (connection->have < head + length) return;
    size_t size = answer(in + head, length, out);
    connection->have = 0; /* one request at a time: no client here pipelines */
    check(send(connection->fd, out, size, MSG_NOSIGNAL) == (ssize_t)size, "the sink can't answer");
}

static void sink_ready(struct source *listener) {
    int fd = accept(listener->fd, NULL, NULL);
    if (fd < 0) return;
    no_delay(fd);
    watch(fd, request_ready);
}

static int open_sink(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    check(fd >= 0 && bind(fd, (void *)&address, length) == 0 && listen(fd, 1024) == 0, "the sink can't listen");
    getsockname(fd, (void *)&address, &length);
    watch(fd, sink_ready);
    return ntohs(address.sin_port);
}

/* --- A round -------------------------------------------------------------------------------------------------- */

static void give_up_old(double time) {
    for (int i = 0; i < shape->devices * shape->window; i++)
        if (lanes[i].open && time - lanes[i].sent > PATIENCE) lost++, close_lane(&lanes[i]);
}

static void turn(void) {
    struct epoll_event events[256];
    int n = epoll_wait(poller, events, 256, spin ? 0 : 50);
    for (int i = 0; i < n; i++) {
        struct source *source = events[i].data.ptr;
        source->ready(source);
    }
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void run(double seconds) {
    double start = now(), used = cpu(), time = start, looked = start;
    posts = messages = lost = wrong = early = repeated = 0, sending = 1;
    for (int i = 0; i < shape->devices * shape->window; i++) send_next(&lanes[i]);
    while (unanswered) {
        turn();
        time = now();
        if (time - start > seconds) sending = 0;
        if (time - looked > 0.1) give_up_old(looked = time);
    }
    used = cpu() - used;
    qsort(latencies, messages, sizeof *latencies, ascending);
    printf("{\"messages\": %ld, \"seconds\": %.6f, \"p50\": %.6f, \"p99\": %.6f, \"lost\": %ld, \"wrong\": %ld, "
           "\"early\": %ld, \"repeated\": %ld, \"posts\": %ld, \"cpu\": %.6f}\n",
           messages, time - start, messages ? latencies[messages / 2] : 0, messages ? latencies[messages * 99 / 100] : 0,
           lost, wrong, early, repeated, posts, used);
    fflush(stdout);
}

int main(int argc, char **argv) {
    for (size_t i = 0; argc >= 2 && i < sizeof SHAPES / sizeof *SHAPES; i++)
        if (!strcmp(argv[1], SHAPES[i].name)) shape = &SHAPES[i];
    if (!shape) return fprintf(stderr, "usage: load coap|mqtt|udp [spin]\n"), 2;
    spin = argc == 3 && !strcmp(argv[2], "spin");
    poller = epoll_create1(0);
    printf("%d\n", open_sink());
    fflush(stdout);
    int port;
    double seconds;
    while (scanf("%d %lf", &port, &seconds) == 2) {
        if (!lanes[0].device) connect_devices(port);
        run(seconds);
    }
    return 0;
}
